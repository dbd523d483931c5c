"""What another node has changed: this one takes it in from the bulletin, or from the tables after a gap."""

import json
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.support.server import Api, Place, eventually

_LISTENERS = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'slotcast bulletin' AND datname = current_database()"
)


class OtherNode:
    """Writes as another node would: the tables, and with `notices` the bulletin; else it was missed."""

    def __init__(self, db: asyncpg.Connection, notices: bool) -> None:
        self._db = db
        self._notices = notices

    async def write(self, kind: str, id_: str, query: str, *args: object) -> None:
        if not self._notices:
            # What is posted before the node listens again is lost; the tables are changed by then.
            await self._db.execute(query, *args)
            await self._db.execute(f"SELECT pg_terminate_backend(pid) FROM ({_LISTENERS}) AS l")
            return
        async with self._db.transaction():
            await self._db.execute(query, *args)
            notice = json.dumps({"kind": kind, "ids": [id_], "from": "other"})
            await self._db.execute("SELECT pg_notify('slotcast', $1)", notice)


@pytest.fixture(params=["told", "missed"])
async def other_node(request: pytest.FixtureRequest, db: asyncpg.Connection) -> AsyncIterator[OtherNode]:
    yield OtherNode(db, request.param == "told")

    async def listening() -> bool:
        return bool(await db.fetch(_LISTENERS))

    await eventually(listening)


@pytest.mark.parity("C16")
async def test_terms_that_another_node_changed(api: Api, place: Place, other_node: OtherNode) -> None:
    """An active calendar has the new slots soon, and books by them."""
    day = place.at(0)[:10]
    path = f"professionals/{place.professional_id}/slots"

    async def first_two() -> list[str]:
        answer = await api.get(path, from_=day, to=day, service_id=place.service_id)
        return [slot["end"] for slot in answer.json["slots"][:2]]

    before = await first_two()
    await other_node.write(
        "terms", place.professional_id,
        "UPDATE services SET duration_minutes = 15, step_minutes = 15 WHERE id = $1", place.service_id,
    )  # fmt: skip

    async def changed() -> bool:
        return await first_two() != before

    await eventually(changed)
    booked = await api.post("bookings", place.booking(place.at(10, 15)))
    assert booked.status == 201, booked
    assert booked.json["end"] == place.at(10, 30)


async def test_a_token_that_another_node_revoked(api: Api, other_node: OtherNode) -> None:
    """It is refused soon."""
    made = await api.made("service-tokens", {"name": "bot"})
    bot = api.with_token(made["token"])
    assert (await bot.get("clients", limit=1)).status == 200
    await other_node.write(
        "tokens", made["id"], "UPDATE service_tokens SET revoked_at = now() WHERE id = $1", made["id"]
    )

    async def refused() -> bool:
        return (await bot.get("clients", limit=1)).status == 401

    await eventually(refused)


async def test_a_holiday_that_another_node_made(api: Api, place: Place, other_node: OtherNode) -> None:
    """An active calendar is closed on that date soon, and lists and refuses alike."""
    path = f"professionals/{place.professional_id}/slots"

    async def closed() -> bool:
        answer = await api.get(path, from_=place.day, to=place.day, service_id=place.service_id)
        return not answer.json["slots"]

    assert not await closed()
    # Of a location where nobody else works, because all tests share the business.
    location = (await api.made("locations", {"name": "Elsewhere"}))["id"]
    await api.request("PATCH", f"professionals/{place.professional_id}", {"location_id": location})
    await other_node.write(
        "terms", place.professional_id,
        "INSERT INTO holidays (id, business_id, location_id, date, name)"
        " SELECT gen_random_uuid(), business_id, id, $2::text::date, 'x' FROM locations WHERE id = $1",
        location, place.day,
    )  # fmt: skip
    assert await eventually(closed)
    assert (await api.post("bookings", place.booking(place.at(10)))).json["code"] == "outside_hours"

"""What professionals hear of bookings in their calendars."""

from typing import Any

import asyncpg
import pytest

from tests.messages.mailbox import Mailbox, part
from tests.messages.test_mails import guest, listed
from tests.rest.helpers import approving_place
from tests.rest.people import join, new_user, signed_in
from tests.support.server import Api, Place, eventually


class Professional:
    """Who has the calendar of a place."""

    def __init__(self, api: Api, user: dict[str, Any]) -> None:
        self.api = api
        self.id = user["id"]
        self.email = user["email"]


async def employed(place: Place, db: asyncpg.Connection, business_id: str, **columns: Any) -> Professional:
    user = await new_user(db, **columns)
    await join(db, business_id, user, "professional", professional_id=place.professional_id)
    return Professional((await signed_in(place.api, user, business=business_id))[0], user)


@pytest.fixture
async def mine(place: Place, db: asyncpg.Connection, business_id: str) -> Professional:
    return await employed(place, db, business_id, name="Ada Sommer")


async def kinds(api: Api, booking_id: str, user_id: str) -> list[str]:
    return sorted(m["kind"] for m in await listed(api, booking_id=booking_id) if m["user_id"] == user_id)


async def test_a_professional_hears_of_what_others_do(
    place: Place, mine: Professional, mailbox: Mailbox, address: str
) -> None:
    """Who comes, when and why not; no link of the client's is in it."""
    booked = await place.api.made("bookings", place.booking(place.at(9), guest=guest(address)))
    path = f"bookings/{booked['id']}"
    assert (await place.api.post(f"{path}/reschedule", {"start": place.at(11)})).status == 200
    assert (await place.api.post(f"{path}/cancel", {"reason": "moved away"})).status == 200
    mails = await mailbox.wait(mine.email, 3)
    subjects = [m["Subject"].split(":")[0] for m in mails]
    assert subjects == ["New booking", "Moved in your calendar", "Cancelled in your calendar"]
    first, moved, ended = (part(m, "text/plain") for m in mails)
    assert "Hello Ada Sommer" in first
    assert "Client: Grace Hopper" in first
    assert "09:00" in first
    assert booked["code"] in first
    assert "11:00" in moved
    assert "Reason: moved away" in ended
    assert not any("/manage#" in said or booked["manage_token"] in said for said in (first, moved, ended))
    expected = ["staff_booked", "staff_cancelled", "staff_moved"]
    assert await eventually(lambda: _equal(place.api, booked["id"], mine.id, expected))


async def _equal(api: Api, booking_id: str, user_id: str, expected: list[str]) -> bool:
    return await kinds(api, booking_id, user_id) == expected


async def test_what_waits_for_a_decision_says_so(
    place: Place, db: asyncpg.Connection, business_id: str, mailbox: Mailbox, address: str
) -> None:
    asked = await approving_place(place)
    professional = await employed(asked, db, business_id, locale="en")
    await asked.api.made("bookings", asked.booking(asked.at(9), guest=guest(address)))
    (mail,) = await mailbox.wait(professional.email)
    assert mail["Subject"].startswith("To decide:")


async def test_nobody_is_told_of_what_they_did_themselves(
    place: Place, mine: Professional, mailbox: Mailbox, address: str
) -> None:
    own = await mine.api.made("bookings", place.booking(place.at(9), guest=guest(address)))
    assert (await mine.api.post(f"bookings/{own['id']}/cancel")).status == 200
    await place.api.made("bookings", place.booking(place.at(9), guest=guest(f"other-{address}")))
    (mail,) = await mailbox.wait(mine.email)
    assert mail["Subject"].startswith("New booking")
    assert await kinds(place.api, own["id"], mine.id) == []


async def all_told(db: asyncpg.Connection, booking_id: str) -> bool:
    """Whether everything that happened was followed, and nothing of it waits."""
    query = """SELECT bool_and(f.seq = s.seq) AND NOT EXISTS (
        SELECT FROM jobs WHERE lane = $1 AND state IN ('waiting', 'behind', 'working'))
        FROM followers f JOIN shards s ON s.id = f.shard WHERE f.name = 'staff'"""
    return await db.fetchval(query, f"staff:{booking_id}")


async def test_who_has_switched_it_off_hears_nothing(
    place: Place, mine: Professional, mailbox: Mailbox, address: str, db: asyncpg.Connection
) -> None:
    """Until it is switched on again; nor is an account told that is disabled."""
    me = (await mine.api.get("users/me")).json
    assert me["booking_messages"] is True
    for column, off, on in (
        ("booking_messages", "false", "true"), ("disabled_at", "now()", "NULL"),
    ):  # fmt: skip
        if column == "booking_messages":
            patched = await mine.api.request("PATCH", "users/me", {"booking_messages": False})
            assert patched.json["booking_messages"] is False
        else:
            await db.execute(f"UPDATE users SET {column} = {off} WHERE id = $1", mine.id)
        quiet = await place.api.made("bookings", place.booking(place.at(9), guest=guest(f"{column}-{address}")))
        assert await eventually(lambda id_=quiet["id"]: all_told(db, id_))
        await db.execute(f"UPDATE users SET {column} = {on} WHERE id = $1", mine.id)
        assert (await place.api.post(f"bookings/{quiet['id']}/cancel")).status == 200
        (mail, *_) = await mailbox.wait(mine.email, 1 if column == "booking_messages" else 2)
        assert mail["Subject"].startswith("Cancelled in your calendar")
        assert await eventually(lambda id_=quiet["id"]: all_told(db, id_))
        assert await kinds(place.api, quiet["id"], mine.id) == ["staff_cancelled"]

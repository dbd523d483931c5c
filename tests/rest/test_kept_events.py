"""Events that are no longer kept are missed by nobody unawares."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest

from jobs.retention import Retention
from protocol.times import DAY, to_us
from storage.meter import NullMeter
from storage.postgres import Database
from tests.rest.helpers import book, problem
from tests.support.server import Place, eventually


class InTwoMonths:
    def now_us(self) -> int:
        return to_us(datetime.now(UTC)) + 60 * DAY


@pytest.fixture
async def database(place: Place) -> AsyncIterator[Database]:
    database = await Database.open(place.api.server.dsn, 2, NullMeter())
    yield database
    await database.close()


async def _all_read(db: asyncpg.Connection, shard: int) -> bool:
    query = "SELECT bool_and(f.seq >= s.seq) FROM followers f JOIN shards s ON s.id = f.shard WHERE s.id = $1"
    return await db.fetchval(query, shard)


async def test_whoever_has_seen_less_is_told(place: Place, database: Database, db: asyncpg.Connection) -> None:
    """With where to go on; what is there from then on is whole, page by page."""
    path = f"professionals/{place.professional_id}/events"
    for hour in range(4):
        booked = await book(place, place.at(hour))
        assert (await place.api.post(f"bookings/{booked['id']}/cancel")).status == 200
    ahead = await book(place, place.at(10))
    floor = ahead["calendar_version"] - 1
    before = (await place.api.get(path, after=0)).json["items"]
    calendar_id = uuid.UUID(place.professional_id)
    shard = await db.fetchval("SELECT shard FROM calendars WHERE id = $1", calendar_id)
    names = [r["name"] for r in await db.fetch("SELECT DISTINCT name FROM followers")]
    assert await eventually(lambda: _all_read(db, shard))
    retention = Retention(database, InTwoMonths(), 30, names)
    while await retention.once([shard]):
        pass
    await db.execute("DELETE FROM journal_trims WHERE shard = $1", shard)
    for after in (0, 1, floor - 1):
        body = problem(await place.api.get(path, after=after), "events_gone")
        assert body["kept_after"] == floor
    assert (await place.api.get(path, after=floor)).json["items"] == before[-1:]
    more = [await book(place, place.at(hour)) for hour in (12, 13)]
    found, after = [], {}
    while after is not None:
        answer = (await place.api.get(path, limit=1, **after)).json
        found += [e["version"] for e in answer["items"]]
        after = {"after": answer["next_cursor"]} if answer["next_cursor"] else None
    assert found == [ahead["calendar_version"], *(b["calendar_version"] for b in more)]
    # What the calendar knows and answers does not rest on what is gone.
    assert (await place.api.get(f"bookings/{booked['id']}")).json["status"] == "cancelled"
    problem(await place.api.post("bookings", place.booking(place.at(10))), "slot_unavailable")

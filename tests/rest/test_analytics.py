"""Analytics: what is counted, for whom, on which day; the same whether it was counted before or is counted now."""

import json
import random
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from jobs.analytics import AnalyticsFollower, CountedDays, DaysOver
from jobs.queue import JournalEvent
from protocol import limits
from protocol.times import to_us
from storage.meter import NullMeter
from storage.postgres import Database
from tests.rest.helpers import NOBODY, acting, book, new_business, problem
from tests.support.server import Api, Place, RunningServer, new_place

pytestmark = pytest.mark.parity("B12")

STATUSES = ("pending", "confirmed", "completed", "cancelled", "rejected", "expired", "no_show")
STAND = ("pending", "confirmed", "completed", "no_show")


class Now:
    def now_us(self) -> int:
        return to_us(datetime.now(UTC))


@pytest.fixture
async def database(server: RunningServer) -> AsyncIterator[Database]:
    database = await Database.open(server.dsn, 3, NullMeter())
    yield database
    await database.close()


@pytest.fixture
async def alone(server: RunningServer, api: Api, db: asyncpg.Connection) -> Place:
    """A place in a business of its own, that has been there for a while."""
    place = await new_place(acting(api, await new_business(server.dsn), "owner"))
    query = "UPDATE professionals SET created_at = now() - interval '100 days' WHERE id = $1"
    await db.execute(query, uuid.UUID(place.professional_id))
    return place


class Past:
    """Bookings of before, written where the journal would have written them."""

    def __init__(self, db: asyncpg.Connection, place: Place) -> None:
        self.db = db
        self.place = place

    async def add(self, start: datetime, minutes: int = 30, status: str = "completed", **more: Any) -> str:
        id_ = more.pop("id", str(uuid.uuid4()))
        end = start + timedelta(minutes=minutes)
        business_id = await self.db.fetchval("SELECT business_id FROM calendars WHERE id = $1", self.calendar_id)
        row = {
            "id": id_, "business_id": business_id, "calendar_id": self.calendar_id,
            "service_id": self.place.service_id, "code": f"BK-{id_[:8]}{id_[-4:]}", "status": status, "start_at": start,
            "end_at": end, "blocked": asyncpg.Range(start, end), "session_id": id_, "capacity": 1, "attendees": 1,
            "created_at": start - timedelta(hours=24), "updated_at": start, **more,
        }  # fmt: skip
        names, places = ", ".join(row), ", ".join(f"${n}" for n in range(1, len(row) + 1))
        await self.db.execute(f"INSERT INTO bookings ({names}) VALUES ({places})", *row.values())
        return id_

    @property
    def calendar_id(self) -> str:
        return self.place.professional_id


async def count(database: Database) -> None:
    """What is due, to its end."""
    for work in (DaysOver(database, Now()), CountedDays(database)):
        while await work.once(list(range(64))):
            pass


async def figures(place: Place, first: date, last: date, **more: Any) -> Any:
    answer = await place.api.get("analytics", from_=first, to=last, **more)
    assert answer.status == 200, answer
    return answer.json


def days_ago(days: int) -> date:
    return datetime.now(UTC).date() - timedelta(days=days)


def at(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)


async def test_statuses_people_and_time_are_counted(alone: Place, db: asyncpg.Connection) -> None:
    past, day = Past(db, alone), days_ago(3)
    for hour, status in enumerate(STATUSES):
        await past.add(at(day, hour), status=status, cancelled_by="guest" if status == "cancelled" else None)
    await past.add(at(day, 10), 90, "confirmed", attendees=3, capacity=5)
    found = await figures(alone, day, day)
    total = found["total"]
    assert {s: total[s] for s in STATUSES} == {**dict.fromkeys(STATUSES, 1), "confirmed": 2}
    assert (total["bookings"], total["attendees"], total["cancelled_by_clients"]) == (8, 7, 1)
    assert total["booked_minutes"] == 4 * 30 + 90
    assert total["lead_hours"] == 24.0
    assert found["by_service"][0]["name"] == "Consultation"
    assert found["by_professional"][0]["display_name"] == "Dr Test"
    for part in ("by_day", "by_service", "by_professional"):
        assert [{k: row[k] for k in STATUSES} for row in found[part]] == [{k: total[k] for k in STATUSES}]


async def test_a_shared_session_takes_its_time_once(alone: Place, db: asyncpg.Connection) -> None:
    past, day, session = Past(db, alone), days_ago(2), str(uuid.uuid4())
    for _ in range(4):
        await past.add(at(day, 9), 60, "confirmed", session_id=session, capacity=10, attendees=2)
    await past.add(at(day, 9), 60, "cancelled", session_id=session, capacity=10, attendees=2)
    total = (await figures(alone, day, day))["total"]
    assert (total["booked_minutes"], total["attendees"], total["bookings"]) == (60, 8, 5)


async def test_counted_before_or_now_it_is_the_same(alone: Place, db: asyncpg.Connection, database: Database) -> None:
    """Random bookings over many days, against figures made in another way; then some change, and it is asked again."""
    dice, past, first, last = random.Random(7), Past(db, alone), days_ago(70), days_ago(1)
    booked: dict[str, tuple[date, str]] = {}
    for n in range(150):
        day = first + timedelta(days=dice.randrange(70))
        status = dice.choice(STATUSES[2:])
        booked[await past.add(at(day, n % 24), 30, status)] = (day, status)

    def expected() -> dict[str, Counter[str]]:
        days: dict[str, Counter[str]] = defaultdict(Counter)
        for day, status in booked.values():
            days[day.isoformat()][status] += 1
            days[day.isoformat()]["booked_minutes"] += 30 * (status in STAND)
        return days

    async def check() -> None:
        found = await figures(alone, first, last)
        assert [d["date"] for d in found["by_day"]] == [(first + timedelta(n)).isoformat() for n in range(70)]
        days = expected()
        for told in found["by_day"]:
            names = (*STATUSES, "booked_minutes")
            assert {n: told[n] for n in names} == {n: days[told["date"]][n] for n in names}, told["date"]
        for name in (*STATUSES, "booked_minutes", "bookings"):
            assert found["total"][name] == sum(d[name] for d in found["by_day"])

    await check()
    await count(database)
    rows = await db.fetchval("SELECT count(*) FROM analytics_days WHERE calendar_id = $1", past.calendar_id)
    assert rows == len(expected())
    await check()
    for id_ in dice.sample(sorted(booked), 30):
        status = dice.choice(STATUSES[2:])
        booked[id_] = (booked[id_][0], status)
        await db.execute("UPDATE bookings SET status = $2 WHERE id = $1", id_, status)
        await follow(database, event_of(past, "booking.completed", id_))
    assert await db.fetchval("SELECT count(*) FROM analytics_stale WHERE calendar_id = $1", past.calendar_id) > 5
    await check()
    await count(database)
    assert await db.fetchval("SELECT count(*) FROM analytics_stale WHERE calendar_id = $1", past.calendar_id) == 0
    await check()


def event_of(past: Past, type_: str, id_: str, version: int = 1, **data: Any) -> JournalEvent:
    return JournalEvent(0, 1, past.calendar_id, version, "", Now().now_us(), "x", "x", type_, {"id": id_, **data})


async def follow(database: Database, *events: JournalEvent) -> None:
    async with database.transaction() as tx:
        assert (await AnalyticsFollower().digest(events, tx)).jobs == []


async def test_the_day_that_a_booking_leaves_is_counted_anew(
    alone: Place, db: asyncpg.Connection, database: Database
) -> None:
    """Where it was before stands in its earlier events."""
    past, old, new = Past(db, alone), days_ago(9), days_ago(2)
    id_ = await past.add(at(old, 9))
    await count(database)
    start = {"start": to_us(at(old, 9)), "id": id_}
    query = """INSERT INTO events SELECT 1, $1, id, $2, business_id, 1, 'booking.created', now(), 'x', 'x', $3
        FROM calendars WHERE id = $4"""
    await db.execute(query, uuid.uuid4().int % 2**40, 5000, json.dumps(start), past.calendar_id)
    await db.execute("UPDATE bookings SET start_at = $2, end_at = $3, blocked = tstzrange($2, $3) WHERE id = $1",
                     id_, at(new, 9), at(new, 10))  # fmt: skip
    await follow(database, event_of(past, "booking.rescheduled", id_, 5003, start=to_us(at(new, 9))))
    await count(database)
    found = {d["date"]: d["bookings"] for d in (await figures(alone, days_ago(10), days_ago(1)))["by_day"]}
    assert (found[old.isoformat()], found[new.isoformat()]) == (0, 1)


async def test_days_are_those_of_the_calendars_wall_clock(
    server: RunningServer, alone: Place, db: asyncpg.Connection, database: Database
) -> None:
    """Also where they have 23 or 25 hours; open time is elapsed time."""
    weekly = [{"weekday": d, "start": "00:00", "end": "24:00"} for d in range(7)]
    path = f"professionals/{alone.professional_id}/schedule"
    put = await alone.api.request("PUT", path, {"time_zone": "Europe/Berlin", "weekly": weekly})
    assert put.status == 200
    await db.execute(
        "UPDATE professionals SET created_at = '2026-01-01' WHERE id = $1", uuid.UUID(alone.professional_id)
    )
    past, berlin = Past(db, alone), ZoneInfo("Europe/Berlin")
    changes = {date(2026, 3, 29): 23 * 60, date(2026, 10, 25): 25 * 60}
    for day in changes:
        for hour, minute in ((0, 0), (23, 30)):
            await past.add(datetime(day.year, day.month, day.day, hour, minute, tzinfo=berlin).astimezone(UTC))
    for _ in range(2):
        for day, minutes in changes.items():
            around = (await figures(alone, day - timedelta(1), day + timedelta(1)))["by_day"]
            assert [d["bookings"] for d in around] == [0, 2, 0]
            assert [d["open_minutes"] for d in around] == [24 * 60, minutes, 24 * 60]
            assert around[1]["utilisation"] == round(60 / minutes, 4)
        await count(database)


async def test_time_off_is_not_open_time_and_what_was_open_stays_so(
    alone: Place, db: asyncpg.Connection, database: Database
) -> None:
    """Hours that change today do not change what was open last week."""
    day, professional = days_ago(4), uuid.UUID(alone.professional_id)
    query = """INSERT INTO time_off (id, business_id, calendar_id, start_at, end_at, created_at)
        SELECT gen_random_uuid(), business_id, id, $2, $3, now() FROM calendars WHERE id = $1"""
    await db.execute(query, professional, at(day, 8), at(day, 14))
    await db.execute(query, professional, at(day, 12), at(day, 20))
    assert (await figures(alone, day, day))["total"]["open_minutes"] == 12 * 60
    await count(database)
    weekly = [{"weekday": d, "start": "09:00", "end": "10:00"} for d in range(7)]
    put = await alone.api.request(
        "PUT", f"professionals/{alone.professional_id}/schedule", {"time_zone": "UTC", "weekly": weekly}
    )
    assert put.status == 200
    assert (await figures(alone, day, day))["total"]["open_minutes"] == 12 * 60
    tomorrow = days_ago(-1)
    assert (await figures(alone, tomorrow, tomorrow))["total"]["open_minutes"] == 60


async def test_today_and_what_is_ahead_is_counted_at_once(alone: Place) -> None:
    """A booking shows as soon as it is answered, and so does its end."""
    day = date.fromisoformat(alone.day)
    booked = await book(alone, alone.at(9))
    assert (await figures(alone, day, day))["total"]["confirmed"] == 1
    assert (await alone.api.post(f"bookings/{booked['id']}/cancel")).status == 200
    total = (await figures(alone, day, day))["total"]
    assert (total["confirmed"], total["cancelled"], total["booked_minutes"]) == (0, 1, 0)


async def test_a_calendar_in_another_zone_is_counted_anew(
    alone: Place, db: asyncpg.Connection, database: Database
) -> None:
    """A booking in the evening of one zone is of the next day in another, and is never counted twice."""
    past, day = Past(db, alone), days_ago(5)
    await past.add(at(day, 20))
    await count(database)
    await db.execute("UPDATE calendars SET time_zone = 'Asia/Almaty' WHERE id = $1", uuid.UUID(past.calendar_id))
    for _ in range(2):
        found = await figures(alone, day - timedelta(1), day + timedelta(1))
        assert found["total"]["bookings"] == 1
        await follow(database, event_of(past, "schedule.changed", "x"))
        await count(database)
    assert [d["bookings"] for d in found["by_day"]] == [0, 0, 1]


async def test_who_manages_some_places_sees_those(alone: Place, db: asyncpg.Connection) -> None:
    """And a professional themselves."""
    business_id = str(await db.fetchval("SELECT business_id FROM calendars WHERE id = $1", alone.professional_id))
    other, location = await new_place(alone.api), str(uuid.uuid4())
    await db.execute(
        "INSERT INTO locations (id, business_id, name, time_zone) VALUES ($1, $2, 'Branch', 'UTC')",
        location, business_id,
    )  # fmt: skip
    await db.execute("UPDATE professionals SET location_id = $2 WHERE id = $1", other.professional_id, location)
    day = days_ago(2)
    await Past(db, alone).add(at(day, 9))
    for hour in (9, 10):
        await Past(db, other).add(at(day, hour))

    async def seen(api: Api, **query: Any) -> tuple[int, list[str]]:
        found = await figures(Place(api, "", "", "", ""), day, day, **query)
        return found["total"]["bookings"], sorted(p["professional_id"] for p in found["by_professional"])

    mine, theirs = alone.professional_id, other.professional_id
    assert await seen(alone.api) == (3, sorted([mine, theirs]))
    assert await seen(alone.api, location_id=location) == (2, [theirs])
    assert await seen(alone.api, professional_id=mine) == (1, [mine])
    assert await seen(alone.api, service_id=other.service_id) == (2, [theirs])
    manager = acting(alone.api, business_id, "manager", locations=frozenset({location}))
    assert await seen(manager) == (2, [theirs])
    assert await seen(acting(alone.api, business_id, "manager", locations=frozenset())) == (0, [])
    professional = acting(alone.api, business_id, "professional", professional_id=mine)
    assert await seen(professional) == (1, [mine])
    refused = await manager.get("analytics", from_=day, to=day, professional_id=mine)
    problem(refused, "forbidden")
    problem(await acting(alone.api, business_id, "client").get("analytics", from_=day, to=day), "forbidden")


async def test_one_service_has_no_open_time(alone: Place) -> None:
    day = days_ago(-1)
    total = (await figures(alone, day, day, service_id=alone.service_id))["total"]
    assert (total["open_minutes"], total["utilisation"], total["lead_hours"]) == (None, None, None)


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ({"from_": "2026-02-30", "to": "2026-03-01"}, "validation_failed", "from"),
        ({"from_": "2026-03-02", "to": "2026-03-01"}, "validation_failed", "to"),
        ({"from_": "2025-01-01", "to": "2026-01-02"}, "validation_failed", "to"),
        ({"from_": "1999-12-31", "to": "2000-01-01"}, "validation_failed", "from"),
        ({"from_": "2026-03-01"}, "validation_failed", "to"),
        ({"from_": "2026-03-01", "to": "2026-03-01", "professional_id": "x"}, "validation_failed", "professional_id"),
        ({"from_": "2026-03-01", "to": "2026-03-01", "service_id": NOBODY}, "not_found", None),
        ({"from_": "2026-03-01", "to": "2026-03-01", "colour": "red"}, "validation_failed", "colour"),
    ],
)
async def test_what_cannot_be_asked(api: Api, query: dict[str, str], code: str, field: str | None) -> None:
    problem(await api.get("analytics", **query), code, field)


async def test_the_longest_range_is_answered(alone: Place) -> None:
    found = await figures(alone, date(2027, 1, 1), date(2027, 1, 1) + timedelta(limits.analytics_days_max - 1))
    assert len(found["by_day"]) == limits.analytics_days_max
    assert found["total"]["open_minutes"] == limits.analytics_days_max * 24 * 60

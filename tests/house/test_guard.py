"""The database's own guard against overlaps, by rows put in without a server."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.support.postgres import TestPostgres

DAY = datetime(2031, 3, 9, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
PUT = """INSERT INTO bookings (id, business_id, calendar_id, service_id, code, status, start_at, end_at, blocked,
    session_id, capacity, attendees, created_at, updated_at)
    VALUES ($1, $1, $2, $1, $1::uuid::text, $3, $4, $5, tstzrange($4, $5), $6, 1, 1, now(), now())"""


@pytest.fixture
async def table(postgres: TestPostgres) -> AsyncIterator[asyncpg.Connection]:
    dsn = await postgres.new_database()
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


async def put(
    table: asyncpg.Connection,
    calendar: UUID,
    start: datetime,
    end: datetime,
    *,
    status: str = "confirmed",
    session: UUID | None = None,
) -> bool:
    """Whether the database took the row."""
    row = uuid4()
    try:
        await table.execute(PUT, row, calendar, status, start, end, session or row)
    except asyncpg.ExclusionViolationError:
        return False
    return True


async def test_a_microsecond_in_common_is_an_overlap_and_a_common_end_is_none(table: asyncpg.Connection) -> None:
    calendar, start = uuid4(), DAY + timedelta(hours=9, microseconds=7)
    end = start + timedelta(minutes=30)
    assert await put(table, calendar, start, end)
    assert not await put(table, calendar, end - MICROSECOND, end + timedelta(minutes=30))
    assert not await put(table, calendar, start - timedelta(minutes=30), start + MICROSECOND)
    assert not await put(table, calendar, start - MICROSECOND, end + MICROSECOND)
    assert await put(table, calendar, end, end + timedelta(minutes=30))
    assert await put(table, calendar, start - timedelta(minutes=30), start)


@pytest.mark.parametrize("year", [1970, 1999, 2000, 2026, 2063, 2099, 2100])
async def test_microseconds_count_in_every_year_of_the_limits(table: asyncpg.Connection, year: int) -> None:
    """Numbers that grew too large for a float would let neighbours run together."""
    calendar, start = uuid4(), datetime(year, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert await put(table, calendar, start, start + MICROSECOND)
    assert await put(table, calendar, start + MICROSECOND, start + 2 * MICROSECOND)
    assert not await put(table, calendar, start + MICROSECOND, start + 3 * MICROSECOND)


async def test_only_active_rows_of_the_same_calendar_and_of_other_sessions_are_in_the_way(
    table: asyncpg.Connection,
) -> None:
    calendar, session, end = uuid4(), uuid4(), DAY + timedelta(hours=1)
    for status in ("cancelled", "rejected", "expired", "completed", "no_show"):
        assert await put(table, calendar, DAY, end, status=status)
    assert await put(table, calendar, DAY, end, session=session)
    assert await put(table, calendar, DAY, end, session=session, status="held")
    assert not await put(table, calendar, DAY, end, status="pending")
    assert await put(table, uuid4(), DAY, end)


async def test_it_agrees_with_plain_arithmetic(table: asyncpg.Connection) -> None:
    """A thousand spans on a few calendars: taken exactly when they overlap nothing that was taken before."""
    rng = random.Random(20261121)
    calendars = [uuid4() for _ in range(3)]
    taken: dict[UUID, list[tuple[datetime, datetime]]] = {c: [] for c in calendars}
    refused = 0
    for _ in range(1000):
        calendar = rng.choice(calendars)
        start = DAY + timedelta(minutes=rng.randrange(3000)) + rng.choice((0, 1, -1)) * MICROSECOND
        end = start + timedelta(minutes=rng.choice((1, 5, 45, 240))) + rng.choice((0, 1)) * MICROSECOND
        free = all(end <= a or b <= start for a, b in taken[calendar])
        assert await put(table, calendar, start, end) == free, (start, end)
        refused += not free
        if free:
            taken[calendar].append((start, end))
    assert 200 < refused < 950


@pytest.mark.parametrize(
    "span",
    ["tstzrange('2031-03-09', NULL)", "tstzrange(NULL, '2031-03-11')", "tstzrange('2031-03-08', '2031-03-11', '[]')"],
)
async def test_a_span_that_the_guard_could_not_judge_is_refused(table: asyncpg.Connection, span: str) -> None:
    calendar = uuid4()
    assert await put(table, calendar, DAY, DAY + timedelta(hours=1))
    with pytest.raises(asyncpg.CheckViolationError):
        await table.execute(f"UPDATE bookings SET blocked = {span}")

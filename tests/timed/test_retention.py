"""Old events go, and nothing that anybody still needs."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import asyncpg
import pytest

from jobs.retention import Retention
from protocol.times import to_us
from server import config
from storage.postgres import Database
from tests.timed.ground import SHARDS, HandClock, new_booking, new_event

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
KEEP_DAYS = 30


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


@pytest.fixture
def clock() -> HandClock:
    return HandClock(to_us(NOW))


async def trim(base: Database, clock: HandClock, *followers: str, shards: list[int] = SHARDS) -> int:
    """All that is due; how many went."""
    retention = Retention(base, clock, KEEP_DAYS, followers)
    while await retention.once(shards):
        pass
    return retention.forgotten


async def kept(direct: asyncpg.Connection, calendar_id: str) -> list[int]:
    rows = await direct.fetch("SELECT version FROM events WHERE calendar_id = $1 ORDER BY version", calendar_id)
    return [r["version"] for r in rows]


async def floor_of(base: Database, calendar_id: str) -> int:
    return await base.value("journal_floor", calendar_id)


async def test_old_events_go_and_the_last_of_each_calendar_stays(
    base: Database, clock: HandClock, direct: asyncpg.Connection
) -> None:
    busy, quiet = str(uuid.uuid4()), str(uuid.uuid4())
    for version in range(1, 61):
        await new_event(direct, busy, 1, version, version, ago(61 - version))
    for version in range(1, 4):
        await new_event(direct, quiet, 2, version, version, ago(300 - version))
    assert await trim(base, clock) == 30 + 2
    # Exactly as old as what is kept is not older.
    assert await kept(direct, busy) == list(range(31, 61))
    assert await kept(direct, quiet) == [3]
    assert (await floor_of(base, busy), await floor_of(base, quiet)) == (30, 2)
    assert await floor_of(base, str(uuid.uuid4())) == 0


async def test_what_a_follower_has_not_read_stays(base: Database, clock: HandClock, direct: asyncpg.Connection) -> None:
    """The one that is furthest behind counts; one that nobody runs any more does not."""
    calendar = str(uuid.uuid4())
    for version in range(1, 21):
        await new_event(direct, calendar, 1, version, version, ago(100))
    for name, seq in (("quick", 20), ("slow", 5), ("gone", 1)):
        await direct.execute("INSERT INTO followers (name, shard, seq) VALUES ($1, 1, $2)", name, seq)
    assert await trim(base, clock, "quick", "slow") == 5
    await direct.execute("UPDATE followers SET seq = 20")
    clock.pass_days(1.1)
    assert await trim(base, clock, "quick", "slow") == 14
    assert await kept(direct, calendar) == [20]


@pytest.mark.parametrize(
    ("status", "updated", "stays"),
    [
        ("held", 100, True), ("pending", 100, True), ("confirmed", 100, True), ("completed", 100, False),
        ("cancelled", 100, False), ("completed", 1, True),
    ],
)  # fmt: skip
async def test_events_of_bookings_ahead_or_changed_lately_stay(
    base: Database, clock: HandClock, direct: asyncpg.Connection, status: str, updated: int, stays: bool
) -> None:
    """They are what an answer to a repeated request is made from."""
    calendar, booking = str(uuid.uuid4()), str(uuid.uuid4())
    await new_booking(direct, booking, calendar, ago(90), status=status, updated_at=ago(updated))
    await new_event(direct, calendar, 1, 1, 1, ago(100), id=booking)
    await new_event(direct, calendar, 1, 2, 2, ago(100))
    await new_event(direct, calendar, 1, 3, 3, ago(1))
    await trim(base, clock)
    assert await kept(direct, calendar) == ([1, 3] if stays else [3])


async def test_what_was_kept_may_go_another_day(base: Database, clock: HandClock, direct: asyncpg.Connection) -> None:
    """Each day the journal is looked through from its beginning."""
    calendar, booking = str(uuid.uuid4()), str(uuid.uuid4())
    await new_booking(direct, booking, calendar, ago(90), status="confirmed")
    await new_event(direct, calendar, 1, 1, 1, ago(100), id=booking)
    await new_event(direct, calendar, 1, 2, 2, ago(1))
    assert await trim(base, clock) == 0
    await direct.execute("UPDATE bookings SET status = 'completed'")
    assert await trim(base, clock) == 0, "it rests until tomorrow"
    clock.pass_days(1.1)
    assert await trim(base, clock) == 1


async def test_a_long_journal_is_trimmed_in_steps(base: Database, clock: HandClock, direct: asyncpg.Connection) -> None:
    """Each step is bounded, and goes on where the one before ended, also past what is kept."""
    calendar = str(uuid.uuid4())
    await direct.execute(
        """INSERT INTO events SELECT 3, n, $1, n, $1, 1, 'booking.created', $2, 'x', 'x',
        jsonb_build_object('type', 'booking.created', 'id', gen_random_uuid()) FROM generate_series(1, 3500) AS n""",
        calendar, ago(100),
    )  # fmt: skip
    await direct.execute("UPDATE shards SET seq = 3500 WHERE id = 3")
    held = str(uuid.uuid4())
    await new_booking(direct, held, calendar, ago(-90), status="confirmed")
    await direct.execute("UPDATE events SET data = data || jsonb_build_object('id', $1::text) WHERE seq <= 1200", held)
    retention = Retention(base, clock, KEEP_DAYS, [])
    seen = [0]
    while await retention.once(SHARDS):
        seen.append(retention.forgotten)
    steps = [b - a for a, b in pairwise(seen)]
    assert max(steps) <= 1000
    assert (len(steps), sum(steps)) == (4, 3500 - 1200 - 1)
    assert await kept(direct, calendar) == [*range(1, 1201), 3500]


async def test_two_nodes_trim_the_same_shard(base: Database, clock: HandClock, direct: asyncpg.Connection) -> None:
    """While shards move both may believe that it is theirs."""
    calendar = str(uuid.uuid4())
    for version in range(1, 101):
        await new_event(direct, calendar, 1, version, version, ago(100))
    gone = await asyncio.gather(*(trim(base, clock) for _ in range(3)))
    assert sum(gone) == 99
    assert (await kept(direct, calendar), await floor_of(base, calendar)) == ([100], 99)


@pytest.mark.parametrize(("days", "good"), [("0", True), ("7", True), ("6", False), ("1", False), ("-1", False)])
def test_days_are_kept_that_answers_and_jobs_rest_on(days: str, good: bool) -> None:
    environment = {
        "SLOTCAST_JOURNAL_KEEP_DAYS": days,
        "DATABASE_URL": "postgres://x/y",
        "SLOTCAST_JWT_SECRET": "x" * 32,
    }
    if good:
        assert config.load(None, environment).journal_keep_days == int(days)
    else:
        with pytest.raises(config.ConfigError, match="JOURNAL_KEEP_DAYS"):
            config.load(None, environment)


async def test_only_the_shards_that_are_asked_for(base: Database, clock: HandClock, direct: asyncpg.Connection) -> None:
    calendar = str(uuid.uuid4())
    for version in (1, 2):
        await new_event(direct, calendar, 1, version, version, ago(100))
    assert await trim(base, clock, shards=[2, 3]) == 0
    assert await trim(base, clock, shards=[1]) == 1

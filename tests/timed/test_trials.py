"""Owners hear of the end of their trial in time, and once of each notice."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from jobs.job_queue import JobQueue
from jobs.trials import Trials
from protocol.times import DAY, to_us
from storage.postgres import Database
from tests.timed.ground import SHARDS, HandClock, new_business

pytestmark = pytest.mark.parity("C1")

ENDS = datetime(2027, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> HandClock:
    return HandClock(to_us(ENDS) - 30 * DAY)


@pytest.fixture
def trials(base: Database, clock: HandClock) -> Trials:
    return Trials(base, JobQueue(base), clock)


async def told(direct: asyncpg.Connection) -> list[tuple[str, str]]:
    """Business and days of every notice in the queue."""
    rows = await direct.fetch("SELECT business_id::text, payload FROM jobs ORDER BY place")
    found = [(r["business_id"], json.loads(r["payload"])) for r in rows]
    assert all(p["message"] == "trial_ending" and p["about"] == "business" for _, p in found)
    return [(business_id, p["fields"]["days"]) for business_id, p in found]


async def test_a_week_before_a_day_before_and_at_the_end(
    trials: Trials, clock: HandClock, direct: asyncpg.Connection
) -> None:
    """Asked every hour for 40 days."""
    business = await new_business(direct, trial_ends_at=ENDS)
    heard: list[tuple[int, str]] = []
    for _ in range(40 * 24):
        await trials.once(SHARDS)
        if len(now := await told(direct)) > len(heard):
            heard.append(((to_us(ENDS) - clock.now) * 24 // DAY, now[-1][1]))
        clock.pass_days(1 / 24)
    assert heard == [(7 * 24, "7"), (24, "1"), (0, "0")]
    assert {b for b, _ in await told(direct)} == {business}


async def test_a_notice_that_was_missed_is_not_told_late(
    trials: Trials, clock: HandClock, direct: asyncpg.Connection
) -> None:
    """After an outage of days only what is due now is told; of trials long over nothing."""
    business = await new_business(direct, trial_ends_at=ENDS)
    await new_business(direct, trial_ends_at=ENDS - timedelta(days=20))
    clock.now = to_us(ENDS) - DAY // 2
    await trials.once(SHARDS)
    assert await told(direct) == [(business, "1")]


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "suspended"}, {"status": "pending"}, {"status": "rejected"}, {"trial_ends_at": None},
        {"deleted_at": ENDS - timedelta(days=60)},
    ],
)  # fmt: skip
async def test_who_takes_no_bookings_anyway_hears_nothing(
    trials: Trials, clock: HandClock, direct: asyncpg.Connection, columns: dict[str, Any]
) -> None:
    await new_business(direct, **{"trial_ends_at": ENDS, **columns})
    for _ in range(40):
        await trials.once(SHARDS)
        clock.pass_days(1)
    assert await told(direct) == []


async def test_another_end_is_told_of_anew(trials: Trials, clock: HandClock, direct: asyncpg.Connection) -> None:
    business = await new_business(direct, trial_ends_at=ENDS)
    clock.now = to_us(ENDS) - DAY
    await trials.once(SHARDS)
    later = ENDS + timedelta(days=30)
    await direct.execute("UPDATE businesses SET trial_ends_at = $1", later)
    await trials.once(SHARDS)
    assert await told(direct) == [(business, "1")]
    clock.now = to_us(later) - DAY
    await trials.once(SHARDS)
    assert await told(direct) == [(business, "1"), (business, "1")]


async def test_nodes_that_tell_at_the_same_time_tell_once(
    base: Database, clock: HandClock, direct: asyncpg.Connection
) -> None:
    """Also when the job has been done and forgotten since."""
    for _ in range(20):
        await new_business(direct, trial_ends_at=ENDS)
    clock.now = to_us(ENDS) - DAY
    nodes = [Trials(base, JobQueue(base), clock) for _ in range(3)]
    await asyncio.gather(*(node.once(SHARDS) for node in nodes))
    assert len(await told(direct)) == 20
    await direct.execute("DELETE FROM jobs")
    await nodes[0].once(SHARDS)
    assert await told(direct) == []


async def test_one_node_tells_for_all(trials: Trials, clock: HandClock, direct: asyncpg.Connection) -> None:
    """Whoever has the first shard."""
    await new_business(direct, trial_ends_at=ENDS)
    clock.now = to_us(ENDS)
    await trials.once(SHARDS[1:])
    assert await told(direct) == []

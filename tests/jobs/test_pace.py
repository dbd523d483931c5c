"""What jobs may have of the event loop."""

import asyncio
import time
from typing import Any

import pytest

from jobs.pace import Pace


def settled(others: float, own: float, late_s: float) -> Pace:
    pace = Pace()
    for _ in range(50):
        pace.saw(others, own, late_s)
    return pace


def test_jobs_have_what_others_leave() -> None:
    """And a reserve stays free."""
    assert settled(0.0, 0.0, 0.0).share(0) == pytest.approx(0.8)
    assert settled(0.5, 0.0, 0.001).share(0) == pytest.approx(0.3)
    assert not settled(0.0, 0.8, 0.001).hurried


def test_a_full_loop_leaves_jobs_a_little_and_more_with_time() -> None:
    """Whether the processor says so, or the loop is late because somebody else has the processor."""
    for pace in (settled(0.95, 0.0, 0.001), settled(0.4, 0.1, 0.02)):
        assert pace.hurried
        assert pace.share(0) == pytest.approx(0.03)
        assert 0.03 < pace.share(10) < pace.share(30) < pace.share(60)
        assert pace.share(60) == pace.share(10_000) == pytest.approx(0.25)


def test_jobs_alone_do_not_stand_in_their_own_way() -> None:
    """A loop that is late because of them is theirs."""
    assert not settled(0.3, 0.6, 0.05).hurried


async def test_what_was_taken_is_waited_for() -> None:
    pace = settled(0.95, 0.0, 0.0)
    await pace.turn()
    pace.spend(0.003)
    begun = time.monotonic()
    await pace.turn()
    assert time.monotonic() - begun >= 0.003 / 0.03 - 0.06, "what was not used before is let off, up to a bound"
    pace = Pace()
    pace.spend(0.001)
    await pace.turn()


async def test_in_a_rush_the_database_counts_too() -> None:
    async def turn_after(pace: Pace, waited_s: float) -> float:
        await pace.turn()
        pace.waited(waited_s)
        begun = time.monotonic()
        await asyncio.wait_for(pace.turn(60.0), 10)
        return time.monotonic() - begun

    assert await turn_after(settled(0.95, 0.0, 0.0), 0.1) > 0.1
    assert await turn_after(settled(0.95, 0.0, 0.0), 3600.0) < 5, "what hung is not paid for in full"
    assert await turn_after(settled(0.1, 0.0, 0.0), 0.1) < 0.1, "nobody else wants it"


async def test_only_work_of_the_database_is_counted_while_it_waits() -> None:
    pace = Pace()
    counted: list[float] = []
    pace.waited = counted.append  # type: ignore[method-assign]
    await pace.timed(asyncio.sleep(0.02))
    assert not counted
    await pace.timed(asyncio.sleep(0.02), of_database=True)
    assert sum(counted) >= 0.015


async def test_timed_work_is_what_it_was() -> None:
    """It gives, raises and is cancelled as it would be; what it did of it is counted."""
    pace = Pace()
    counted: list[float] = []
    pace.spend = counted.append  # type: ignore[method-assign]

    async def work(answer: Any) -> Any:
        await asyncio.sleep(0)
        until = time.thread_time() + 0.01
        while time.thread_time() < until:
            pass
        await asyncio.sleep(0.001)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert await pace.timed(work(7)) == 7
    assert sum(counted) >= 0.01
    with pytest.raises(KeyError):
        await pace.timed(work(KeyError()))

    seen: list[str] = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def outer() -> None:
        async with asyncio.timeout(0.01):
            await pace.timed(hang())

    with pytest.raises(TimeoutError):
        await outer()
    assert seen == ["cancelled"]

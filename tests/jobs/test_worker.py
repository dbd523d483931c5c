"""Workers: what fails is tried again and given up at last, nobody is held up by it, and nothing in hand is lost."""

import asyncio

import pytest

from jobs.queue import Hopeless, Job, Later, NewJob
from jobs.worker import pause_s
from protocol import limits
from protocol.errors import Refused
from protocol.ids import new_id
from tests.jobs.workshop import Hand, Workshop
from tests.support.server import eventually


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "job_pause_s", 0.001)
    monkeypatch.setattr(limits, "job_pause_max_s", 0.01)


def test_pauses_grow_and_have_an_end() -> None:
    """Four times as long each time, a quarter more or less, six hours at most; not all at the same moment."""
    for attempt in range(1, 50):
        middle = min(5.0 * 4 ** (attempt - 1), 6 * 3600)
        drawn = [pause_s(attempt) for _ in range(50)]
        assert all(0.75 * middle <= p <= 1.25 * middle for p in drawn)
        assert len(set(drawn)) > 10


@pytest.mark.parity("C11")
async def test_a_poisoned_job_dies_with_its_reason_and_stops_nobody(shop: Workshop, hurried: None) -> None:
    async def poisoned(job: Job) -> None:
        raise RuntimeError(f"no \0 more \udcff{job.attempt}" + "!" * 5000)

    hand = Hand()
    await shop.put(
        NewJob(kind="bad", payload=1, attempts_max=3, lane="l"),
        NewJob(kind="good", payload=2, lane="l"),
        *(NewJob(kind="good", payload=n) for n in range(20)),
    )
    async with shop.working({"bad": poisoned, "good": hand}) as worker:
        assert await shop.all_ended()
    [dead] = await shop.jobs("state = 'dead'")
    assert (dead["kind"], dead["attempts"]) == ("bad", 3)
    assert dead["reason"].startswith("RuntimeError: no  more ?3!")
    assert len(dead["reason"]) == limits.job_reason_chars_max
    assert len(hand.seen) == 21
    assert worker.tries == {("bad", "again"): 2, ("bad", "dead"): 1, ("good", "done"): 21}


async def test_a_hopeless_job_is_not_tried_again(shop: Workshop) -> None:
    async def hopeless(job: Job) -> None:
        raise Hopeless("the address is none")

    await shop.put(NewJob(kind="k", payload=1))
    async with shop.working({"k": hopeless}):
        assert await shop.all_ended()
    assert [(j["state"], j["attempts"], j["reason"]) for j in await shop.jobs()] == [("dead", 1, "the address is none")]


async def test_a_handler_says_when_to_try_again(shop: Workshop) -> None:
    """And whether that was a try at all."""
    seen: list[int] = []

    async def later(job: Job) -> None:
        seen.append(job.attempt)
        if len(seen) < 8:
            raise Later("busy", 0.0, tried=len(seen) > 6)

    await shop.put(NewJob(kind="k", payload=1, attempts_max=2))
    async with shop.working({"k": later}):
        assert await shop.all_ended()
    assert seen == [1, 1, 1, 1, 1, 1, 1, 2]
    assert await shop.states() == {"done": 1}


async def test_what_is_refused_is_tried_again_with_the_code_as_reason(shop: Workshop) -> None:
    """A database that was away for a handler is no reason to lose a job."""

    async def refused(job: Job) -> None:
        raise Refused("unavailable")

    await shop.put(NewJob(kind="k", payload=1))
    async with shop.working({"k": refused}):
        assert await eventually(lambda: shop.jobs("reason IS NOT NULL"))
    [waiting] = await shop.jobs()
    assert waiting["state"] == "waiting"
    assert waiting["reason"].startswith("unavailable: ")


async def test_a_job_that_does_not_end_is_ended(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "job_timeout_s", 0.05)
    await shop.put(NewJob(kind="k", payload=1, attempts_max=1))
    async with shop.working({"k": Hand(asyncio.Event())}):
        assert await shop.all_ended()
    assert [(j["state"], j["reason"]) for j in await shop.jobs()] == [("dead", "not done in 0.05 s")]


async def test_who_hangs_does_not_have_all_workers(shop: Workshop) -> None:
    """Neither a business whose targets hang nor a kind of job: others' are done meanwhile."""
    stuck, hand = Hand(asyncio.Event()), Hand()
    busy = new_id()
    await shop.put(*(NewJob(kind="web", payload=n, business_id=busy) for n in range(30)))
    async with shop.working({"web": stuck, "mail": hand}, slots=8):
        assert await eventually(lambda: _has(stuck, 4))
        await shop.put(*(NewJob(kind="web", payload=n, business_id=new_id()) for n in range(30)))
        assert await eventually(lambda: _has(stuck, 6))
        await shop.put(*(NewJob(kind="mail", payload=n, business_id=busy) for n in range(10)))
        await shop.put(*(NewJob(kind="mail", payload=n, business_id=new_id()) for n in range(10)))
        assert await eventually(lambda: _has(hand, 10))
    assert len(stuck.seen) == 6
    assert sum(j.business_id == busy for j in stuck.seen) == 4
    assert busy not in {j.business_id for j in hand.seen}


async def test_a_worker_that_stops_gives_back_what_it_has_in_hand(shop: Workshop) -> None:
    """Untried, and for anybody to take at once."""
    stuck, hand = Hand(asyncio.Event()), Hand()
    await shop.put(*(NewJob(kind="k", payload=n) for n in range(3)))
    async with shop.working({"k": stuck}) as worker:
        assert await eventually(lambda: _has(stuck, 3))
        await worker.stop(0.01)
        assert [(j["state"], j["attempts"]) for j in await shop.jobs()] == [("waiting", 0)] * 3
    async with shop.working({"k": hand}):
        assert await shop.all_ended()
    assert {(j.id, j.attempt) for j in hand.seen} == {(j.id, 1) for j in stuck.seen}


async def test_a_worker_waits_for_what_is_nearly_done(shop: Workshop) -> None:
    stuck = Hand(asyncio.Event())
    await shop.put(NewJob(kind="k", payload=1))
    async with shop.working({"k": stuck}) as worker:
        assert await eventually(lambda: _has(stuck, 1))
        stopping = asyncio.ensure_future(worker.stop(10))
        assert stuck.stuck is not None
        stuck.stuck.set()
        await stopping
    assert await shop.states() == {"done": 1}


async def test_a_long_job_keeps_its_lease(shop: Workshop) -> None:
    """Longer than one lease: nobody else gets it."""
    stuck, other = Hand(asyncio.Event()), Hand()
    await shop.put(NewJob(kind="k", payload=1))
    async with shop.working({"k": stuck}, lease_s=0.3):
        assert await eventually(lambda: _has(stuck, 1))
        async with shop.working({"k": other}, lease_s=0.3):
            leased = (await shop.jobs())[0]["leased_until"]
            assert await eventually(
                lambda: shop.db.fetchval("SELECT leased_until > $1::timestamptz + interval '600 ms' FROM jobs", leased)
            )
            assert stuck.stuck is not None
            stuck.stuck.set()
            assert await shop.all_ended()
    assert other.seen == []
    assert len(stuck.seen) == 1


async def test_a_job_that_is_somebody_elses_by_now_is_let_go(shop: Workshop) -> None:
    """A worker that was asleep for too long does not end what another has begun."""
    stuck = Hand(asyncio.Event())
    await shop.put(NewJob(kind="k", payload=1))
    async with shop.working({"k": stuck}, lease_s=1.0) as worker:
        assert await eventually(lambda: _has(stuck, 1))
        await shop.db.execute("UPDATE jobs SET holder = $1, leased_until = now() + interval '1 hour'", new_id())

        async def empty() -> bool:
            return worker.busy == 0

        assert await eventually(empty)
    assert await shop.states() == {"working": 1}


async def test_workers_live_through_a_lost_database(shop: Workshop) -> None:
    """What was in hand is written down afterwards."""
    stuck = Hand(asyncio.Event())
    await shop.put(NewJob(kind="k", payload=1))
    async with shop.working({"k": stuck}):
        assert await eventually(lambda: _has(stuck, 1))
        await shop.db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND "
            "pid <> pg_backend_pid()"
        )
        assert stuck.stuck is not None
        stuck.stuck.set()
        assert await shop.all_ended()
    assert await shop.states() == {"done": 1}
    assert len(stuck.seen) == 1


async def _has(hand: Hand, count: int) -> bool:
    return len(hand.seen) >= count

"""The queue: put in with a transaction, once by key, in order by lane, at a time, and taken out again."""

import asyncio
import time
from typing import Any

import pytest

from jobs.job_queue import Ending, Room
from jobs.queue import Job, NewJob
from protocol import limits
from protocol.ids import new_id
from storage.jobs import job_to_change
from tests.jobs.workshop import Hand, Workshop
from tests.support.server import eventually

ALL = Room(jobs=100, kinds={"k": 100}, business=100)


def job(n: int = 0, **more: object) -> NewJob:
    return NewJob(**{"kind": "k", "payload": {"n": n}, **more})  # type: ignore[arg-type]


async def test_a_job_is_part_of_the_transaction_that_puts_it_in(shop: Workshop) -> None:
    """It comes and goes with whatever else is written there."""

    async def fail() -> None:
        async with shop.database.transaction() as transaction:
            assert await shop.queue.put([job()], transaction) == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await shop.jobs() == []
    async with shop.database.transaction() as transaction:
        await shop.queue.put([job()], transaction)
    assert await shop.states() == {"waiting": 1}


async def test_a_key_is_put_in_once(shop: Workshop) -> None:
    """Waiting, in the same statement, done and dead alike; jobs without a key are all different."""
    assert await shop.put(job(key="a"), job(key="a"), job(key="b"), job(), job()) == 4
    assert await shop.put(job(key="a"), job(key="b")) == 0
    async with shop.working({"k": Hand()}):
        assert await shop.all_ended()
    await shop.db.execute("UPDATE jobs SET state = 'dead' WHERE key = 'b'")
    assert await shop.put(job(key="a"), job(key="b")) == 0


async def test_what_is_done_keeps_no_payload(shop: Workshop) -> None:
    """What was sent to whom is not for the queue to remember."""
    await shop.put(job(payload={"code": "123456"}))
    async with shop.working({"k": Hand()}):
        assert await shop.all_ended()
    assert [(j["state"], j["payload"]) for j in await shop.jobs()] == [("done", None)]


async def test_a_withdrawn_job_is_never_done(shop: Workshop) -> None:
    """As long as nobody has begun it; afterwards the key is free again, and who came behind it moves up."""
    hand = Hand()
    await shop.put(job(1, key="a", lane="l"), job(2, key="b", lane="l"), job(3, key="c"))
    async with shop.database.transaction() as transaction:
        assert await shop.queue.withdraw(["a", "c", "unknown"], transaction) == 2
    async with shop.working({"k": hand}):
        assert await shop.all_ended()
        async with shop.database.transaction() as transaction:
            assert await shop.queue.withdraw(["b"], transaction) == 0
    assert [j.payload["n"] for j in hand.seen] == [2]
    assert await shop.put(job(4, key="a")) == 1


@pytest.mark.parity("C11")
async def test_a_job_waits_for_its_time(shop: Workshop) -> None:
    """It is not taken before, however long that is, and is without anybody asking."""
    hand = Hand()
    soon = time.time_ns() // 1000 + 700_000
    await shop.put(job(1, run_at=soon), job(2, run_at=soon + 10**10), job(3))
    async with shop.working({"k": hand}):
        assert await eventually(lambda: _length(hand, 2))
        assert time.time_ns() // 1000 >= soon
    assert [j.payload["n"] for j in hand.seen] == [3, 1]
    assert await shop.states() == {"done": 2, "waiting": 1}


async def test_a_lane_is_done_in_the_order_it_came(shop: Workshop) -> None:
    """One at a time, whoever works on it; lanes do not wait for each other."""
    hands = [Hand(), Hand()]
    for n in range(30):
        await shop.put(*(job(n, lane=f"lane-{i}") for i in range(5)))
    async with shop.working({"k": hands[0]}), shop.working({"k": hands[1]}):
        assert await shop.all_ended()
    rows = await shop.db.fetch("SELECT array_agg(place ORDER BY updated_at, place) AS done FROM jobs GROUP BY lane")
    assert len(rows) == 5
    for row in rows:
        assert row["done"] == sorted(row["done"])
    assert sum(len(h.seen) for h in hands) == 150


async def test_who_comes_behind_waits_for_a_try_to_succeed_or_to_be_given_up(shop: Workshop) -> None:
    await shop.put(job(1, lane="l"), job(2, lane="l"))
    holder, [first] = await shop.queue.take(ALL, 30)
    assert first.payload == {"n": 1}
    assert (await shop.queue.take(ALL, 30))[1] == []
    await shop.queue.finish([ending(first, holder, "waiting", pause_s=3600)])
    assert (await shop.queue.take(ALL, 30))[1] == []
    await shop.db.execute("UPDATE jobs SET run_at = now() WHERE state = 'waiting'")
    holder, [first] = await shop.queue.take(ALL, 30)
    assert first.attempt == 2
    await shop.queue.finish([ending(first, holder, "dead", reason="x")])
    _, [second] = await shop.queue.take(ALL, 30)
    assert second.payload == {"n": 2}


async def test_lanes_survive_puts_and_endings_at_the_same_time(shop: Workshop) -> None:
    """Whoever comes while the one before ends is not forgotten behind it."""
    hand = Hand()
    async with shop.working({"k": hand}), shop.working({"k": hand}):
        for n in range(150):
            await shop.put(job(n, lane=f"lane-{n % 2}"))
        assert await shop.all_ended(), await shop.states()
    for lane in (0, 1):
        numbers = [j.payload["n"] for j in hand.seen if j.payload["n"] % 2 == lane]
        assert numbers == sorted(numbers)


async def test_changes_of_the_same_lanes_do_not_wait_in_a_circle(shop: Workshop) -> None:
    """Withdrawn and put in by some while others move them up; none of it fails."""
    hand = Hand()

    async def change(part: int) -> None:
        for n in range(25):
            lanes = [f"lane-{(n + part + i) % 4}" for i in range(3)]
            put = [job(n, lane=lane, key=f"{part}-{n}-{lane}") for lane in lanes]
            gone = [f"{part}-{n - 1}-lane-{i}" for i in range(4)]
            async with shop.database.transaction() as transaction:
                await shop.queue.change(put, gone, transaction)

    async with shop.working({"k": hand}), shop.working({"k": hand}):
        await asyncio.gather(*(change(part) for part in range(3)))
        assert await shop.all_ended(), await shop.states()
    rows = await shop.db.fetch("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    assert rows[0]["deadlocks"] == 0


async def test_what_is_taken_back_waits_for_its_lane_before_it_keeps_others_waiting(shop: Workshop) -> None:
    """As everybody does who changes jobs of a lane: nobody waits in a circle."""
    await shop.put(job(1, lane="l"), job(2, lane="l"))
    _, [taken] = await shop.queue.take(ALL, 0.0)
    waits = (
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
    )
    async with shop.database.transaction() as other:
        await other.value("lock_lanes", ["l"])
        taking_back = asyncio.ensure_future(shop.queue.take_back())
        assert await eventually(lambda: shop.db.fetchval(waits))
        await shop.db.fetchrow("SELECT id FROM jobs WHERE id = $1 FOR UPDATE NOWAIT", taken.id)
    assert await taking_back == 1
    assert [j["state"] for j in await shop.jobs()] == ["waiting", "behind"]


async def test_a_lease_that_ends_gives_the_job_to_somebody_else(shop: Workshop) -> None:
    """Under the same id; who had it before ends nothing any more, and a lease that is renewed does not end."""
    await shop.put(job(1), job(2))
    holder, first = await shop.queue.take(ALL, 0.01)
    held = {first[1].id: holder}
    assert await shop.queue.renew(held, 30) == {first[1].id}
    assert await eventually(shop.queue.take_back) == 1
    await shop.db.execute("UPDATE jobs SET run_at = now()")
    again, second = await shop.queue.take(ALL, 30)
    assert [(j.id, j.attempt) for j in second] == [(first[0].id, 2)]
    await shop.queue.finish([ending(first[0], holder, "done")])
    assert await shop.states() == {"working": 2}
    assert await shop.queue.renew({first[0].id: holder}, 30) == set()
    await shop.queue.finish([ending(first[0], again, "done")])
    assert await shop.states() == {"working": 1, "done": 1}


async def test_a_job_that_takes_its_workers_with_it_is_given_up(shop: Workshop) -> None:
    """And who is behind it in the lane is not."""
    await shop.put(job(1, lane="l", attempts_max=2), job(2, lane="l"))
    for _ in range(2):
        await shop.db.execute("UPDATE jobs SET run_at = now()")
        assert len((await shop.queue.take(ALL, 0.01))[1]) == 1
        assert await eventually(shop.queue.take_back) == 1
    first, second = await shop.jobs()
    assert (first["state"], first["attempts"], second["state"]) == ("dead", 2, "waiting")
    assert "did not come back" in first["reason"]


async def test_one_business_and_one_kind_leave_room(shop: Workshop) -> None:
    """What may be taken is told by kind and business; the oldest come first."""
    busy, other = new_id(), new_id()
    await shop.put(*(job(n, business_id=busy) for n in range(20)), job(20, business_id=other), job(21, kind="l"))
    room = Room(jobs=50, kinds={"k": 8, "l": 1}, business=3, businesses={other: 1})
    _, taken = await shop.queue.take(room, 30)
    assert [j.payload["n"] for j in taken] == [0, 1, 2, 20, 21]
    room = Room(jobs=50, kinds={"k": 8, "l": 0}, business=3, businesses={busy: 0})
    assert (await shop.queue.take(room, 30))[1] == []


async def test_a_retried_job_begins_anew_and_a_dropped_one_is_gone(shop: Workshop) -> None:
    """Who stands behind it in its lane keeps its place."""
    await shop.put(job(1, lane="l"), job(2, lane="l"), job(3, lane="l"))
    holder, [first] = await shop.queue.take(ALL, 30)
    await shop.queue.finish([ending(first, holder, "dead", reason="x")])
    second = (await shop.jobs("state = 'waiting'"))[0]
    async with shop.database.transaction() as transaction:
        await shop.queue.retry((await job_to_change(transaction, first.id)).id, "l", transaction)
    async with shop.database.transaction() as transaction:
        await shop.queue.drop((await job_to_change(transaction, str(second["id"]))).id, "l", transaction)
    hand = Hand()
    async with shop.working({"k": hand}):
        assert await shop.all_ended()
    assert [(j.payload["n"], j.attempt) for j in hand.seen] == [(1, 1), (3, 1)]


async def test_what_ended_long_ago_is_forgotten(shop: Workshop) -> None:
    """Done and dead each after a time of their own; what is not at its end never."""
    await shop.put(*(job(n) for n in range(4)))
    ages = [("done", limits.job_done_kept_s), ("done", 0), ("dead", limits.job_dead_kept_s), ("dead", 1)]
    for row, (state, age) in zip(await shop.jobs(), ages, strict=True):
        await shop.db.execute(
            "UPDATE jobs SET state = $2, updated_at = now() - $3 * interval '1 second' WHERE id = $1",
            row["id"], state, float(age) + 1,
        )  # fmt: skip
    await shop.put(job(5))
    await shop.db.execute("UPDATE jobs SET updated_at = '2020-01-01' WHERE state = 'waiting'")
    assert await shop.queue.forget_ended() == 2
    assert await shop.states() == {"done": 1, "dead": 1, "waiting": 1}


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": ""}, {"key": "x" * 301}, {"lane": ""}, {"attempts_max": 0}, {"attempts_max": 10**6},
        {"payload": "x" * limits.job_payload_bytes_max},
    ],
)  # fmt: skip
async def test_a_job_that_makes_no_sense_is_refused_where_it_is_made(shop: Workshop, bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="job"):
        await shop.put(job(**bad))  # type: ignore[arg-type]
    assert await shop.jobs() == []


def ending(job: Job, holder: str, state: str, **more: Any) -> Ending:
    return Ending(id=job.id, holder=holder, lane=job.lane, state=state, **more)


async def _length(hand: Hand, count: int) -> bool:
    return len(hand.seen) >= count

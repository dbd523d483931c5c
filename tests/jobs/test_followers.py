"""Followers: each event is digested once, in order, whoever else follows, and whatever breaks on the way."""

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from jobs import followers
from jobs.followers import Following, Overheard
from jobs.queue import Digest, Follower, JournalEvent, NewJob
from protocol import limits
from protocol.errors import Refused
from tests.jobs.workshop import SHARDS, Hand, Recorder, Workshop, spawn
from tests.support.server import eventually

OWNED = dict.fromkeys(range(SHARDS), 1)


async def following(shop: Workshop, *who: Follower, from_start: bool = True) -> Following:
    made = Following(
        shop.database, shop.queue, who, OWNED, frozenset(f.name for f in who) if from_start else frozenset()
    )
    await made.begin()
    return made


async def read_up(shop: Workshop, *runners: Following) -> None:
    """Until nobody has anything left to read."""
    for _ in range(200):
        if not any([await r.once() for r in runners]):
            return
    raise AssertionError("there is no end to it")


async def positions(shop: Workshop, name: str = "recorder") -> dict[int, int]:
    return {r["shard"]: r["seq"] for r in await shop.db.fetch("SELECT shard, seq FROM followers WHERE name = $1", name)}


async def made_of(shop: Workshop, kind: str = "recorder") -> list[tuple[int, int]]:
    """Shard and position of the event behind each job, in the order the jobs were made."""
    rows = await shop.db.fetch(
        "SELECT (payload -> 'shard')::int AS shard, (payload -> 'seq')::int AS seq FROM jobs WHERE kind = $1 "
        "ORDER BY place", kind,
    )  # fmt: skip
    return [(r["shard"], r["seq"]) for r in rows]


async def test_ten_thousand_events_make_ten_thousand_jobs(shop: Workshop) -> None:
    """Each once and in the order of its shard, though two nodes believe that all shards are theirs and break off."""
    await shop.happen(4000, 3000, 2000, 1000)
    runners = [await following(shop, Recorder()) for _ in range(2)]

    async def run(runner: Following) -> None:
        nonlocal broken_off
        for patience_s in itertools.cycle((0.004, 0.012, 0.03, 5.0)):
            task = spawn(runner.once(), "pass")
            await asyncio.wait([task], timeout=patience_s)
            broken_off += task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if not await shop.database.fetch("behind_followers", ["recorder"], [*OWNED]):
                return

    broken_off = 0
    await asyncio.gather(*map(run, runners))
    assert broken_off > 2
    made = await made_of(shop)
    assert len(made) == len(set(made)) == 10_000
    for shard in range(4):
        mine = [seq for s, seq in made if s == shard]
        assert mine == sorted(mine)
    assert await positions(shop) == dict(enumerate([4000, 3000, 2000, 1000, *[0] * 12]))


async def test_what_is_digested_stands_with_the_cursor_or_not_at_all(shop: Workshop) -> None:
    """Jobs, withdrawals, what the follower writes itself and its cursor are one transaction."""

    class Writer(Recorder):
        async def digest(self, events: Sequence[JournalEvent], transaction: Any) -> Digest:
            await transaction.fetch("forget_ended_jobs", 0.0, 0.0, 10)
            digest = await super().digest(events, transaction)
            return Digest(jobs=digest.jobs, withdrawn=["old"])

    async def dead_and_old() -> list[str]:
        return [j["key"] for j in await shop.jobs("kind = 'x'")]

    await shop.put(NewJob(kind="x", payload=1, key="old"), NewJob(kind="x", payload=1, key="dead"))
    await shop.db.execute("UPDATE jobs SET state = 'dead', updated_at = '2020-01-01' WHERE key = 'dead'")
    writer = Writer()
    runner = await following(shop, writer)
    await shop.happen(3)
    writer.fails_on = {(0, 1)}
    assert not await runner.once()
    assert (await positions(shop))[0] == 0
    assert await dead_and_old() == ["old", "dead"]
    assert await made_of(shop) == []
    writer.fails_on = set()
    await shop.db.execute("UPDATE shards SET seq = seq")
    assert await eventually(runner.once)
    assert (await positions(shop))[0] == 3
    assert await dead_and_old() == []
    assert await made_of(shop) == [(0, 1), (0, 2), (0, 3)]


async def test_an_event_nobody_can_read_stops_nobody(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other shards and other followers go on at once; after some tries the event is among the dead jobs, and the
    follower goes on. Retried when it can be read, it is digested as it would have been.
    """
    monkeypatch.setattr(followers, "_PAUSE_MAX_S", 0.0)
    broken, whole = Recorder("broken"), Recorder("whole")
    broken.fails_on = {(1, 3)}
    runner = await following(shop, broken, whole)
    await shop.happen(5, 5, 5)
    while await runner.once():
        pass
    assert await positions(shop, "whole") == dict(enumerate([5, 5, 5, *[0] * 13]))
    assert await positions(shop, "broken") == dict(enumerate([5, 2, 5, *[0] * 13]))

    async def gone_on() -> bool:
        await runner.once()
        return (await positions(shop, "broken"))[1] == 5

    assert await eventually(gone_on)
    assert runner.failed == {"broken": 5}
    assert sorted(await made_of(shop, "broken")) == [(s, q) for s in range(3) for q in range(1, 6) if (s, q) != (1, 3)]
    [dead] = await shop.jobs("state = 'dead'")
    assert (dead["kind"], dead["reason"]) == ("digest", "ValueError: cannot read 3")
    broken.fails_on = set()
    await runner.digest_again("broken", 1, 3)
    assert (await made_of(shop, "broken"))[-1] == (1, 3)


async def test_who_takes_too_long_over_much_gets_less_and_holds_up_nobody(shop: Workshop) -> None:
    class Slow(Recorder):
        async def digest(self, events: Sequence[JournalEvent], transaction: Any) -> Digest:
            if len(events) > 10:
                raise Refused("unavailable")
            return await super().digest(events, transaction)

    await shop.happen(30, 30)
    runner = await following(shop, Slow("slow"), Recorder("whole"))
    with pytest.raises(Refused):
        await runner.once()
    assert await positions(shop, "whole") == dict(enumerate([30, 30, *[0] * 14]))

    async def gone_on() -> bool:
        with contextlib.suppress(Refused):
            await runner.once()
        return sum((await positions(shop, "slow")).values()) == 60

    assert await eventually(gone_on, 30)
    assert sorted(await made_of(shop, "slow")) == [(s, q) for s in range(2) for q in range(1, 31)]


async def test_two_who_give_up_an_event_at_once_bury_it_once(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes second finds that it has been read, and goes on."""
    monkeypatch.setattr(followers, "_TRIES_MAX", 1)
    waited = (
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
    )

    class InTheWay(Recorder):
        async def digest(self, events: Sequence[JournalEvent], transaction: Any) -> Digest:
            assert await eventually(lambda: shop.db.fetchval(waited))
            raise ValueError("cannot read it")

    await shop.happen(1)
    runners = [await following(shop, InTheWay()) for _ in range(2)]
    assert await asyncio.gather(*(r.once() for r in runners)) == [True, True]
    assert len(await shop.jobs("kind = 'digest' AND state = 'dead'")) == 1
    assert (await positions(shop))[0] == 1


async def test_a_new_follower_begins_at_the_start_or_at_what_comes(shop: Workshop) -> None:
    """An upgrade tells nobody of bookings of last year, unless that is what the follower is for."""
    await shop.happen(3)
    counter, teller = Recorder("counter"), Recorder("teller")
    runner = Following(shop.database, shop.queue, [counter, teller], OWNED, frozenset({"counter"}))
    await runner.begin()
    await shop.happen(2)
    await runner.begin()
    await read_up(shop, runner)
    assert [q for _, q in await made_of(shop, "counter")] == [1, 2, 3, 4, 5]
    assert [q for _, q in await made_of(shop, "teller")] == [4, 5]


async def test_only_owned_shards_are_followed(shop: Workshop) -> None:
    """And those that come are followed from where the last owner has read."""
    owned = {0: 1}
    runner = Following(shop.database, shop.queue, [Recorder()], owned, frozenset({"recorder"}))
    await runner.begin()
    await shop.happen(2, 2)
    await read_up(shop, runner)
    assert await made_of(shop) == [(0, 1), (0, 2)]
    del owned[0]
    owned[1] = 1
    await shop.happen(1, 1)
    await read_up(shop, runner)
    assert await made_of(shop) == [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3)]


async def test_what_is_read_at_once_is_bounded(shop: Workshop) -> None:
    recorder = Recorder()
    runner = await following(shop, recorder)
    await shop.happen(*[200] * 16)
    await read_up(shop, runner)
    assert sum(recorder.batches) == 3200
    assert max(recorder.batches) <= limits.follower_events_max


async def test_followers_wake_when_something_is_committed(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """And they live through a database that is away."""
    monkeypatch.setattr(followers, "_LOOK_EVERY_S", 3600.0)
    runner = await following(shop, Recorder())

    class Listener:
        heard = 0

        def committed(self, entries: Any) -> None:
            self.heard += 1

    listener: Any = Listener()
    overheard = Overheard(listener, runner)
    running = spawn(runner.run(), "followers")
    try:
        for count in (1, 2):
            await shop.happen(1)
            overheard.committed([])
            assert await eventually(lambda count=count: _made(shop, count))
            await shop.db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND "
                "pid <> pg_backend_pid()"
            )
    finally:
        running.cancel()
    assert listener.heard == 2


async def test_jobs_of_followers_are_done(shop: Workshop) -> None:
    """The whole way: an event, a follower, a job, a worker."""
    hand = Hand()
    runner = await following(shop, Recorder())
    async with shop.working({"recorder": hand}, slots=16):
        await shop.happen(300, 300)
        await read_up(shop, runner)
        assert await shop.all_ended()
    assert sorted((j.payload["shard"], j.payload["seq"]) for j in hand.seen) == [
        (s, q) for s in (0, 1) for q in range(1, 301)
    ]


async def test_lag_is_told_in_events_and_seconds(shop: Workshop) -> None:
    runner = await following(shop, Recorder())
    await shop.happen(3, 4)
    await shop.db.execute("UPDATE events SET at = at - interval '1 minute' WHERE shard = 1 AND seq = 1")
    [row] = await shop.database.fetch("follower_lag", runner.names, [*OWNED])
    assert (row["name"], row["events"]) == ("recorder", 7)
    assert 60 <= row["seconds"] < 120
    await read_up(shop, runner)
    [row] = await shop.database.fetch("follower_lag", runner.names, [*OWNED])
    assert (row["events"], row["seconds"]) == (0, 0)


async def _made(shop: Workshop, count: int) -> bool:
    return len(await made_of(shop)) == count

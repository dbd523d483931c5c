"""Shards that come and go while a journal runs: taken, released, and lost to others."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from actors.ports import Loss
from protocol.errors import Refused
from tests.contract.world import SHARDS, Scribe, Told, World, booked

Journals = Callable[[Told], Any]


async def scribe(world: World, shard: int) -> Scribe:
    return Scribe(world, await world.calendar(shard=shard), shard)


def refused(journal: Any, mine: Scribe) -> str:
    """The code that an entry is refused with; empty when it was taken."""
    version = mine.version
    try:
        journal.append(mine.entry(booked(30 * version)))
    except Refused as refusal:
        mine.version = version
        return refusal.code
    return ""


async def test_entries_are_taken_for_owned_shards_alone(world: World, idle_journals: Journals) -> None:
    """None before one is taken, and of those taken each with an epoch that others see too."""
    told = Told()
    journal = await idle_journals(told)
    scribes = [await scribe(world, shard) for shard in range(SHARDS)]
    owned = journal.owned
    assert (dict(owned), [refused(journal, s) for s in scribes]) == ({}, ["moved"] * SHARDS)
    taken = await journal.take([0, 2])
    assert dict(owned) == taken == {s: await world.epoch(s) for s in (0, 2)}
    assert [refused(journal, s) for s in scribes] == ["", "moved", "", "moved"]
    await told.until(2)
    assert told.losses == []
    assert (journal.owns(2), journal.owns(3)) == (True, False)


async def test_what_is_owned_is_not_taken_again(world: World, idle_journals: Journals) -> None:
    """Also when it is asked for twice at once: the epoch advances once, and entries under way are not fenced."""
    told = Told()
    journal = await idle_journals(told)
    before = await world.epoch(1)
    mine = await scribe(world, 1)
    first, second = await asyncio.gather(journal.take([1]), journal.take([1, 0]))
    assert (first[1], second[1]) == (before + 1, before + 1)
    assert refused(journal, mine) == ""
    assert (await journal.take([1]))[1] == before + 1
    await told.until(1)
    assert told.losses == []


async def test_released_is_moved_after_the_last_commit(world: World, idle_journals: Journals) -> None:
    """Nothing new is taken from the first moment on; what was taken is told before `release` returns."""
    told = Told()
    journal = await idle_journals(told)
    await journal.take(range(SHARDS))
    going, staying = await scribe(world, 1), await scribe(world, 2)
    for _ in range(700):
        assert refused(journal, going) == ""
    releasing = asyncio.create_task(journal.release([1]))
    await asyncio.sleep(0)
    assert (refused(journal, going), refused(journal, staying)) == ("moved", "")
    assert 1 not in journal.owned
    await releasing
    assert [e.shard for e in told.committed_entries].count(1) == 700
    assert told.fenced_shards >= {1}
    assert await world.position(1) >= 700
    assert refused(journal, going) == "moved"
    await journal.release([1, 3])
    assert journal.owned.keys() == {0, 2}


async def test_a_shard_goes_from_one_to_the_other_and_back(world: World, idle_journals: Journals) -> None:
    """Each goes on where the other ended, under an epoch of its own."""
    tolds = [Told(), Told()]
    journals = [await idle_journals(told) for told in tolds]
    mine = await scribe(world, 3)
    epochs = []
    for turn in range(6):
        journal, told = journals[turn % 2], tolds[turn % 2]
        epochs.append((await journal.take([3]))[3])
        for _ in range(3):
            assert refused(journal, mine) == ""
        await journal.release([3])
        assert told.losses == []
    assert epochs == list(range(epochs[0], epochs[0] + 6))
    events = await world.events(mine.calendar_id)
    assert [e.version for e in events] == list(range(1, 19))
    assert [e.epoch for e in events] == [e for e in epochs for _ in range(3)]


async def test_taking_waits_for_the_release(world: World, idle_journals: Journals) -> None:
    """In the order in which they were asked for, however they overlap."""
    told = Told()
    journal = await idle_journals(told)
    first = await journal.take([0, 1])
    mine = await scribe(world, 0)
    for _ in range(5):
        assert refused(journal, mine) == ""
    _, again, _, last = await asyncio.gather(
        journal.release([0]), journal.take([0, 2]), journal.release([2, 0]), journal.take([0])
    )
    assert len(told.committed_entries) == 5
    assert (again[0], last[0]) == (first[0] + 1, first[0] + 2)
    assert journal.owned.keys() == {0, 1}
    assert refused(journal, mine) == ""
    await told.until(6)
    assert told.losses == []


async def test_verify_tells_what_others_have_taken(world: World, idle_journals: Journals) -> None:
    """Once, and also what a batch found out before; nothing is written for them any more."""
    first, second = Told(), Told()
    old, new = await idle_journals(first), await idle_journals(second)
    await old.take(range(SHARDS))
    assert await old.verify() == set()
    await new.take([1])
    mine, found = await scribe(world, 1), await scribe(world, 2)
    assert await old.verify() == {1}
    assert first.fenced_shards >= {1}
    assert (refused(old, mine), refused(new, mine)) == ("moved", "")
    await new.take([2])
    assert refused(old, found) == ""
    await first.until(1)
    assert first.losses[0][1] is Loss.FENCED
    assert await old.verify() == {2}
    assert await old.verify() == set()
    assert old.owned.keys() == {0, 3}
    assert (await old.take([2]))[2] == await world.epoch(2)
    assert await new.verify() == {2}


async def test_own_changes_are_no_loss(world: World, idle_journals: Journals) -> None:
    """Verifying beside taking and releasing never drops what is this journal's."""
    told = Told()
    journal = await idle_journals(told)
    for _ in range(20):
        _, lost, *_ = await asyncio.gather(
            journal.take(range(SHARDS)), journal.verify(), journal.release([1, 2]), journal.verify()
        )
        assert lost == set()
    assert journal.owned.keys() == {0, 3}
    assert {s: await world.epoch(s) for s in journal.owned} == dict(journal.owned)


@pytest.mark.parametrize("seed", range(6))
async def test_shards_that_wander_between_two(world: World, idle_journals: Journals, seed: int) -> None:
    """Taken by force, released and verified at random with entries on their way: what is told is what is written."""
    random = Random(seed)
    tolds = [Told(), Told()]
    journals = [await idle_journals(told) for told in tolds]
    # Each entry is the first of its calendar, so that only fences can refuse it.
    scribes = [await scribe(world, random.randrange(SHARDS)) for _ in range(150)]
    taken = 0
    tasks: list[asyncio.Task[Any]] = []
    for one in scribes:
        journal = random.choice(journals)
        if random.random() < 0.15:
            shards = random.sample(range(SHARDS), random.randrange(1, SHARDS))
            name = random.choice(("take", "take", "release", "verify"))
            work = journal.verify() if name == "verify" else getattr(journal, name)(shards)
            tasks.append(asyncio.create_task(work))
        code = refused(journal, one)
        assert code in ("", "moved")
        taken += not code
        if random.random() < 0.5:
            await asyncio.sleep(random.choice((0, 0, 0.001, 0.005)))
    async with asyncio.timeout(30):
        await asyncio.gather(*tasks)
        for journal in journals:
            await journal.flush()
    committed = [e for told in tolds for e in told.committed_entries]
    losses = [loss for told in tolds for _, loss in told.losses]
    assert len(committed) + len(losses) == taken
    assert set(losses) <= {Loss.FENCED}
    written = [e.event for one in scribes for e in await world.events(one.calendar_id)]
    assert sorted(e.id for e in written) == sorted(e.events[0].id for e in committed)
    assert taken

"""Batches of one writer that are under way side by side, on Postgres: what is behind rests on what is before it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from actors.ports import Loss
from protocol import events as ev
from protocol.ids import booking_code, new_id
from protocol.times import HOUR, MINUTE
from storage.journal import PostgresJournal
from storage.lane import Lane
from storage.writer import Writer
from tests.contract.world import NOON, PostgresWorld, Scribe, Told, booked

SHARD = 0
ENOUGH = 20
"""More entries than a batch needs to follow one that is under way."""


@pytest.fixture
async def place(contract_dsn: str) -> AsyncIterator[tuple[PostgresWorld, PostgresJournal, Told]]:
    world, told = await PostgresWorld.open(contract_dsn), Told()
    journal = world.journal()
    await journal.start(told)
    yield world, journal, told
    await journal.stop()
    await world.close()


Place = tuple[PostgresWorld, PostgresJournal, Told]


def writer_of(journal: PostgresJournal) -> Writer:
    return next(w for w in journal._writers if SHARD in w.shards)


@asynccontextmanager
async def shard_locked(world: PostgresWorld) -> AsyncIterator[asyncpg.Connection]:
    """Nothing of this shard commits while the block lasts."""
    connection = await asyncpg.connect(world.dsn)
    try:
        async with connection.transaction():
            await connection.fetch("SELECT FROM shards WHERE id = $1 FOR UPDATE", SHARD)
            yield connection
    finally:
        await connection.close()


async def two_under_way(journal: PostgresJournal, first: Sequence[Any], second: Sequence[Any]) -> None:
    writer = writer_of(journal)
    for count, entries in ((1, first), (2, second)):
        for entry in entries:
            journal.append(entry)
        async with asyncio.timeout(5):
            while len(writer._flights) < count:
                await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)  # until both statements wait for the lock
    assert [len(f.entries) for f in writer._flights] == [len(first), len(second)]


async def scribe(world: PostgresWorld) -> Scribe:
    return Scribe(world, await world.calendar(shard=SHARD), SHARD)


async def test_they_land_in_order_and_without_gaps(place: Place) -> None:
    world, journal, told = place
    mine = await scribe(world)
    before = await world.position(SHARD)
    entries = [mine.entry(booked(30 * i)) for i in range(1 + ENOUGH)]
    async with shard_locked(world):
        await two_under_way(journal, entries[:1], entries[1:])
        assert told.committed_entries == []
    await told.until(len(entries))
    assert told.committed_entries == entries
    assert [len(b) for b in told.batches] == [1, ENOUGH]
    assert [e.seq for e in await world.events(mine.calendar_id)] == list(range(before + 1, before + 2 + ENOUGH))


async def test_the_second_sees_the_rows_of_the_first(place: Place) -> None:
    """A hold, and its booking in the batch behind: one statement's snapshot taken too early would miss the row."""
    world, journal, told = place
    mine, other = await scribe(world), await scribe(world)
    hold = new_id()
    placed = ev.HoldPlaced(hold, new_id(), NOON, 30 * MINUTE, 0, 0, 1, NOON + HOUR, "ann", None, 1, None)
    taken = ev.Booked(
        hold, booking_code(), "confirmed", placed.service_id, NOON, 30 * MINUTE, 0, 0, 1, new_id(), None, 1,
        from_hold=True,
    )  # fmt: skip
    first = [mine.entry(placed)]
    second = [mine.entry(taken), *(other.entry(booked(30 * i)) for i in range(ENOUGH))]
    async with shard_locked(world):
        await two_under_way(journal, first, second)
    await told.until(len(first) + len(second))
    assert told.losses == []
    assert {r.status for r in (await world.rows(mine.calendar_id)).values()} == {"confirmed"}


async def test_when_the_first_is_poisoned_the_second_is_called_back(place: Place) -> None:
    """The culprit is lost alone; what its calendar decided afterwards is lost with it, wherever it was."""
    world, journal, told = place
    mine, other = await scribe(world), await scribe(world)
    good, forged = mine.entry(booked(0)), mine.entry(booked(15))
    later = mine.entry(booked(600))
    beside = [other.entry(booked(30 * i)) for i in range(ENOUGH)]
    async with shard_locked(world):
        await two_under_way(journal, [good, forged], [later, *beside])
    await told.until(3 + ENOUGH)
    assert dict(told.losses) == {forged: Loss.GUARD, later: Loss.NEIGHBOUR}
    assert set(told.committed_entries) == {good, *beside}
    assert [e.version for e in await world.events(mine.calendar_id)] == [1]
    assert len(await world.events(other.calendar_id)) == ENOUGH


async def test_when_the_second_is_poisoned_the_first_is_written(place: Place) -> None:
    world, journal, told = place
    mine, other = await scribe(world), await scribe(world)
    good, forged = mine.entry(booked(0)), mine.entry(booked(15))
    beside = [other.entry(booked(30 * i)) for i in range(ENOUGH)]
    async with shard_locked(world):
        await two_under_way(journal, [good], [forged, *beside])
    await told.until(2 + ENOUGH)
    assert dict(told.losses) == {forged: Loss.GUARD}
    assert set(told.committed_entries) == {good, *beside}


async def test_a_new_owner_fences_both(place: Place) -> None:
    world, journal, told = place
    mine = await scribe(world)
    entries = [mine.entry(booked(30 * i)) for i in range(1 + ENOUGH)]
    async with shard_locked(world) as connection:
        await two_under_way(journal, entries[:1], entries[1:])
        await connection.execute("UPDATE shards SET epoch = epoch + 1 WHERE id = $1", SHARD)
    await told.until(len(entries))
    assert {loss for _, loss in told.losses} == {Loss.FENCED}
    assert told.committed_entries == []
    assert await world.events(mine.calendar_id) == []
    assert not journal.owns(SHARD)


async def test_when_both_connections_break_before_they_could_write_nothing_is_claimed(place: Place) -> None:
    world, journal, told = place
    mine = await scribe(world)
    entries = [mine.entry(booked(30 * i)) for i in range(1 + ENOUGH)]
    async with shard_locked(world) as connection:
        await two_under_way(journal, entries[:1], entries[1:])
        await connection.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'slotcast writer%' AND wait_event_type = 'Lock'"
        )
    await told.until(len(entries))
    assert {loss for _, loss in told.losses} == {Loss.UNAVAILABLE}
    assert await world.events(mine.calendar_id) == []
    fresh = Scribe(world, mine.calendar_id, SHARD)
    async with asyncio.timeout(10):
        while not journal.writing:
            await asyncio.sleep(0.01)
    journal.append(fresh.entry(booked(0)))
    await told.until(len(entries) + 1)
    assert len(told.committed_entries) == 1


@pytest.mark.parametrize(
    ("answered", "written"),
    [((), (True, True)), ((), (True, False)), ((0,), (True, True)), ((0,), (True, False)), ((), (False, False))],
    ids=["both, no answer", "first, no answer", "both, second unanswered", "first, second lost", "neither"],
)
async def test_the_truth_is_told_of_each(
    place: Place, monkeypatch: pytest.MonkeyPatch, answered: tuple[int, ...], written: tuple[bool, bool]
) -> None:
    """Answers are lost after the statement ran, or the statement before it could: `seq` knows which."""
    world, journal, told = place
    mine = await scribe(world)
    entries = [mine.entry(booked(30 * i)) for i in range(1 + ENOUGH)]
    real, numbers = Lane.write, iter(range(2))

    async def write(lane: Lane, arguments: Sequence[Any]) -> None:
        number = next(numbers, None)
        if number is None:
            await real(lane, arguments)
            return
        if written[number]:
            await real(lane, arguments)
        else:
            # Not before the other one is under way as well.
            await asyncio.sleep(0.3)
        if number not in answered:
            raise ConnectionResetError("cut")

    monkeypatch.setattr(Lane, "write", write)
    async with shard_locked(world):
        for entry in entries[:1]:
            journal.append(entry)
        await asyncio.sleep(0.05)
        for entry in entries[1:]:
            journal.append(entry)
        await asyncio.sleep(0.1)
    await told.until(len(entries))
    wanted = [*(entries[:1] if written[0] else ()), *(entries[1:] if written[1] else ())]
    assert told.committed_entries == wanted
    assert {loss for _, loss in told.losses} <= {Loss.UNAVAILABLE}
    assert len(await world.events(mine.calendar_id)) == len(wanted)

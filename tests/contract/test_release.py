"""Releasing shards while the database hesitates or is gone: on Postgres alone, for memory does neither."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from actors.ports import Loss
from protocol import limits
from protocol.errors import Refused
from tests.contract.test_shards import Journals, refused, scribe
from tests.contract.world import SHARDS, PostgresWorld, Told


@pytest.fixture
def database_of_world(contract_dsn: str) -> str:
    return contract_dsn


@asynccontextmanager
async def held_up(world: PostgresWorld, *shards: int, taken: bool = False) -> AsyncIterator[None]:
    """Batches of these shards wait in Postgres until this is left; with `taken` they are fenced off then."""
    blocker = await asyncpg.connect(world.dsn)
    try:
        async with blocker.transaction():
            # A row that is only locked is handed on in order; who waits for a changed one may be overtaken.
            await blocker.execute("SELECT FROM shards WHERE id = ANY ($1::int[]) FOR UPDATE", shards)
            if taken:
                await blocker.execute("UPDATE shards SET epoch = epoch + 1 WHERE id = ANY ($1::int[])", shards)
            yield
    finally:
        await blocker.close()


async def until_waiting(world: PostgresWorld, count: int = 1) -> None:
    """Until so many statements wait for the locks of others."""
    query = """SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"""
    async with asyncio.timeout(10):
        while await world.connection.fetchval(query) < count:
            await asyncio.sleep(0.01)


async def cut(world: PostgresWorld, journal: Any) -> None:
    """Ends the session of the writer of shard 0, whatever it does."""
    pid = journal._writers[0]._connection.get_server_pid()
    await world.connection.execute("SELECT pg_terminate_backend($1)", pid)


async def is_written(world: PostgresWorld, mine: Any) -> bool:
    return bool(await world.events(mine.calendar_id))


async def test_release_waits_for_the_batch_in_flight(world: PostgresWorld, idle_journals: Journals) -> None:
    """And for what gathered meanwhile; who takes the shard afterwards finds all of it."""
    told, heir = Told(), await idle_journals(Told())
    journal = await idle_journals(told)
    await journal.take(range(SHARDS))
    first, second = await scribe(world, 0), await scribe(world, 0)
    async with held_up(world, 0):
        assert refused(journal, first) == ""
        await until_waiting(world)
        assert refused(journal, second) == ""
        releasing = asyncio.create_task(journal.release([0]))
        await until_waiting(world)
        assert not releasing.done()
        assert refused(journal, first) == "moved"
    await releasing
    assert len(told.committed_entries) == 2
    await heir.take([0])
    assert await is_written(world, first)
    assert await is_written(world, second)


async def test_a_batch_that_outlasts_the_release(
    world: PostgresWorld, idle_journals: Journals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits behind it is lost as moved; its own fate is told when it is known, and the heir finds the truth."""
    monkeypatch.setattr(limits, "release_timeout_s", 0.3)
    told, heir_told = Told(), Told()
    journal, heir = await idle_journals(told), await idle_journals(heir_told)
    await journal.take(range(SHARDS))
    flying, waiting, after = [await scribe(world, 0) for _ in range(3)]
    async with held_up(world, 0):
        assert refused(journal, flying) == ""
        await until_waiting(world)
        assert refused(journal, waiting) == ""
        await journal.release([0])
        assert [loss for _, loss in told.losses] == [Loss.FENCED]
        assert told.losses[0][0].owner is waiting.owner
        taking = asyncio.create_task(heir.take([0]))
        await until_waiting(world, 2)
    await taking
    await told.until(2)
    assert await is_written(world, flying) == bool(told.committed_entries)
    assert not await is_written(world, waiting)
    assert refused(heir, after) == ""
    await heir_told.until(1)
    assert heir_told.losses == []
    assert (refused(journal, after), journal.owned.keys()) == ("moved", {1, 2, 3})


@pytest.mark.parametrize("fenced", [False, True])
async def test_taken_again_while_its_old_batch_is_in_flight(
    world: PostgresWorld, idle_journals: Journals, monkeypatch: pytest.MonkeyPatch, fenced: bool
) -> None:
    """What was decided under the old epoch is not written under the new one, and new entries go on from the truth."""
    monkeypatch.setattr(limits, "release_timeout_s", 0.2)
    told = Told()
    journal = await idle_journals(told)
    before = await journal.take(range(SHARDS))
    old, new = await scribe(world, 0), await scribe(world, 0)
    taken = asyncio.Event()
    look_again = journal._writers[0]._drop_fenced_shards

    async def look_later(entries: Any) -> None:
        await taken.wait()
        await look_again(entries)

    monkeypatch.setattr(journal._writers[0], "_drop_fenced_shards", look_later)
    async with held_up(world, 0, taken=fenced):
        assert refused(journal, old) == ""
        await until_waiting(world)
        await journal.release([0])
        taking = asyncio.create_task(journal.take([0]))
        await until_waiting(world, 2)
    assert (await taking)[0] > before[0]
    taken.set()
    assert refused(journal, new) == ""
    await told.until(2)
    lost = [loss for _, loss in told.losses]
    assert lost in ([[Loss.FENCED]] if fenced else [[], [Loss.FENCED]])
    assert await is_written(world, old) is not bool(lost)
    assert await is_written(world, new)
    assert {e.epoch for e in await world.events(new.calendar_id)} == {journal.owned[0]}
    assert all(e.epoch == before[0] for e in await world.events(old.calendar_id))


@pytest.mark.parametrize("sooner", ["release", "cut"])
async def test_release_while_the_outcome_is_unknown(world: PostgresWorld, idle_journals: Journals, sooner: str) -> None:
    """The writer comes back, tells the truth, and does not own again what it had to take for that."""
    told, heir_told = Told(), Told()
    journal, heir = await idle_journals(told), await idle_journals(heir_told)
    await journal.take(range(SHARDS))
    mine, after = await scribe(world, 0), await scribe(world, 0)
    async with held_up(world, 0):
        assert refused(journal, mine) == ""
        await until_waiting(world)
        if sooner == "cut":
            await cut(world, journal)
            async with asyncio.timeout(10):
                while journal.writing:
                    await asyncio.sleep(0.01)
            with pytest.raises(Refused, match="unavailable"):
                await journal.verify()
        releasing = asyncio.create_task(journal.release([0]))
        if sooner == "release":
            await asyncio.sleep(0.05)
            await cut(world, journal)
        assert not releasing.done()
    await releasing
    await told.until(1)
    assert await is_written(world, mine) == bool(told.committed_entries)
    assert journal.owned.keys() == {1, 2, 3}
    await heir.take([0])
    assert refused(heir, after) == ""
    await heir_told.until(1)
    assert heir_told.losses == []
    assert await journal.verify() == set()
    staying = await scribe(world, 2)
    assert refused(journal, staying) == ""
    await told.until(2)
    assert await is_written(world, staying)


async def test_taken_by_another_while_the_outcome_is_unknown(
    world: PostgresWorld, idle_journals: Journals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch of a lost connection may still be written: it is told so, though its shard is another's by now."""
    told, heir_told = Told(), Told()
    journal, heir = await idle_journals(told), await idle_journals(heir_told)
    await journal.take(range(SHARDS))
    mine, also, after = await scribe(world, 0), await scribe(world, 2), await scribe(world, 0)
    assert refused(journal, mine) == ""
    assert refused(journal, also) == ""
    await told.until(2)
    connect = journal._writers[0]._connect
    back = asyncio.Event()

    async def connect_later() -> None:
        await back.wait()
        await connect()

    monkeypatch.setattr(journal._writers[0], "_connect", connect_later)
    async with held_up(world, 0):
        for one in (mine, also):
            assert refused(journal, one) == ""
        await until_waiting(world)
        # What Postgres has begun it may end, though nobody hears of it.
        journal._writers[0]._connection._transport.abort()
        async with asyncio.timeout(10):
            while journal.writing:
                await asyncio.sleep(0.01)
        taking = asyncio.create_task(heir.take([0]))
        await until_waiting(world, 2)
    await taking
    assert refused(heir, after) == ""
    await heir_told.until(1)
    back.set()
    await told.until(4)
    written = len(await world.events(mine.calendar_id)) == 2
    assert written == (len(await world.events(also.calendar_id)) == 2) == (len(told.committed_entries) == 4)
    assert written, "the statement was under way"
    assert journal.owned.keys() == {1, 2, 3}
    assert await journal.verify() == {0}


@pytest.mark.parametrize("sooner", ["release", "cut"])
@pytest.mark.parametrize("next_owner", ["itself", "another", "nobody"])
async def test_given_up_before_the_writer_is_back(
    world: PostgresWorld, idle_journals: Journals, monkeypatch: pytest.MonkeyPatch, next_owner: str, sooner: str
) -> None:
    """It still finds out what became of the batch, and leaves the shard to whoever has it by then."""
    monkeypatch.setattr(limits, "release_timeout_s", 0.1)
    told = Told()
    journal, heir = await idle_journals(told), await idle_journals(Told())
    await journal.take(range(SHARDS))
    mine, after = await scribe(world, 0), await scribe(world, 0)
    writer, back = journal._writers[0], asyncio.Event()
    connect = writer._connect

    async def connect_later() -> None:
        await back.wait()
        await connect()

    monkeypatch.setattr(writer, "_connect", connect_later)
    async with held_up(world, 0):
        assert refused(journal, mine) == ""
        await until_waiting(world)
        if sooner == "cut":
            await cut(world, journal)
        await journal.release([0])
        if sooner == "release":
            await cut(world, journal)
        async with asyncio.timeout(10):
            while journal.writing:
                await asyncio.sleep(0.01)
    with pytest.raises(Refused, match="unavailable"):
        await journal.verify()
    if next_owner != "nobody":
        await (heir if next_owner == "another" else journal).take([0])
    assert (told.committed_entries, told.losses) == ([], [])
    back.set()
    await told.until(1)
    assert await is_written(world, mine) == bool(told.committed_entries)
    owners = {"itself": journal, "another": heir, "nobody": None}
    assert [j for j in (journal, heir) if 0 in j.owned] == [j for j in [owners[next_owner]] if j]
    assert await journal.verify() == set()
    owner = owners[next_owner] or heir
    await owner.take([0])
    assert refused(owner, after) == ""
    await owner.flush()
    assert await is_written(world, after)


async def test_verify_beside_a_writer_that_takes_its_shards_again(
    world: PostgresWorld, idle_journals: Journals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later epochs in the table are its own, though it has not heard of them yet."""
    told = Told()
    journal = await idle_journals(told)
    before = await journal.take(range(SHARDS))
    writer, retaken, go_on = journal._writers[0], asyncio.Event(), asyncio.Event()
    was_written = writer._was_written

    async def tell_later(*args: Any) -> bool:
        retaken.set()
        await go_on.wait()
        return await was_written(*args)

    monkeypatch.setattr(writer, "_was_written", tell_later)
    await cut(world, journal)
    assert refused(journal, await scribe(world, 0)) == ""
    await retaken.wait()
    assert await world.epoch(0) > before[0]
    with pytest.raises(Refused, match="unavailable"):
        await journal.verify()
    go_on.set()
    await told.until(1)
    assert await journal.verify() == set()
    assert dict(journal.owned) == {s: await world.epoch(s) for s in range(SHARDS)}


async def test_verify_that_is_answered_late(world: PostgresWorld, idle_journals: Journals) -> None:
    """What the table showed before the shard was taken again is no loss."""
    journal = await idle_journals(Told())
    await journal.take(range(SHARDS))
    answered, go_on = asyncio.Event(), asyncio.Event()

    class Late:
        async def fetch(self, query: str, *args: object) -> Any:
            rows = await world.database.fetch(query, *args)
            if query == "shards_now":
                answered.set()
                await go_on.wait()
            return rows

    journal._database = Late()
    verifying = asyncio.create_task(journal.verify())
    await answered.wait()
    await journal.release([0])
    await journal.take([0])
    go_on.set()
    assert await verifying == set()
    assert journal.owned.keys() == set(range(SHARDS))


async def test_a_release_that_is_cancelled(world: PostgresWorld, idle_journals: Journals) -> None:
    """It has ended the intake, and the shard can be taken again by anybody."""
    told = Told()
    journal = await idle_journals(told)
    await journal.take(range(SHARDS))
    mine = await scribe(world, 0)
    async with held_up(world, 0):
        assert refused(journal, mine) == ""
        await until_waiting(world)
        releasing = asyncio.create_task(journal.release([0]))
        await asyncio.sleep(0.01)
        releasing.cancel()
        await asyncio.wait([releasing])
        assert refused(journal, mine) == "moved"
    await told.until(1)
    assert await is_written(world, mine)
    assert (await journal.take([0]))[0] == await world.epoch(0)


async def test_a_take_that_gets_no_answer(
    world: PostgresWorld, idle_journals: Journals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is unavailable, owns nothing, and can be tried again."""
    monkeypatch.setattr(limits, "commit_timeout_s", 0.2)
    told = Told()
    journal = await idle_journals(told)
    async with held_up(world, 1):
        with pytest.raises(Refused, match="unavailable"):
            await journal.take([0, 1])
        assert dict(journal.owned) == {}
    monkeypatch.undo()
    assert await journal.take([0, 1]) == {s: await world.epoch(s) for s in (0, 1)}
    assert await journal.verify() == set()

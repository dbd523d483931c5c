"""Notices between the nodes of a database: told once committed, to everybody, and a gap is told as one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import asyncpg
import pytest

from protocol.ids import new_id
from storage.bulletin import Bulletin
from storage.meter import NullMeter
from storage.postgres import Database

Open = Callable[..., Any]


class Reader:
    """A bulletin that runs, what it was told of kind `a`, and how often of a gap."""

    def __init__(self, dsn: str) -> None:
        self.bulletin = Bulletin(dsn, new_id())
        self.told: list[list[str]] = []
        self.gaps = 0
        self.bulletin.subscribe("a", self.told.append)
        self.bulletin.on_gap(self._gap)
        self._task: asyncio.Task[None]

    def _gap(self) -> None:
        self.gaps += 1

    @property
    def ids(self) -> list[str]:
        return [id_ for some in self.told for id_ in some]

    async def start(self) -> "Reader":
        await self.bulletin.start()
        self._task = asyncio.create_task(self.bulletin.run())
        return self

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        await self.bulletin.stop()

    async def cut(self, database: Database) -> None:
        """As an administrator would."""
        assert self.bulletin._connection is not None
        pid = self.bulletin._connection.get_server_pid()
        async with database.transaction() as tx:
            await tx._connection.execute("SELECT pg_terminate_backend($1)", pid)


@pytest.fixture
async def readers(contract_dsn: str) -> AsyncIterator[Open]:
    started: list[Reader] = []

    async def start() -> Reader:
        reader = Reader(contract_dsn)
        started.append(reader)
        return await reader.start()

    yield start
    for reader in started:
        await reader.stop()


@pytest.fixture
async def database(contract_dsn: str) -> AsyncIterator[Database]:
    opened = await Database.open(contract_dsn, 2, NullMeter())
    yield opened
    await opened.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.005)


async def test_everybody_is_told_once_it_is_committed(readers: Open, database: Database) -> None:
    """Also who posted it, in the order of the commits; what is rolled back never, and other kinds not."""
    one, other = await readers(), await readers()
    post = one.bulletin.post
    async with database.transaction() as tx:
        await post(tx, "a", ["1", "2"])
        await post(tx, "b", ["of another kind"])
        await post(database, "a", ["0"])
        await until(lambda: one.told == [["0"]])
    with suppress(ZeroDivisionError):
        async with database.transaction() as tx:
            await post(tx, "a", ["never"])
            raise ZeroDivisionError
    await post(database, "a", ["3"])
    for reader in (one, other):
        await until(lambda told=reader.told: len(told) == 3)
        assert (reader.told, reader.gaps) == ([["0"], ["1", "2"], ["3"]], 0)
        assert reader.bulletin.connected


async def test_many_ids_are_several_notices(readers: Open, database: Database) -> None:
    """Each fits into what Postgres takes; none is lost, and nothing to tell is no notice."""
    reader = await readers()
    ids = [new_id() for _ in range(1_000)] + ["ä" * 900, "☃" * 2_300, '"' * 3_400]
    await reader.bulletin.post(database, "a", ids)
    await until(lambda: len(reader.ids) == len(ids))
    assert reader.ids == ids
    assert len(reader.told) > 5
    await reader.bulletin.post(database, "a", [])
    await reader.bulletin.post(database, "a", ["last"])
    await until(lambda: reader.ids[-1] == "last")
    assert reader.told[-2:] != [[], ["last"]]


@pytest.mark.parametrize(
    "payload",
    ["", "nonsense", "{}", '{"kind": "a"}', '{"kind": "a", "ids": [1], "from": "x"}', "[" * 3_000, "\x01", "null"],
)
async def test_what_is_no_notice_is_ignored(readers: Open, database: Database, payload: str) -> None:
    """Whoever may write to the database may send anything on the channel."""
    reader = await readers()
    await database.value("post_notice", payload)
    await reader.bulletin.post(database, "a", ["1"])
    await until(lambda: bool(reader.told))
    assert (reader.told, reader.gaps) == ([["1"]], 0)


async def test_one_who_fails_keeps_nothing_from_the_others(readers: Open, database: Database) -> None:
    """Neither a notice nor a gap."""
    reader = await readers()
    failing: list[str] = []
    first = Bulletin("", "")

    def fail(*_: Any) -> None:
        failing.append("called")
        raise RuntimeError

    # In front of those that are there already.
    reader.bulletin._callbacks["a"].insert(0, fail)
    reader.bulletin._gap_callbacks.insert(0, fail)
    await first.post(database, "a", ["1"])
    await until(lambda: reader.told == [["1"]])
    await reader.cut(database)
    await until(lambda: reader.gaps == 1)
    assert len(failing) == 2


async def test_a_lost_connection_is_a_gap(readers: Open, database: Database) -> None:
    """Noticed at once; when it listens again it says so, every time, and hears what is posted from then on."""
    reader, other = await readers(), await readers()
    for count in (1, 2, 3):
        await reader.cut(database)
        await until(lambda c=count: reader.gaps == c)
        assert reader.bulletin.connected
        await other.bulletin.post(database, "a", [str(count)])
        await until(lambda c=count: str(c) in reader.ids)
    await until(lambda: other.ids == ["1", "2", "3"])
    assert other.gaps == 0


async def test_the_database_stays_away(readers: Open, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It tries for as long as it takes, whatever goes wrong on the way, also between connecting and listening."""
    reader = await readers()
    connect = asyncpg.connect
    faults = iter(["refused", "timeout", "starting", "no listening", "no listening"])
    left = asyncio.Event()

    async def unwilling(*args: Any, **more: Any) -> Any:
        assert not reader.bulletin.connected
        fault = next(faults, "")
        if fault == "refused":
            raise ConnectionRefusedError
        if fault == "timeout":
            raise TimeoutError
        if fault == "starting":
            raise asyncpg.CannotConnectNowError("the database system is starting up")
        connection = await connect(*args, **more)
        if fault == "no listening":
            await connection.close()
        else:
            left.set()
        return connection

    monkeypatch.setattr(asyncpg, "connect", unwilling)
    await reader.cut(database)
    await until(left.is_set)
    await until(lambda: reader.gaps == 1)
    await reader.bulletin.post(database, "a", ["1"])
    await until(lambda: reader.told == [["1"]])


async def test_a_connection_that_is_cut_without_a_word(
    readers: Open, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing arrives and nothing fails, until it is asked whether it is still there."""
    monkeypatch.setattr("storage.bulletin._KEEPALIVE_S", 0.02)
    reader = await readers()
    silent = reader.bulletin._connection
    assert silent is not None

    async def no_answer(*_: Any) -> None:
        raise TimeoutError

    # The driver's own connection object takes no other methods, so it is its wrapper that is replaced.
    class Silent:
        fetchval = staticmethod(no_answer)
        terminate = staticmethod(silent.terminate)

    reader.bulletin._connection = Silent()  # type: ignore[assignment]
    await until(lambda: reader.gaps == 1)
    assert silent.is_closed()
    await reader.bulletin.post(database, "a", ["1"])
    await until(lambda: reader.told == [["1"]])


async def test_it_does_not_start_without_a_database(contract_dsn: str) -> None:
    """And nothing is left of it when it has stopped."""
    with pytest.raises(OSError, match="onnect"):
        await Bulletin("postgresql://nobody@127.0.0.1:1/none", "x").start()
    stopped = Bulletin(contract_dsn, "x")
    await stopped.start()
    assert stopped.connected
    await stopped.stop()
    assert not stopped.connected

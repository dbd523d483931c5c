"""A backup taken while bookings are made, restored into a new database, and served from there."""

import asyncio
import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from server.backup import BackupError, dump, restore, without_password
from tests.cli.conftest import Cli, one_line
from tests.conftest import business_of
from tests.rest.helpers import book
from tests.support.postgres import TestPostgres
from tests.support.server import SECRET, Api, Place, RunningServer, new_place, token_for

pytestmark = pytest.mark.parity("C20")


def named(dsn: str) -> dict[str, str]:
    return {"DATABASE_URL": dsn, "SLOTCAST_JWT_SECRET": SECRET}


async def rows(dsn: str) -> dict[str, tuple[int, str]]:
    """How many rows each table has, and a digest of them."""
    connection = await asyncpg.connect(dsn)
    try:
        tables = await connection.fetch(
            "SELECT table_schema || '.' || table_name FROM information_schema.tables"
            " WHERE table_schema NOT LIKE 'pg_%' AND table_schema <> 'information_schema'"
        )
        found = {}
        for (table,) in tables:
            texts = sorted(r[0] for r in await connection.fetch(f"SELECT t::text FROM {table} t"))
            found[table] = (len(texts), hashlib.sha256("\n".join(texts).encode()).hexdigest())
        return found
    finally:
        await connection.close()


async def misplaced(dsn: str) -> list[Any]:
    """Shards whose last event is not where they say."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(
            "SELECT s.id, s.seq, max(e.seq) FROM shards s LEFT JOIN events e ON e.shard = s.id GROUP BY s.id"
            " HAVING coalesce(max(e.seq), 0) <> s.seq"
        )
    finally:
        await connection.close()


async def test_what_was_booked_is_there_again(
    cli: Cli, fresh_server: RunningServer, postgres: TestPostgres, tmp_path: Path
) -> None:
    """Everything that was acknowledged before; with bookings under way, a state that was true at one moment."""
    fresh_server.start()
    file, restored = tmp_path / "one.dump", await postgres.empty_database()
    async with aiohttp.ClientSession() as http:
        api = Api(fresh_server, http, token_for(await business_of(fresh_server.dsn)))
        place = await new_place(api)
        before = [(await book(place, place.at(hour)))["id"] for hour in range(5)]
        stop = asyncio.Event()
        booking = asyncio.create_task(_book_on(place, stop))
        done = await asyncio.to_thread(cli, "backup", str(file), **named(fresh_server.dsn))
        stop.set()
        assert await booking > 0
    fresh_server.kill()
    assert done.code == 0, done
    assert "SLOTCAST_JWT_SECRET" in done.out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.glob("one*")] == ["one.dump"]
    done = await asyncio.to_thread(cli, "restore", str(file), **named(restored))
    assert done.code == 0, done
    assert await misplaced(restored) == []
    again = RunningServer(restored, tmp_path / "again").start()
    try:
        async with aiohttp.ClientSession() as http:
            api = Api(again, http, token_for(await business_of(restored)))
            for booking_id in before:
                assert (await api.get(f"bookings/{booking_id}")).json["status"] == "confirmed"
            place = Place(api, place.professional_id, place.service_id, place.client_id, place.day)
            taken = await api.post("bookings", place.booking(place.at(0)))
            assert taken.status == 409, taken
            await book(place, place.at(0, day=90))
    finally:
        again.kill()


async def _book_on(place: Place, stop: asyncio.Event) -> int:
    made = 0
    while not stop.is_set():
        await book(place, place.at(made // 2 % 24, 30 * (made % 2), day=2 + made // 48))
        made += 1
    return made


@pytest.fixture
def filled(postgres: TestPostgres) -> str:
    """A database with the schema and some rows."""
    dsn = postgres.new_database_sync()

    async def fill() -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute("INSERT INTO shards (id, epoch, seq) SELECT n, n, n FROM generate_series(0, 63) AS n")
        await connection.execute(
            "INSERT INTO businesses (id, slug, name, time_zone)"
            " SELECT gen_random_uuid(), 'b' || n, E'Ünï\\n\\t''\"', 'UTC' FROM generate_series(1, 50) AS n"
        )
        await connection.close()

    asyncio.run(fill())
    return dsn


def test_it_comes_back_row_by_row_or_not_at_all(filled: str, postgres: TestPostgres, tmp_path: Path) -> None:
    """Of a file that is cut off nothing is restored."""
    whole, cut = tmp_path / "whole.dump", tmp_path / "cut.dump"
    other = asyncio.run(postgres.empty_database())
    dump(filled, whole)
    for bad in (whole.read_bytes()[:-2000], os.urandom(1000), b""):
        cut.write_bytes(bad)
        with pytest.raises(BackupError, match="pg_restore"):
            restore(other, cut)
    assert asyncio.run(rows(other)) == {}
    restore(other, whole)
    assert asyncio.run(rows(other)) == asyncio.run(rows(filled))


def test_nothing_is_written_over(filled: str, tmp_path: Path) -> None:
    """Neither a file nor a database."""
    file, half = tmp_path / "mine.dump", tmp_path / "other.dump.part"
    file.write_text("mine")
    with pytest.raises(BackupError, match=r"mine\.dump is there already"):
        dump(filled, file)
    assert file.read_text() == "mine"
    half.write_text("half")
    with pytest.raises(BackupError, match=r"other\.dump\.part"):
        dump(filled, tmp_path / "other.dump")
    assert half.read_text() == "half", "it may be another's that is being written"
    with pytest.raises(BackupError, match="not empty"):
        restore(filled, file)
    with pytest.raises(BackupError, match="no file"):
        restore(filled, tmp_path / "nothing")


def test_a_database_that_is_away_is_told_of(cli: Cli, tmp_path: Path) -> None:
    away = named("postgresql://x:secret-word@127.0.0.1:1/x")
    done = cli("backup", str(tmp_path / "x.dump"), **away)
    one_line(done)
    assert "secret-word" not in done.err
    assert list(tmp_path.glob("x*")) == []


@pytest.mark.parametrize(
    ("dsn", "address", "password"),
    [
        ("postgresql://u:p%40ss@h:5432/d?sslmode=require", "postgresql://u@h:5432/d?sslmode=require", "p@ss"),
        ("postgresql://postgres:@/postgres?host=/a b/c", "postgresql://postgres@/postgres?host=/a%20b/c", None),
        ("postgres://h/d?user=u&password=x", "postgres://h/d?user=u", "x"),
        ("postgres://h/d", "postgres://h/d", None),
        ("postgres://u@h/d", "postgres://u@h/d", None),
    ],
)
def test_passwords_are_taken_out_of_addresses(dsn: str, address: str, password: str | None) -> None:
    assert without_password(dsn) == (address, password)

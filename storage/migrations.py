"""Migrations: plain SQL, up and down, applied by pogo-migrate under an advisory lock."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import asyncpg
from pogo_core.util import migrate
from pogo_core.util.sql import ensure_pogo_sync, read_migrations

from storage.postgres import CONNECT_TIMEOUT_S
from storage.queries import SQL_DIR

MIGRATIONS_DIR: Final = SQL_DIR / "migrations"
_LOCK: Final = 0x510_7CA57
_quiet: Final = logging.getLogger("slotcast.migrations")


class MigrationState(NamedTuple):
    id: str
    applied: bool


@asynccontextmanager
async def _locked(dsn: str) -> AsyncGenerator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        yield connection
    finally:
        await connection.close()


async def up(dsn: str) -> None:
    """Applies what is missing; nodes that start together wait for each other."""
    async with _locked(dsn) as connection:
        # To apply is to parse all of them first, which is a good part of a start.
        if not all(m.applied for m in await _migrations(connection)):
            await migrate.apply(connection, MIGRATIONS_DIR, schema_name="public", logger=_quiet)


async def down(dsn: str, count: int) -> None:
    """Takes back the last `count` migrations, data included."""
    async with _locked(dsn) as connection:
        await migrate.rollback(connection, MIGRATIONS_DIR, schema_name="public", count=count, logger=_quiet)


async def status(dsn: str) -> list[MigrationState]:
    async with _locked(dsn) as connection:
        return await _migrations(connection)


async def _migrations(connection: asyncpg.Connection) -> list[MigrationState]:
    await ensure_pogo_sync(connection)
    found = await read_migrations(MIGRATIONS_DIR, connection, schema_name="public")
    return [MigrationState(m.id, m.applied) for m in sorted(found, key=lambda m: m.id)]

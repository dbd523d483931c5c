"""Connections. Every acquire, connect and query has a timeout, and a lost database is one kind of error."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, Final

import asyncpg

from protocol import limits
from protocol.errors import Refused
from storage.meter import Meter
from storage.queries import sql

CONNECT_TIMEOUT_S: Final = 5
ACQUIRE_TIMEOUT_S: Final = 3.0
QUERY_TIMEOUT_S: Final = 10.0

CLIENT_ERRORS: Final = (
    OSError,
    TimeoutError,
    EOFError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""What the driver raises, beside errors of Postgres itself, when a connection is lost or was lost before."""
_LOST_CLASSES: Final = ("08", "25", "40", "53", "57")
"""SQLSTATE classes: connection, read-only after a failover, rolled back, out of resources, operator intervention."""


def is_lost_connection(error: asyncpg.PostgresError) -> bool:
    """Whether an error says that this database cannot be used now, rather than that a statement was wrong."""
    return isinstance(error, asyncpg.PostgresConnectionError) or sqlstate(error)[:2] in _LOST_CLASSES


def sqlstate(error: BaseException) -> str:
    """The error's SQLSTATE; that of a lost connection for one that has none."""
    return getattr(error, "sqlstate", None) or "08000"


async def connect_writer(dsn: str, name: str) -> asyncpg.Connection:
    """A connection of its own for a journal writer.

    Its one big statement is planned once: planning it anew took a fifth of what a small batch costs. A plan made while
    tables were small must not scan them all for ever, hence no sequential scans.
    """
    return await asyncpg.connect(
        dsn,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=limits.commit_timeout_s,
        server_settings={
            "application_name": f"slotcast {name}",
            "idle_in_transaction_session_timeout": "10000",
            "plan_cache_mode": "force_generic_plan",
            "enable_seqscan": "off",
            "jit": "off",
        },
    )


class Database:
    """A pool for everything but the journal's batches. A database that cannot be reached raises
    `Refused(unavailable)`; other errors of Postgres pass through.
    """

    def __init__(self, pool: asyncpg.Pool, meter: Meter) -> None:
        self._pool = pool
        self._meter = meter

    @classmethod
    async def open(cls, dsn: str, size: int, meter: Meter) -> "Database":
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=QUERY_TIMEOUT_S,
            # Plans are kept. One that was made while a table was small must not scan it all when it has grown.
            # Compiling them takes longer than they do.
            server_settings={"application_name": "slotcast", "enable_seqscan": "off", "jit": "off"},
        )
        return cls(pool, meter)

    @property
    def in_use(self) -> int:
        return self._pool.get_size() - self._pool.get_idle_size()

    async def fetch(self, query: str, *args: object) -> "list[asyncpg.Record]":
        """All rows of the named query."""
        async with self._connection() as connection:
            return await connection.fetch(sql(query), *args)

    async def row(self, query: str, *args: object) -> "asyncpg.Record | None":
        """The first row of the named query."""
        async with self._connection() as connection:
            return await connection.fetchrow(sql(query), *args)

    async def value(self, query: str, *args: object) -> Any:
        """The first column of the first row of the named query."""
        async with self._connection() as connection:
            return await connection.fetchval(sql(query), *args)

    @asynccontextmanager
    async def transaction(self) -> "AsyncGenerator[Transaction]":
        """Commits on leaving, rolls back on an exception."""
        async with self._connection() as connection:
            transaction = Transaction(connection)
            async with connection.transaction():
                yield transaction
        for callback in transaction.after_commit:
            callback()

    async def close(self, timeout_s: float = 3.0) -> None:
        """Politely, or after `timeout_s` as it comes."""
        try:
            await asyncio.wait_for(self._pool.close(), timeout_s)
        except CLIENT_ERRORS:
            # It hangs, or its connections are gone already.
            self._pool.terminate()

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Any]:
        started = perf_counter()
        connected = False
        try:
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
                connected = True
                yield connection
        except CLIENT_ERRORS as error:
            raise Refused("unavailable") from error
        except asyncpg.PostgresError as error:
            # Whatever Postgres has against a new connection, nothing was asked of it yet.
            if not connected or is_lost_connection(error):
                raise Refused("unavailable") from error
            if isinstance(error, asyncpg.UniqueViolationError):
                raise Refused("conflict", f"it exists already ({getattr(error, 'constraint_name', '')})") from error
            raise
        finally:
            self._meter.query(perf_counter() - started)


class Transaction:
    """Named queries inside one transaction. `after_commit` is called, in order, once it is durable."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.after_commit: list[Callable[[], None]] = []

    async def fetch(self, query: str, *args: object) -> "Sequence[asyncpg.Record]":
        return await self._connection.fetch(sql(query), *args)

    async def row(self, query: str, *args: object) -> "asyncpg.Record | None":
        return await self._connection.fetchrow(sql(query), *args)

    async def value(self, query: str, *args: object) -> Any:
        return await self._connection.fetchval(sql(query), *args)

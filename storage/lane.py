"""What a writer sends batches by, and how it learns what became of one whose answer was lost."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg

from actors.ports import Entry
from protocol import limits
from storage.batch import Batch, Fence
from storage.postgres import connect_writer, is_lost_connection
from storage.queries import sql


class Lane:
    """A connection of its own, and the task that waits for its answers."""

    def __init__(self, dsn: str, name: str) -> None:
        self.name = name
        self.connection: asyncpg.Connection | None = None
        self.waiter: asyncio.Future[None] | None = None
        self._dsn = dsn
        self._statement: Any = None

    async def connect(self) -> None:
        self.connection = await connect_writer(self._dsn, self.name)
        self._statement = await self.connection.prepare(sql("append_batch"))

    def disconnect(self) -> None:
        connection, self.connection, self._statement = self.connection, None, None
        if connection is not None:
            # A polite close would wait for the statement whose fate is unknown.
            connection.terminate()

    async def write(self, arguments: Sequence[Any]) -> None:
        if self._statement is None:
            raise asyncpg.InterfaceError("not connected")
        await self._statement.fetch(*arguments, timeout=limits.commit_timeout_s)

    def wake(self) -> bool:
        """Whether it slept."""
        if self.waiter is None or self.waiter.done():
            return False
        self.waiter.set_result(None)
        return True


class Flight:
    """Entries under way. `batch` is absent when it could not even be made; `error` says why it did not come through."""

    __slots__ = ("batch", "entries", "error", "landed")

    def __init__(self, entries: Sequence[Entry], batch: Batch | None, error: Exception | None) -> None:
        self.entries = entries
        self.batch = batch
        self.error = error
        self.landed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def unknown(self) -> bool:
        """Whether it may have been written although it failed."""
        error = self.error
        if error is None or self.batch is None:
            return False
        return not isinstance(error, asyncpg.PostgresError) or is_lost_connection(error)


async def retake(
    connection: asyncpg.Connection, batches: Sequence[Batch], epochs: dict[int, int]
) -> tuple[dict[Batch, bool], dict[int, Fence]]:
    """Takes new epochs; tells which batches had been written (of each all, or nothing), and the new fences.

    A shard that is missing there is no longer what `epochs` says, so another owner may have it.
    """
    rows = await connection.fetch(
        sql("retake_shards"), list(epochs), list(epochs.values()), timeout=limits.commit_timeout_s
    )
    now = {r["id"]: Fence(r["epoch"], r["seq"]) for r in rows}
    return {batch: await _was_written(connection, batch, epochs, now) for batch in batches}, now


async def _was_written(
    connection: asyncpg.Connection, batch: Batch, epochs: dict[int, int], now: dict[int, Fence]
) -> bool:
    for shard, seq in batch.seq_after.items():
        if seq == batch.seq_before[shard]:
            continue
        if shard in now:
            return now[shard].seq >= seq
        return bool(
            await connection.fetchval(sql("written_by"), shard, seq, epochs[shard], timeout=limits.commit_timeout_s)
        )
    return False

"""A queue on a real database, workers on it, and a journal to follow."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from jobs.job_queue import JobQueue
from jobs.queue import Digest, Handler, Job, JournalEvent, NewJob
from jobs.worker import Worker
from protocol.ids import new_id
from storage.meter import NullMeter
from storage.postgres import Database
from tests.support.server import eventually

SHARDS = 16


def spawn(work: Any, name: str) -> "asyncio.Task[Any]":
    return asyncio.get_running_loop().create_task(work, name=name)


class Workshop:
    """`db` looks at the tables past the queue."""

    def __init__(self, dsn: str, database: Database, db: asyncpg.Connection) -> None:
        self.dsn = dsn
        self.database = database
        self.db = db
        self.queue = JobQueue(database)

    @classmethod
    @asynccontextmanager
    async def open(cls, dsn: str) -> "AsyncIterator[Workshop]":
        """With nothing in the queue, no followers and an empty journal."""
        db = await asyncpg.connect(dsn)
        await db.execute("TRUNCATE jobs, followers, events, shards")
        await db.execute("INSERT INTO shards (id) SELECT generate_series(0, $1 - 1)", SHARDS)
        database = await Database.open(dsn, 6, NullMeter())
        try:
            yield cls(dsn, database, db)
        finally:
            await database.close()
            await db.close()

    async def put(self, *jobs: NewJob) -> int:
        return await self.queue.put_alone(*jobs)

    async def jobs(self, where: str = "true") -> list[dict[str, Any]]:
        return [dict(r) for r in await self.db.fetch(f"SELECT * FROM jobs WHERE {where} ORDER BY place")]

    async def states(self) -> dict[str, int]:
        rows = await self.db.fetch("SELECT state, count(*) FROM jobs GROUP BY state")
        return {r["state"]: r["count"] for r in rows}

    async def all_ended(self) -> bool:
        return bool(
            await eventually(lambda: self.db.fetchval("SELECT NOT EXISTS (SELECT FROM jobs WHERE state = ANY ($1))",
                                                      ["waiting", "behind", "working"]), 30)
        )  # fmt: skip

    @asynccontextmanager
    async def working(
        self, handlers: Mapping[str, Handler], slots: int = 8, lease_s: float = 30.0
    ) -> AsyncIterator[Worker]:
        worker = Worker(self.queue, handlers, slots, lease_s, spawn)
        running = spawn(worker.run(), "worker")
        try:
            yield worker
        finally:
            await worker.stop(0.0)
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    async def happen(self, *counts: int, business_id: str | None = None) -> None:
        """So many events in shard 0, 1, …, after those that are there."""
        for shard, count in enumerate(counts):
            await self.db.execute(
                """
                WITH s AS (SELECT seq FROM shards WHERE id = $1), e AS (
                    INSERT INTO events (shard, seq, calendar_id, version, business_id, epoch, type, at, by, request_id,
                                        data)
                    SELECT $1, s.seq + n, $3, s.seq + n, $4, 1, 'booking.booked', now(), 'test', 'r',
                           jsonb_build_object('n', s.seq + n)
                    FROM s, generate_series(1, $2) AS n)
                UPDATE shards SET seq = seq + $2 WHERE id = $1
                """,
                shard, count, f"00000000-0000-7000-8000-{shard:012x}", business_id or new_id(),
            )  # fmt: skip


class Recorder:
    """A follower that makes a job of each event, and writes down itself what it has read."""

    def __init__(self, name: str = "recorder") -> None:
        self.name = name
        self.fails_on: set[tuple[int, int]] = set()
        self.batches: list[int] = []

    async def digest(self, events: Sequence[JournalEvent], transaction: Any) -> Digest:
        self.batches.append(len(events))
        for event in events:
            if (event.shard, event.seq) in self.fails_on:
                raise ValueError(f"cannot read {event.seq}")
        return Digest(jobs=[self.job(e) for e in events])

    def job(self, event: JournalEvent) -> NewJob:
        return NewJob(kind=self.name, payload={"shard": event.shard, "seq": event.seq})


class Hand:
    """A handler that remembers what it was given. With `stuck` it does not come back until it is set."""

    def __init__(self, stuck: asyncio.Event | None = None) -> None:
        self.seen: list[Job] = []
        self.stuck = stuck

    async def __call__(self, job: Job) -> None:
        self.seen.append(job)
        if self.stuck is not None:
            await self.stuck.wait()

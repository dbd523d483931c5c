"""The queue of jobs in the database: jobs are put in with whatever else a transaction writes, and taken by workers.

A worker has what it takes under a lease, and ends it under the same: a job that was given to somebody else meanwhile is
theirs to end.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec
import orjson

from jobs.database import Database, Queries, Transaction
from jobs.queue import Job, NewJob
from protocol import limits
from protocol.ids import new_id


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a job in hand: `done`, `dead`, or `waiting` for `pause_s`. `tries` is 0 if it was not tried.

    `lane` is the job's.
    """

    id: str
    holder: str
    lane: str | None
    state: str
    reason: str | None = None
    pause_s: float = 0.0
    tries: int = 1


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs may be taken: in all, of each kind, and of businesses: `business` unless `businesses` says less."""

    jobs: int
    kinds: Mapping[str, int]
    business: int
    businesses: Mapping[str, int] = {}


class JobQueue:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._hear: list[Callable[[], None]] = []

    # For those who have work

    async def put(self, jobs: Sequence[NewJob], transaction: Transaction) -> int:
        """Puts jobs in as a part of the transaction; how many were not known already. Their order is kept in lanes."""
        return (await self.change(jobs, (), transaction))[0]

    async def withdraw(self, keys: Sequence[str], transaction: Transaction) -> int:
        """Takes jobs out that nobody has begun; how many."""
        return (await self.change((), keys, transaction))[1]

    async def change(
        self, jobs: Sequence[NewJob], withdrawn: Sequence[str], transaction: Transaction
    ) -> tuple[int, int]:
        """First withdraws by key and then puts in; how many were put in, and how many withdrawn."""
        for job in jobs:
            _check(job)
        lanes = {j.lane for j in jobs if j.lane is not None}
        if withdrawn:
            lanes |= {r["lane"] for r in await transaction.fetch("lanes_of_keys", withdrawn)}
        # All at once and before any row: whoever moves a job of a lane up must not wait for who waits for the lane.
        if lanes:
            await transaction.value("lock_lanes", sorted(lanes))
        gone = await transaction.fetch("withdraw_jobs", withdrawn) if withdrawn else ()
        added: Sequence[Any] = ()
        if jobs:
            added = await transaction.fetch("put_jobs", msgspec.json.encode(jobs).decode(), [new_id() for _ in jobs])
        if lanes:
            await transaction.fetch("promote_jobs", sorted(lanes))
        if added:
            transaction.after_commit.append(self._tell)
        return len(added), len(gone)

    async def put_alone(self, *jobs: NewJob) -> int:
        """In a transaction of its own, for those that have none."""
        async with self._database.transaction() as transaction:
            return await self.put(jobs, transaction)

    async def bury(self, job: NewJob, reason: str, transaction: Transaction) -> None:
        """Puts a job among the dead at once, for an operator to look at and to retry."""
        text = msgspec.json.encode([job]).decode()
        await transaction.value("bury_job", text, new_id(), short(reason))

    def on_put(self, hear: Callable[[], None]) -> None:
        """Calls `hear` whenever jobs were put in here. What others put in is found by looking."""
        self._hear.append(hear)

    def _tell(self) -> None:
        for hear in self._hear:
            hear()

    # For workers

    async def take(self, room: Room, lease_s: float) -> tuple[str, list[Job]]:
        """The holder that they were taken under, and jobs that are due, the oldest first."""
        holder = new_id()
        full = [b for b, left in room.businesses.items() if left <= 0]
        some = {b: left for b, left in room.businesses.items() if left > 0}
        kinds = {kind: left for kind, left in room.kinds.items() if left > 0}
        if not kinds or room.jobs <= 0:
            return holder, []
        rows = await self._database.fetch(
            "take_jobs", holder, lease_s, [*kinds], [*kinds.values()], room.jobs, full,
            [*some], [*some.values()], room.business,
        )  # fmt: skip
        return holder, [_job(r) for r in sorted(rows, key=lambda r: r["place"])]

    async def finish(self, endings: Sequence[Ending]) -> None:
        """All or none. Those of somebody else by now are left as they are."""
        text = msgspec.json.encode(endings).decode()
        lanes = sorted({e.lane for e in endings if e.lane is not None and e.state != "waiting"})
        if not lanes:
            await self._database.fetch("finish_jobs", text)
            return
        async with self._database.transaction() as transaction:
            await transaction.value("lock_lanes", lanes)
            await transaction.fetch("finish_jobs", text)
            await transaction.fetch("promote_jobs", lanes)

    async def renew(self, held: Mapping[str, str], lease_s: float) -> set[str]:
        """`held` is job → holder. Those that are still theirs."""
        rows = await self._database.fetch("renew_jobs", [*held], [*held.values()], lease_s)
        return {str(r["id"]) for r in rows}

    async def take_back(self) -> int:
        """Frees what workers had that are gone; how many jobs."""
        overdue = await self._database.fetch("overdue_jobs", limits.jobs_at_once_max)
        if not overdue:
            return 0
        lanes = sorted({r["lane"] for r in overdue if r["lane"] is not None})
        async with self._database.transaction() as transaction:
            if lanes:
                await transaction.value("lock_lanes", lanes)
            rows = await transaction.fetch("take_back_jobs", [r["id"] for r in overdue])
            if lanes:
                await transaction.fetch("promote_jobs", lanes)
        return len(rows)

    # For operators

    async def retry(self, job_id: str, lane: str | None, q: Transaction) -> None:
        """From the first try on, now. The job is locked, by `storage.jobs.job_to_change`."""
        await q.value("retry_job", job_id)
        await self._move_up([lane], q)
        q.after_commit.append(self._tell)

    async def drop(self, job_id: str, lane: str | None, q: Transaction) -> None:
        """The job is locked, as above."""
        await q.value("drop_job", job_id)
        await self._move_up([lane], q)

    async def forget_ended(self) -> int:
        """Some of what ended long ago; how many."""
        done, dead = limits.job_done_kept_s, limits.job_dead_kept_s
        return len(await self._database.fetch("forget_ended_jobs", done, dead, limits.jobs_forgotten_at_once_max))

    async def _move_up(self, lanes: Collection[str | None], q: Queries) -> None:
        left = sorted({lane for lane in lanes if lane is not None})
        if left:
            await q.value("lock_lanes", left)
            await q.fetch("promote_jobs", left)


def short(reason: str) -> str:
    """Fit for the database, whatever an error said."""
    return printable(reason)[: limits.job_reason_chars_max]


def printable(text: str) -> str:
    return text.encode(errors="replace").decode().replace("\0", "")


def _check(job: NewJob) -> None:
    """What would be refused by the database, or stand there for ever, is told to who made it."""
    for name, text in (("kind", job.kind), ("key", job.key), ("lane", job.lane)):
        if text is not None and not 0 < len(text) <= limits.job_key_chars_max:
            raise ValueError(f"a job's {name} has 1 to {limits.job_key_chars_max} characters")
    if not 0 < job.attempts_max <= limits.job_attempts_max:
        raise ValueError(f"a job of kind {job.kind} is tried 1 to {limits.job_attempts_max} times")
    if len(msgspec.json.encode(job.payload)) > limits.job_payload_bytes_max:
        raise ValueError(f"the payload of a job of kind {job.kind} is too long")


def _job(row: Any) -> Job:
    return Job(
        id=str(row["id"]),
        kind=row["kind"],
        payload=orjson.loads(row["payload"]) if row["payload"] is not None else None,
        business_id=str(row["business_id"]) if row["business_id"] is not None else None,
        key=row["key"],
        attempt=row["attempts"],
        attempts_max=row["attempts_max"],
        lane=row["lane"],
    )

"""The persistent queue of work to do after a booking, as followers fill it and workers empty it.

`jobs.job_queue` keeps it in the database, `jobs.worker` does what is in it. A job is done at least once: a worker that
dies between doing it and saying so leaves it to be done again, under the same id. What is done keeps its key, but not
its payload.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """`kind` chooses the handler, `payload` is JSON for it, `run_at` is microseconds UTC (0: now).

    A job whose `key` is known already (waiting, done lately or dead) is not put in again; `withdraw` takes jobs out by
    the key, as long as nobody has begun them. Jobs of one `lane` are done one at a time, in the order they came.
    `attempts_max` tries, then it is dead.
    """

    kind: str
    payload: Any
    business_id: str | None = None
    run_at: int = 0
    key: str | None = None
    lane: str | None = None
    attempts_max: int = 8


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job that a worker has in hand. `attempt` counts from 1."""

    id: str
    kind: str
    payload: Any
    business_id: str | None
    key: str | None
    attempt: int
    attempts_max: int
    lane: str | None = None


class Later(Exception):
    """Raised by a handler: try again, after `seconds` or, without, the usual pause. `reason` is kept with the job.

    Without `tried` it was not even tried, and does not count.
    """

    def __init__(self, reason: str, seconds: float | None = None, *, tried: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seconds = seconds
        self.tried = tried


class Hopeless(Exception):
    """Raised by a handler: no other try would end better; the job is dead at once, with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


Handler = Callable[[Job], Awaitable[None]]
"""Whatever else it raises is told as the reason, and the job is tried again."""


class JournalEvent(msgspec.Struct, frozen=True, gc=False):
    """One event as followers get it. `at` is microseconds UTC; `data` is what `protocol.events` encodes."""

    shard: int
    seq: int
    calendar_id: str
    version: int
    business_id: str
    at: int
    by: str
    request_id: str
    type: str
    data: dict[str, Any]


class Digest(msgspec.Struct, kw_only=True):
    """What a follower makes of events: jobs to put in, and keys of jobs to withdraw first."""

    jobs: list[NewJob] = []
    withdrawn: list[str] = []


class Follower(Protocol):
    """Reads events, those of each shard in order.

    The jobs it returns, its own statements on `transaction`, and its cursors are committed together: as long as it does
    nothing else, each event is digested once.
    """

    name: str

    async def digest(self, events: Sequence[JournalEvent], transaction: Any) -> Digest: ...

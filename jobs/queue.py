"""The persistent queue of work to do after a booking, as followers fill it and workers empty it.

`storage.job_queue` implements it on Postgres. A job is done at least once: a worker that dies between doing it and saying so
leaves it to be done again, under the same id.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """`kind` chooses the handler, `payload` is JSON for it, `run_at` is microseconds UTC (0: now).

    A job whose `key` is known already (waiting, done lately or dead) is not put in again; `withdraw` takes jobs out by the key.
    Jobs of one `lane` are done one at a time, in the order they came. `attempts_max` tries, then it is dead.
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


class Later(Exception):
    """Raised by a handler: try again, after `seconds` or, without, after the usual pause. `reason` is kept with the job."""

    def __init__(self, reason: str, seconds: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seconds = seconds


class Hopeless(Exception):
    """Raised by a handler: no other try would end better; the job is dead at once, with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


Handler = Callable[[Job], Awaitable[None]]
"""Whatever else it raises is told as the reason, and the job is tried again."""


class JournalEvent(msgspec.Struct, frozen=True, gc=False):
    """One event of the journal as followers get it. `at` is microseconds UTC; `data` as `protocol.events` encodes it."""

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
    """Reads a shard's events in order, each once as long as what it does stays in the digest or the transaction.

    The jobs it returns, its own statements on `transaction`, and its cursor are committed together.
    """

    name: str

    async def digest(self, events: Sequence[JournalEvent], transaction: Any) -> Digest: ...

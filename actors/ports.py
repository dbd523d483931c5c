"""What the runtime needs from the outside, and the types that pass between them.

`storage` implements `Journal` and `CalendarStore` on Postgres and in memory; one contract suite runs on both.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence, Set
from enum import Enum
from hashlib import blake2b
from typing import Any, Protocol

import msgspec

from actors.calendar.commands import Command
from actors.calendar.decide import Refusal
from actors.calendar.state import Calendar, Service
from protocol.events import AnyEvent, Event


class Clock(Protocol):
    def now_us(self) -> int:
        """Microseconds since the epoch, UTC."""
        ...


class Outcome(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What became of a command: `event` is the one that answers it, or `refusal` says why there is none.

    `version` is the calendar's after the command (or that the refusal rests on), `at` the time of the decision,
    `booking_version` that of the booking it concerns. Stored with the idempotency key, so a second
    request gets the same outcome. `about` is the id that a command named which had nothing to change.
    """

    version: int
    at: int
    event: AnyEvent | None = None
    refusal: Refusal | None = None
    booking_version: int = 0
    about: str = ""


class Guest(msgspec.Struct, frozen=True, gc=False):
    """With what was typed stands the one spelling that it is compared by. `locale`: in which language they booked."""

    name: str
    email: str | None = None
    phone: str | None = None
    email_normal: str | None = None
    phone_normal: str | None = None
    locale: str | None = None


class Details(msgspec.Struct, frozen=True, gc=False):
    """What a row keeps beside its events: text, and people's data.

    With `guest`, the command's `client_id` is a new client to be stored together with the booking.
    """

    notes: str | None = None
    reason: str | None = None
    guest: Guest | None = None
    manage_hash: bytes | None = None
    description: str | None = None
    answers: dict[str, str | bool] | None = None
    manage_hashes: dict[str, bytes] | None = None
    """Of a series: by booking."""


NO_DETAILS = Details()


class IdempotencyKey(msgspec.Struct, frozen=True, gc=False):
    """`scope` is the caller the key belongs to; `fingerprint` is a digest of the whole request."""

    scope: str
    key: str
    fingerprint: bytes


class Caller(msgspec.Struct, frozen=True, gc=False):
    """For whom a command runs. `by` is written to the journal, as in `client:0198…` or `service:bot`."""

    business_id: str
    by: str
    request_id: str


class Work(msgspec.Struct, eq=False):
    """A command on its way: from the edge, through one decision, to its answer in `future`.

    `deadline` is on the loop's clock. `tries` counts decisions that a lost commit made void.
    """

    calendar_id: str
    command: Command
    caller: Caller
    future: "asyncio.Future[Outcome]"
    deadline: float
    key: IdempotencyKey | None = None
    details: Details = NO_DETAILS
    tries: int = 0

    def __repr__(self) -> str:
        # People's data must not get into logs by way of a traceback.
        return f"<Work {type(self.command).__name__} on {self.calendar_id}>"


class Entry(msgspec.Struct, eq=False):
    """A decided command in the journal's hands: its events carry versions `first_version`, +1, ….

    Without events it only stores the outcome of a refused command under its key.
    """

    work: Work
    shard: int
    events: Sequence[Event]
    first_version: int
    outcome: Outcome
    owner: Any
    changes: Any = None

    def __repr__(self) -> str:
        return f"<Entry of {self.work!r}, {len(self.events)} events from {self.first_version}>"


class Loss(Enum):
    """Why an entry was not written. In every case nothing of it is in the database."""

    UNAVAILABLE = "unavailable"
    """The database could not be reached; try later."""
    FENCED = "fenced"
    """Another node owns the shard now."""
    GUARD = "guard"
    """A constraint refused the row: the state in memory was wrong. Counted and alarmed."""
    CODE_TAKEN = "code_taken"
    KEY_TAKEN = "key_taken"
    NEIGHBOUR = "neighbour"
    """It was decided on a state that another lost entry of its calendar had changed."""


class JournalListener(Protocol):
    def committed(self, entries: Sequence[Entry]) -> None:
        """The entries are durable; called once per batch, in journal order."""
        ...

    def lost(self, entries: Sequence[Entry], loss: Loss) -> None:
        """Nothing of these entries was written."""
        ...

    def unsettled(self, entries: Sequence[Entry]) -> None:
        """What became of these entries cannot be known for now; called again and again until it is told."""
        ...

    def fenced(self, shards: Set[int]) -> None:
        """These shards are not this journal's any more, or were not for a while: what is in memory of their calendars
        is not to be trusted.
        """
        ...


class Journal(Protocol):
    """Shards come and go while it runs; calls for the same shard wait for each other."""

    def append(self, entry: Entry) -> None:
        """Joins the batch that is gathering; the fate is told to the listener.

        Raises `Refused(moved | overloaded | unavailable)` without taking the entry.
        """
        ...

    def owns(self, shard: int) -> bool: ...

    @property
    def owned(self) -> Mapping[int, int]:
        """The shards that entries are taken for, and the epoch of each. Always the same object, kept up to date."""
        ...

    async def take(self, shards: Collection[int]) -> dict[int, int]:
        """Advances the epochs, so that older owners are fenced, and takes entries from then on: shard → epoch.

        What is owned already stays as it is. Raises `Refused(unavailable)`: then nothing is owned that was not before.
        """
        ...

    async def release(self, shards: Collection[int]) -> None:
        """Takes no more entries for them, and returns when the fate of all that were taken has been told.

        Bounded by `limits.release_timeout_s`: what waits then is lost, and what is in flight is told when it is known;
        whoever takes the shard fences it off.
        """
        ...

    async def verify(self) -> set[int]:
        """Shards that were taken by others since it was last asked; they are dropped.

        Raises `Refused(unavailable)` when that cannot be told now.
        """
        ...


class Loaded(msgspec.Struct):
    """A calendar as the database has it: everything an actor starts from."""

    calendar: Calendar
    business_id: str
    shard: int
    recent_keys: list[int]


class Terms(msgspec.Struct):
    """What the catalogue says of a calendar: what can be booked there, on which dates its business is closed, and where
    it is.
    """

    services: Mapping[str, Service]
    holidays: frozenset[str]
    location_id: str | None = None


class StoredOutcome(msgspec.Struct):
    calendar_id: str
    fingerprint: bytes
    outcome: Outcome


class CalendarStore(Protocol):
    async def load(self, calendar_ids: Sequence[str]) -> dict[str, Loaded]:
        """The calendars that exist among those asked for, in one query.

        Raises `Refused(unavailable)` when the database cannot be reached.
        """
        ...

    async def terms_of(self, calendar_ids: Sequence[str]) -> dict[str, Terms]:
        """What holds in each of the calendars now."""
        ...

    async def business_of(self, calendar_id: str) -> str | None:
        """Whose calendar it is, if there is one."""
        ...

    async def find_outcome(self, scope: str, key: str) -> StoredOutcome | None:
        """What was stored under an idempotency key in the last 24 hours."""
        ...


def key_hash(scope: str, key: str) -> int:
    """A small stand-in for a key in memory: 63 bits, stable across processes, to fit a bigint."""
    return int.from_bytes(blake2b(f"{scope}\0{key}".encode(), digest_size=8).digest(), "big") >> 1

"""What the runner tells the generator of `cluster` and what it hears back."""

import msgspec

from bench.live import Failed, View
from bench.load import Job, Outcome


class Together(msgspec.Struct, frozen=True, kw_only=True, tag="together"):
    """Jobs carried out at the same time, one for each node. What they watch is read once for all."""

    jobs: list[Job]
    watch: dict[str, int]


class Measured(msgspec.Struct, frozen=True, kw_only=True, tag="measured"):
    """All jobs as one."""

    outcome: Outcome


class Follow(msgspec.Struct, frozen=True, kw_only=True, tag="follow"):
    """One viewer on one node, bookings and cancellations one after the other on another or the same.

    Changes go to the port of the view.
    """

    view: View
    viewer_port: int
    client_id: str
    starts: list[str]
    seconds: float
    warmup: float
    watch: dict[str, int]


class Followed(msgspec.Struct, frozen=True, kw_only=True, tag="followed"):
    """From asking for a change until the viewer has it, in ms; CPU in seconds."""

    changes: int
    seconds: float
    p50: float
    p99: float
    cpu: dict[str, float]
    others_cpu: float


class Begin(msgspec.Struct, frozen=True, kw_only=True, tag="begin"):
    """People begin to book, at even intervals on each calendar, whether or not earlier requests were answered.

    Each asks a random node; without a definite answer they ask again, any node, with the same key.
    """

    ports: list[int]
    token: str
    service: str
    client: str
    often: list[str]
    """Calendars of which every moment counts, and how often each is booked."""
    often_every_s: float
    others: list[str]
    others_every_s: float
    first: int
    """Unix seconds of the earliest start; each calendar's requests are for one start after the other."""
    step: int
    seed: int


class Begun(msgspec.Struct, frozen=True, kw_only=True, tag="begun"):
    pass


class Settle(msgspec.Struct, frozen=True, kw_only=True, tag="settle"):
    """Nobody begins anything new; wait for the last answers."""


class Told(msgspec.Struct, frozen=True, array_like=True):
    """One booking that was acknowledged. Times are those of the machine's monotonic clock, in seconds."""

    calendar: str
    due: float
    done: float
    node: str
    """Who decided."""
    id: str
    errors: list[str]
    """What was heard before the acknowledgement, by code."""


class Settled(msgspec.Struct, frozen=True, kw_only=True, tag="settled"):
    """Everything that was acknowledged; others are those who never were."""

    told: list[Told]
    never: dict[str, int]
    """What they last heard."""
    knocked: int
    """How often somebody found a port closed and went to another."""
    late: float
    """99th percentile of how long after its time the generator noticed that a request was due, in ms."""


Command = Together | Follow | Begin | Settle
Answer = Failed | Measured | Followed | Begun | Settled

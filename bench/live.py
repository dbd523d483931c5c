"""What the runner tells the live generator and what it hears back."""

from typing import Literal

import msgspec


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What all subscribers of a generator watch."""

    port: int
    token: str
    professional_id: str
    service_id: str
    from_date: str
    to_date: str
    """The last day, as YYYY-MM-DD."""
    carrier: Literal["slotcast", "engine.io"] = "slotcast"
    """How the server speaks: Slotcast's live protocol, or Socket.IO over Engine.IO 4."""


class Subscribe(msgspec.Struct, frozen=True, kw_only=True, tag="subscribe"):
    """Close what is open, open `count` sockets and subscribe each to the view."""

    view: View
    count: int


class Drive(msgspec.Struct, frozen=True, kw_only=True, tag="drive"):
    """Change the view over REST and count what arrives; times are seconds.

    In a closed loop each worker books one of its starts, waits until every subscriber has the change, cancels
    it, waits again, and goes on: as fast as the server delivers, and no faster than everybody receives. With a
    `rate` changes fall due evenly instead, whether or not the earlier ones have arrived.
    """

    client_id: str
    starts: list[str]
    """RFC 3339 starts inside the view, shared out among the workers."""
    workers: int
    """Changes under way at most; in an open loop those that find no worker free wait, and their wait counts."""
    seconds: float
    warmup: float
    watch: dict[str, int]
    rate: float = 0.0
    """Open loop: changes per second. 0 is a closed loop."""


class Change(msgspec.Struct, frozen=True, kw_only=True, tag="change"):
    """Make `count` changes one after the other, each once the one before has reached everybody."""

    client_id: str
    starts: list[str]
    count: int


class Storm(msgspec.Struct, frozen=True, kw_only=True, tag="storm"):
    """Come back `count` times with `since`, in waves of `at_once` sockets that are closed once all have caught up.

    Those that come back missed from one to `missed` of the last frames. What the sockets that stayed have seen
    is what each must be told, to the byte.
    """

    count: int
    at_once: int
    missed: int
    watch: dict[str, int]


class Lag(msgspec.Struct, frozen=True, kw_only=True, tag="lag"):
    """Open `count` more sockets with small receive buffers on the view, in place of earlier ones."""

    count: int
    receive_bytes: int


class Stall(msgspec.Struct, frozen=True, kw_only=True, tag="stall"):
    """Those of `Lag` stop reading."""


class Resume(msgspec.Struct, frozen=True, kw_only=True, tag="resume"):
    """They read again; wait until each has either caught up or found itself cut."""


Command = Subscribe | Drive | Change | Storm | Lag | Stall | Resume


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """Why the numbers must not be reported."""

    failure: str


class Subscribed(msgspec.Struct, frozen=True, kw_only=True, tag="subscribed"):
    """How long opening took, and the bytes of one snapshot."""

    seconds: float
    snapshot_bytes: int


class Changed(msgspec.Struct, frozen=True, kw_only=True, tag="changed"):
    """The version that everybody holds now, and the frames that led to it since subscribing."""

    version: int
    frames: int


class Driven(msgspec.Struct, frozen=True, kw_only=True, tag="driven"):
    """What arrived in the window; CPU in seconds, latency in ms.

    Latency ends at the last subscriber. It starts when the change was requested, in an open loop when it was due.
    """

    deliveries: int
    frames: int
    """Different frames, each of them delivered to every subscriber."""
    changes: int
    frame_bytes: float
    seconds: float
    p50: float
    p99: float
    hdr: str
    """Encoded HDR histogram of the latencies in microseconds; see `bench.histogram`."""
    cpu: dict[str, float]
    generator_cpu: float
    others_cpu: float
    settled: float = 0.0
    """Seconds after the window until the last change had reached everybody."""

    @property
    def rate(self) -> float:
        """Deliveries per second."""
        return self.deliveries / self.seconds

    def cpu_per_hundred_thousand(self, name: str) -> float:
        """CPU seconds per 100,000 deliveries of a watched process, or of `generator`."""
        spent = self.generator_cpu if name == "generator" else self.cpu.get(name, 0.0)
        return spent * 100_000 / max(1, self.deliveries)


class Weathered(msgspec.Struct, frozen=True, kw_only=True, tag="weathered"):
    """All came back and miss nothing; CPU in seconds, latency from connecting to caught up in ms."""

    count: int
    seconds: float
    wave_seconds: list[float]
    """From a wave's first connect until its last socket had caught up."""
    p50: float
    p99: float
    replayed: int
    """Frames told again, to all of them."""
    cpu: dict[str, float]
    generator_cpu: float
    others_cpu: float

    @property
    def rate(self) -> float:
        """Reconnects per second."""
        return self.count / self.seconds


class Lagging(msgspec.Struct, frozen=True, kw_only=True, tag="lagging"):
    """How many sockets of `Lag` are there, and after `Resume` what became of them."""

    count: int
    caught_up: int = 0
    """Hold the version that the others hold, without a gap that no snapshot closed."""
    snapshots: int = 0
    """Of those, how many needed a snapshot for it."""
    cut: int = 0


Answer = Failed | Subscribed | Changed | Driven | Weathered | Lagging

"""What the runner tells the live generator and what it hears back."""

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


class Subscribe(msgspec.Struct, frozen=True, kw_only=True, tag="subscribe"):
    """Open `count` sockets and subscribe each to the view."""

    view: View
    count: int


class Drive(msgspec.Struct, frozen=True, kw_only=True, tag="drive"):
    """Change the view in a closed loop over REST and count what arrives; times are seconds.

    Each worker books one of its starts, waits until every subscriber has the change, cancels it, waits
    again, and goes on: as fast as the server delivers, and no faster than everybody receives.
    """

    client_id: str
    starts: list[str]
    """RFC 3339 starts inside the view, shared out among the workers."""
    workers: int
    seconds: float
    warmup: float
    watch: dict[str, int]


Command = Subscribe | Drive


class Subscribed(msgspec.Struct, frozen=True, kw_only=True):
    """How long opening took, and the bytes of one snapshot."""

    seconds: float
    snapshot_bytes: int


class Driven(msgspec.Struct, frozen=True, kw_only=True):
    """What arrived in the window; CPU in seconds, latency from request to the last subscriber in ms."""

    deliveries: int
    frames: int
    """Different frames, each of them delivered to every subscriber."""
    changes: int
    frame_bytes: float
    seconds: float
    p50: float
    p99: float
    cpu: dict[str, float]
    generator_cpu: float
    others_cpu: float
    failure: str = ""

    @property
    def rate(self) -> float:
        """Deliveries per second."""
        return self.deliveries / self.seconds

    def cpu_per_hundred_thousand(self, name: str) -> float:
        """CPU seconds per 100,000 deliveries of a watched process, or of `generator`."""
        spent = self.generator_cpu if name == "generator" else self.cpu.get(name, 0.0)
        return spent * 100_000 / max(1, self.deliveries)

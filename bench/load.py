"""What the runner tells the HTTP generator and what it hears back."""

import msgspec


class Bookings(msgspec.Struct, frozen=True, kw_only=True):
    """Distinct slots: every start in a fixed shuffled order, and for each start every calendar once."""

    heads: list[str]
    """Request text up to the start, one per calendar; the request is head + start + tail."""
    tail: str
    first: int
    """Unix seconds of the earliest start."""
    step: int
    """Seconds from one start to the next."""
    count: int
    """Starts per calendar."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One closed-loop measurement against one port; times are seconds."""

    port: int
    expect: int
    seconds: float
    warmup: float = 0.5
    connections: int = 128
    cycle: list[str] = []
    """Whole requests, sent round and round."""
    bookings: Bookings | None = None
    """Or bookings, each sent once; an exhausted plan refuses the run."""
    keep_ids: bool = False
    watch: dict[str, int] = {}
    """Root process ids whose CPU is read at both ends of the window."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured between warm-up and end; latencies are milliseconds, CPU is seconds."""

    operations: int
    seconds: float
    p50: float
    p99: float
    worst: float
    cpu: dict[str, float]
    generator_cpu: float
    others_cpu: float
    errors: dict[str, int]
    sample_error: str = ""
    exhausted: bool = False
    ids: list[str] = []
    """Ids of every 201 since the connection opened, warm-up included."""
    hdr: str = ""
    """Encoded HDR histogram of microseconds, when that library is installed."""

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds

    def cpu_per_thousand(self, name: str) -> float:
        """CPU seconds per 1,000 operations of a watched process, or of `generator`."""
        spent = self.generator_cpu if name == "generator" else self.cpu.get(name, 0.0)
        return spent * 1000 / max(1, self.operations)


def request_text(method: str, path: str, port: int, token: str, body: str = "") -> str:
    """One HTTP/1.1 request as text; the body must be ASCII."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Authorization: Bearer {token}"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines) + "\r\n\r\n" + body

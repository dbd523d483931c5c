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
    around: bool = False
    """From the beginning again when all were sent."""
    zipf: float = 0.0
    """Exponent of how popular calendars are, the first most: each request draws one. 0 takes them in turn."""
    attempts: int = 1
    """How often each slot is asked for, at nearly the same time; more than one is a crowd that must be refused."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement against one port, closed-loop unless it has a `rate`; times are seconds."""

    host: str = "127.0.0.1"
    port: int
    tls: bool = False
    expect: int
    seconds: float
    warmup: float = 0.5
    connections: int = 128
    rate: float = 0.0
    """Open loop: arrivals per second, Poisson, whether or not the server keeps up. 0 is a closed loop."""
    seed: int = 1
    """Of the arrivals' gaps."""
    accept: list[int] = []
    """Statuses besides `expect` that are legitimate answers; they are counted, but not as goodput."""
    cycle: list[str] = []
    """Whole requests, sent round and round."""
    once: bool = False
    """Send those of `cycle` once each and then be exhausted."""
    bookings: Bookings | None = None
    """Or bookings, each sent once; an exhausted plan refuses the run."""
    keep_ids: bool = False
    watch: dict[str, int] = {}
    """Root process ids whose CPU is read at both ends of the window."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured between warm-up and end; latencies are milliseconds, CPU is seconds, memory bytes.

    In an open loop latency counts from the moment a request was due and not from when it could be sent, so a
    server that stalls is charged for everyone who would have waited.
    """

    operations: int
    """Answers within the window, whatever their status."""
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
    """Ids of every answer with the expected status since the connection opened, warm-up included."""
    answers: dict[str, int] = {}
    """Answers within the window by status."""
    good: int = 0
    """Those of them with the expected status."""
    wins: list[int] = []
    """Answers with the expected status by connection, warm-up included."""
    p50_by_status: dict[str, float] = {}
    """Closed loop: median latency of each status, in ms."""
    hdr: str = ""
    """Encoded HDR histogram of the latencies in microseconds; see `bench.histogram`."""
    peak_memory: dict[str, int] = {}
    """Most bytes of each watched process tree, sampled, warm-up included; shared pages count once."""
    offered: float = 0.0
    """Open loop: arrivals per second that were due in the window."""
    late: float = 0.0
    """Open loop: 99th percentile of how long after its time the generator noticed an arrival, in ms."""
    waited: int = 0
    """Open loop: the most arrivals that were due at once while every connection was busy."""

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.operations / self.seconds

    @property
    def goodput(self) -> float:
        """Answers with the expected status per second."""
        return self.good / self.seconds

    def cpu_per_thousand(self, name: str) -> float:
        """CPU seconds per 1,000 answers of a watched process, or of `generator`."""
        spent = self.generator_cpu if name == "generator" else self.cpu.get(name, 0.0)
        return spent * 1000 / max(1, self.operations)


def request_text(method: str, path: str, port: int, token: str, body: str = "", host: str = "127.0.0.1") -> str:
    """One HTTP/1.1 request as text; the body must be ASCII."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}:{port}", f"Authorization: Bearer {token}"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines) + "\r\n\r\n" + body

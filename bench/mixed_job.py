"""What the runner tells the generator of a site's day and what it hears back."""

from typing import Literal

import msgspec

Kind = Literal["slots", "availability", "hold", "book", "book held", "release", "cancel"]

EXPECTED: dict[Kind, str] = {
    "slots": "200",
    "availability": "200",
    "hold": "201",
    "book": "201",
    "book held": "201",
    "release": "204",
    "cancel": "200",
}
COMPETING: tuple[Kind, ...] = ("hold", "book")
LOST = "409 slot_unavailable"


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """Where the generator goes and what there is to book; calendars in order of popularity."""

    host: str = "127.0.0.1"
    port: int
    tls: bool = False
    token: str
    calendars: list[str]
    service: str
    client: str = ""
    first: int
    """Unix seconds of the first day's midnight, UTC."""
    days: int
    opens: int
    """Seconds after midnight of the first start; `closes` is when the last one ends."""
    closes: int
    step: int
    cap: int
    """Bookings that stand at most: beyond it each new one is preceded by the cancelling of the oldest."""
    story: str = ""
    """File that is told of each acknowledged booking (`b ID`) and cancelling (`c ID`)."""
    reads_only: bool = False


class MixedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the day; the generator's first job brings the site. Times are seconds."""

    site: Site | None = None
    seconds: float
    warmup: float = 0.0
    connections: int = 64
    rate: float = 0.0
    """Operations due per second, Poisson; 0 is a closed loop."""
    fill_to: int = 0
    """Instead of the mix, book until so many bookings stand."""
    watch: dict[str, int] = {}


class MixedOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured after the warm-up; everything else counts from the start."""

    seconds: float
    answers: dict[str, dict[str, int]]
    """By kind of operation, then by status (with the code of a lost competition)."""
    hdr: dict[str, str]
    """By kind: latencies from the moment an operation was due."""
    errors: dict[str, int]
    sample_error: str
    standing: int
    """Bookings that stand at the end."""
    most_behind: int
    """Most operations that were due and waited for a connection."""
    reconnects: int
    cpu: dict[str, float]
    generator_cpu: float
    others_cpu: float
    metered: float
    """Seconds the CPU was read over: to the last answer."""

    @property
    def operations(self) -> int:
        return sum(sum(counts.values()) for counts in self.answers.values())

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds

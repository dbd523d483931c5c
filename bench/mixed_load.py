"""The generator of a booking site's day: readers, holds, bookings and cancellations in one open stream.

Jobs as JSON lines on stdin, outcomes on stdout. What it has booked it remembers from job to job, up to a cap, and
writes down in a file; latencies go into histograms. So an hour costs it no more memory than a minute.
"""

import asyncio
import gc
import random
import ssl
import sys
import time
from collections import Counter, deque
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import IO, Literal, cast

import msgspec
import uvloop
from hdrh.histogram import HdrHistogram

from bench import histogram
from bench.load import request_text
from bench.usage import Meter

Kind = Literal["slots", "availability", "hold", "book", "book held", "release", "cancel"]

# Of a hundred operations. Releases and the cancellations that keep the cap come on top of them.
MIX: dict[Kind, int] = {"slots": 60, "availability": 30, "hold": 6, "book": 3, "cancel": 1}
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
# One write in so many aims at a time that is booked already: people want the same popular hour.
COMPETITION_EVERY = 20
ZIPF_EXPONENT = 1.0
WEEK_DAYS = 7
HOLD_TTL_S = 120
SHORT_HOLD_TTL_S = (3, 15)
RELEASE_AFTER_S = (0.2, 2.0)
HOLD_MARGIN_S = 30.0
WAITING_HOLDS_MAX = 500
BEHIND_MAX = 50_000
DRAIN_SECONDS = 20.0
CALM_SECONDS = 0.1


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


Place = tuple[int, int]
"""A calendar and one of its starts, as indexes."""


class Operation:
    """One request to be: when it was due, and what its answer means to the memory of the site."""

    __slots__ = ("due", "id", "kind", "marked", "place", "then")

    def __init__(self, kind: Kind, due: float, place: Place = (0, 0), id_: str = "") -> None:
        self.kind: Kind = kind
        self.due = due
        self.place = place
        self.id = id_
        self.marked = False
        self.then = ""


class Memory:
    """What the generator knows of the site: the bookings it has made that stand, and the holds it may use."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.random = random.Random(1)
        self.per_day = (site.closes - site.opens) // site.step
        self._popularity = list(accumulate(1 / rank**ZIPF_EXPONENT for rank in range(1, len(site.calendars) + 1)))
        self._calendars = range(len(site.calendars))
        self._kinds: list[Kind] = [kind for kind in MIX if not site.reads_only or kind in ("slots", "availability")]
        self._weights = list(accumulate(MIX[kind] for kind in self._kinds))
        self.standing: deque[tuple[str, Place]] = deque()
        self.taken: set[Place] = set()
        self.holds: deque[tuple[str, Place, float]] = deque()
        # Open as long as this process lives.
        self._story: IO[str] | None = Path(site.story).open("a") if site.story else None  # noqa: SIM115

    def kind(self) -> Kind:
        return self.random.choices(self._kinds, cum_weights=self._weights)[0]

    def calendar(self) -> int:
        return self.random.choices(self._calendars, cum_weights=self._popularity)[0]

    def day(self, most: int) -> str:
        """A date at most so many days after the first."""
        first = datetime.fromtimestamp(self.site.first, UTC)
        return f"{first + timedelta(days=self.random.randrange(max(1, most))):%Y-%m-%d}"

    def start(self, place: Place) -> str:
        day, turn = divmod(place[1], self.per_day)
        seconds = self.site.first + day * 86_400 + self.site.opens + turn * self.site.step
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def aim(self, operation: Operation) -> None:
        """A start that looks open, as a visitor sees it, or now and then one that somebody has."""
        if self.standing and self.random.randrange(COMPETITION_EVERY) == 0:
            operation.place = self.standing[-1 - self.random.randrange(min(50, len(self.standing)))][1]
            return
        for _ in range(20):
            operation.place = (self.calendar(), self.random.randrange(self.site.days * self.per_day))
            if operation.place not in self.taken:
                break
        else:
            return
        self.taken.add(operation.place)
        operation.marked = True

    def usable_hold(self, now: float) -> tuple[str, Place] | None:
        """The oldest hold that lasts long enough to be booked in peace; those that do not are forgotten."""
        while self.holds:
            id_, place, ends = self.holds.popleft()
            if ends - now > HOLD_MARGIN_S:
                return id_, place
            self.taken.discard(place)
        return None

    def booked(self, id_: str, place: Place) -> None:
        self.taken.add(place)
        self.standing.append((id_, place))
        self._tell("b", id_)

    def cancelled(self, id_: str, place: Place) -> None:
        self.taken.discard(place)
        self._tell("c", id_)

    def _tell(self, what: str, id_: str) -> None:
        if self._story is not None:
            self._story.write(f"{what} {id_}\n")

    def flush(self) -> None:
        if self._story is not None:
            self._story.flush()


class Day:
    """One job: hands what is due to connections that are free, and counts what comes back."""

    def __init__(self, job: MixedJob, memory: Memory) -> None:
        self.job = job
        self.memory = memory
        self.free: deque[Connection] = deque()
        self.due: deque[Operation] = deque()
        self.later: dict[asyncio.TimerHandle, Operation] = {}
        self.open: set[Connection] = set()
        self.coming_back: set[asyncio.Task[None]] = set()
        self.in_flight = 0
        self.most_behind = 0
        self.reconnects = 0
        self.measured_from = float("inf")
        self.measured_to = float("inf")
        self.stopping = False
        self.counts: dict[str, Counter[str]] = {}
        self.latencies: dict[str, HdrHistogram] = {}
        self.errors: Counter[str] = Counter()
        self.sample_error = ""
        site = memory.site
        self._get = request_text("GET", "@", site.port, site.token, host=site.host)
        self._post = request_text("POST", "@", site.port, site.token, "@", host=site.host)
        self._delete = self._get.replace("GET", "DELETE", 1)

    def failed(self, what: str, answer: bytes) -> None:
        self.errors[what] += 1
        self.sample_error = self.sample_error or answer[:600].decode(errors="replace")

    @property
    def closed(self) -> bool:
        return self.job.rate == 0

    def next_closed(self) -> Operation | None:
        """What a connection of a closed loop does next; nothing when the day is over or the site is full."""
        if self.stopping:
            return None
        memory, now = self.memory, time.perf_counter()
        if not self.job.fill_to:
            return Operation(memory.kind(), now)
        return Operation("book", now) if len(memory.standing) + self.in_flight < self.job.fill_to else None

    def arrive(self, operation: Operation) -> None:
        if self.free:
            self.send(self.free.popleft(), operation)
            return
        self.due.append(operation)
        self.most_behind = max(self.most_behind, len(self.due))

    def ready(self, connection: "Connection") -> None:
        """A connection has nothing to do."""
        operation = self.due.popleft() if self.due else self.next_closed() if self.closed else None
        if operation is None:
            self.free.append(connection)
        else:
            self.send(connection, operation)

    def send(self, connection: "Connection", operation: Operation) -> None:
        self.in_flight += 1
        connection.send(operation, self.request(operation))

    def request(self, operation: Operation) -> bytes:
        """Its bytes; only now is it settled which booking or start it is about."""
        memory = self.memory
        match operation.kind:
            case "slots":
                return self._read(memory, "slots")
            case "availability":
                return self._read(memory, "availability")
            case "hold":
                memory.aim(operation)
                operation.then = memory.random.choice(("book", "release", "expire"))
                ttl = HOLD_TTL_S if operation.then != "expire" else memory.random.randint(*SHORT_HOLD_TTL_S)
                return self._write("/api/v1/holds", self._wish(operation) | {"ttl_seconds": ttl})
            case "book":
                return self._book(operation)
            case "cancel" if memory.standing:
                operation.id, operation.place = memory.standing.popleft()
                return self._write(f"/api/v1/bookings/{operation.id}/cancel", {})
            case "release":
                return self._delete.replace("@", f"/api/v1/holds/{operation.id}").encode()
            case _:  # nothing to cancel yet
                operation.kind = "slots"
                return self._read(memory, "slots")

    def _read(self, memory: Memory, what: str) -> bytes:
        calendar, site = memory.site.calendars[memory.calendar()], memory.site
        if what == "availability":
            query = f"date={memory.day(site.days)}"
        else:
            first = memory.day(site.days - WEEK_DAYS)
            last = datetime.fromisoformat(first) + timedelta(days=WEEK_DAYS - 1)
            query = f"from={first}&to={last:%Y-%m-%d}&service_id={site.service}"
        return self._get.replace("@", f"/api/v1/professionals/{calendar}/{what}?{query}").encode()

    def _book(self, operation: Operation) -> bytes:
        memory = self.memory
        if len(memory.standing) >= memory.site.cap and not self.job.fill_to:
            # Due together with the booking it makes room for.
            self.arrive(Operation("cancel", operation.due))
        hold = memory.usable_hold(time.perf_counter())
        if hold is None:
            memory.aim(operation)
            return self._write("/api/v1/bookings", self._wish(operation) | {"client_id": memory.site.client})
        operation.kind, (id_, operation.place) = "book held", hold
        body = self._wish(operation) | {"client_id": memory.site.client, "hold_id": id_}
        return self._write("/api/v1/bookings", body)

    def _wish(self, operation: Operation) -> dict[str, object]:
        site = self.memory.site
        return {
            "professional_id": site.calendars[operation.place[0]],
            "service_id": site.service,
            "start": self.memory.start(operation.place),
        }

    def _write(self, path: str, body: dict[str, object]) -> bytes:
        text = msgspec.json.encode(body).decode()
        head, _ = self._post.replace("@", path, 1).split("\r\n\r\n")
        return f"{head.replace('Content-Length: 1', f'Content-Length: {len(text)}')}\r\n\r\n{text}".encode()

    def answered(self, connection: "Connection", operation: Operation, status: str, body: bytes) -> None:
        self.in_flight -= 1
        kind, now = operation.kind, time.perf_counter()
        if status == EXPECTED[kind]:
            self.done(operation, body, now)
        elif status == "409" and kind in COMPETING and b'"slot_unavailable"' in body:
            status = LOST
            if operation.marked:
                self.memory.taken.discard(operation.place)
        else:
            self.failed(f"{kind}: {status}", body)
        # An open loop is judged by what was due in the window, a closed one by what was done in it.
        moment = now if self.closed else operation.due
        if self.measured_from <= moment < self.measured_to:
            self.count(kind, status, now - operation.due)
        self.ready(connection)

    def count(self, kind: str, status: str, latency: float) -> None:
        if kind not in self.counts:
            self.counts[kind] = Counter()
            self.latencies[kind] = histogram.of_seconds([])
        self.counts[kind][status] += 1
        microseconds = min(max(1, round(latency * 1e6)), histogram.LONGEST_US)
        self.latencies[kind].record_value(microseconds)

    def done(self, operation: Operation, body: bytes, now: float) -> None:
        """What a success changes."""
        memory = self.memory
        match operation.kind:
            case "book" | "book held":
                memory.booked(_identified.decode(body).id, operation.place)
            case "cancel":
                memory.cancelled(operation.id, operation.place)
            case "release":
                memory.taken.discard(operation.place)
            case "hold":
                self.held(operation, _identified.decode(body).id, now)
            case _:
                pass

    def held(self, operation: Operation, id_: str, now: float) -> None:
        memory, place = self.memory, operation.place
        memory.taken.add(place)
        if operation.then == "release" or len(memory.holds) >= WAITING_HOLDS_MAX:
            delay = memory.random.uniform(*RELEASE_AFTER_S)
            self.after(delay, Operation("release", time.perf_counter() + delay, place, id_))
        elif operation.then == "book":
            memory.holds.append((id_, place, now + HOLD_TTL_S))
        else:
            memory.taken.discard(place)

    def after(self, delay: float, operation: Operation) -> None:
        """Another operation, due some seconds from now."""

        def run() -> None:
            del self.later[handle]
            self.arrive(operation)

        handle = asyncio.get_running_loop().call_later(delay, run)
        self.later[handle] = operation

    async def connect(self) -> None:
        site = self.memory.site
        secure = ssl.create_default_context() if site.tls else None
        await asyncio.get_running_loop().create_connection(lambda: Connection(self), site.host, site.port, ssl=secure)

    def lost(self, connection: "Connection", operation: Operation | None, why: Exception | None) -> None:
        """A server may close what is idle, and is connected to anew; it must not close what waits for an answer."""
        self.open.discard(connection)
        if operation is not None:
            self.in_flight -= 1
            self.failed(f"{operation.kind}: connection lost", str(why).encode())
        elif connection in self.free:
            self.free.remove(connection)
        if not self.stopping and not self.errors:
            self.reconnects += 1
            task = asyncio.get_running_loop().create_task(self.connect())
            self.coming_back.add(task)
            task.add_done_callback(self.came_back)

    def came_back(self, task: asyncio.Task[None]) -> None:
        self.coming_back.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.failed("cannot connect", str(task.exception()).encode())

    async def arrivals(self, until: float) -> None:
        """Operations become due at Poisson moments, whatever the server does meanwhile.

        A timer wakes up to a millisecond late, and that millisecond is booked to the server.
        """
        due = time.perf_counter()
        while True:
            due += self.memory.random.expovariate(self.job.rate)
            if due >= until:
                return
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            self.arrive(Operation(self.memory.kind(), due))
            if len(self.due) > BEHIND_MAX:
                self.failed("behind", f"{BEHIND_MAX:,} operations were due and had no connection".encode())
                return

    async def drain(self) -> None:
        """Everything due is sent and answered, and so are the releases that were to come later."""
        deadline = time.perf_counter() + DRAIN_SECONDS
        while (self.in_flight or self.due or self.later) and time.perf_counter() < deadline:
            for handle, operation in list(self.later.items()):
                handle.cancel()
                operation.due = time.perf_counter()
                self.arrive(operation)
            self.later.clear()
            await asyncio.sleep(0.01)
        if self.in_flight or self.due:
            left = f"{self.in_flight} requests had no answer, {len(self.due)} were not sent"
            self.failed("unanswered", left.encode())


class Connection(asyncio.Protocol):
    """One request at a time; comes back when the server closes it between two."""

    __slots__ = ("_buffer", "_missing", "_operation", "_transport", "day")

    def __init__(self, day: Day) -> None:
        self.day = day
        self._buffer = b""
        self._missing = 1
        self._operation: Operation | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.day.open.add(self)
        self.day.ready(self)

    def send(self, operation: Operation, request: bytes) -> None:
        self._operation = operation
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._missing -= len(data)
        if self._missing > 0 and len(self._buffer) > len(data):
            return
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            self._missing = 1
            return
        status, length = self._buffer[9:12].decode(), _length(self._buffer[:head])
        self._missing = head + 4 + length - len(self._buffer)
        if self._missing > 0:
            return
        body, operation = self._buffer[head + 4 :], self._operation
        self._buffer, self._missing, self._operation = b"", 1, None
        if operation is None or length < 0:
            self.day.failed("not understood", body)
            return
        self.day.answered(self, operation, status, body)

    def connection_lost(self, exc: Exception | None) -> None:
        self.day.lost(self, self._operation, exc)

    def close(self) -> None:
        self._transport.close()


def _length(head: bytes) -> int:
    """Length of the body in bytes, -1 where the head does not tell."""
    if head[9:12] == b"204":
        return 0
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length: ")
    return int(lower[at + 18 :].split(b"\r", 1)[0]) if at >= 0 else -1


class _Id(msgspec.Struct):
    id: str


_identified = msgspec.json.Decoder(_Id)


async def measure(job: MixedJob, memory: Memory) -> MixedOutcome:
    """Warm up, measure the window, let everything be answered."""
    day = Day(job, memory)
    for _ in range(job.connections):
        await day.connect()
    begun = time.perf_counter()
    arriving = (
        None if day.closed else asyncio.create_task(day.arrivals(begun + job.warmup + CALM_SECONDS + job.seconds))
    )
    await asyncio.sleep(job.warmup)
    meter = Meter(job.watch)
    if not day.closed:
        # Reading the process table held this process up; that must not be booked to the server.
        await asyncio.sleep(CALM_SECONDS)
    day.measured_from = time.perf_counter()
    day.measured_to = day.measured_from + job.seconds
    while time.perf_counter() < day.measured_to and not day.errors:
        if job.fill_to and not day.in_flight:
            break
        await asyncio.sleep(min(0.05, max(0.001, day.measured_to - time.perf_counter())))
    day.measured_to = min(day.measured_to, time.perf_counter())
    if arriving is not None:
        await arriving
    day.stopping = True
    await day.drain()
    usage = meter.read()
    for connection in list(day.open):
        connection.close()
    memory.flush()
    return MixedOutcome(
        seconds=day.measured_to - day.measured_from,
        answers={kind: dict(counts) for kind, counts in day.counts.items()},
        hdr={kind: histogram.encode(values) for kind, values in day.latencies.items()},
        errors=dict(day.errors),
        sample_error=day.sample_error,
        standing=len(memory.standing),
        most_behind=day.most_behind,
        reconnects=day.reconnects,
        cpu=usage.trees,
        generator_cpu=usage.own,
        others_cpu=usage.others,
        metered=usage.seconds,
    )


def main() -> None:
    # What is allocated before the first job stays anyway; cycles of a long day must go, so the collector stays on.
    gc.freeze()
    memory: Memory | None = None
    for line in sys.stdin.buffer:
        job = msgspec.json.decode(line, type=MixedJob)
        if job.site is not None:
            memory = Memory(job.site)
        assert memory is not None, "the first job brings the site"
        outcome = uvloop.run(measure(job, memory))
        sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

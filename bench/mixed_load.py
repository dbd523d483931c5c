"""The generator of a booking site's day: readers, holds, bookings and cancellations in one open stream.

Jobs as JSON lines on stdin, outcomes on stdout. What it has booked it remembers from job to job, up to a cap, and
writes down in a file; latencies go into histograms. So an hour costs it no more memory than a minute.
"""

import asyncio
import gc
import ssl
import sys
import time
from collections import Counter, deque
from typing import cast

import msgspec
import uvloop
from hdrh.histogram import HdrHistogram

from bench import histogram
from bench.mixed_job import COMPETING, EXPECTED, LOST, MixedJob, MixedOutcome
from bench.site import HOLD_TTL_S, Memory, Operation, Requests
from bench.telling import tell
from bench.usage import Meter

RELEASE_AFTER_S = (0.2, 2.0)
WAITING_HOLDS_MAX = 500
BEHIND_MAX = 50_000
DRAIN_SECONDS = 20.0
CALM_SECONDS = 0.1


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
        self._requests = Requests(memory)

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
        """Its bytes; beyond the cap a booking lets the oldest be cancelled."""
        memory = self.memory
        if operation.kind == "book" and len(memory.standing) >= memory.site.cap and not self.job.fill_to:
            # Due together with the booking it makes room for.
            self.arrive(Operation("cancel", operation.due))
        return self._requests.of(operation)

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
        tell(outcome)


if __name__ == "__main__":
    main()

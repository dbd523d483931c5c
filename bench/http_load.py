"""The HTTP load generator: its own process; jobs as JSON lines on stdin, outcomes on stdout."""

import asyncio
import contextlib
import gc
import math
import random
import ssl
import sys
import time
from array import array
from collections import Counter, deque
from typing import cast

import msgspec
import uvloop

from bench import histogram, plans
from bench.load import Job, Outcome
from bench.stats import percentile
from bench.telling import tell
from bench.usage import Meter

DRAIN_SECONDS = 15.0
TICK_SECONDS = 0.001
# Reading the process table at the start of a window holds this process up for milliseconds; an open loop lets
# that pass before latencies count, or the generator's own pause would be booked to the server.
CALM_SECONDS = 0.1


class Tally:
    """Shared by all connections of a job."""

    def __init__(self, job: Job) -> None:
        self.requests = plans.requests_of(job)
        self.expect = job.expect
        self.expected = str(job.expect).encode()
        self.accepted = {str(status).encode(): status for status in job.accept}
        self.keep = job.keep_ids
        self.latencies = array("d")
        self.statuses = array("H")
        self.kept = bytearray()
        """Ids, a line each: whole answers would fill the memory of a long run."""
        self.errors: Counter[str] = Counter()
        self.sample_error = ""
        self.stopping = False
        self.exhausted = False
        self.alive = 0
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.token = b""
        self.connections: list[Connection] = []
        # Without a warm-up nothing is sent before the window opens, or what is answered earlier would be missing.
        self.held: list[Connection] | None = [] if job.warmup == 0 and job.rate == 0 else None

    def open_window(self) -> None:
        held, self.held = self.held or [], None
        for connection in held:
            self.free(connection)

    def free(self, connection: "Connection") -> None:
        """A connection has its answer, or was just opened: a closed loop sends at once."""
        if self.held is not None:
            self.held.append(connection)
            return
        request = None if self.stopping else self.next_request()
        if request is not None:
            connection.send(request, time.perf_counter())
        elif self.in_flight == 0:
            self.idle.set()

    def next_request(self) -> bytes | None:
        request = next(self.requests, None)
        self.exhausted |= request is None
        return request

    def answered(self, begun: float, status: bytes, answer: bytes, body: int) -> None:
        self.latencies.append(time.perf_counter() - begun)
        if status == self.expected:
            self.statuses.append(self.expect)
            if self.keep:
                self.kept += _id_in(answer, body) + b"\n"
        elif (known := self.accepted.get(status)) is not None:
            self.statuses.append(known)
        else:
            self.statuses.append(int(status) if status.isdigit() else 0)
            self.failed(status.decode(errors="replace"), answer)

    def failed(self, what: str, answer: bytes) -> None:
        self.errors[what] += 1
        self.sample_error = self.sample_error or answer[:600].decode(errors="replace")

    def lost(self, connection: "Connection", why: Exception | None) -> None:
        if connection.busy or not (self.stopping or self.exhausted):
            self.failed("connection lost", str(why or "closed by the server").encode())


class Arrivals(Tally):
    """An open loop: requests are due at Poisson moments, and wait in line when every connection is busy."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.gaps = random.Random(job.seed)
        self.rate = job.rate
        self.ready: deque[Connection] = deque()
        self.line: deque[float] = deque()
        self.lateness = array("d")
        self.begun = array("d")
        self.waited = 0
        self.due = math.inf
        self.timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self.due = time.perf_counter()
        self.tick()

    def tick(self) -> None:
        """Send what is due by now, then sleep until the next; the loop's timer wakes at whole milliseconds."""
        self.arrive()
        self.dispatch()
        if not self.stopping:
            # A delay below the timer's step would be none at all, and the loop would spin.
            delay = max(TICK_SECONDS, self.due - time.perf_counter())
            self.timer = asyncio.get_running_loop().call_later(delay, self.tick)

    def arrive(self) -> None:
        now = time.perf_counter()
        while self.due <= now and not self.stopping:
            self.line.append(self.due)
            self.lateness.append(now - self.due)
            self.due += self.gaps.expovariate(self.rate)

    def dispatch(self) -> None:
        while self.line and self.ready:
            request = self.next_request()
            if request is None:
                self.line.clear()
                break
            self.ready.popleft().send(request, self.line.popleft())
        self.waited = max(self.waited, len(self.line))

    def free(self, connection: "Connection") -> None:
        self.ready.append(connection)
        self.arrive()
        if self.line:
            self.dispatch()

    def answered(self, begun: float, status: bytes, answer: bytes, body: int) -> None:
        self.begun.append(begun)
        super().answered(begun, status, answer, body)

    def lost(self, connection: "Connection", why: Exception | None) -> None:
        super().lost(connection, why)
        with contextlib.suppress(ValueError):
            self.ready.remove(connection)

    def stop(self) -> None:
        """No more arrivals; those in line are still sent."""
        self.stopping = True
        if self.timer is not None:
            self.timer.cancel()


class Connection(asyncio.Protocol):
    """One request at a time; asks its tally for the next as soon as the last was answered."""

    __slots__ = ("begun", "busy", "missing", "pending", "tally", "transport", "wins")

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.begun = 0.0
        self.busy = False
        self.pending = b""
        self.missing = 0
        self.wins = 0
        tally.connections.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.tally.alive += 1
        self.tally.free(self)

    def send(self, request: bytes, begun: float) -> None:
        """`begun` is where its latency counts from, on the clock of `time.perf_counter`."""
        self.begun = begun
        self.busy = True
        self.tally.in_flight += 1
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self.pending:
            # A long answer comes in pieces; until the last one there is nothing to parse again.
            self.pending += data
            self.missing -= len(data)
            if self.missing > 0:
                return
            data, self.pending = self.pending, b""
        tally = self.tally
        head = data.find(b"\r\n\r\n")
        if head < 0:
            self.pending, self.missing = data, 1
            return
        at = data.find(tally.token, 0, head) if tally.token else -1
        if at < 0:
            at = self.learn(data, head)
            if at < 0:
                self.transport.abort()
                return
        at += len(tally.token)
        self.missing = head + 4 + int(data[at : data.index(b"\r", at)]) - len(data)
        if self.missing > 0:
            self.pending = data
            return
        self.busy = False
        tally.in_flight -= 1
        self.wins += data[9:12] == tally.expected
        tally.answered(self.begun, data[9:12], data, head + 4)
        tally.free(self)

    def learn(self, data: bytes, head: int) -> int:
        """Find the length header in whatever case this server writes it, and remember that spelling."""
        at = data[:head].lower().find(b"\r\ncontent-length: ")
        if at >= 0:
            self.tally.token = data[at : at + 18]
        else:
            self.tally.failed("no content-length", data)
        return at

    def connection_lost(self, exc: Exception | None) -> None:
        self.tally.alive -= 1
        if self.busy:
            self.tally.in_flight -= 1
        self.tally.lost(self, exc)


async def measure(job: Job) -> Outcome:
    """Warm up, measure the window, let what is in flight finish."""
    return await (_measure_open(job) if job.rate > 0 else _measure_closed(job))


async def _measure_closed(job: Job) -> Outcome:
    tally = Tally(job)
    opened = await _connect(job, tally)
    await asyncio.sleep(job.warmup)
    meter, first = Meter(job.watch), len(tally.latencies)
    tally.open_window()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(tally.idle.wait(), job.seconds)
    last, usage = len(tally.latencies), meter.read()
    tally.stopping = True
    await _drain(tally, opened)
    latencies, statuses = tally.latencies[first:last], tally.statuses[first:last]
    outcome = _outcome(tally, latencies, statuses, usage.seconds)
    return msgspec.structs.replace(
        outcome,
        cpu=usage.trees,
        generator_cpu=usage.own,
        others_cpu=usage.others,
        seconds=usage.seconds,
        p50_by_status=_p50_by_status(latencies, statuses),
    )


async def _measure_open(job: Job) -> Outcome:
    tally = Arrivals(job)
    opened = await _connect(job, tally)
    tally.start()
    await asyncio.sleep(job.warmup)
    meter, metered = Meter(job.watch), len(tally.latencies)
    await asyncio.sleep(CALM_SECONDS)
    begin, first, noticed = time.perf_counter(), len(tally.latencies), len(tally.lateness)
    await asyncio.sleep(job.seconds)
    tally.arrive()
    tally.stop()
    end, last = time.perf_counter(), len(tally.latencies)
    await _drain(tally, opened)
    usage, spent_on = meter.read(), len(tally.latencies) - metered
    # Goodput is what came back within the window; latency is that of all who arrived within it, however late.
    window = array("d", (t for t, due in zip(tally.latencies, tally.begun, strict=True) if begin <= due < end))
    outcome = _outcome(tally, window, tally.statuses[first:last], end - begin)
    late = sorted(tally.lateness[noticed:])
    # CPU was read over the drain as well, so it is brought down to the answers of the window.
    share = (last - first) / max(1, spent_on)
    return msgspec.structs.replace(
        outcome,
        cpu={name: seconds * share for name, seconds in usage.trees.items()},
        generator_cpu=usage.own * share,
        others_cpu=usage.others * (end - begin) / usage.seconds,
        offered=len(late) / (end - begin),
        late=percentile(late, 0.99) * 1000,
        waited=tally.waited,
    )


async def _connect(job: Job, tally: Tally) -> list[asyncio.BaseTransport]:
    loop = asyncio.get_running_loop()
    secure = ssl.create_default_context() if job.tls else None
    return [
        (await loop.create_connection(lambda: Connection(tally), job.host, job.port, ssl=secure))[0]
        for _ in range(job.connections)
    ]


async def _drain(tally: Tally, opened: list[asyncio.BaseTransport]) -> None:
    """Wait for what is in flight or in line, then close; what is left after that is an error."""
    line: deque[float] = tally.line if isinstance(tally, Arrivals) else deque()
    if tally.exhausted:
        # What waits in line then waits for a request, not for a connection; the run is refused for that.
        line.clear()
    deadline = time.perf_counter() + DRAIN_SECONDS
    while (tally.in_flight > 0 or (line and tally.alive > 0)) and time.perf_counter() < deadline:
        await asyncio.sleep(0.01)
    if tally.in_flight > 0:
        tally.failed("unanswered", f"{tally.in_flight} requests had no answer".encode())
    if line:
        tally.errors["unsent"] += len(line)
        tally.sample_error = tally.sample_error or f"{len(line)} requests found no free connection"
    for transport in opened:
        transport.close()


def _p50_by_status(latencies: "array[float]", statuses: "array[int]") -> dict[str, float]:
    apart: dict[int, list[float]] = {}
    for latency, status in zip(latencies, statuses, strict=True):
        apart.setdefault(status, []).append(latency)
    return {str(status): percentile(sorted(some), 0.50) * 1000 for status, some in apart.items()}


def _outcome(tally: Tally, window: "array[float]", statuses: "array[int]", seconds: float) -> Outcome:
    """What the tally says about a window, without what only a meter knows."""
    ordered = sorted(window)
    return Outcome(
        operations=len(statuses),
        seconds=seconds,
        p50=percentile(ordered, 0.50) * 1000,
        p99=percentile(ordered, 0.99) * 1000,
        worst=ordered[-1] * 1000 if ordered else 0.0,
        cpu={},
        generator_cpu=0.0,
        others_cpu=0.0,
        errors=dict(tally.errors),
        sample_error=tally.sample_error,
        exhausted=tally.exhausted,
        ids=tally.kept.decode().splitlines(),
        answers={str(status): times for status, times in sorted(Counter(statuses).items())},
        good=statuses.count(tally.expect),
        wins=[connection.wins for connection in tally.connections],
        hdr=histogram.encode(histogram.of_seconds(window)),
    )


class _Id(msgspec.Struct):
    id: str


_Identified = msgspec.json.Decoder(_Id)
_ID_FIRST = b'{"id":"'


def _id_in(answer: bytes, body: int) -> bytes:
    """The booking's id. Most servers tell it first; finding it there costs the generator less than decoding."""
    if answer.startswith(_ID_FIRST, body):
        at = body + len(_ID_FIRST)
        return answer[at : answer.index(b'"', at)]
    return _Identified.decode(answer[body:]).id.encode()


def main() -> None:
    gc.disable()  # this process only, and only for seconds: a pause here would be booked to the server
    # It ends with its stdin and not with its work: asyncio may drop what a child that has exited wrote last.
    for line in sys.stdin.buffer:
        outcome = uvloop.run(measure(msgspec.json.decode(line, type=Job)))
        tell(outcome)


if __name__ == "__main__":
    main()

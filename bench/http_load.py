"""The HTTP load generator: its own process; jobs as JSON lines on stdin, outcomes on stdout."""

import asyncio
import contextlib
import gc
import random
import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import cycle
from typing import cast

import msgspec
import uvloop

from bench.load import Bookings, Job, Outcome
from bench.stats import percentile
from bench.usage import Meter

DRAIN_SECONDS = 15.0


class Tally:
    """Shared by all connections of a job."""

    def __init__(self, job: Job) -> None:
        self.requests = _requests(job)
        self.expected = str(job.expect).encode()
        self.keep = job.keep_ids
        self.latencies = array("d")
        self.kept: list[bytes] = []
        self.errors: Counter[str] = Counter()
        self.sample_error = ""
        self.stopping = False
        self.exhausted = False
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.token = b""

    def failed(self, what: str, answer: bytes) -> None:
        self.errors[what] += 1
        self.sample_error = self.sample_error or answer[:600].decode(errors="replace")


class Connection(asyncio.Protocol):
    """Sends the next request as soon as the last was answered."""

    __slots__ = ("missing", "pending", "sent", "tally", "transport")

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.sent = 0.0
        self.pending = b""
        self.missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.tally.in_flight += 1
        self.send()

    def send(self) -> None:
        tally = self.tally
        request = None if tally.stopping else next(tally.requests, None)
        if request is None:
            tally.exhausted |= not tally.stopping
            tally.in_flight -= 1
            if tally.in_flight == 0:
                tally.idle.set()
            return
        self.sent = time.perf_counter()
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
        at = data.find(tally.token, 0, head) if tally.token else -1
        if at < 0:
            at = self.learn(data, head)
            if at < 0:
                self.pending, self.missing = data, 1
                return
        at += len(tally.token)
        self.missing = head + 4 + int(data[at : data.index(b"\r", at)]) - len(data)
        if self.missing > 0:
            self.pending = data
            return
        tally.latencies.append(time.perf_counter() - self.sent)
        if data[9:12] != tally.expected:
            tally.failed(data[9:12].decode(errors="replace"), data)
        elif tally.keep:
            tally.kept.append(data[head + 4 :])
        self.send()

    def learn(self, data: bytes, head: int) -> int:
        """Find the length header in whatever case this server writes it, and remember that spelling."""
        at = data[: max(head, 0)].lower().find(b"\r\ncontent-length: ")
        if at >= 0:
            self.tally.token = data[at : at + 18]
        elif head >= 0:
            self.tally.failed("no content-length", data)
        return at

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.tally.stopping and not self.tally.exhausted:
            self.tally.failed("connection lost", str(exc).encode())
            self.tally.in_flight -= 1


def _requests(job: Job) -> Iterator[bytes]:
    if job.bookings is not None:
        return _booking_requests(job.bookings)
    return cycle([text.encode() for text in job.cycle])


def _booking_requests(plan: Bookings) -> Iterator[bytes]:
    # Real bookings do not come in order; ordered starts would flatter any sorted index.
    order = list(range(plan.count))
    random.Random(1).shuffle(order)
    heads = [head.encode() for head in plan.heads]
    tail = plan.tail.encode()
    for index in order:
        moment = datetime.fromtimestamp(plan.first + index * plan.step, UTC)
        middle = moment.strftime("%Y-%m-%dT%H:%M:%SZ").encode() + tail
        for head in heads:
            yield head + middle


async def measure(job: Job) -> Outcome:
    """Warm up, measure the window, let what is in flight finish."""
    loop = asyncio.get_running_loop()
    tally = Tally(job)
    opened = [
        await loop.create_connection(lambda: Connection(tally), "127.0.0.1", job.port) for _ in range(job.connections)
    ]
    await asyncio.sleep(job.warmup)
    meter, first = Meter(job.watch), len(tally.latencies)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(tally.idle.wait(), job.seconds)
    last, usage = len(tally.latencies), meter.read()
    tally.stopping = True
    deadline = time.perf_counter() + DRAIN_SECONDS
    while tally.in_flight > 0 and time.perf_counter() < deadline:
        await asyncio.sleep(0.01)
    if tally.in_flight > 0:
        tally.failed("unanswered", f"{tally.in_flight} requests had no answer".encode())
    for transport, _ in opened:
        transport.close()
    window = tally.latencies[first:last]
    ordered = sorted(window)
    return Outcome(
        operations=len(window),
        seconds=usage.seconds,
        p50=percentile(ordered, 0.50) * 1000,
        p99=percentile(ordered, 0.99) * 1000,
        worst=ordered[-1] * 1000 if ordered else 0.0,
        cpu=usage.trees,
        generator_cpu=usage.own,
        others_cpu=usage.others,
        errors=dict(tally.errors),
        sample_error=tally.sample_error,
        exhausted=tally.exhausted,
        ids=[_Identified.decode(body).id for body in tally.kept],
        hdr=_histogram(window),
    )


class _Id(msgspec.Struct):
    id: str


_Identified = msgspec.json.Decoder(_Id)


def _histogram(latencies: Sequence[float]) -> str:
    try:
        from hdrh.histogram import HdrHistogram
    except ImportError:
        return ""
    histogram = HdrHistogram(1, 60_000_000, 3)
    for microseconds, times in Counter(round(value * 1e6) for value in latencies).items():
        histogram.record_value(max(1, microseconds), times)
    return str(histogram.encode().decode())


def main() -> None:
    gc.disable()  # this process only, and only for seconds: a pause here would be booked to the server
    # It ends with its stdin and not with its work: asyncio may drop what a child that has exited wrote last.
    for line in sys.stdin.buffer:
        outcome = uvloop.run(measure(msgspec.json.decode(line, type=Job)))
        sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

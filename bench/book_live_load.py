"""The generator of bookings over WebSocket: its own process; jobs as JSON lines on stdin, outcomes on stdout."""

import asyncio
import gc
import random
import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
import uvloop

from bench import histogram
from bench.load import Outcome
from bench.stats import percentile
from bench.subscribers import CLOSE, PING, PONG, TEXT, frame_bounds, masked, upgrade
from bench.telling import tell
from bench.usage import Meter

CONNECT_SECONDS = 20.0
DRAIN_SECONDS = 15.0


class LiveJob(msgspec.Struct, frozen=True, kw_only=True):
    """Bookings of distinct starts on one calendar, pipelined over a few sockets; times are seconds."""

    port: int
    token: str
    professional_id: str
    service_id: str
    client_id: str
    first: int
    """Unix seconds of the earliest start."""
    step: int
    """Seconds from one start to the next."""
    count: int
    """Starts to choose from; one that runs out of them refuses the run."""
    sockets: int
    in_flight: int
    """Commands each socket keeps unanswered."""
    seconds: float
    warmup: float
    watch: dict[str, int] = {}
    """Root process ids whose CPU is read at both ends of the window."""


class Tally:
    """Shared by all sockets of a job."""

    def __init__(self, job: LiveJob) -> None:
        self.job = job
        self.commands = _commands(job)
        self.latencies = array("d")
        self.kept: list[bytes] = []
        self.errors: Counter[str] = Counter()
        self.sample_error = ""
        self.ready = 0
        self.all_ready = asyncio.Event()
        self.started = False
        self.stopping = False
        self.exhausted = False
        self.in_flight = 0

    def failed(self, what: str, answer: bytes) -> None:
        self.errors[what] += 1
        self.sample_error = self.sample_error or answer[:600].decode(errors="replace")
        self.all_ready.set()


class Booker(asyncio.Protocol):
    """Logs in and keeps commands in flight: for all replies of one read it sends as many commands in one write."""

    __slots__ = ("rest", "sent", "tally", "transport", "upgraded")

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.rest = b""
        self.upgraded = False
        self.sent: dict[str, float] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(upgrade("/api/v1/live", self.tally.job.port, "Sec-WebSocket-Protocol: slotcast.v1\r\n"))

    def start(self) -> None:
        self.send(self.tally.job.in_flight)

    def send(self, count: int) -> None:
        tally, frames, now = self.tally, list[bytes](), time.perf_counter()
        if tally.stopping:
            return
        for _ in range(count):
            command = next(tally.commands, None)
            if command is None:
                tally.exhausted = True
                break
            name, frame = command
            self.sent[name] = now
            frames.append(frame)
        tally.in_flight += len(frames)
        self.transport.write(b"".join(frames))

    def data_received(self, data: bytes) -> None:
        data, at, answered = self.rest + data, 0, 0
        if not self.upgraded:
            head = data.find(b"\r\n\r\n")
            if head < 0:
                self.rest = data
                return
            if not data.startswith(b"HTTP/1.1 101"):
                self.tally.failed("no upgrade", data)
                return
            self.upgraded, at = True, head + 4
        while (bounds := frame_bounds(data, at)) is not None:
            start, end = bounds
            answered += self.frame(data[at] & 0x0F, data[start:end])
            at = end
        self.rest = data[at:]
        if answered:
            self.send(answered)

    def frame(self, opcode: int, payload: bytes) -> int:
        """How many commands this frame has answered."""
        if opcode == TEXT and self.tally.started:
            return self.answered(payload)
        if opcode == TEXT:
            self.opening(payload)
        elif opcode == PING:
            self.transport.write(masked(PONG, payload))
        elif opcode == CLOSE:
            self.tally.failed("closed", payload)
        return 0

    def answered(self, payload: bytes) -> int:
        reply = _reply(payload)
        sent = self.sent.pop(reply.id, None)
        if sent is None:
            self.tally.failed("a reply nobody waits for", payload)
            return 0
        self.tally.in_flight -= 1
        self.tally.latencies.append(time.perf_counter() - sent)
        if reply.ok:
            self.tally.kept.append(bytes(reply.result))
        else:
            self.tally.failed("refused", payload)
        return 1

    def opening(self, payload: bytes) -> None:
        message: dict[str, Any] = msgspec.json.decode(payload)
        if message["type"] == "welcome":
            login = {"type": "auth", "id": "login", "token": self.tally.job.token}
            self.transport.write(masked(TEXT, msgspec.json.encode(login)))
        elif message["type"] == "reply" and message["ok"]:
            self.tally.ready += 1
            if self.tally.ready == self.tally.job.sockets:
                self.tally.all_ready.set()
        else:
            self.tally.failed("no login", payload)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.sent or not self.tally.stopping:
            self.tally.failed("connection lost", str(exc).encode())


class _Reply(msgspec.Struct):
    id: str
    ok: bool
    result: msgspec.Raw = msgspec.Raw(b"")


class _Id(msgspec.Struct):
    id: str


# The id that matches a reply to its command has to be read at once; the booking in it is read after the window.
_reply = msgspec.json.Decoder(_Reply).decode
_booked = msgspec.json.Decoder(_Id).decode


def _commands(job: LiveJob) -> Iterator[tuple[str, bytes]]:
    """Ids and whole frames, in the same shuffled order of starts as the bookings over REST."""
    order = list(range(job.count))
    random.Random(1).shuffle(order)
    tail = (
        f'","type":"book","professional_id":"{job.professional_id}","service_id":"{job.service_id}",'
        f'"client_id":"{job.client_id}","start":"'
    )
    for number, index in enumerate(order):
        name = str(number)
        moment = datetime.fromtimestamp(job.first + index * job.step, UTC)
        yield name, masked(TEXT, f'{{"id":"{name}{tail}{moment:%Y-%m-%dT%H:%M:%SZ}"}}'.encode())


async def measure(job: LiveJob) -> Outcome:
    """Log in on all sockets, warm up, measure the window, let what is in flight finish."""
    loop, tally = asyncio.get_running_loop(), Tally(job)
    opened = [await loop.create_connection(lambda: Booker(tally), "127.0.0.1", job.port) for _ in range(job.sockets)]
    await asyncio.wait_for(tally.all_ready.wait(), CONNECT_SECONDS)
    tally.started = True
    if not tally.errors:
        for _, booker in opened:
            booker.start()
    await asyncio.sleep(job.warmup)
    meter, first = Meter(job.watch), len(tally.latencies)
    await asyncio.sleep(job.seconds)
    last, usage = len(tally.latencies), meter.read()
    tally.stopping = True
    deadline = time.perf_counter() + DRAIN_SECONDS
    while tally.in_flight > 0 and not tally.errors and time.perf_counter() < deadline:
        await asyncio.sleep(0.01)
    if tally.in_flight > 0 and not tally.errors:
        tally.failed("unanswered", f"{tally.in_flight} commands had no reply".encode())
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
        ids=[_booked(booking).id for booking in tally.kept],
        good=len(window),
        hdr=histogram.encode(histogram.of_seconds(window)),
    )


def main() -> None:
    gc.disable()  # this process only, and only for seconds: a pause here would be booked to the server
    for line in sys.stdin.buffer:
        outcome = uvloop.run(measure(msgspec.json.decode(line, type=LiveJob)))
        tell(outcome)


if __name__ == "__main__":
    main()

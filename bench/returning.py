"""Subscribers that come back after a break, and what each of them must be told."""

import asyncio
import time
from typing import Any

import msgspec

from bench.live import Storm, Weathered
from bench.stats import percentile
from bench.subscribers import TEXT, Hub, Subscriber, masked, subscription
from bench.usage import Meter

WAVE_SECONDS = 30.0


class Wave:
    """Those who come back together: what they missed, and how far they are."""

    def __init__(self, missed: list[tuple[int, bytes]], current: int, expected: int) -> None:
        self.missed = missed
        self.current = current
        self.expected = expected
        self.latencies: list[float] = []
        self.replayed = 0
        self.over = asyncio.Event()

    def caught_up(self, seconds: float) -> None:
        self.latencies.append(seconds)
        if len(self.latencies) == self.expected:
            self.over.set()


class Returning(Subscriber):
    """Logs in, subscribes with `since`, and checks that it is told the gap: all of it and nothing else."""

    __slots__ = ("begun", "done", "due", "since", "wave")

    def __init__(self, hub: Hub, wave: Wave, since: int) -> None:
        super().__init__(hub)
        self.wave = wave
        self.since = since
        self.due = [payload for version, payload in wave.missed if version > since]
        self.begun = time.perf_counter()
        self.done = False

    def text(self, frame: bytes, payload: bytes) -> None:
        message: dict[str, Any] = msgspec.json.decode(payload)
        kind = message.get("type")
        if self.done:
            self._fail(f"was told more than it missed: {payload[:200]!r}")
        elif kind == "welcome":
            view = self.hub.view
            both = ({"type": "auth", "id": "1", "token": view.token}, subscription(view, self.since))
            self.transport.write(b"".join(masked(TEXT, msgspec.json.encode(m)) for m in both))
        elif kind == "subscribed":
            if not message.get("recovered") or message.get("version") != self.wave.current:
                self._fail(f"was not recovered to version {self.wave.current}: {payload[:300]!r}")
            self._check()
        elif kind == "delta":
            self._replayed(message, payload)
        elif kind != "reply" or not message.get("ok"):
            self._fail(f"was told {payload[:300]!r}")

    def _replayed(self, message: dict[str, Any], payload: bytes) -> None:
        self.wave.replayed += 1
        if message["version"] <= self.since:
            # Frames of the version it holds are repeated: a change by time has no version of its own.
            return
        if not self.due or payload != self.due[0]:
            self._fail(f"was told {payload[:200]!r}; what it missed goes on with {self.due[:1]!r:.200}")
            return
        del self.due[0]
        self._check()

    def _check(self) -> None:
        if not self.due:
            self.done = True
            self.wave.caught_up(time.perf_counter() - self.begun)

    def _fail(self, what: str) -> None:
        self.hub.fail(f"who came back with since {self.since} {what}")
        self.wave.over.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.hub.closing:
            self._fail(f"lost its connection: {exc}")


async def weather(stayed: Hub, command: Storm) -> Weathered:
    """Wave after wave until all have come back. Raises `RuntimeError` for the first who was told wrong."""
    missed = (stayed.kept or [])[-command.missed - 1 :]
    if len(missed) <= command.missed:
        raise RuntimeError(f"only {len(missed)} frames went by, too few for {command.missed} to be missed")
    # Whoever held the version of a frame has missed those after it.
    known = [version for version, _ in missed[:-1]]
    latencies: list[float] = []
    wave_seconds: list[float] = []
    replayed = 0
    meter = Meter(command.watch)
    for first in range(0, command.count, command.at_once):
        begun, size = time.perf_counter(), min(command.at_once, command.count - first)
        wave = Wave(missed, stayed.version, size)
        await _come_back(stayed, wave, [known[(first + number) % len(known)] for number in range(size)])
        latencies += wave.latencies
        replayed += wave.replayed
        wave_seconds.append(time.perf_counter() - begun)
    usage, ordered = meter.read(), sorted(latencies)
    return Weathered(
        count=command.count,
        seconds=usage.seconds,
        wave_seconds=wave_seconds,
        p50=percentile(ordered, 0.5) * 1000,
        p99=percentile(ordered, 0.99) * 1000,
        replayed=replayed,
        cpu=usage.trees,
        generator_cpu=usage.own,
        others_cpu=usage.others,
    )


async def _come_back(stayed: Hub, wave: Wave, known: list[int]) -> None:
    loop = asyncio.get_running_loop()
    hub = Hub(stayed.view, wave.expected)
    for since in known:
        # Connecting is no wait of the wave: all of them knock at the same time.
        loop.create_task(_connect(hub, wave, since))  # noqa: RUF006 - each ends in `caught_up` or in a failure
    try:
        await asyncio.wait_for(wave.over.wait(), WAVE_SECONDS)
    except TimeoutError:
        hub.fail(f"{wave.expected - len(wave.latencies)} had not caught up within {WAVE_SECONDS:.0f} s")
    hub.close()
    if hub.failure or stayed.failure:
        raise RuntimeError(hub.failure or stayed.failure)


async def _connect(hub: Hub, wave: Wave, since: int) -> None:
    try:
        await asyncio.get_running_loop().create_connection(
            lambda: Returning(hub, wave, since), "127.0.0.1", hub.view.port
        )
    except OSError as error:
        hub.fail(f"could not come back: {error!r}")
        wave.over.set()

"""The live generator: its own process; commands as JSON lines on stdin, answers on stdout."""

import asyncio
import gc
import sys
import time

import msgspec
import uvloop

from bench import histogram
from bench.laggards import open_laggards, resume, stall
from bench.live import (
    Answer,
    Change,
    Changed,
    Command,
    Drive,
    Driven,
    Failed,
    Lag,
    Lagging,
    Resume,
    Stall,
    Storm,
    Subscribe,
    Subscribed,
)
from bench.live_changes import Changes
from bench.returning import weather
from bench.stats import percentile
from bench.subscribers import Hub, subscriber_of
from bench.telling import tell
from bench.usage import Meter

OPENING_AT_ONCE = 100
SETTLE_SECONDS = 30.0


async def subscribe(command: Subscribe) -> tuple[Hub, Subscribed]:
    """Open the sockets, a hundred at a time, and wait until each has its snapshot."""
    loop, begun = asyncio.get_running_loop(), time.perf_counter()
    hub = Hub(command.view, command.count)
    for first in range(0, command.count, OPENING_AT_ONCE):
        batch = min(OPENING_AT_ONCE, command.count - first)
        await asyncio.gather(
            *(loop.create_connection(lambda: subscriber_of(hub), "127.0.0.1", command.view.port) for _ in range(batch))
        )
        while hub.ready < first + batch and not hub.failure:
            await asyncio.sleep(0.005)
    if not hub.failure:
        await hub.all_ready.wait()
    return hub, Subscribed(seconds=time.perf_counter() - begun, snapshot_bytes=hub.snapshot_bytes)


async def change(hub: Hub, command: Change) -> Changed:
    """One change after the other; whoever stayed keeps the frames."""
    if hub.kept is None:
        hub.kept = []
    changes = Changes(hub, command.client_id, count=command.count)
    await changes.work(command.starts)
    return Changed(version=hub.version, frames=len(hub.kept))


async def drive(hub: Hub, command: Drive) -> Driven:
    """Warm up, count the window, let the last changes arrive."""
    changes = Changes(hub, command.client_id, command.rate)
    tasks = [
        asyncio.create_task(changes.work(command.starts[number :: command.workers]))
        for number in range(command.workers)
    ]
    await asyncio.sleep(command.warmup)
    meter, first, begun = Meter(command.watch), len(changes.latencies), time.perf_counter()
    deliveries, frames, size = hub.deliveries, hub.frames, hub.frame_bytes
    await asyncio.sleep(command.seconds)
    deliveries, frames, size = hub.deliveries - deliveries, hub.frames - frames, hub.frame_bytes - size
    last, ended, usage = len(changes.latencies), time.perf_counter(), meter.read()
    changes.stop()
    _, late = await asyncio.wait(tasks, timeout=SETTLE_SECONDS)
    settled = time.perf_counter() - ended
    if late:
        hub.fail(f"a change did not reach all subscribers within {SETTLE_SECONDS:.0f} s: {hub.partial()}")
    elif lost := hub.partial():
        hub.fail(lost)
    if command.rate:
        # By when they were due, or those that the window's end cut off would count as never made.
        window = sorted(took for due, took in changes.latencies if begun <= due < ended)
    else:
        window = sorted(took for _, took in changes.latencies[first:last])
    return Driven(
        deliveries=deliveries,
        frames=frames,
        changes=len(window),
        frame_bytes=size / max(1, frames),
        seconds=usage.seconds,
        p50=percentile(window, 0.5) * 1000,
        p99=percentile(window, 0.99) * 1000,
        hdr=histogram.encode(histogram.of_seconds(window)),
        cpu=usage.trees,
        generator_cpu=usage.own,
        others_cpu=usage.others,
        settled=settled,
    )


class Desk:
    """Carries out commands; the sockets stay open in between."""

    def __init__(self) -> None:
        self._hub: Hub | None = None
        self._lagging: Hub | None = None

    async def answer(self, command: Command) -> Answer:
        """The answer, or why its numbers must not be reported."""
        try:
            answer = await self._do(command)
        except (OSError, RuntimeError) as error:
            return Failed(failure=str(error))
        for hub in (self._hub, self._lagging):
            if hub is not None and hub.failure:
                return Failed(failure=hub.failure)
        return answer

    async def _do(self, command: Command) -> Answer:
        if isinstance(command, Subscribe):
            for hub in (self._hub, self._lagging):
                if hub is not None:
                    hub.close()
            self._lagging = None
            self._hub, answer = await subscribe(command)
            return answer
        hub = self._hub
        assert hub is not None, "subscribe first"
        if isinstance(command, Drive):
            return await drive(hub, command)
        if isinstance(command, Change):
            return await change(hub, command)
        if isinstance(command, Storm):
            return await weather(hub, command)
        return await self._lag(hub, command)

    async def _lag(self, hub: Hub, command: Lag | Stall | Resume) -> Lagging:
        if isinstance(command, Lag):
            if self._lagging is not None:
                self._lagging.close()
            self._lagging = await open_laggards(hub, command.count, command.receive_bytes)
            return Lagging(count=command.count)
        assert self._lagging is not None, "lag first"
        if isinstance(command, Stall):
            return await stall(self._lagging, hub.version)
        return await resume(self._lagging, hub.version)


async def serve() -> None:
    """Answer commands until stdin ends."""
    loop, desk = asyncio.get_running_loop(), Desk()
    while line := await loop.run_in_executor(None, sys.stdin.buffer.readline):
        answer = await desk.answer(msgspec.json.decode(line, type=Command))
        tell(answer)


def main() -> None:
    gc.disable()  # this process only: a pause here would be booked to the server
    uvloop.run(serve())


if __name__ == "__main__":
    main()

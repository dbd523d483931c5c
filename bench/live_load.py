"""The live generator: its own process; commands as JSON lines on stdin, answers on stdout."""

import asyncio
import gc
import sys
import time

import msgspec
import uvloop

from bench.live import Command, Drive, Driven, Subscribe, Subscribed
from bench.stats import percentile
from bench.subscribers import Hub, Subscriber
from bench.usage import Meter

OPENING_AT_ONCE = 100
SETTLE_SECONDS = 30.0


class Changes:
    """Books and cancels over REST; how long each change took to reach everybody."""

    def __init__(self, hub: Hub, command: Drive) -> None:
        self.hub = hub
        self.command = command
        self.latencies: list[float] = []
        self.stopping = False

    async def work(self, starts: list[str]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.hub.view.port)
        try:
            while not self.stopping and not self.hub.failure:
                for start in starts:
                    if self.stopping or self.hub.failure:
                        break
                    booked = await self.change(reader, writer, "/api/v1/bookings", self.booking(start))
                    await self.change(reader, writer, f"/api/v1/bookings/{booked['id']}/cancel", {"reason": "bench"})
        except (OSError, EOFError, KeyError, ValueError) as error:
            self.hub.fail(f"a change failed: {error!r}")
        finally:
            writer.close()

    def booking(self, start: str) -> dict[str, str]:
        view = self.hub.view
        return {
            "professional_id": view.professional_id,
            "service_id": view.service_id,
            "start": start,
            "client_id": self.command.client_id,
        }

    async def change(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: dict[str, str]
    ) -> dict[str, object]:
        """One change, from its request until the last subscriber has it."""
        begun, text, view = time.perf_counter(), msgspec.json.encode(body), self.hub.view
        writer.write(
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{view.port}\r\nAuthorization: Bearer {view.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n".encode()
            + text
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = int(head.split("content-length: ", 1)[1].split("\r\n", 1)[0])
        answer = await reader.readexactly(size)
        if head[9] != "2":
            raise ValueError(f"{path} gave {head[9:12]}: {answer[:300]!r}")
        document = msgspec.json.decode(answer)
        await self.hub.reached(int(document["calendar_version"]))
        self.latencies.append(time.perf_counter() - begun)
        return dict(document)


async def subscribe(command: Subscribe) -> tuple[Hub, Subscribed]:
    """Open the sockets, a hundred at a time, and wait until each has its snapshot."""
    loop, begun = asyncio.get_running_loop(), time.perf_counter()
    hub = Hub(command.view, command.count)
    for first in range(0, command.count, OPENING_AT_ONCE):
        batch = min(OPENING_AT_ONCE, command.count - first)
        await asyncio.gather(
            *(loop.create_connection(lambda: Subscriber(hub), "127.0.0.1", command.view.port) for _ in range(batch))
        )
        while hub.ready < first + batch and not hub.failure:
            await asyncio.sleep(0.005)
    await hub.all_ready.wait()
    if hub.failure:
        raise RuntimeError(hub.failure)
    return hub, Subscribed(seconds=time.perf_counter() - begun, snapshot_bytes=hub.snapshot_bytes)


async def drive(hub: Hub, command: Drive) -> Driven:
    """Warm up, count the window, let the last changes arrive."""
    changes = Changes(hub, command)
    tasks = [
        asyncio.create_task(changes.work(command.starts[number :: command.workers]))
        for number in range(command.workers)
    ]
    await asyncio.sleep(command.warmup)
    meter, first = Meter(command.watch), len(changes.latencies)
    deliveries, frames, size = hub.deliveries, hub.frames, hub.frame_bytes
    await asyncio.sleep(command.seconds)
    deliveries, frames, size = hub.deliveries - deliveries, hub.frames - frames, hub.frame_bytes - size
    window, usage = sorted(changes.latencies[first:]), meter.read()
    changes.stopping = True
    _, late = await asyncio.wait(tasks, timeout=SETTLE_SECONDS)
    if late:
        hub.fail(f"a change did not reach all subscribers within {SETTLE_SECONDS:.0f} s")
    return Driven(
        deliveries=deliveries,
        frames=frames,
        changes=len(window),
        frame_bytes=size / max(1, frames),
        seconds=usage.seconds,
        p50=percentile(window, 0.5) * 1000,
        p99=percentile(window, 0.99) * 1000,
        cpu=usage.trees,
        generator_cpu=usage.own,
        others_cpu=usage.others,
        failure=hub.failure,
    )


async def serve() -> None:
    """Answer commands until stdin ends; the sockets stay open in between."""
    loop = asyncio.get_running_loop()
    hub: Hub | None = None
    while line := await loop.run_in_executor(None, sys.stdin.buffer.readline):
        command = msgspec.json.decode(line, type=Command)
        answer: Subscribed | Driven
        if isinstance(command, Subscribe):
            hub, answer = await subscribe(command)
        else:
            assert hub is not None
            answer = await drive(hub, command)
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


def main() -> None:
    gc.disable()  # this process only: a pause here would be booked to the server
    uvloop.run(serve())


if __name__ == "__main__":
    main()

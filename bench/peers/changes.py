"""What the fan-out peers on aiohttp have in common: versions counted on POST, and one broadcast per turn."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
from aiohttp import web


class Changes:
    """Counts versions; one task hands the newest to `broadcast`.

    Like Slotcast it does so at most once per turn of the loop and lets changes that came meanwhile share one
    frame; writing several frames per turn would let the kernel take them in one call and be another workload.
    """

    def __init__(self, broadcast: Callable[[int], Awaitable[None]]) -> None:
        self._broadcast = broadcast
        self._changed = asyncio.Event()
        self.version = 0

    def join(self, app: web.Application) -> None:
        """Add the routes that change, and the task, to an application."""
        app.cleanup_ctx.append(self._running)
        app.router.add_post("/api/v1/bookings", self._change)
        app.router.add_post("/api/v1/bookings/{id}/cancel", self._change)

    async def _change(self, request: web.Request) -> web.Response:
        await request.read()
        self.version += 1
        self._changed.set()
        body = msgspec.json.encode({"id": "floor", "calendar_version": self.version})
        return web.Response(status=201, body=body, content_type="application/json")

    async def _running(self, _: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(self._run())
        yield
        task.cancel()

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._broadcast(self.version)
            await asyncio.sleep(0)


def header_bytes(frame_bytes: int) -> int:
    """How much of a whole WebSocket frame from a server, below 64 KB, is its header."""
    return 2 if frame_bytes < 128 else 4

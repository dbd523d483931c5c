"""The floor for fan-out: `transport.write` of ready bytes over sockets upgraded by aiohttp.

It speaks just enough of the live protocol to be driven by the same generator. Like Slotcast it writes
each socket at most once per turn of the loop and lets changes that came meanwhile share one frame;
writing several frames per turn would let the kernel take them in one call and be another workload.
"""

import asyncio

import msgspec
from aiohttp import WSMsgType, web

from bench.peers.serving import arguments, serve

ANSWERS = {
    "auth": [{"type": "reply", "id": "1", "ok": True}],
    "subscribe": [
        {"type": "subscribed", "id": "2", "view": "floor", "version": 0, "recovered": False},
        {"type": "snapshot", "view": "floor", "version": 0, "slots": []},
    ],
}


class WriteLoop:
    """Counts versions on POST; one task writes the newest to everybody."""

    def __init__(self, frame_bytes: int) -> None:
        self._frame_bytes = frame_bytes
        self._version = 0
        self._changed = asyncio.Event()
        self._transports: list[asyncio.Transport] = []

    async def live(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, protocols=("slotcast.v1",))
        await socket.prepare(request)
        assert request.transport is not None
        await socket.send_json({"type": "welcome"})
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                kind = msgspec.json.decode(message.data)["type"]
                for answer in ANSWERS[kind]:
                    await socket.send_json(answer)
                if kind == "subscribe":
                    self._transports.append(request.transport)
        return socket

    async def change(self, request: web.Request) -> web.Response:
        await request.read()
        self._version += 1
        self._changed.set()
        body = msgspec.json.encode({"id": "floor", "calendar_version": self._version})
        return web.Response(status=201, body=body, content_type="application/json")

    async def broadcast(self, _: web.Application):
        task = asyncio.create_task(self._broadcast())
        yield
        task.cancel()

    async def _broadcast(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            frame = self._frame(self._version)
            for transport in self._transports:
                transport.write(frame)
            await asyncio.sleep(0)

    def _frame(self, version: int) -> bytes:
        """A text frame of the wanted size in all, header included."""
        size = self._frame_bytes - (2 if self._frame_bytes < 128 else 4)
        message = {"type": "delta", "version": version, "pad": ""}
        message["pad"] = "x" * max(0, size - len(msgspec.json.encode(message)))
        payload = msgspec.json.encode(message)
        size = len(payload)
        head = bytes([0x81, size]) if size < 126 else bytes([0x81, 126]) + size.to_bytes(2, "big")
        return head + payload


def main() -> None:
    parser = arguments("A loop of transport.write.")
    parser.add_argument("--frame-bytes", type=int, required=True, help="size of each frame, header included")
    peer = WriteLoop((options := parser.parse_args()).frame_bytes)
    app = web.Application()
    app.cleanup_ctx.append(peer.broadcast)
    app.router.add_get("/api/v1/live", peer.live)
    app.router.add_post("/api/v1/bookings", peer.change)
    app.router.add_post("/api/v1/bookings/{id}/cancel", peer.change)
    serve(app, options.port)


if __name__ == "__main__":
    main()

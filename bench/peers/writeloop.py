"""The floor for fan-out: `transport.write` of ready bytes over sockets upgraded by aiohttp.

It speaks just enough of the live protocol to be driven by the same generator.
"""

import asyncio

import msgspec
from aiohttp import WSMsgType, web

from bench.peers.changes import Changes, header_bytes
from bench.peers.serving import arguments, serve, text_frame

ANSWERS = {
    "auth": [{"type": "reply", "id": "1", "ok": True}],
    "subscribe": [
        {"type": "subscribed", "id": "2", "view": "floor", "version": 0, "recovered": False},
        {"type": "snapshot", "view": "floor", "version": 0, "slots": []},
    ],
}


class WriteLoop:
    """Writes the newest version to everybody."""

    def __init__(self, frame_bytes: int) -> None:
        self._frame_bytes = frame_bytes
        self._transports: set[asyncio.Transport] = set()

    async def live(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, protocols=("slotcast.v1",))
        await socket.prepare(request)
        transport = request.transport
        assert transport is not None
        await socket.send_json({"type": "welcome"})
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    kind = msgspec.json.decode(message.data)["type"]
                    for answer in ANSWERS[kind]:
                        await socket.send_json(answer)
                    if kind == "subscribe":
                        self._transports.add(transport)
        finally:
            self._transports.discard(transport)
        return socket

    async def broadcast(self, version: int) -> None:
        frame = self._frame(version)
        for transport in self._transports:
            transport.write(frame)

    def _frame(self, version: int) -> bytes:
        """A text frame of the wanted size in all, header included."""
        size = self._frame_bytes - header_bytes(self._frame_bytes)
        message = {"type": "delta", "version": version, "pad": ""}
        message["pad"] = "x" * max(0, size - len(msgspec.json.encode(message)))
        return text_frame(msgspec.json.encode(message))


def main() -> None:
    parser = arguments("A loop of transport.write.")
    parser.add_argument("--frame-bytes", type=int, required=True, help="size of each frame, header included")
    options = parser.parse_args()
    peer = WriteLoop(options.frame_bytes)
    app = web.Application()
    app.router.add_get("/api/v1/live", peer.live)
    Changes(peer.broadcast).join(app)
    serve(app, options.port)


if __name__ == "__main__":
    main()

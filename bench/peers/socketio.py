"""The usual library for fan-out: python-socketio's rooms on aiohttp under uvloop, over WebSocket only.

A client emits `subscribe` and gets a `snapshot`; each version is one `delta` to the room. The library
encodes a packet once for a whole room, so what it costs beside the floor is its way through its own queues.
"""

from typing import Any

import msgspec
import socketio
from aiohttp import web

from bench.peers.changes import Changes, header_bytes
from bench.peers.serving import arguments, serve

ROOM = "view"


class FastJson:
    """What the library asks of a JSON module, by msgspec."""

    @staticmethod
    def dumps(value: object, **_: object) -> str:
        return msgspec.json.encode(value).decode()

    @staticmethod
    def loads(text: str, **_: object) -> Any:
        return msgspec.json.decode(text)


class Rooms:
    """Emits the newest version to everybody in the room."""

    def __init__(self, frame_bytes: int) -> None:
        self._payload_bytes = frame_bytes - header_bytes(frame_bytes)
        self.server = socketio.AsyncServer(
            async_mode="aiohttp",
            transports=["websocket"],
            json=FastJson,
            http_compression=False,
            logger=False,
            engineio_logger=False,
        )
        self.server.on("subscribe", self._subscribe)

    async def _subscribe(self, sid: str, _: object) -> None:
        await self.server.emit("snapshot", {"version": 0, "slots": []}, to=sid)
        await self.server.enter_room(sid, ROOM)

    async def broadcast(self, version: int) -> None:
        await self.server.emit("delta", self._delta(version), room=ROOM)

    def _delta(self, version: int) -> dict[str, object]:
        """Data that makes the event's whole frame as long as wanted."""
        delta: dict[str, object] = {"version": version, "pad": ""}
        around = len("42") + len(FastJson.dumps(["delta", delta]))
        delta["pad"] = "x" * max(0, self._payload_bytes - around)
        return delta


def main() -> None:
    parser = arguments("Rooms of python-socketio.")
    parser.add_argument("--frame-bytes", type=int, required=True, help="size of each frame, header included")
    options = parser.parse_args()
    peer = Rooms(options.frame_bytes)
    app = web.Application()
    peer.server.attach(app)
    Changes(peer.broadcast).join(app)
    serve(app, options.port)


if __name__ == "__main__":
    main()

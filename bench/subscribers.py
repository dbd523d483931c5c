"""Lean WebSocket subscribers: a hand-made upgrade, and frames told apart by their bytes."""

import asyncio
import base64
import os
from typing import Any, cast

import msgspec

from bench.live import View

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
# One digit for the kind of Engine.IO packet, and for messages one more for that of Socket.IO.
ENGINE_PING, ENGINE_PONG = b"2", b"3"
SOCKET_CONNECT, SOCKET_EVENT = b"40", b"42"


class Hub:
    """What all subscribers of one view have in common: who is ready and what arrived at how many."""

    def __init__(self, view: View, expected: int) -> None:
        self.view = view
        self.expected = expected
        self.ready = 0
        self.all_ready = asyncio.Event()
        self.snapshot_bytes = 0
        self.deliveries = 0
        self.frames = 0
        self.frame_bytes = 0
        self.version = 0
        self.changed = asyncio.Event()
        self.failure = ""
        self.closing = False
        self.arriving: dict[bytes, int] = {}
        self.subscribers: list[Subscriber] = []
        self.kept: list[tuple[int, bytes]] | None = None
        """Version and payload of each frame that everybody has, once somebody wants them."""

    def arrived(self, frame: bytes, payload: bytes) -> None:
        """One subscriber has one frame; equal bytes are the same frame, as the protocol promises."""
        seen = self.arriving.get(frame)
        if seen is None:
            if self.read(payload).get("type") != "delta":
                self.fail(f"a subscriber got {payload[:200]!r} instead of a delta")
                return
            seen = 0
        self.count(frame, seen)

    def count(self, frame: bytes, seen: int) -> None:
        self.deliveries += 1
        if seen + 1 < self.expected:
            self.arriving[frame] = seen + 1
            return
        # Everyone has it: only now is it read in full, once.
        self.arriving.pop(frame, None)
        self.frames += 1
        self.frame_bytes += len(frame)
        payload = payload_of(frame)
        message = self.read(payload)
        begins = int(message.get("from_version", self.version))
        if begins > self.version:
            self.fail(f"a gap: everybody held version {self.version}, and the next frame began at {begins}")
            return
        self.version = max(self.version, int(message["version"]))
        if self.kept is not None:
            self.kept.append((self.version, payload))
        self.changed.set()

    def read(self, payload: bytes) -> dict[str, Any]:
        """A message by `type`, whatever carried it."""
        if self.view.carrier == "engine.io":
            return socket_event(payload)
        return msgspec.json.decode(payload)

    def partial(self) -> str:
        """What arrived at some and not at all: empty when everybody has everything."""
        for frame, seen in self.arriving.items():
            return f"{seen} of {self.expected} subscribers got {payload_of(frame)[:200]!r}"
        return ""

    def fail(self, why: str) -> None:
        self.failure = self.failure or why
        self.all_ready.set()
        self.changed.set()

    def close(self) -> None:
        """Closes all sockets; what that brings about is no failure."""
        self.closing = True
        for subscriber in self.subscribers:
            subscriber.transport.abort()
        self.subscribers.clear()

    async def reached(self, version: int) -> None:
        """Until every subscriber has this version, or something failed."""
        while self.version < version and not self.failure:
            self.changed.clear()
            await self.changed.wait()


class Subscriber(asyncio.Protocol):
    """Upgrades, authenticates, subscribes, then counts."""

    __slots__ = ("hub", "live", "rest", "transport", "upgraded")

    path = "/api/v1/live"
    more_headers = "Sec-WebSocket-Protocol: slotcast.v1\r\n"

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.rest = b""
        self.upgraded = False
        self.live = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.hub.subscribers.append(self)
        self.transport.write(upgrade(self.path, self.hub.view.port, self.more_headers))

    def data_received(self, data: bytes) -> None:
        hub = self.hub
        if self.live and not self.rest:
            # Nearly all reads are one whole frame that another subscriber has already shown.
            seen = hub.arriving.get(data)
            if seen is not None:
                hub.count(data, seen)
                return
        data = self.rest + data
        at = 0
        if not self.upgraded:
            head = data.find(b"\r\n\r\n")
            if head < 0:
                self.rest = data
                return
            if not data.startswith(b"HTTP/1.1 101"):
                hub.fail(f"no upgrade: {data[:300]!r}")
                return
            self.upgraded, at = True, head + 4
        while (bounds := frame_bounds(data, at)) is not None:
            start, end = bounds
            self.frame(data[at], data[at:end], data[start:end])
            at = end
        self.rest = data[at:]

    def frame(self, first: int, frame: bytes, payload: bytes) -> None:
        opcode = first & 0x0F
        if opcode == PING:
            self.transport.write(masked(PONG, payload))
        elif opcode == CLOSE:
            self.hub.fail(f"a subscriber was closed: {payload!r}")
        else:
            self.text(frame, payload)

    def text(self, frame: bytes, payload: bytes) -> None:
        if self.live:
            self.hub.arrived(frame, payload)
        else:
            self.open(msgspec.json.decode(payload), len(frame))

    def open(self, message: dict[str, Any], size: int) -> None:
        """The steps from welcome to the first snapshot."""
        kind = message.get("type")
        if kind == "welcome":
            self.say({"type": "auth", "id": "1", "token": self.hub.view.token})
        elif kind == "reply" and message.get("ok"):
            self.say(subscription(self.hub.view))
        elif kind == "snapshot":
            self.begin(int(message.get("version", 0)), size)
        elif kind != "subscribed":
            self.hub.fail(f"subscribing gave {message}")

    def begin(self, version: int, size: int) -> None:
        """It has its snapshot; from here on frames are counted."""
        hub, self.live = self.hub, True
        hub.version = max(hub.version, version)
        hub.snapshot_bytes = size
        hub.ready += 1
        if hub.ready == hub.expected:
            hub.all_ready.set()

    def say(self, message: dict[str, Any]) -> None:
        self.transport.write(masked(TEXT, msgspec.json.encode(message)))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.hub.closing:
            self.hub.fail(f"a subscriber lost its connection: {exc}")


class EngineSubscriber(Subscriber):
    """The same in the words of Socket.IO over an Engine.IO WebSocket."""

    __slots__ = ()

    path = "/socket.io/?EIO=4&transport=websocket"
    more_headers = ""

    def text(self, frame: bytes, payload: bytes) -> None:
        if payload == ENGINE_PING:
            self.transport.write(masked(TEXT, ENGINE_PONG))
        elif self.live:
            self.hub.arrived(frame, payload)
        elif payload.startswith(b"0"):
            self.transport.write(masked(TEXT, SOCKET_CONNECT))
        elif payload.startswith(SOCKET_CONNECT):
            self.transport.write(masked(TEXT, SOCKET_EVENT + b'["subscribe",{}]'))
        elif (message := socket_event(payload)).get("type") == "snapshot":
            self.begin(int(message.get("version", 0)), len(frame))
        else:
            self.hub.fail(f"subscribing gave {payload[:200]!r}")


def subscriber_of(hub: Hub) -> Subscriber:
    """One that speaks as the hub's server does."""
    return EngineSubscriber(hub) if hub.view.carrier == "engine.io" else Subscriber(hub)


def subscription(view: View, since: int | None = None) -> dict[str, Any]:
    message: dict[str, Any] = {
        "type": "subscribe",
        "id": "2",
        "professional_id": view.professional_id,
        "service_id": view.service_id,
        "from": view.from_date,
        "to": view.to_date,
        "time_zone": "UTC",
    }
    return message if since is None else {**message, "since": since}


def socket_event(payload: bytes) -> dict[str, Any]:
    """A Socket.IO event `42["name",{…}]` as a message whose `type` is its name; anything else has none."""
    if not payload.startswith(SOCKET_EVENT):
        return {}
    try:
        name, body = msgspec.json.decode(payload[len(SOCKET_EVENT) :], type=tuple[str, dict[str, Any]])
    except msgspec.MsgspecError:
        return {}
    return {**body, "type": name}


def upgrade(path: str, port: int, more_headers: str = "") -> bytes:
    """The request that turns a connection into a WebSocket."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{more_headers}\r\n"
    ).encode()


def frame_bounds(data: bytes, at: int) -> tuple[int, int] | None:
    """Start and end of the payload of the frame at `at`, or nothing while it is incomplete."""
    if len(data) < at + 2:
        return None
    size, start = data[at + 1] & 0x7F, at + 2
    if size >= 126:
        width = 2 if size == 126 else 8
        if len(data) < start + width:
            return None
        size, start = int.from_bytes(data[start : start + width], "big"), start + width
    end = start + size
    return (start, end) if len(data) >= end else None


def payload_of(frame: bytes) -> bytes:
    bounds = frame_bounds(frame, 0)
    assert bounds is not None
    return frame[bounds[0] : bounds[1]]


def masked(opcode: int, payload: bytes) -> bytes:
    """One final client frame. The mask is zero: it is allowed, and costs neither side more or less."""
    size = len(payload)
    head = bytes([0x80 | opcode, 0x80 | size]) if size < 126 else bytes([0x80 | opcode, 0xFE]) + size.to_bytes(2)
    return head + bytes(4) + payload

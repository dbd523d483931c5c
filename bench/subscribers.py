"""Lean WebSocket subscribers: a hand-made upgrade, and frames told apart by their bytes."""

import asyncio
import base64
import os
from typing import Any, cast

import msgspec

from bench.live import View

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA


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
        self.arriving: dict[bytes, int] = {}

    def arrived(self, frame: bytes, payload: bytes) -> None:
        """One subscriber has one frame; equal bytes are the same frame, as the protocol promises."""
        seen = self.arriving.get(frame)
        if seen is None:
            message = msgspec.json.decode(payload)
            if message.get("type") != "delta":
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
        self.version = max(self.version, int(msgspec.json.decode(payload_of(frame))["version"]))
        self.changed.set()

    def fail(self, why: str) -> None:
        self.failure = self.failure or why
        self.all_ready.set()
        self.changed.set()

    async def reached(self, version: int) -> None:
        """Until every subscriber has this version, or something failed."""
        while self.version < version and not self.failure:
            self.changed.clear()
            await self.changed.wait()


class Subscriber(asyncio.Protocol):
    """Upgrades, authenticates, subscribes, then counts."""

    __slots__ = ("hub", "live", "rest", "transport", "upgraded")

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.rest = b""
        self.upgraded = False
        self.live = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self.transport.write(
            f"GET /api/v1/live HTTP/1.1\r\nHost: 127.0.0.1:{self.hub.view.port}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: slotcast.v1\r\n\r\n".encode()
        )

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
        elif self.live:
            self.hub.arrived(frame, payload)
        else:
            self.open(msgspec.json.decode(payload), len(frame))

    def open(self, message: dict[str, Any], size: int) -> None:
        """The steps from welcome to the first snapshot."""
        view, kind = self.hub.view, message.get("type")
        if kind == "welcome":
            self.say({"type": "auth", "id": "1", "token": view.token})
        elif kind == "reply" and message.get("ok"):
            self.say(
                {
                    "type": "subscribe",
                    "id": "2",
                    "professional_id": view.professional_id,
                    "service_id": view.service_id,
                    "from": view.from_date,
                    "to": view.to_date,
                    "time_zone": "UTC",
                }
            )
        elif kind == "snapshot":
            self.live = True
            self.hub.snapshot_bytes = size
            self.hub.ready += 1
            if self.hub.ready == self.hub.expected:
                self.hub.all_ready.set()
        elif kind != "subscribed":
            self.hub.fail(f"subscribing gave {message}")

    def say(self, message: dict[str, str]) -> None:
        self.transport.write(masked(TEXT, msgspec.json.encode(message)))

    def connection_lost(self, exc: Exception | None) -> None:
        self.hub.fail(f"a subscriber lost its connection: {exc}")


def frame_bounds(data: bytes, at: int) -> tuple[int, int] | None:
    """Start and end of the payload of the frame at `at`, or nothing while it is incomplete."""
    if len(data) < at + 2:
        return None
    size, start = data[at + 1] & 0x7F, at + 2
    if size >= 126:
        width = 2 if size == 126 else 8
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

"""Subscribers that stop reading, and what the contract owes them when they go on."""

import asyncio
import socket
import time
from typing import Any

import msgspec

from bench.live import Lagging
from bench.subscribers import Hub, Subscriber

RESUME_SECONDS = 15.0
# As on an Ethernet.
SEGMENT_BYTES = 1400


class Laggard(Subscriber):
    """Counts like any other until it stalls; from then on it keeps its own version."""

    __slots__ = ("cut", "gap", "snapshots", "tracking", "version")

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self.tracking = False
        self.version = 0
        self.snapshots = 0
        self.cut = False
        self.gap = ""

    def stall(self) -> None:
        self.tracking, self.live, self.version = True, False, self.hub.version
        self.transport.pause_reading()

    def text(self, frame: bytes, payload: bytes) -> None:
        if not self.tracking:
            super().text(frame, payload)
            return
        message: dict[str, Any] = msgspec.json.decode(payload)
        if message["type"] == "snapshot":
            self.snapshots += 1
            self.version = message["version"]
        elif message["type"] == "delta" and message["from_version"] <= self.version:
            self.version = max(self.version, message["version"])
        else:
            self.gap = f"a socket that had stalled held version {self.version} and was told {payload[:200]!r}"

    def connection_lost(self, exc: Exception | None) -> None:
        if self.tracking:
            self.cut = True
        else:
            super().connection_lost(exc)


async def open_laggards(beside: Hub, count: int, receive_bytes: int) -> Hub:
    """Opens sockets whose kernel takes little in, so that what they leave unread stays with the server."""
    hub, loop = Hub(beside.view, count), asyncio.get_running_loop()
    for _ in range(count):
        sock = socket.socket()
        # Before connecting: both are agreed on with the first packets. A kernel keeps room for so many segments to
        # be sent, and with loopback's of 64 KB that would be megabytes, unlike on any network.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", hub.view.port))
        await loop.create_connection(lambda: Laggard(hub), sock=sock)
    await hub.all_ready.wait()
    return hub


async def stall(hub: Hub, version: int) -> Lagging:
    """All stop reading, at the version that the others hold."""
    await hub.reached(version)
    laggards = _laggards(hub)
    for laggard in laggards:
        laggard.stall()
    return Lagging(count=len(laggards))


async def resume(hub: Hub, version: int) -> Lagging:
    """All read again until they hold the version or know that they were cut."""
    laggards, deadline = _laggards(hub), time.perf_counter() + RESUME_SECONDS
    for laggard in laggards:
        if not laggard.transport.is_closing():
            laggard.transport.resume_reading()
    while time.perf_counter() < deadline and any(not one.cut and one.version < version for one in laggards):
        await asyncio.sleep(0.01)
    for laggard in laggards:
        if laggard.gap:
            hub.fail(laggard.gap)
    caught_up = [one for one in laggards if not one.cut and one.version >= version]
    return Lagging(
        count=len(laggards),
        caught_up=len(caught_up),
        snapshots=sum(one.snapshots > 0 for one in caught_up),
        cut=sum(one.cut for one in laggards),
    )


def _laggards(hub: Hub) -> list[Laggard]:
    return [one for one in hub.subscribers if isinstance(one, Laggard)]

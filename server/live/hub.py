"""All live connections of a node: admission, heartbeats, slow sockets, and the way out."""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from aiohttp import web

from protocol import limits, live
from protocol.errors import Refused
from protocol.ids import new_id
from protocol.live import Close
from server.live.joint import Joints
from server.live.socket import LiveSocket
from server.live.sse import Stream
from server.live.viewing import Visitor, is_same_origin
from server.remote import host_of, network_of
from server.speech import accepted_by

if TYPE_CHECKING:
    from server.node import Node

_TICK_S: Final = 0.1
_SESSIONS_EVERY_TICKS: Final = 10
_RECONNECT_MS: Final = (500, 5_000)


class Hub:
    def __init__(self, node: "Node") -> None:
        self._node = node
        self._public_hosts = frozenset(h.strip().lower() for h in node.settings.public_hosts.split(","))
        self._sockets: set[LiveSocket] = set()
        self.behind: set[LiveSocket] = set()
        self.joints = Joints(node)
        self.streams: set[Stream] = set()
        self._visitors: Counter[str] = Counter()
        connections = node.metrics.connections
        connections.labels("websocket").set_function(lambda: len(self._sockets))
        connections.labels("sse").set_function(lambda: len(self.streams))
        self._next_ping = time.monotonic() + limits.heartbeat_s

    def __len__(self) -> int:
        return len(self._sockets) + len(self.streams)

    def admit(self) -> None:
        """Raises `Refused` when no more connections are taken."""
        self._node.admit()
        if len(self) >= limits.sockets_max:
            raise Refused("overloaded", "too many live connections")

    async def visitor(self, request: web.BaseRequest) -> Visitor:
        """Who connects, by `Origin` and ticket. Raises `Refused`: `unauthorized` for a ticket that is no good,
        `rate_limited` for one connection without login too many from one address.
        """
        origin = request.headers.get("Origin")
        visitor = Visitor(new_id(), origin, is_same_origin(origin, host_of(request), self._public_hosts))
        visitor.request = request
        visitor.accepts = accepted_by(request)
        # A query that was looked at stays in memory for as long as the connection does.
        if "?" in request.raw_path and (ticket := request.query.get("ticket")) is not None:
            visitor.principal = await self._node.tickets.redeem(ticket)
            return visitor
        # One string for all connections of an address: there may be many.
        visitor.network = sys.intern(network_of(request))
        if self._visitors[visitor.network] >= limits.visitors_per_address_max:
            raise Refused("rate_limited", "too many live connections without login from this address")
        return visitor

    def entered(self, visitor: Visitor) -> None:
        """Counts a connection without login with its address."""
        if visitor.principal is None:
            self._visitors[visitor.network] += 1

    def left(self, visitor: Visitor) -> None:
        """To be called before a visitor logs in, and when the connection ends."""
        if visitor.principal is None:
            self._visitors[visitor.network] -= 1
            if self._visitors[visitor.network] <= 0:
                del self._visitors[visitor.network]

    def add(self, socket: LiveSocket) -> None:
        self.entered(socket.visitor)
        self._sockets.add(socket)

    def remove(self, socket: LiveSocket) -> None:
        self.left(socket.visitor)
        self._sockets.discard(socket)
        self.behind.discard(socket)

    def end_sessions_of(self, ids: Sequence[str]) -> None:
        """Ends what was opened with tokens or in sessions that are good no more."""
        gone = frozenset(ids)
        for socket in tuple(self._sockets):
            principal = socket.visitor.principal
            if principal is not None and principal.token_id in gone:
                socket.end(Close.BAD_TOKEN, "the token was revoked")
        for stream in tuple(self.streams):
            principal = stream.visitor.principal
            if principal is not None and principal.token_id in gone:
                stream.close()

    async def run(self) -> None:
        """Ticks until cancelled."""
        ticks = 0
        while True:
            await asyncio.sleep(_TICK_S)
            ticks += 1
            now = time.monotonic()
            for socket in tuple(self.behind):
                if socket.catch_up(now):
                    self.behind.discard(socket)
            if ticks % _SESSIONS_EVERY_TICKS == 0:
                self._check_sessions(now)

    def _check_sessions(self, now: float) -> None:
        wall = time.time()
        for socket in tuple(self._sockets):
            end = socket.session.tick(wall)
            if end is not None:
                socket.end(end.code, end.reason)
        for stream in tuple(self.streams):
            principal = stream.visitor.principal
            if principal is not None and wall >= principal.expires_at:
                stream.close()
        if now < self._next_ping:
            return
        self._next_ping = now + limits.heartbeat_s
        for socket in tuple(self._sockets):
            if now - socket.last_heard > 2.5 * limits.heartbeat_s:
                socket.end(Close.DEAD, "no answer to pings")
            else:
                socket.ping()

    async def say_goodbye(self) -> None:
        """Sends everybody away, each to come back after a time of its own. Commands under way are answered first."""
        for stream in tuple(self.streams):
            stream.goodbye(_reconnect_after_ms())
        for socket in tuple(self._sockets):
            socket.say(live.Goodbye(reconnect_after_ms=_reconnect_after_ms()))
            socket.end(Close.GOING_AWAY, "the server is going away")
        for _ in range(100):
            if not len(self):
                return
            await asyncio.sleep(0.02)


def _reconnect_after_ms() -> int:
    return random.randint(*_RECONNECT_MS)  # noqa: S311 - spreads load, guards nothing

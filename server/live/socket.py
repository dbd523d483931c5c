"""One WebSocket: the shell around `protocol.session.Session`.

Frames are written straight to the transport, already framed: a broadcast must never wait. What a slow peer does not
read gathers in the transport's buffer, within bounds (`limits.socket_*`).
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WSMsgType, web

from actors.broadcast import Broadcast, Pipe, Sink
from protocol import limits, live
from protocol.errors import Refused
from protocol.frames import Frame, text_frame
from protocol.ids import new_id
from protocol.languages import choose, of
from protocol.live import Close, ServerMessage, Subscribe, encode_server
from protocol.session import Action, Do, Login, Say, Session, Unwatch, Watch
from server.edge import attempt
from server.live.commands import count, perform
from server.live.viewing import Visitor, open_views
from server.permissions import reach
from server.router import Parameters
from server.translations import teller

if TYPE_CHECKING:
    from server.node import Node

LIVE_PATH: Final = "/api/v1/live"
_PING: Final = b"\x89\x00"
_LAST_ANSWERS_S: Final = 2.0
"""How long a socket that is sent away stays for the answers to its commands."""


class LiveSocket(Sink):
    """A `Sink` of views. Public attributes are the hub's."""

    __slots__ = (
        "_in_flight", "_missed", "_node", "_outbox", "_outbox_bytes", "_transport", "_views", "behind_since", "direct",
        "ending", "last_heard", "session", "visitor", "ws",
    )  # fmt: skip

    def __init__(
        self,
        node: "Node",
        ws: web.WebSocketResponse,
        transport: asyncio.Transport,
        visitor: Visitor,
        session: Session,
    ) -> None:
        self._node = node
        self.ws = ws
        self._transport = transport
        self.direct: Pipe | None = transport
        self.visitor = visitor
        self.session = session
        self._views: tuple[tuple[str, Broadcast], ...] = ()
        """With their subscriptions; a tuple, because there are many sockets and most watch one view."""
        self._outbox: list[bytes] | None = None
        self._outbox_bytes = 0
        self._in_flight: set[asyncio.Task[None]] | None = None
        self._missed: set[Broadcast] | None = None
        self.behind_since: float | None = None
        self.last_heard = time.monotonic()
        self.ending = False

    # Writing

    def say(self, message: ServerMessage) -> None:
        self._post(text_frame(encode_server(message)))

    def _post(self, data: bytes) -> None:
        """Leaves with whatever else this turn of the loop has for the socket: a batch answers many commands."""
        if self._outbox is not None and not self._joins(data):
            self._flush()
        if self._outbox is None:
            self._outbox, self._outbox_bytes = [data], len(data)
            self._regroup()
            asyncio.get_running_loop().call_soon(self._flush)

    def _joins(self, data: bytes) -> bool:
        """Whether it goes with what waits. Never more at once than a socket may be behind: it would be cut."""
        assert self._outbox is not None
        self._outbox_bytes += len(data)
        if self._outbox_bytes > limits.socket_behind_bytes:
            return False
        self._outbox.append(data)
        return True

    def _regroup(self) -> None:
        """Frames go past this object while nothing waits that they would overtake."""
        free = (
            self._outbox is None
            and self.behind_since is None
            and not self.ending
            and len(self._views) <= limits.direct_views_max
        )
        direct = self._transport if free else None
        if direct is not self.direct:
            self.direct = direct
            for _, view in self._views:
                view.regroup()

    def _flush(self) -> None:
        outbox, self._outbox = self._outbox, None
        if outbox:
            self._regroup()
            self._write(outbox[0] if len(outbox) == 1 else b"".join(outbox))

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        transport.write(data)
        waiting = transport.get_write_buffer_size()
        if waiting > limits.socket_behind_bytes:
            self._fall_behind(waiting)

    def _fall_behind(self, waiting: int) -> None:
        if waiting > limits.socket_cut_bytes:
            self._node.metrics.slow_sockets.labels("cut").inc()
            self._transport.abort()
        elif self.behind_since is None:
            self.behind_since = time.monotonic()
            self._regroup()
            self._node.metrics.slow_sockets.labels("behind").inc()
            self._node.live.behind.add(self)

    def deliver(self, view: Broadcast, frame: Frame) -> None:
        if self._outbox is not None and self.behind_since is None:
            if self._joins(frame.ws):
                return
            self._flush()
        if self.behind_since is None:
            self._write(frame.ws)
        elif self._missed is None:
            self._missed = {view}
        else:
            self._missed.add(view)

    def rehomed(self, old: Broadcast, new: Broadcast) -> None:
        self._views = tuple((id_, new if view is old else view) for id_, view in self._views)
        if self._missed and old in self._missed:
            self._missed.add(new)
        self._node.switchboard.join(new, self)

    def ping(self) -> None:
        self._post(_PING)

    def catch_up(self, now_s: float) -> bool:
        """For a socket that is behind: whether that is over, by one fresh snapshot per view or by being cut."""
        if self._transport.is_closing():
            return True
        assert self.behind_since is not None
        if self._transport.get_write_buffer_size() > 0:
            if now_s - self.behind_since > limits.socket_cut_s:
                self._node.metrics.slow_sockets.labels("cut").inc()
                self._transport.abort()
                return True
            return False
        self.behind_since = None
        self._regroup()
        missed, self._missed = self._missed, None
        for view in missed or ():
            if self in view.subscribers:
                self.deliver(view, view.snapshot())
        return self.behind_since is None

    def end(self, code: int, reason: str) -> None:
        """Closes politely, in the background."""
        if not self.ending:
            self.ending = True
            self._regroup()
            self._node.spawn(self._close(code, reason), "live close")

    async def _close(self, code: int, reason: str) -> None:
        if self._in_flight and code == Close.GOING_AWAY:
            await asyncio.wait(self._in_flight, timeout=_LAST_ANSWERS_S)
        self._flush()
        await self.ws.close(code=code, message=reason.encode())

    # Reading

    async def run(self) -> None:
        """Welcomes, and reads until the connection ends."""
        node, ws, session = self._node, self.ws, self.session
        node.live.add(self)
        try:
            self.say(
                live.Welcome(
                    session=self.visitor.name,
                    heartbeat_s=limits.heartbeat_s,
                    login_required_within_s=0 if session.may_act else limits.login_timeout_s,
                )
            )
            while True:
                # What was said while reading goes before anything that reading may end with.
                self._flush()
                message = await ws.receive()
                self.last_heard = time.monotonic()
                if message.type is WSMsgType.TEXT:
                    if not self.ending:
                        await self._act(session.receive(message.data))
                elif message.type is WSMsgType.PING:
                    # A control frame's payload is at most 125 bytes, so one byte tells its length.
                    self._post(bytes((0x8A, len(message.data))) + message.data)
                elif message.type is WSMsgType.BINARY:
                    self.end(Close.BINARY, "text frames only")
                elif message.type is not WSMsgType.PONG:
                    return
                # The next one may be minutes away.
                del message
        except Exception:
            node.log.exception("a live connection failed", session=self.visitor.name)
            self._flush()
            await ws.close(code=Close.INTERNAL)
        finally:
            node.live.remove(self)
            self._close_views()

    def _close_views(self) -> None:
        for _, view in self._views:
            self._node.switchboard.leave(view, self)
        self._views = ()
        self.direct = None
        for task in self._in_flight or ():
            # What was decided stays decided; the client asks again with its key.
            task.cancel()

    async def _act(self, action: Action) -> None:
        if isinstance(action, Do):
            await self._begin(self._perform(action.message))
        elif isinstance(action, Say):
            self.say(action.message)
        elif isinstance(action, Watch):
            await self._watch(action.message)
        elif isinstance(action, Unwatch):
            self._unwatch(action)
        elif isinstance(action, Login):
            self._login(action)
        else:
            self.end(action.code, action.reason)

    async def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs a command beside the reader; beyond the bound, reading waits, and so does the client."""
        if self._in_flight is None:
            self._in_flight = set()
        while len(self._in_flight) >= limits.commands_in_flight_per_socket_max:
            await asyncio.wait(self._in_flight, return_when=asyncio.FIRST_COMPLETED)
        task = asyncio.create_task(work, name="live command")
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _perform(self, message: live.LiveCommand) -> None:
        request_id = new_id()
        try:
            result = await perform(self._node, self.visitor, message, request_id)
        except Refused as refused:
            self.say(self.session.refuse(message.id, refused).message)
        except Exception:
            self._node.log.exception("a live command failed", request_id=request_id)
            self.say(self.session.refuse(message.id, Refused("internal_error")).message)
        else:
            self.say(live.Reply(id=message.id, ok=True, result=result))

    def _login(self, action: Login) -> None:
        try:
            principal = self._node.auth.verify(action.token)
            reach(principal, "live.connect")
        except Refused as refused:
            self.say(self.session.refuse(action.id, refused).message)
            self.end(Close.BAD_TOKEN, refused.code)
            return
        earlier = self.visitor.principal
        if earlier is not None and earlier.business_id != principal.business_id:
            # What is watched was opened with the rights of the first login and would outlive them.
            refused = Refused("conflict", "this connection belongs to another business's login")
            self.say(self.session.refuse(action.id, refused).message)
            return
        self._node.live.left(self.visitor)
        self.visitor.principal = principal
        self.session.logged_in(principal.expires_at)
        if (language := of(principal.locale)) is not None:
            self.session.tell = teller(language)
        self.say(live.Reply(id=action.id, ok=True))

    async def _watch(self, message: Subscribe) -> None:
        try:
            await count(self._node, self.visitor, message)
            opened = await open_views(self._node, self.visitor, message)
        except Refused as refused:
            self.session.not_watching(message.id)
            self.say(self.session.refuse(message.id, refused).message)
            return
        self._views = (*self._views, *((message.id, view) for view in opened))
        self._regroup()
        for asked_for in opened:
            view = self._node.switchboard.join(asked_for, self)
            # A version belongs to one calendar, so it says nothing about a service's several.
            known = message.since if message.professional_id is not None else None
            missed = view.since(known) if known is not None else None
            self.say(
                live.Subscribed(
                    id=message.id,
                    view=view.id,
                    professional_id=view.key.calendar_id or None,
                    service_id=message.service_id,
                    version=view.version,
                    recovered=missed is not None,
                )
            )
            for frame in missed if missed is not None else [view.snapshot()]:
                self.deliver(view, frame)

    def _unwatch(self, action: Unwatch) -> None:
        gone = [view for id_, view in self._views if id_ == action.subscription]
        self._views = tuple(kept for kept in self._views if kept[0] != action.subscription)
        self._regroup()
        still = {view for _, view in self._views}
        for view in gone:
            if view not in still:
                self._node.switchboard.leave(view, self)
        self.session.not_watching(action.subscription)
        self.say(live.Reply(id=action.id, ok=True))


async def live_socket(node: "Node", request: web.BaseRequest, _: Parameters) -> web.StreamResponse:
    """`GET /api/v1/live`. Without an `Origin` or a ticket, a login must come as first message."""
    opened = await attempt(node, request, LIVE_PATH, _open(node, request))
    if not isinstance(opened, LiveSocket):
        return opened
    await opened.run()
    return opened.ws


async def _open(node: "Node", request: web.BaseRequest) -> "LiveSocket | web.WebSocketResponse":
    """The socket, or only the response when the peer has gone already. Raises `Refused`."""
    node.live.admit()
    ws = web.WebSocketResponse(
        protocols=(live.SUBPROTOCOL,),
        compress=False,
        autoping=False,
        max_msg_size=limits.message_bytes_max,
        writer_limit=limits.socket_cut_bytes,
    )
    if not ws.can_prepare(request):
        raise Refused("malformed_request", "this is a WebSocket; say Upgrade: websocket")
    visitor = await node.live.visitor(request)
    await ws.prepare(request)
    # They are sent, and there may be a hundred thousand of them.
    ws.headers.clear()
    transport = request.transport
    if transport is None:
        return ws
    tell = teller(choose(visitor.principal and visitor.principal.locale, None, visitor.accepts, None))
    session = Session(visitor.name, time.time(), public=visitor.origin is not None, tell=tell)
    if visitor.principal is not None:
        session.logged_in(visitor.principal.expires_at)
    return LiveSocket(node, ws, transport, visitor, session)

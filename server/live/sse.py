"""Server-sent events: the same frames for clients that cannot open a WebSocket. One view per stream, no commands."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web

from actors.broadcast import Broadcast, Sink
from protocol import bodies, limits, live
from protocol.errors import Refused, not_valid
from protocol.frames import Frame
from protocol.languages import Language
from protocol.live import encode_server
from server.answer import ALWAYS
from server.live.commands import count
from server.live.viewing import Visitor, open_views

if TYPE_CHECKING:
    from server.node import Node

_COMMENT: Final = b": still here\n\n"
_VERSION_CHARS_MAX: Final = 18


class StreamQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """As `subscribe`. A browser that reconnects sends `Last-Event-ID`, which counts as `since`."""

    professional_id: bodies.Uuid
    from_: str = msgspec.field(name="from")
    to: str
    service_id: bodies.Uuid | None = None
    time_zone: str | None = None
    since: int | None = None
    ticket: str | None = None
    lang: Language | None = None


class Stream(Sink):
    """A `Sink` with a queue of its own, because HTTP chunks cannot be shared ready-made."""

    def __init__(self, node: "Node", visitor: Visitor, view: Broadcast) -> None:
        self._node = node
        self.visitor = visitor
        self.view = view
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._behind = False
        self._wake = asyncio.Event()
        self.closing = False

    def rehomed(self, old: Broadcast, new: Broadcast) -> None:
        self.view = new
        self._node.switchboard.join(new, self)

    def deliver(self, view: Broadcast, frame: Frame) -> None:
        if self._behind or self._bytes > limits.socket_behind_bytes:
            self._behind = True
            return
        self.put(frame.sse)

    def put(self, data: bytes) -> None:
        self._queue.append(data)
        self._bytes += len(data)
        self._wake.set()

    def goodbye(self, reconnect_after_ms: int) -> None:
        """Says when to come back, in the words of both protocols, and ends."""
        frame = Frame(encode_server(live.Goodbye(reconnect_after_ms=reconnect_after_ms)))
        self.put(b"retry: %d\n" % reconnect_after_ms + frame.sse)
        self.close()

    def close(self) -> None:
        """Ends once what waits is written."""
        self.closing = True
        self._wake.set()

    async def send(self, response: web.StreamResponse) -> None:
        """Writes what comes until the peer goes or is too slow."""
        while self._queue or not self.closing:
            try:
                await asyncio.wait_for(self._wake.wait(), limits.heartbeat_s)
            except TimeoutError:
                self.put(_COMMENT)
            self._wake.clear()
            while self._queue:
                data = self._queue.popleft()
                await asyncio.wait_for(response.write(data), limits.socket_cut_s)
                self._bytes -= len(data)
            if self._behind:
                self._behind = False
                self.put(self.view.snapshot().sse)


async def live_stream(node: "Node", request: web.BaseRequest) -> web.StreamResponse:
    """`GET /api/v1/live/sse`."""
    query = _query(request)
    node.live.admit()
    visitor = await node.live.visitor(request)
    if visitor.principal is None and visitor.origin is None:
        # Browsers send no Origin with a same-origin EventSource, but they do say where it comes from.
        if request.headers.get("Sec-Fetch-Site") != "same-origin":
            raise Refused("unauthorized", "a ticket or an allowed Origin is needed")
        visitor.same_origin = True
    since = query.since
    last = request.headers.get("Last-Event-ID", "")
    if last.isascii() and last.isdigit() and len(last) <= _VERSION_CHARS_MAX:
        since = int(last)
    message = live.Subscribe(
        id="sse",
        professional_id=query.professional_id,
        service_id=query.service_id,
        from_=query.from_,
        to=query.to,
        time_zone=query.time_zone,
    )
    await count(node, visitor, message)
    [view] = await open_views(node, visitor, message)
    stream = Stream(node, visitor, view)
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no", **ALWAYS}
    if visitor.origin is not None and not visitor.same_origin:
        headers["Access-Control-Allow-Origin"] = visitor.origin
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    view = node.switchboard.join(view, stream)
    node.live.streams.add(stream)
    node.live.entered(visitor)
    try:
        missed = view.since(since) if since is not None else None
        told = live.Subscribed(
            id="sse", view=view.id, professional_id=query.professional_id, version=view.version,
            service_id=query.service_id, recovered=missed is not None,
        )  # fmt: skip
        stream.put(Frame(encode_server(told)).sse)
        for frame in missed if missed is not None else [view.snapshot()]:
            stream.put(frame.sse)
        await stream.send(response)
    except (ConnectionError, TimeoutError):
        pass
    finally:
        node.switchboard.leave(stream.view, stream)
        node.live.streams.discard(stream)
        node.live.left(visitor)
    return response


def _query(request: web.BaseRequest) -> StreamQuery:
    try:
        return msgspec.convert(dict(request.query), StreamQuery, strict=False)
    except msgspec.ValidationError as error:
        raise not_valid(str(error)) from None

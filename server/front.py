"""Where connections come in. Requests that come in one piece are read and answered here, with nothing in between.

Nearly all requests do, and for them the framework's streams, and its task for each, cost more than a booking's decision
(decision 0035). A connection on which anything else comes is given to the framework for good, with every byte that was
not answered: a request in several pieces or several in one, an upgrade, a stream as its answer, a body in chunks or
compressed, one header twice, a line too long, or what is no request at all. So there is one judge of what is odd.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import lru_cache
from typing import Any, Final, TypeAlias, cast

import httptools
from aiohttp import web
from aiohttp.tcp_helpers import tcp_keepalive
from multidict import CIMultiDict

from protocol import limits
from server.answer import Answer
from server.edge import failed
from server.router import Found
from server.whole import WholeRequest

log = logging.getLogger("slotcast.front")

Answering: TypeAlias = Callable[[web.BaseRequest, Found | None], Awaitable[web.StreamResponse]]
Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]

_SWEEP_S: Final = 5.0
_UPGRADE: Final = b"\r\nUpgrade:"
"""Looked for before anything is set up: ten thousand viewers may come back at once."""
_HEADERS_MAX: Final = 128
"""As the framework, which refuses more."""
_ODD: Final = frozenset({"transfer-encoding", "content-encoding", "expect", "upgrade", "sec-websocket-key1"})


@lru_cache(maxsize=256)
def _name_of(header: bytes) -> str:
    """Clients say the same few over and over."""
    return header.decode("ascii").lower()


class Front(web.Server):
    """The framework's server, which it asks for a protocol of its own where one is needed.

    `find` tells what answers a method and a path, `answer` does it. Connections without a request are closed after
    `keep_alive_s`, by a look every few seconds.
    """

    def __init__(
        self,
        find: Callable[[str, str], Found],
        answer: Answering,
        spawn: Spawn,
        keep_alive_s: float,
        state: dict[Any, Any],
        **framework: Any,
    ) -> None:
        super().__init__(lambda request: answer(request, None), keepalive_timeout=keep_alive_s, **framework)
        self.find = find
        self.answer = answer
        self.spawn = spawn
        self.state = state
        """What requests know beside themselves; nobody writes to it."""
        self.plain: set[Connection] = set()
        self._sweeps_max = int(keep_alive_s / _SWEEP_S)
        self._sweeping: asyncio.TimerHandle | None = None

    def __call__(self) -> Any:
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(_SWEEP_S, self._sweep)
        return Connection(self)

    def framework(self) -> web.RequestHandler:
        return super().__call__()

    @property
    def connections(self) -> list[Any]:
        return [*super().connections, *self.plain]

    def pre_shutdown(self) -> None:
        super().pre_shutdown()
        for connection in tuple(self.plain):
            connection.close()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as the framework calls it
        if self._sweeping is not None:
            self._sweeping.cancel()
        await asyncio.gather(self._end(timeout), super().shutdown(timeout))

    async def _end(self, within_s: float | None) -> None:
        """Those who wait for an answer get it, if it comes in time."""
        busy = [c.ended() for c in self.plain if c.busy]
        if busy:
            await asyncio.wait(busy, timeout=within_s)
        for connection in tuple(self.plain):
            connection.abort()

    def _sweep(self) -> None:
        self._sweeping = self._loop.call_later(_SWEEP_S, self._sweep)
        for connection in tuple(self.plain):
            connection.sweeps += 1
            if connection.sweeps > self._sweeps_max:
                connection.grow_old()


class Connection(asyncio.Protocol):
    """`busy` from a request to the end of its answer; `sweeps` since the last one.

    The task that answers begins with the first request, because many connections never have one here, and serves them
    all: a context variable that a handler sets is there in the next request.
    """

    def __init__(self, front: Front) -> None:
        self._front = front
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpRequestParser | None = None
        self._next: asyncio.Future[tuple[WholeRequest, Found] | None] | None = None
        self._headers: dict[str, str]
        self._kept = True
        self._forget()
        self._later = b""
        self._writable: asyncio.Future[None] | None = None
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._ended_told: asyncio.Future[None] | None = None
        self.busy = False
        self.sweeps = 0
        self.peer: str | None = None

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        address = transport.get_extra_info("peername")
        self.peer = str(address[0]) if isinstance(address, tuple) else None
        self._front.plain.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def eof_received(self) -> bool:
        """Whoever says that it has nothing more to say still gets its answer."""
        self._closing = True
        return self.busy

    def data_received(self, data: bytes) -> None:
        if self.busy:
            self._later += data
            assert self._transport is not None
            self._transport.pause_reading()
            return
        odd = len(data) > limits.whole_request_bytes_max or _UPGRADE in data or _UPGRADE.lower() in data
        read = None if odd else self._read(data)
        if read is None:
            self._hand_over(data)
            return
        self.busy = True
        if self._next is None:
            self._next = self._begin()
        self._next.set_result(read)

    def _begin(self) -> "asyncio.Future[tuple[WholeRequest, Found] | None]":
        """With the first request: most connections that are given away never have one."""
        self._task = self._front.spawn(self._serve(), "connection")
        assert self._transport is not None
        # Of a peer that vanishes while it waits for an answer nothing else would tell.
        tcp_keepalive(self._transport)
        return self._loop.create_future()

    # What the parser tells

    def _forget(self) -> None:
        self._begun = self._ended = self._headers_seen = 0
        self._target = self._body = b""
        self._headers = {}

    def on_message_begin(self) -> None:
        self._begun += 1

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers_seen += 1
        self._headers[_name_of(name)] = value.decode("utf-8", "surrogateescape").strip(" \t")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._ended += 1
        # It is known only until the parser begins anew.
        assert self._parser is not None
        self._kept = self._parser.should_keep_alive()

    def _read(self, data: bytes) -> tuple[WholeRequest, Found] | None:
        """The request, and what answers it. `None` for what the framework is to look at."""
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(data)
            target = self._target.decode("ascii")
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, UnicodeDecodeError):
            return None
        if (
            self._begun != 1
            or self._ended != 1
            or len(headers := self._headers) != self._headers_seen
            or len(headers) > _HEADERS_MAX
            or "host" not in headers
            or not _ODD.isdisjoint(headers)
            or not target.startswith("/")
            or "#" in target
            or parser.get_http_version() != "1.1"
        ):
            return None
        method, fields = parser.get_method().decode("ascii"), CIMultiDict(headers)
        try:
            request = WholeRequest(self, method, target, fields, self._body, self._kept, self._front.state)
        except ValueError:
            # A path that cannot be taken apart.
            return None
        self._forget()
        found = self._front.find(request.method, request.whole_path)
        return None if found[2] else (request, found)

    # Answers

    async def _serve(self) -> None:
        try:
            while self._next is not None and (coming := await self._next) is not None:
                answer = await self._answer(*coming)
                transport = self._transport
                if transport is None:
                    return
                if self._closing:
                    answer.force_close()
                transport.write(answer.whole(coming[0]))
                if self._writable is not None:
                    # Whoever asks without reading must not fill the memory with answers.
                    await self._writable
                    if self._transport is None:
                        return
                self.busy = False
                if self._closing or not answer.kept(coming[0]):
                    self.close()
                    return
                if self._later:
                    self._hand_over(self._later)
                    return
                self.sweeps = 0
                self._next = self._loop.create_future()
                # The next one may be a minute away.
                del coming, answer
        except Exception:
            log.exception("a connection failed")
            self.abort()
        except BaseException:
            self.abort()
            raise

    async def _answer(self, request: WholeRequest, found: Found) -> Answer:
        try:
            answer = await self._front.answer(request, found)
            assert isinstance(answer, Answer), "who answers with a stream says so"
        except Exception as error:
            return failed(request, error)
        return answer

    def _hand_over(self, data: bytes) -> None:
        """Gives the connection to the framework, whose first bytes are `data`."""
        transport, paused = self._transport, bool(self._later)
        if transport is None or self._closing:
            self.close()
            return
        self._leave()
        handler = self._front.framework()
        transport.set_protocol(handler)
        handler.connection_made(transport)
        if paused:
            transport.resume_reading()
        handler.data_received(data)

    # Ends

    def close(self) -> None:
        """At once without a request, else after its answer."""
        self._closing = True
        if not self.busy and self._transport is not None:
            self._transport.close()

    def ended(self) -> "asyncio.Future[None]":
        """Done when nothing of the connection is this object's any more."""
        if self._ended_told is None:
            self._ended_told = self._loop.create_future()
        return self._ended_told

    def grow_old(self) -> None:
        """Nothing was answered for as long as a connection is kept."""
        if self._writable is not None or (self._closing and not self.busy):
            # Its peer takes nothing; what is left to write would be waited for.
            self.abort()
        elif not self.busy:
            self.close()

    def abort(self) -> None:
        """At once, whoever waits for what."""
        if self._transport is not None:
            self._transport.abort()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def _leave(self) -> None:
        """Nothing of the connection is this object's any more."""
        self._front.plain.discard(self)
        self._transport = None
        if self._ended_told is not None:
            self._ended_told.set_result(None)
            self._ended_told = None
        self.resume_writing()
        if self._next is not None and not self._next.done():
            self._next.set_result(None)
        # They know each other, and nobody else looks for such circles often.
        self._parser = self._next = self._task = None
        self._forget()
        self._later = b""

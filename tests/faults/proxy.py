"""A TCP proxy in front of Postgres or Redis that fails the way networks fail.

passing ──freeze──► frozen ──heal──► passing        connections stay, nothing moves
   │   ──cut─────► cut    ──heal──► passing        connections are reset, new ones too
   │   ──deafen──► deaf   ──heal──► passing        requests pass, answers are dropped; healing resets what was deaf
   │   ──mute────► mute   ──heal──► passing        answers pass, requests are dropped; healing resets what was mute
   │── swallow: a journal writer's next statements pass, each answer is swallowed, each connection is reset
   └── snap: a journal writer's next statement is sent, and its connection is reset at once
"""

import asyncio
import contextlib
import socket
import struct
from typing import Final

_READ_BYTES: Final = 64 * 1024
_SSL_REQUEST: Final = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
_READY_FOR_QUERY: Final = b"Z\x00\x00\x00\x05I"
_WRITER: Final = b"slotcast writer"


class Link:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, upstream: asyncio.StreamWriter) -> None:
        self.client = client
        self.upstream = upstream
        self.is_writer = False
        self.swallowing = False
        self.deaf = False
        self.mute = False

    def reset(self) -> None:
        for end in (self.client, self.upstream):
            sock = end.get_extra_info("socket")
            with contextlib.suppress(OSError, AttributeError):
                if sock.family == socket.AF_INET:
                    # Closing with this option sends RST instead of FIN.
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.transport.abort()


class Proxy:
    """Listens on 127.0.0.1:`port` and forwards to a Unix socket, or to a port of 127.0.0.1."""

    def __init__(self, upstream: str | int) -> None:
        self.delay_s = 0.0
        self.port = 0
        self.swallowed = asyncio.Event()
        self._upstream = upstream
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._moving = asyncio.Event()
        self._moving.set()
        self._cut = False
        self._deaf = False
        self._mute = False
        self._armed = 0
        self._snapping = False
        self._server: asyncio.Server | None = None

    async def start(self) -> "Proxy":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self._cut = True
        self._moving.set()
        self._reset(self._links)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    def freeze(self) -> None:
        self._moving.clear()

    def cut(self) -> None:
        self._cut = True
        self._reset(self._links)

    def deafen(self) -> None:
        self._deaf = True
        for link in self._links:
            link.deaf = True

    def mute(self) -> None:
        self._mute = True
        for link in self._links:
            link.mute = True

    def swallow(self, statements: int = 1) -> None:
        """The first is a batch, the second, on the connection after it, asks what became of that batch, and so on.
        `swallowed` is set when all are.
        """
        self.swallowed.clear()
        self._armed = statements

    def snap(self) -> None:
        """`swallowed` is set once it happened. Whether the statement was carried out is anybody's guess."""
        self.swallow()
        self._snapping = True

    def heal(self) -> None:
        self._cut = self._deaf = self._mute = self._snapping = False
        self._armed = 0
        self.delay_s = 0.0
        self._moving.set()
        # What was dropped is missing from the stream, so such a connection is of no more use.
        self._reset({link for link in self._links if link.deaf or link.mute})

    def _reset(self, links: set[Link]) -> None:
        for link in tuple(links):
            link.reset()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await self._moving.wait()
        if self._cut:
            writer.transport.abort()
            return
        try:
            if isinstance(self._upstream, str):
                up_reader, up_writer = await asyncio.open_unix_connection(self._upstream)
            else:
                up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.transport.abort()
            return
        link = Link(writer, up_writer)
        link.deaf, link.mute = self._deaf, self._mute
        self._links.add(link)
        try:
            await asyncio.gather(self._requests(link, reader), self._answers(link, up_reader))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._links.discard(link)
            writer.close()
            up_writer.close()

    async def _requests(self, link: Link, reader: asyncio.StreamReader) -> None:
        first = True
        while data := await reader.read(_READ_BYTES):
            await self._pause()
            snapped = False
            if first and data != _SSL_REQUEST:
                first = False
                link.is_writer = _WRITER in data
            elif self._armed and link.is_writer and not link.swallowing and data.startswith(b"B"):
                # A Bind, so a statement is carried out; once it is answered it is committed.
                self._armed -= 1
                link.swallowing = True
                snapped = self._snapping
            if link.mute:
                continue
            link.upstream.write(data)
            await link.upstream.drain()
            if snapped:
                self._snapping = False
                self.swallowed.set()
                link.reset()
                return
        link.upstream.close()

    async def _answers(self, link: Link, reader: asyncio.StreamReader) -> None:
        heard = b""
        while data := await reader.read(_READ_BYTES):
            await self._pause()
            if link.swallowing:
                heard += data
                if heard.endswith(_READY_FOR_QUERY):
                    link.reset()
                    if not self._armed:
                        self.swallowed.set()
                    return
            elif not link.deaf:
                link.client.write(data)
                await link.client.drain()
        link.client.close()

    async def _pause(self) -> None:
        await self._moving.wait()
        if self.delay_s:
            await asyncio.sleep(self.delay_s)

"""The floor for bookings: the least server on this stack that still answers durably and under a guard.

It decodes, gathers, writes and answers, over REST and over pipelined WebSockets. There is no login, no calendar
with hours and rules, no journal, no watcher, no key to ask again with: nothing of what Slotcast does beside booking.
With `--contract` it writes what a booking has to leave behind in Slotcast, and is as bare in all else: the floor of
whoever keeps the same promises in the same tables.
"""

import asyncio
import gc
import os
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from functools import lru_cache, partial
from itertools import count

import asyncpg
import msgspec
from aiohttp import WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from bench.peers.batches import SCHEMA, Booked, Writer
from bench.peers.contract import JournalWriter
from bench.peers.serving import arguments, serve_low, text_frame

TAKEN = b'{"code":"slot_unavailable"}'


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    professional_id: str
    service_id: str
    client_id: str
    start: datetime


class Book(Wanted, frozen=True, kw_only=True, tag_field="type", tag="book"):
    id: str


class Auth(msgspec.Struct, frozen=True, tag_field="type", tag="auth"):
    id: str


class Reply(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="reply"):
    id: str
    ok: bool
    result: Booked | None = None
    code: str = ""


class Welcome(msgspec.Struct, frozen=True, tag_field="type", tag="welcome"):
    pass


class Whole(web.StreamResponse):
    """An answer whose head and body leave in one write."""

    def __init__(self, data: bytes) -> None:
        # What the base class would set up is for streaming.
        self._data = data

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        self._writer = request.writer
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:
        await self._writer.write_eof(self._data + data)


class GroupCommit:
    """Spreads calendars over its writers; each has one connection, with one batch in flight."""

    def __init__(self, dsn: str, writers: int, contract: bool) -> None:
        self._dsn = dsn
        self._count = writers
        self._contract = contract
        self._writers: list[Writer] = []
        self._minutes: dict[str, int] = {}
        self._instance = secrets.token_hex(6)
        self._numbers = count(1)
        self._wanted = msgspec.json.Decoder(Wanted).decode
        self._command = msgspec.json.Decoder(Book | Auth).decode
        self._encode = msgspec.json.Encoder().encode

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        # One connection more, for what is asked once.
        self._aside = await asyncpg.create_pool(self._dsn, min_size=1, max_size=1)
        if self._contract:
            self._writers = [await JournalWriter.open(self._dsn)]
        else:
            if not await self._aside.fetchval("SELECT to_regclass('services') IS NOT NULL"):
                await self._aside.execute(SCHEMA)
            self._writers = [Writer(await asyncpg.connect(self._dsn)) for _ in range(self._count)]
        tasks = [asyncio.create_task(writer.run()) for writer in self._writers]
        gc.freeze()
        gc.set_threshold(50_000, 50, 100)
        yield
        for task in tasks:
            task.cancel()
        self._aside.terminate()

    def answer(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        if request.path == "/api/v1/bookings":
            return self._book(request)
        return self._live(request) if request.path == "/api/v1/live" else _ready()

    async def _book(self, request: web.BaseRequest) -> web.StreamResponse:
        content = request.content
        raw = content.read_nowait() if content.is_eof() else await request.read()
        booking = await self._booking(self._wanted(raw))
        if not await self._write(booking):
            return _whole("409 Conflict", "", TAKEN)
        named = f'X-Request-ID: {booking.id}\r\nLocation: /api/v1/bookings/{booking.id}\r\nEtag: "1"\r\n'
        return _whole("201 Created", named, self._encode(booking))

    async def _booking(self, wanted: Wanted) -> Booked:
        minutes = self._minutes.get(wanted.service_id) or await self._duration(wanted.service_id)
        now = datetime.now(UTC).replace(microsecond=0)
        number = next(self._numbers)
        return Booked(
            # Appended to the primary key, like ids that sort by time.
            id=f"{number:08x}-0000-7000-8000-{self._instance}",
            code=f"BK-{number:08X}",
            status="confirmed",
            professional_id=wanted.professional_id,
            service_id=wanted.service_id,
            client_id=wanted.client_id,
            start=wanted.start,
            end=wanted.start + timedelta(minutes=minutes),
            attendees=1,
            version=1,
            created_at=now,
            updated_at=now,
            calendar_version=number,
        )

    def _write(self, booking: Booked) -> asyncio.Future[bool]:
        return self._writers[hash(booking.professional_id) % self._count].put(booking)

    async def _duration(self, service_id: str) -> int:
        column = "duration_minutes" if self._contract else "minutes"
        minutes = await self._aside.fetchval(f"SELECT {column} FROM services WHERE id = $1", service_id)
        self._minutes[service_id] = minutes
        return int(minutes)

    async def _live(self, request: web.BaseRequest) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, protocols=("slotcast.v1",))
        await socket.prepare(request)
        transport = request.transport
        assert transport is not None
        outbox = Outbox(transport)
        outbox.put(self._encode(Welcome()))
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            command = self._command(message.data)
            if isinstance(command, Auth):
                outbox.put(self._encode(Reply(command.id, True)))
                continue
            booking = await self._booking(command)
            self._write(booking).add_done_callback(partial(self._reply, outbox, command.id, booking))
        return socket

    def _reply(self, outbox: "Outbox", id_: str, booking: Booked, written: asyncio.Future[bool]) -> None:
        booked = written.result()
        outbox.put(self._encode(Reply(id_, True, booking) if booked else Reply(id_, False, code="slot_unavailable")))


class Outbox:
    """Frames of one turn of the loop leave in one write: a batch answers many commands."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._frames: list[bytes] = []

    def put(self, payload: bytes) -> None:
        if not self._frames:
            asyncio.get_running_loop().call_soon(self._flush)
        self._frames.append(text_frame(payload))

    def _flush(self) -> None:
        frames, self._frames = self._frames, []
        self._transport.write(b"".join(frames))


async def _ready() -> web.StreamResponse:
    return _whole("200 OK", "", b"{}")


def _whole(status: str, headers: str, body: bytes) -> Whole:
    """With as many bytes of headers as Slotcast answers with."""
    head = (
        f"HTTP/1.1 {status}\r\nServer: floor\r\nDate: {_date(int(time.time()))}\r\n{headers}"
        f"Content-Type: application/json; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return Whole(head.encode() + body)


@lru_cache(1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def main() -> None:
    parser = arguments("Bookings in batches and nothing else.")
    parser.add_argument("--writers", type=int, default=1, help="connections, each with the batches of its calendars")
    parser.add_argument("--contract", action="store_true", help="by one writer, and all that Slotcast writes")
    options = parser.parse_args()
    peer = GroupCommit(os.environ["DATABASE_URL"], 1 if options.contract else options.writers, options.contract)
    serve_low(peer.answer, peer.running(), options.port)


if __name__ == "__main__":
    main()

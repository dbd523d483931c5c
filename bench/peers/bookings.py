"""What the peers that book on aiohttp and asyncpg have in common: bodies, answers, and a pool that adds nothing."""

import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from uuid import UUID

import asyncpg
import msgspec
from aiohttp import web
from asyncpg.pool import PoolConnectionProxy

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


class Request(msgspec.Struct, forbid_unknown_fields=True):
    professional_id: UUID
    service_id: UUID
    start: datetime
    client_id: UUID


class Booking(msgspec.Struct):
    id: UUID
    code: str
    status: str
    professional_id: UUID
    service_id: UUID
    client_id: UUID
    start: datetime
    end: datetime
    attendees: int
    version: int
    created_at: datetime

    def values(self) -> tuple[object, ...]:
        """Parameters of an INSERT; the status is the same for all and stands in the statement."""
        return (
            self.id,
            self.code,
            self.professional_id,
            self.service_id,
            self.client_id,
            self.start,
            self.end,
            self.created_at,
        )


class BookingServer:
    """Reads a request, has a subclass write the booking, and answers 201 or 409.

    The pool's connections keep their prepared statements.
    """

    schema = ""
    """Made on a database that has no `services` yet."""
    settings: Mapping[str, str] = MappingProxyType({})
    """Of every database session."""

    def __init__(self, dsn: str, pool_size: int) -> None:
        self._dsn = dsn
        self._size = pool_size
        self._decoder = msgspec.json.Decoder(Request)
        self._encoder = msgspec.json.Encoder()
        self._minutes: dict[UUID, int] = {}

    async def write(self, connection: PoolConnectionProxy, booking: Booking) -> bool:
        """Commit the booking, or say that its time is taken."""
        raise NotImplementedError

    async def start(self, _: web.Application) -> None:
        self._pool = await asyncpg.create_pool(
            self._dsn, min_size=self._size, max_size=self._size, reset=_keep, server_settings=dict(self.settings)
        )
        exists = await self._pool.fetchval("SELECT to_regclass('services') IS NOT NULL")
        if not exists:
            await self._pool.execute(self.schema)

    async def stop(self, _: web.Application) -> None:
        await self._pool.close()

    def app(self) -> web.Application:
        app = web.Application()
        app.on_startup.append(self.start)
        app.on_cleanup.append(self.stop)
        app.router.add_post("/api/v1/bookings", self.book)
        return app

    async def book(self, request: web.Request) -> web.Response:
        try:
            wanted = self._decoder.decode(await request.read())
        except msgspec.ValidationError as error:
            return web.json_response({"title": str(error)}, status=422)
        minutes = self._minutes.get(wanted.service_id) or await self._duration(wanted.service_id)
        booking = Booking(
            id=uuid7(),
            code="BK-" + "".join(random.choices(ALPHABET, k=5)),
            status="confirmed",
            professional_id=wanted.professional_id,
            service_id=wanted.service_id,
            client_id=wanted.client_id,
            start=wanted.start,
            end=wanted.start + timedelta(minutes=minutes),
            attendees=1,
            version=1,
            created_at=datetime.now(UTC),
        )
        async with self._pool.acquire() as connection:
            written = await self.write(connection, booking)
        if not written:
            return web.json_response({"code": "slot_unavailable"}, status=409)
        return web.Response(
            status=201,
            body=self._encoder.encode(booking),
            headers={"Content-Type": "application/json", "Location": f"/api/v1/bookings/{booking.id}"},
        )

    async def _duration(self, service_id: UUID) -> int:
        minutes = await self._pool.fetchval("SELECT minutes FROM services WHERE id = $1", service_id)
        if minutes is None:
            raise web.HTTPNotFound
        self._minutes[service_id] = minutes
        return int(minutes)


async def _keep(_: asyncpg.Connection) -> None:
    """Nothing here changes session state, so the pool's reset would be a round trip for nothing."""


def uuid7() -> UUID:
    """An id that sorts by time, so that primary keys are appended and not scattered."""
    value = (time.time_ns() // 1_000_000) << 80 | random.getrandbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    return UUID(int=value & ~(3 << 62) | 2 << 62)

"""The row-lock peer: the usual durable booking, on the same libraries, as fast as it can be made.

It is spared what Slotcast does beside booking: no login check, no working hours, no foreign keys, no
exclusion constraint, no event journal. The overlap check rides in the INSERT, which saves a round trip
and is sound because a READ COMMITTED statement after the lock sees all that committed before it.
"""

import os
import random
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import msgspec
from aiohttp import web

from bench.peers.serving import arguments, serve

SCHEMA = """
CREATE TABLE professionals (id uuid PRIMARY KEY);
CREATE TABLE services (id uuid PRIMARY KEY, minutes int NOT NULL);
CREATE TABLE bookings (
    id uuid PRIMARY KEY, code text NOT NULL, status text NOT NULL,
    professional_id uuid NOT NULL, service_id uuid NOT NULL, client_id uuid NOT NULL,
    starts_at timestamptz NOT NULL, ends_at timestamptz NOT NULL, created_at timestamptz NOT NULL
);
CREATE INDEX ON bookings (professional_id, starts_at);

CREATE FUNCTION book(uuid, text, uuid, uuid, uuid, timestamptz, timestamptz, timestamptz)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM professionals WHERE id = $3 FOR UPDATE;
    INSERT INTO bookings
    SELECT $1, $2, 'confirmed', $3, $4, $5, $6, $7, $8
    WHERE NOT EXISTS (
        SELECT FROM bookings WHERE professional_id = $3 AND status IN ('held', 'pending', 'confirmed')
        AND starts_at < $7 AND starts_at > $6 - interval '1 day' AND ends_at > $6);
    RETURN FOUND;
END $$;
"""

LOCK = "SELECT id FROM professionals WHERE id = $1 FOR UPDATE"

# No meeting is longer than a day, which bounds the index scan below.
INSERT = """
INSERT INTO bookings
SELECT $1, $2, 'confirmed', $3, $4, $5, $6, $7, $8
WHERE NOT EXISTS (
    SELECT FROM bookings WHERE professional_id = $3 AND status IN ('held', 'pending', 'confirmed')
    AND starts_at < $7 AND starts_at > $6::timestamptz - interval '1 day' AND ends_at > $6)
RETURNING true
"""

FUNCTION = "SELECT book($1, $2, $3, $4, $5, $6, $7, $8)"

# A plan made while the table was small would scan all of it for as long as the statement stays prepared.
PLANS = {"enable_seqscan": "off"}

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


class RowLock:
    """The handlers, over a pool whose connections keep their prepared statements."""

    def __init__(self, dsn: str, pool_size: int, function: bool) -> None:
        self._dsn = dsn
        self._size = pool_size
        self._function = function
        self._decoder = msgspec.json.Decoder(Request)
        self._encoder = msgspec.json.Encoder()
        self._minutes: dict[UUID, int] = {}

    async def start(self, _: web.Application) -> None:
        self._pool = await asyncpg.create_pool(
            self._dsn, min_size=self._size, max_size=self._size, reset=_keep, server_settings=PLANS
        )
        exists = await self._pool.fetchval("SELECT to_regclass('professionals') IS NOT NULL")
        if not exists:
            await self._pool.execute(SCHEMA)

    async def stop(self, _: web.Application) -> None:
        await self._pool.close()

    async def book(self, request: web.Request) -> web.Response:
        try:
            wanted = self._decoder.decode(await request.read())
        except msgspec.ValidationError as error:
            return web.json_response({"title": str(error)}, status=422)
        minutes = self._minutes.get(wanted.service_id) or await self._duration(wanted.service_id)
        booking = Booking(
            id=_uuid7(),
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
        if not await self._write(booking):
            return web.json_response({"code": "slot_unavailable"}, status=409)
        return web.Response(
            status=201,
            body=self._encoder.encode(booking),
            headers={"Content-Type": "application/json", "Location": f"/api/v1/bookings/{booking.id}"},
        )

    async def _write(self, b: Booking) -> bool:
        values = (b.id, b.code, b.professional_id, b.service_id, b.client_id, b.start, b.end, b.created_at)
        async with self._pool.acquire() as connection:
            if self._function:
                return bool(await connection.fetchval(FUNCTION, *values))
            async with connection.transaction():
                if await connection.fetchval(LOCK, b.professional_id) is None:
                    return False
                return await connection.fetchval(INSERT, *values) is not None

    async def _duration(self, service_id: UUID) -> int:
        minutes = await self._pool.fetchval("SELECT minutes FROM services WHERE id = $1", service_id)
        if minutes is None:
            raise web.HTTPNotFound
        self._minutes[service_id] = minutes
        return int(minutes)


async def _keep(_: asyncpg.Connection) -> None:
    """Nothing here changes session state, so the pool's reset would be a round trip for nothing."""


def _uuid7() -> UUID:
    value = (time.time_ns() // 1_000_000) << 80 | random.getrandbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    return UUID(int=value & ~(3 << 62) | 2 << 62)


def main() -> None:
    parser = arguments("Bookings under a row lock.")
    parser.add_argument("--pool", type=int, default=16, help="database connections")
    parser.add_argument("--function", action="store_true", help="lock, check and insert in one PL/pgSQL call")
    options = parser.parse_args()
    peer = RowLock(os.environ["DATABASE_URL"], options.pool, options.function)
    app = web.Application()
    app.on_startup.append(peer.start)
    app.on_cleanup.append(peer.stop)
    app.router.add_post("/api/v1/bookings", peer.book)
    serve(app, options.port)


if __name__ == "__main__":
    main()

"""The row-lock peer: the usual durable booking, on the same libraries, as fast as it can be made.

It is spared what Slotcast does beside booking: no login check, no working hours, no foreign keys, no
exclusion constraint, no event journal. The overlap check rides in the INSERT, which saves a round trip
and is sound because a READ COMMITTED statement after the lock sees all that committed before it.
"""

import os
from types import MappingProxyType

from asyncpg.pool import PoolConnectionProxy

from bench.peers.bookings import Booking, BookingServer
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


class RowLock(BookingServer):
    """Lock, check and insert: three statements and a commit."""

    schema = SCHEMA
    # A plan made while the table was small would scan all of it for as long as the statement stays prepared.
    settings = MappingProxyType({"enable_seqscan": "off"})

    async def write(self, connection: PoolConnectionProxy, booking: Booking) -> bool:
        async with connection.transaction():
            if await connection.fetchval(LOCK, booking.professional_id) is None:
                return False
            return await connection.fetchval(INSERT, *booking.values()) is not None


class RowLockFunction(RowLock):
    """The same in one round trip."""

    async def write(self, connection: PoolConnectionProxy, booking: Booking) -> bool:
        return bool(await connection.fetchval(FUNCTION, *booking.values()))


def main() -> None:
    parser = arguments("Bookings under a row lock.")
    parser.add_argument("--pool", type=int, default=16, help="database connections")
    parser.add_argument("--function", action="store_true", help="lock, check and insert in one PL/pgSQL call")
    options = parser.parse_args()
    peer = RowLockFunction if options.function else RowLock
    serve(peer(os.environ["DATABASE_URL"], options.pool).app(), options.port)


if __name__ == "__main__":
    main()

"""The constraint peer: Postgres itself keeps bookings apart, with one INSERT for each request.

No lock and no check before it: an exclusion constraint refuses what overlaps, and bookings that do not
overlap commit side by side, so Postgres can share a disk sync among them. It is spared the same as
`rowlock`, and takes one round trip.
"""

import os

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from bench.peers.bookings import Booking, BookingServer
from bench.peers.serving import arguments, serve

SCHEMA = """
CREATE EXTENSION IF NOT EXISTS btree_gist;
CREATE TABLE services (id uuid PRIMARY KEY, minutes int NOT NULL);
CREATE TABLE bookings (
    id uuid PRIMARY KEY, code text NOT NULL, status text NOT NULL,
    professional_id uuid NOT NULL, service_id uuid NOT NULL, client_id uuid NOT NULL,
    starts_at timestamptz NOT NULL, ends_at timestamptz NOT NULL, created_at timestamptz NOT NULL,
    CONSTRAINT bookings_never_overlap EXCLUDE USING gist
    (professional_id WITH =, tstzrange(starts_at, ends_at) WITH &&) WHERE (status IN ('held', 'pending', 'confirmed'))
);
"""

INSERT = "INSERT INTO bookings VALUES ($1, $2, 'confirmed', $3, $4, $5, $6, $7, $8)"

LOOK_FIRST = f"{INSERT} ON CONFLICT ON CONSTRAINT bookings_never_overlap DO NOTHING"


class Exclude(BookingServer):
    """One statement that commits by itself; cheapest while nearly every booking succeeds."""

    schema = SCHEMA

    async def write(self, connection: PoolConnectionProxy, booking: Booking) -> bool:
        try:
            await connection.execute(INSERT, *booking.values())
        except asyncpg.ExclusionViolationError:
            return False
        return True


class ExcludeLookFirst(Exclude):
    """The same for crowds: Postgres looks before it writes.

    A refusal then leaves no dead row and aborts no transaction, and two who want the same time at once
    cannot deadlock, which plain inserts under an exclusion constraint may.
    """

    async def write(self, connection: PoolConnectionProxy, booking: Booking) -> bool:
        return await connection.execute(LOOK_FIRST, *booking.values()) == "INSERT 0 1"


def main() -> None:
    parser = arguments("Bookings under an exclusion constraint.")
    parser.add_argument("--pool", type=int, default=16, help="database connections")
    parser.add_argument("--look-first", action="store_true", help="ON CONFLICT DO NOTHING, for many refusals")
    options = parser.parse_args()
    peer = ExcludeLookFirst if options.look_first else Exclude
    serve(peer(os.environ["DATABASE_URL"], options.pool).app(), options.port)


if __name__ == "__main__":
    main()

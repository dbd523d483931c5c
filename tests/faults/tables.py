"""The tables as they are, read by SQL that the server does not use."""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import msgspec
import orjson

_EVENTS: Final = """
SELECT shard, seq, calendar_id::text, version, epoch, (extract(epoch FROM at) * 1000000)::bigint AS at, by, request_id,
       data::text FROM events WHERE $1::text[] IS NULL OR calendar_id = ANY ($1::text[]::uuid[]) ORDER BY shard, seq"""
_BOOKINGS: Final = """
SELECT id::text, calendar_id::text, code, status, (extract(epoch FROM start_at) * 1000000)::bigint AS start,
       (extract(epoch FROM end_at) * 1000000)::bigint AS ends, (extract(epoch FROM lower(blocked)) * 1000000)::bigint
       AS blocked_from, (extract(epoch FROM upper(blocked)) * 1000000)::bigint AS blocked_to,
       session_id::text AS session, capacity, attendees, version, notes FROM bookings"""
_SHARDS: Final = "SELECT id, epoch, seq FROM shards"


class Event(msgspec.Struct):
    shard: int
    seq: int
    calendar_id: str
    version: int
    epoch: int
    at: int
    by: str
    request_id: str
    data: dict[str, Any]

    @property
    def type(self) -> str:
        return self.data["type"]

    @property
    def key(self) -> str:
        """Of the request that caused it."""
        return self.request_id.partition(".")[0]


class Row(msgspec.Struct):
    """A hold or booking; instants in microseconds."""

    id: str
    calendar_id: str
    code: str | None
    status: str
    start: int
    ends: int
    blocked_from: int
    blocked_to: int
    session: str
    capacity: int
    attendees: int
    version: int
    notes: str | None

    @property
    def active(self) -> bool:
        return self.status in ("held", "pending", "confirmed")


class Shard(msgspec.Struct):
    id: int
    epoch: int
    seq: int


class Tables(msgspec.Struct):
    """`events` stand in the order of the journal: by shard, then by position."""

    events: list[Event] = []
    rows: list[Row] = []
    shards: list[Shard] = []


async def read_tables(connection: asyncpg.Connection, calendars: Sequence[str] | None = None) -> Tables:
    """All from one moment; of the events, on demand, only those of some calendars."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        events = await connection.fetch(_EVENTS, calendars)
        rows = await connection.fetch(_BOOKINGS)
        shards = await connection.fetch(_SHARDS)
    return Tables(
        [Event(**{**r, "data": orjson.loads(r["data"])}) for r in map(dict, events)],
        [Row(**dict(r)) for r in rows],
        [Shard(**dict(r)) for r in shards],
    )

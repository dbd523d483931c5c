"""Bookings, time off and events as they are read: rows in, bodies out. Writing them is the journal's alone."""

from typing import Any

import msgspec
import orjson

from protocol import bodies
from protocol import events as ev
from storage.people import Queries, stamp


class BookingRow(msgspec.Struct):
    """A booking with what must not leave the server: whose it is, and the digest of its manage token."""

    business_id: str
    manage_hash: bytes | None
    body: bodies.Booking


class HoldRow(msgspec.Struct):
    calendar_id: str
    business_id: str
    client_id: str | None
    holder: str


class BookingFilter(msgspec.Struct, kw_only=True):
    """`None` is no filter. Instants are microseconds; `ends_after` leaves out what is over."""

    professional_id: str | None = None
    client_id: str | None = None
    status: str | None = None
    starts_from: int | None = None
    starts_before: int | None = None
    ends_after: int | None = None
    locations: list[str] | None = None


def _booking(row: Any) -> BookingRow:
    body = bodies.Booking(
        id=str(row["id"]),
        code=row["code"],
        status=row["status"],
        professional_id=str(row["calendar_id"]),
        service_id=str(row["service_id"]),
        client_id=str(row["client_id"]) if row["client_id"] else None,
        start=stamp(row["start_at"]),
        end=stamp(row["end_at"]),
        attendees=row["attendees"],
        version=row["version"],
        created_at=stamp(row["created_at"]),
        updated_at=stamp(row["updated_at"]),
        notes=row["notes"],
        cancelled_by=row["cancelled_by"],
        reason=row["reason"],
        professional_name=row["professional_name"],
    )
    return BookingRow(str(row["business_id"]), row["manage_hash"], body)


async def find(q: Queries, *, id: str | None = None, code: str | None = None) -> BookingRow | None:
    """One booking by id or code. A hold is not a booking."""
    row = await (q.row("booking_by_id", id) if id else q.row("booking_by_code", code))
    return None if row is None or row["status"] == "held" else _booking(row)


async def list_bookings(
    q: Queries, business_id: str, f: BookingFilter, after: tuple[int, str] | None, limit: int
) -> list[bodies.Booking]:
    start, id_ = after or (None, None)
    rows = await q.fetch(
        "list_bookings", business_id, f.professional_id, f.client_id, f.status, f.starts_from, f.starts_before,
        f.ends_after, limit, start, id_, f.locations,
    )  # fmt: skip
    return [_booking(r).body for r in rows]


async def dates(q: Queries, calendar_id: str, from_us: int, to_us: int, zone: str) -> list[str]:
    """The local dates in a range that have a confirmed booking."""
    return [r["day"] for r in await q.fetch("booking_dates", calendar_id, from_us, to_us, zone)]


async def find_hold(q: Queries, hold_id: str) -> HoldRow | None:
    row = await q.row("hold_by_id", hold_id)
    return HoldRow(*row) if row else None


async def list_time_off(q: Queries, calendar_id: str, after: str | None, limit: int) -> list[bodies.TimeOff]:
    return [
        bodies.TimeOff(
            id=r["id"],
            professional_id=calendar_id,
            start=stamp(r["start_at"]),
            end=stamp(r["end_at"]),
            description=r["description"],
            forced=r["forced"],
        )
        for r in await q.fetch("list_time_off", calendar_id, after, limit)
    ]


async def time_off_reasons(q: Queries, calendar_id: str, from_us: int, to_us: int) -> list[tuple[str, str, str]]:
    """`(start, end, description)` of the time off in a range."""
    rows = await q.fetch("time_off_in", calendar_id, from_us, to_us)
    return [(stamp(r["start_at"]), stamp(r["end_at"]), r["description"] or "") for r in rows]


async def list_events(q: Queries, calendar_id: str, after: int, limit: int) -> list[bodies.EventAnswer]:
    return [_event(r) for r in await q.fetch("list_events", calendar_id, after, limit)]


async def events_of(q: Queries, calendar_id: str, booking_id: str, version_max: int) -> list[ev.AnyEvent]:
    """What happened to one booking up to a version of its calendar, oldest first."""
    return [ev.decode(r["data"]) for r in await q.fetch("events_of_booking", calendar_id, booking_id, version_max)]


def _event(row: Any) -> bodies.EventAnswer:
    return bodies.EventAnswer(
        professional_id=row["calendar_id"],
        version=row["version"],
        type=row["type"],
        at=stamp(row["at"]),
        by=row["by"],
        request_id=row["request_id"],
        data=orjson.loads(row["data"]),
    )

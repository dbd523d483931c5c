"""Bookings, time off and events as they are read: rows in, bodies out. Writing them is the journal's alone."""

from typing import Any

import msgspec
import orjson

from protocol import bodies, limits, schedules
from protocol import events as ev
from storage.meetings import parts_of
from storage.people import Queries, stamp


class BookingRow(msgspec.Struct):
    """A booking with what must not leave the server: whose it is, and the digest of its manage token. `parts` are what
    it takes up in calendars beside its professional's.
    """

    business_id: str
    manage_hash: bytes | None
    body: bodies.Booking
    parts: tuple[ev.Part, ...] = ()


class HoldRow(msgspec.Struct):
    calendar_id: str
    business_id: str
    client_id: str | None
    holder: str
    parts: tuple[ev.Part, ...] = ()


class BookingFilter(msgspec.Struct, kw_only=True):
    """`None` is no filter. Instants are microseconds; `ends_after` leaves out what is over."""

    professional_id: str | None = None
    client_id: str | None = None
    status: str | None = None
    starts_from: int | None = None
    starts_before: int | None = None
    ends_after: int | None = None
    locations: list[str] | None = None
    service_id: str | None = None


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
        answers=orjson.loads(row["answers"]) if row["answers"] else None,
        double_booking=row["doubled"],
        series_id=str(row["series_id"]) if row["series_id"] else None,
        professional_name=row["professional_name"],
    )
    if row["parts"]:
        others: list[tuple[str, str]] = orjson.loads(row["others"])
        body.professional_ids = sorted([body.professional_id, *(id_ for id_, kind in others if kind == "person")])
        body.resource_ids = [id_ for id_, kind in others if kind == "resource"] or None
    return BookingRow(str(row["business_id"]), row["manage_hash"], body, parts_of(row["parts"]))


async def find(q: Queries, *, id: str | None = None, code: str | None = None) -> BookingRow | None:
    """One booking by id or code; by those of a part, the booking that it is a part of. A hold is not a booking."""
    row = await (q.row("booking_by_id", id) if id else q.row("booking_by_code", code))
    if row is not None and row["leader_id"] is not None:
        row = await q.row("booking_of_part", row["id"])
    return None if row is None or row["status"] == "held" else _booking(row)


async def of_series(q: Queries, business_id: str, series_id: str) -> list[BookingRow]:
    return [_booking(r) for r in await q.fetch("bookings_of_series", series_id, business_id)]


async def list_bookings(
    q: Queries, business_id: str, f: BookingFilter, after: tuple[int, str] | None, limit: int
) -> list[bodies.Booking]:
    start, id_ = after or (None, None)
    rows = await q.fetch(
        "list_bookings", business_id, f.professional_id, f.client_id, f.status, f.starts_from, f.starts_before,
        f.ends_after, limit, start, id_, f.locations, f.service_id,
    )  # fmt: skip
    return [_booking(r).body for r in rows]


async def dates(q: Queries, calendar_id: str, from_us: int, to_us: int, zone: str) -> list[str]:
    """The local dates in a range that have a confirmed booking."""
    return [r["day"] for r in await q.fetch("booking_dates", calendar_id, from_us, to_us, zone)]


async def find_hold(q: Queries, hold_id: str) -> HoldRow | None:
    row = await q.row("hold_by_id", hold_id)
    if row is None:
        return None
    calendar_id, business_id, client_id, holder, parts = row
    return HoldRow(calendar_id, business_id, client_id, holder, parts_of(parts))


async def list_time_off(q: Queries, calendar_id: str, after: str | None, limit: int) -> list[schedules.TimeOff]:
    return [
        schedules.TimeOff(
            id=r["id"],
            professional_id=calendar_id,
            start=stamp(r["start_at"]),
            end=stamp(r["end_at"]),
            description=r["description"],
            forced=r["forced"],
            series_id=r["series_id"],
        )
        for r in await q.fetch("list_time_off", calendar_id, after, limit)
    ]


async def periods_of_series(q: Queries, calendar_id: str, series_id: str, version: int) -> list[ev.TimeBlocked]:
    """The periods that one rule has made, of which the last came with that version of the calendar."""
    rows = await q.fetch("series_events", calendar_id, version - limits.time_off_series_max, version, series_id)
    found = [ev.decode(r["data"]) for r in rows]
    return [event for event in found if isinstance(event, ev.TimeBlocked)]


async def booked_as_series(q: Queries, calendar_id: str, series_id: str, version: int) -> list[ev.Booked]:
    """What was booked together, of which the last came with that version of the calendar."""
    rows = await q.fetch("series_events", calendar_id, version - limits.series_max, version, series_id)
    found = [ev.decode(r["data"]) for r in rows]
    return [event for event in found if isinstance(event, ev.Booked)]


async def time_off_reasons(q: Queries, calendar_id: str, from_us: int, to_us: int) -> list[tuple[str, str, str]]:
    """`(start, end, description)` of the time off in a range."""
    rows = await q.fetch("time_off_in", calendar_id, from_us, to_us)
    return [(stamp(r["start_at"]), stamp(r["end_at"]), r["description"] or "") for r in rows]


async def list_events(q: Queries, calendar_id: str, after: int, limit: int) -> list[bodies.EventAnswer]:
    return [event_of_row(r) for r in await q.fetch("list_events", calendar_id, after, limit)]


async def events_of(q: Queries, calendar_id: str, booking_id: str, version_max: int) -> list[ev.AnyEvent]:
    """What happened to one booking up to a version of its calendar, oldest first."""
    return [ev.decode(r["data"]) for r in await q.fetch("events_of_booking", calendar_id, booking_id, version_max)]


def event_of_row(row: Any) -> bodies.EventAnswer:
    return bodies.EventAnswer(
        professional_id=row["calendar_id"],
        version=row["version"],
        type=row["type"],
        at=stamp(row["at"]),
        by=row["by"],
        request_id=row["request_id"],
        data=orjson.loads(row["data"]),
    )

"""What webhooks say of an event: the body of a delivery.

It holds no names, addresses or notes of people, like the journal: deliveries are kept, and people may be erased.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson

from actors.questions import hours_body
from jobs.queue import JournalEvent
from protocol import events as ev
from protocol.derived_ids import event_id
from protocol.times import format_us
from protocol.waitlist import entry_of
from protocol.webhooks import EVENT_TYPES, TEST

_STATUS_AFTER: Final = {
    "booking.confirmed": "confirmed",
    "booking.rejected": "rejected",
    "booking.cancelled": "cancelled",
    "booking.completed": "completed",
    "booking.no_show": "no_show",
    "booking.expired": "expired",
}
_INSTANTS: Final = frozenset({"start", "end", "expires_at", "until"})
_COPIED: Final = ("id", "booking_id", "code", "status", "service_id", "client_id", "cancelled_by")
_SAID: Final = (
    "id", "code", "status", "service_id", "client_id", "start", "end", "attendees", "expires_at", "cancelled_by",
)  # fmt: skip


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """An event as webhooks get it. `at` is microseconds UTC."""

    event_id: str
    type: str
    business_id: str
    calendar_id: str | None
    at: int
    body: str


class BookingNow(msgspec.Struct, frozen=True, kw_only=True):
    """A booking's row. It may be further than the event that is told of."""

    id: str
    calendar_id: str
    code: str | None
    status: str
    service_id: str
    client_id: str | None
    start_at: int
    end_at: int
    attendees: int
    cancelled_by: str | None
    is_part: bool = False
    """Of a meeting that another calendar leads, and tells of."""


def is_public(event: JournalEvent) -> bool:
    return event.type in EVENT_TYPES and "leader" not in event.data


def booking_of(event: JournalEvent) -> str | None:
    """The id of the booking that an event is about."""
    found = event.data.get("id" if event.type.startswith("booking.") else "booking_id")
    return found if isinstance(found, str) else None


def announced(event: JournalEvent, booking: BookingNow | None) -> Announced:
    """What the event itself says goes before what the row says by now."""
    area = event.type.partition(".")[0]
    data: dict[str, Any] = {"professional_id": event.calendar_id, "calendar_version": event.version}
    if area == "schedule":
        schedule = msgspec.convert(event.data["schedule"], ev.Schedule)
        data["schedule"] = msgspec.to_builtins(hours_body(event.calendar_id, schedule, event.version))
    elif area == "booking":
        data["booking"] = _booking(event, booking)
    else:
        data[area] = _plain(event.data)
        if booking is not None:
            data["booking"] = _row(booking)
    return _announced(
        event_id(event.calendar_id, event.version), event.type, event.business_id, event.calendar_id, event.at, data
    )


def promoted(event: JournalEvent) -> Announced | None:
    """That a hold has been placed for who came first on the waitlist, where that is what happened."""
    entry_id = entry_of(event.data.get("holder")) if event.type == "hold.created" else None
    if entry_id is None:
        return None
    hold = _plain(event.data)
    entry = {"id": entry_id, "hold_id": hold.pop("id"), **hold}
    data = {"professional_id": event.calendar_id, "calendar_version": event.version, "waitlist": entry}
    id_ = event_id("waitlist.promoted", event.calendar_id, event.version)
    return _announced(id_, "waitlist.promoted", event.business_id, event.calendar_id, event.at, data)


def of_booking(
    kind: str, business_id: str, booking: BookingNow, occasion: str, at: int, more: Mapping[str, Any]
) -> Announced:
    """An event that is none of the journal's. `occasion` tells it from others of its kind."""
    data = {"professional_id": booking.calendar_id, "booking": _row(booking), **more}
    return _announced(event_id(kind, business_id, occasion), kind, business_id, booking.calendar_id, at, data)


def test_event(webhook_id: str, business_id: str, occasion: str, at: int) -> Announced:
    data = {"webhook_id": webhook_id}
    return _announced(event_id(TEST, webhook_id, occasion), TEST, business_id, None, at, data)


def _announced(
    id_: str, kind: str, business_id: str, calendar_id: str | None, at: int, data: dict[str, Any]
) -> Announced:
    body = {"type": kind, "timestamp": format_us(at), "data": {"business_id": business_id, **data}}
    return Announced(
        event_id=id_,
        type=kind,
        business_id=business_id,
        calendar_id=calendar_id,
        at=at,
        body=orjson.dumps(body).decode(),
    )


def _booking(event: JournalEvent, row: BookingNow | None) -> dict[str, Any]:
    said = _plain(event.data)
    if event.type in _STATUS_AFTER:
        said["status"] = _STATUS_AFTER[event.type]
    known = (_row(row) if row is not None else {}) | said
    return {name: known[name] for name in _SAID if known.get(name) is not None}


def _row(row: BookingNow) -> dict[str, Any]:
    found = {
        "id": row.id,
        "code": row.code,
        "status": row.status,
        "service_id": row.service_id,
        "client_id": row.client_id,
        "start": format_us(row.start_at),
        "end": format_us(row.end_at),
        "attendees": row.attendees,
        "cancelled_by": row.cancelled_by,
    }
    return {name: value for name, value in found.items() if value is not None}


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """An event's own fields as callers of the API know them: times as text, nothing of how calendars work inside."""
    found = {name: data[name] for name in _COPIED if data.get(name) is not None}
    found |= {name: format_us(data[name]) for name in _INSTANTS if isinstance(data.get(name), int)}
    if isinstance(data.get("start"), int) and isinstance(data.get("duration"), int):
        found["end"] = format_us(data["start"] + data["duration"])
    if "places" in data:
        found["attendees"] = data["places"]
    return found

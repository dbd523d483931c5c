"""What calendars decide, in the words of callers."""

from typing import Any, Final

import msgspec

from actors.calendar.decide import Refusal
from actors.ports import Outcome
from protocol import bodies
from protocol import events as ev
from protocol.errors import Refused
from protocol.times import format_us


def refused_by_calendar(refusal: Refusal, version: int | None) -> Refused:
    """A calendar's refusal as callers see it; `None` where several were asked."""
    extra: dict[str, Any] = {} if version is None else {"calendar_version": version}
    if refusal.code == "slot_unavailable" or refusal.alternatives:
        extra["alternatives"] = [{"start": format_us(a), "end": format_us(b)} for a, b in refusal.alternatives]
    if refusal.conflicts:
        extra["conflicts"] = list(refusal.conflicts)
    if refusal.starts:
        extra["starts"] = [{"start": format_us(start), "code": code} for start, code in refusal.starts]
    if refusal.retry_at:
        extra["retry_at"] = format_us(refusal.retry_at)
    return Refused(refusal.code, refusal.detail, extra=extra)


_STATUS: Final[dict[type[ev.Event], bodies.BookingStatus]] = {
    ev.Confirmed: "confirmed",
    ev.Cancelled: "cancelled",
    ev.Rejected: "rejected",
    ev.Completed: "completed",
    ev.NoShow: "no_show",
    ev.Expired: "expired",
}


def made_by(booked: ev.Booked, calendar_id: str, version: int, at_us: int, **more: Any) -> bodies.Booking:
    """A new booking as its event has it, at that `version` of its own; `more` is what the event does not hold."""
    at = format_us(at_us)
    return bodies.Booking(
        id=booked.id,
        code=booked.code,
        status=booked.status,
        professional_id=calendar_id,
        service_id=booked.service_id,
        client_id=booked.client_id,
        start=format_us(booked.start),
        end=format_us(booked.start + booked.duration),
        attendees=booked.places,
        version=version,
        created_at=at,
        updated_at=at,
        double_booking=booked.doubled,
        series_id=booked.series,
        **more,
    )


def changed_by(body: bodies.Booking, outcome: Outcome) -> bodies.Booking:
    """The booking after what a calendar has decided about it."""
    return msgspec.structs.replace(
        body,
        version=outcome.booking_version,
        updated_at=format_us(outcome.at),
        calendar_version=outcome.version,
        **changes_of(outcome.event),
    )


def changes_of(event: ev.Event | None) -> dict[str, Any]:
    """What an event changes of a booking as callers see it."""
    changes: dict[str, Any] = {}
    status = _STATUS.get(type(event)) if event is not None else None
    if status is not None:
        changes["status"] = status
    if isinstance(event, ev.Cancelled):
        changes["cancelled_by"] = event.cancelled_by
    elif isinstance(event, ev.Booked):
        changes["status"] = event.status
    if isinstance(event, (ev.Booked, ev.Rescheduled)):
        end = event.start + event.duration
        changes |= {"start": format_us(event.start), "end": format_us(end), "double_booking": event.doubled}
    return changes

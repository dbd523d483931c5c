"""What a job of kind `message` or `code` carries: about what, to whom. The text is made when it is sent.

A booking's people are looked up then, too, so that no address lies in the queue.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from jobs.queue import JournalEvent, NewJob

MESSAGE: Final = "message"
CODE: Final = "code"
"""The same for what somebody sits and waits for: a kind of its own, which does not wait behind other messages."""
_TRIES: Final = 12


class AboutBooking(msgspec.Struct, frozen=True, kw_only=True, tag_field="about", tag="booking", omit_defaults=True):
    """To the client. `version` is the calendar's with the event; times are what the event said, where it said any."""

    message: str
    booking_id: str
    version: int = 0
    start: int | None = None
    duration: int | None = None
    expires_at: int | None = None
    minutes: int | None = None


class ToStaff(msgspec.Struct, frozen=True, kw_only=True, tag_field="about", tag="calendar", omit_defaults=True):
    """Of a booking, to the professional whose calendar it is in. Times as above."""

    message: str
    calendar_id: str
    booking_id: str
    start: int | None = None
    duration: int | None = None


class ToOwners(msgspec.Struct, frozen=True, kw_only=True, tag_field="about", tag="business", omit_defaults=True):
    """To those who own the business. `fields` fill in the text."""

    message: str
    fields: dict[str, str] = {}


class ToAddress(msgspec.Struct, frozen=True, kw_only=True, tag_field="about", tag="address"):
    """To one address, which is `sealed` together with what fills in the text; not sent after `until`."""

    message: str
    sealed: str
    until: int


Payload = AboutBooking | ToStaff | ToOwners | ToAddress


def about_booking(message: str, event: JournalEvent, booking_id: str) -> NewJob:
    """The message that follows from an event; one per event, and a booking's in their order."""
    data = event.data
    payload = AboutBooking(
        message=message,
        booking_id=booking_id,
        version=event.version,
        start=data.get("start"),
        duration=data.get("duration"),
        expires_at=data.get("expires_at"),
    )
    return _job(payload, event.business_id, f"{MESSAGE}:{event.calendar_id}:{event.version}", f"booking:{booking_id}")


def to_staff(message: str, event: JournalEvent) -> NewJob:
    """The same for the professional."""
    booking_id = event.data["id"]
    payload = ToStaff(
        message=message,
        calendar_id=event.calendar_id,
        booking_id=booking_id,
        start=event.data.get("start"),
        duration=event.data.get("duration"),
    )
    return _job(
        payload, event.business_id, f"{MESSAGE}:staff:{event.calendar_id}:{event.version}", f"staff:{booking_id}"
    )


def reminder(business_id: str, booking_id: str, start: int, minutes: int) -> NewJob:
    payload = AboutBooking(message="reminder", booking_id=booking_id, start=start, minutes=minutes)
    return _job(payload, business_id, f"{MESSAGE}:reminder:{booking_id}:{start}:{minutes}", f"booking:{booking_id}")


def to_owners(message: str, business_id: str, key: str, fields: Mapping[str, str] | None = None) -> NewJob:
    """`message` is the name of a template in `jobs/templates`, `key` names the occasion: the same is told once."""
    payload = ToOwners(message=message, fields=dict(fields or {}))
    return _job(payload, business_id, f"{MESSAGE}:{message}:{key}", None)


def to_address(message: str, sealed: str, until: int) -> NewJob:
    payload = ToAddress(message=message, sealed=sealed, until=until)
    return NewJob(kind=CODE, payload=msgspec.to_builtins(payload), attempts_max=_TRIES)


def _job(payload: Payload, business_id: str | None, key: str, lane: str | None) -> NewJob:
    return NewJob(
        kind=MESSAGE,
        payload=msgspec.to_builtins(payload),
        business_id=business_id,
        key=key,
        lane=lane,
        attempts_max=_TRIES,
    )

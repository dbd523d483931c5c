"""Follows the journal and tells clients what became of their bookings."""

from collections.abc import Sequence
from typing import Any, Final

from jobs.outgoing import about_booking
from jobs.queue import Digest, JournalEvent, NewJob
from protocol.waitlist import entry_of

_TOLD: Final = {
    "booking.confirmed": "approved",
    "booking.rejected": "rejected",
    "booking.cancelled": "cancelled",
    "booking.rescheduled": "rescheduled",
    "booking.expired": "expired",
}


class Notifications:
    """One job for each event that somebody is told of."""

    name = "notifications"

    async def digest(self, events: Sequence[JournalEvent], transaction: Any) -> Digest:
        return Digest(jobs=[job for event in events if (job := _job(event)) is not None])


def _job(event: JournalEvent) -> NewJob | None:
    data = event.data
    if event.type == "booking.created":
        kind = "confirmation" if data["status"] == "confirmed" else "pending"
        return about_booking(kind, event, data["id"]) if data.get("client_id") else None
    if event.type == "hold.created":
        return about_booking("waitlist_hold", event, data["id"]) if entry_of(data.get("holder")) else None
    kind = _TOLD.get(event.type)
    return about_booking(kind, event, data["id"]) if kind is not None else None

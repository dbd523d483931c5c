"""Follows the journal and tells professionals what others have done in their calendars: booked, asked, cancelled,
moved. What they did themselves they know, and who has switched it off is told nothing.
"""

from collections.abc import Sequence
from typing import Any, Final

from jobs.outgoing import to_staff
from jobs.queue import Digest, JournalEvent

_TOLD: Final = {"booking.cancelled": "staff_cancelled", "booking.rescheduled": "staff_moved"}


class StaffNotices:
    """One job for each event that a professional is told of."""

    name = "staff"

    async def digest(self, events: Sequence[JournalEvent], transaction: Any) -> Digest:
        told = [(event, message) for event in events if (message := _message(event)) is not None]
        if not told:
            return Digest()
        calendars = sorted({event.calendar_id for event, _ in told})
        users = {r["calendar_id"]: r["id"] for r in await transaction.fetch("staff_to_tell", calendars)}
        return Digest(
            jobs=[
                to_staff(message, event)
                for event, message in told
                if (user_id := users.get(event.calendar_id)) is not None and event.by != f"user:{user_id}"
            ]
        )


def _message(event: JournalEvent) -> str | None:
    if event.type == "booking.created":
        return "staff_booked" if event.data["status"] == "confirmed" else "staff_requested"
    return _TOLD.get(event.type)

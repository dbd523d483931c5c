"""Calendars and bookings as they were: by their journal."""

import asyncio
from typing import Final

from actors.calendar.apply import apply
from actors.calendar.hours import hours_of
from actors.calendar.state import Calendar, new_calendar
from actors.ports import CalendarStore
from protocol import bodies, limits
from protocol import events as ev
from protocol.errors import Refused
from storage.bookings import event_of_row
from storage.people import Queries

_APPLIED_AT_ONCE: Final = 500


async def calendar_at(q: Queries, store: CalendarStore, calendar_id: str, version: int) -> tuple[Calendar, int]:
    """The calendar after so many events, and the instant of the last of them. Services, holidays and
    location are those of now, and so is the time zone until hours were set; the journal does not hold them.

    Raises `Refused(not_found | limit_reached)`: there is no such version, or it is too far back to be told.
    """
    rows = await q.fetch("events_until", calendar_id, version, limits.explained_events_max + 1)
    if len(rows) > limits.explained_events_max:
        raise Refused("limit_reached", f"at most {limits.explained_events_max} events are gone through")
    if len(rows) < version:
        raise Refused("not_found", "this calendar has had no such version, or it is kept no longer")
    zone = await q.value("zone_of_calendar", calendar_id)
    calendar = new_calendar(calendar_id, zone)
    terms = (await store.terms_of([calendar_id])).get(calendar_id)
    if terms is not None:
        calendar.services, calendar.location_id = terms.services, terms.location_id
        calendar.hours = hours_of(calendar.hours.schedule, terms.holidays)
    for n, row in enumerate(rows):
        apply(calendar, ev.decode(row["data"]))
        if n % _APPLIED_AT_ONCE == 0:
            # Others have their turn meanwhile.
            await asyncio.sleep(0)
    return calendar, rows[-1]["at"]


async def history(q: Queries, calendar_id: str, booking_id: str, after: int, limit: int) -> list[bodies.EventAnswer]:
    """What happened to one booking, oldest first."""
    rows = await q.fetch("history_of_booking", calendar_id, booking_id, after, limit)
    return [event_of_row(r) for r in rows]

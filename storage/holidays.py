"""Holidays of a business or of one of its locations, as rows and as the bodies REST answers with."""

from typing import Any

from protocol import limits
from protocol import schedules as said
from protocol.errors import Refused
from protocol.ids import new_id
from storage.people import Queries, stamp

_NAMED_MAX = 50


def _holiday(row: Any) -> said.Holiday:
    return said.Holiday(
        id=row["id"],
        date=row["date"],
        name=row["name"],
        location_id=row["location_id"],
        forced=row["forced"],
        created_at=stamp(row["created_at"]),
    )


async def add(q: Queries, business_id: str, body: said.HolidayCreate) -> said.Holiday:
    """Raises `Refused(schedule_conflict)` with the bookings of that date, unless it is forced."""
    if await q.value("holidays_ahead", business_id) >= limits.holidays_max:
        raise Refused("limit_reached", f"at most {limits.holidays_max} holidays ahead")
    rows = await q.fetch("bookings_on_date", business_id, body.date, body.location_id, _NAMED_MAX)
    standing = [row["id"] for row in rows]
    if standing and not body.force:
        raise Refused("schedule_conflict", "there are bookings or holds on that date", extra={"conflicts": standing})
    row = await q.row("insert_holiday", new_id(), business_id, body.location_id, body.date, body.name, bool(standing))
    if row is None:
        raise Refused("conflict", "that date is a holiday already")
    return _holiday(row)


async def list_holidays(
    q: Queries, business_id: str, after: str | None, limit: int, date_from: str | None, location_id: str | None
) -> list[said.Holiday]:
    rows = await q.fetch("list_holidays", business_id, after, limit, date_from, location_id)
    return [_holiday(row) for row in rows]


async def delete(q: Queries, business_id: str, holiday_id: str) -> said.Holiday:
    row = await q.row("delete_holiday", business_id, holiday_id)
    if row is None:
        raise Refused("not_found", "there is no such holiday")
    return _holiday(row)


async def calendars_of(q: Queries, business_id: str, location_id: str | None) -> list[str]:
    """The calendars that a holiday of the business, or of that location, closes."""
    return [row["id"] for row in await q.fetch("calendars_at", business_id, location_id)]

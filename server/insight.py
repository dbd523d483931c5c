"""Analytics put together: figures of bookings, and how long calendars were open for them."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from jobs.open_time import days_between, hours_kept, open_seconds, spans_kept
from protocol import analytics as said
from protocol import limits
from protocol.errors import Refused
from storage import analytics
from storage.analytics import COUNTED, Scope
from storage.people import Queries

_STATUSES: Final = COUNTED[:7]
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_NOTHING: Final[dict[str, int]] = dict.fromkeys(COUNTED, 0)


class _Open:
    """Open seconds by day and by professional, and their names."""

    def __init__(self) -> None:
        self.total = 0
        self.by_day: defaultdict[date, int] = defaultdict(int)
        self.by_professional: defaultdict[str, int] = defaultdict(int)
        self.names: dict[str, str] = {}


async def figures(q: Queries, scope: Scope, time_zone: str) -> said.Analytics:
    """Raises `Refused(limit_reached)` where it would take too long."""
    rows = await analytics.figures(q, scope)
    days, services, professionals = {}, {}, {}
    names: dict[str, str] = {}
    for row in rows:
        if row.day is not None:
            days[row.day] = row.sums
        elif row.service_id is not None:
            services[row.service_id], names[row.service_id] = row.sums, row.name
        elif row.calendar_id is not None:
            professionals[row.calendar_id], names[row.calendar_id] = row.sums, row.name
    # Nobody is open for one service alone.
    opened = await _open_time(q, scope) if scope.service_id is None else None
    by_professional = opened.by_professional if opened else {}
    names |= opened.names if opened else {}
    total = {n: sum(sums[n] for sums in days.values()) for n in COUNTED}
    return said.Analytics(
        date_from=scope.first.isoformat(),
        date_to=scope.last.isoformat(),
        time_zone=time_zone,
        total=said.Figures(**_told(total, opened.total if opened else None)),
        by_day=[
            said.DayFigures(
                date=day.isoformat(), **_told(days.get(day, _NOTHING), opened.by_day[day] if opened else None)
            )
            for day in days_between(scope.first, scope.last)
        ],
        by_service=[
            said.ServiceFigures(service_id=i, name=names[i], **_told(services[i], None))
            for i in _busiest(services, services)
        ],
        by_professional=[
            said.ProfessionalFigures(
                professional_id=i,
                display_name=names[i],
                **_told(professionals.get(i, _NOTHING), by_professional[i] if opened else None),
            )
            for i in _busiest(professionals, {**professionals, **by_professional})
        ],
    )


def _busiest(sums: Mapping[str, dict[str, int]], ids: Mapping[str, Any]) -> list[str]:
    ordered = sorted(ids, key=lambda i: (-_bookings(sums.get(i, _NOTHING)), i))
    return ordered[: limits.analytics_rows_max]


def _bookings(sums: Mapping[str, int]) -> int:
    return sum(sums[status] for status in _STATUSES)


def _told(sums: Mapping[str, int], open_s: int | None) -> dict[str, Any]:
    bookings = _bookings(sums)
    return {
        **{status: sums[status] for status in _STATUSES},
        "bookings": bookings,
        "cancelled_by_clients": sums["by_clients"],
        "attendees": sums["attendees"],
        "booked_minutes": sums["booked_seconds"] // _MINUTE_S,
        "open_minutes": None if open_s is None else open_s // _MINUTE_S,
        "utilisation": round(sums["booked_seconds"] / open_s, 4) if open_s else None,
        "lead_hours": round(sums["lead_seconds"] / bookings / _HOUR_S, 1) if bookings else None,
    }


async def _open_time(q: Queries, scope: Scope) -> _Open:
    """As it was kept for days that are over; of the others, by the hours of now."""
    found = _Open()
    for day, calendar_id, name, seconds in await analytics.hours(q, scope):
        if day is not None:
            found.by_day[day] += seconds
            found.total += seconds
        elif calendar_id is not None:
            found.by_professional[calendar_id] += seconds
            found.names[calendar_id] = name
    cells = 0
    for calendar in await analytics.unkept(q, scope, limits.analytics_cells_max):
        days = days_between(max(calendar.first, calendar.born), min(scope.last, calendar.gone or scope.last))
        cells += len(days)
        if cells > limits.analytics_cells_max:
            raise Refused("limit_reached", "too many calendars over too many days; ask for fewer days or one location")
        hours = hours_kept(calendar.schedule, calendar.time_zone)
        seconds = open_seconds(hours, days, spans_kept(calendar.blocks))
        for day, open_s in zip(days, seconds, strict=True):
            found.by_day[day] += open_s
        found.by_professional[calendar.id] += sum(seconds)
        found.names[calendar.id] = calendar.professional
        found.total += sum(seconds)
        # Others are answered meanwhile.
        await asyncio.sleep(0)
    return found

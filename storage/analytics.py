"""Figures of bookings over days, as rows: what was counted before and what is counted now make one sum."""

from collections.abc import Iterable
from datetime import date
from typing import Any, Final

import msgspec

from storage.people import Queries

COUNTED: Final = (
    "pending", "confirmed", "completed", "cancelled", "rejected", "expired", "no_show", "by_clients", "attendees",
    "booked_seconds", "lead_seconds",
)  # fmt: skip


class Scope(msgspec.Struct, kw_only=True, frozen=True):
    """Days of a business's calendars, both included. `None` is no filter."""

    business_id: str
    first: date
    last: date
    locations: list[str] | None = None
    professional_id: str | None = None
    service_id: str | None = None


class Row(msgspec.Struct, frozen=True):
    """Of one day, or one service, or one professional: the other keys are `None`. `sums` has the names of `COUNTED`."""

    day: date | None
    calendar_id: str | None
    service_id: str | None
    name: str
    sums: dict[str, int]


class Unkept(msgspec.Struct, frozen=True):
    """A calendar with days whose hours nobody has kept yet: from `first` on. It is open from `born` to `gone`."""

    id: str
    professional: str
    time_zone: str
    schedule: str | None
    born: date
    gone: date | None
    first: date
    blocks: str | None


def _asked(scope: Scope) -> tuple[Any, ...]:
    return scope.business_id, scope.first, scope.last, scope.locations, scope.professional_id


async def figures(q: Queries, scope: Scope) -> list[Row]:
    rows = await q.fetch("analytics_figures", *_asked(scope), scope.service_id)
    return [_row(r) for r in rows]


def _row(row: Any) -> Row:
    name = row["professional"] or row["service"] or ""
    return Row(row["day"], row["calendar_id"], row["service_id"], name, {n: int(row[n]) for n in COUNTED})


async def hours(q: Queries, scope: Scope) -> list[tuple[date | None, str | None, str, int]]:
    """`(day, calendar, its professional, seconds)`, kept sums by day and by calendar."""
    rows = await q.fetch("analytics_hours", *_asked(scope))
    return [(r["day"], r["calendar_id"], r["professional"] or "", r["open_seconds"]) for r in rows]


async def unkept(q: Queries, scope: Scope, limit: int) -> list[Unkept]:
    return list(_unkept(await q.fetch("calendars_without_hours", *_asked(scope), limit)))


def _unkept(rows: Iterable[Any]) -> Iterable[Unkept]:
    for r in rows:
        yield Unkept(
            r["id"], r["professional"], r["time_zone"], r["schedule"], r["born"], r["gone"], r["first_day"], r["blocks"]
        )


async def exists(q: Queries, query: str, business_id: str, id_: str) -> bool:
    """Whether the business has, or had, what that query looks for."""
    return bool(await q.value(query, business_id, id_))

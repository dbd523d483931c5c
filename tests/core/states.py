"""Comparing calendars, and writing instants as text."""

from datetime import datetime
from typing import Any

from actors.calendar.state import Calendar, Claim
from protocol.times import to_us


def at(text: str) -> int:
    """The instant of an ISO 8601 text with an offset."""
    moment = datetime.fromisoformat(text)
    assert moment.tzinfo is not None
    return to_us(moment)


def claims_of(calendar: Calendar) -> list[Claim]:
    """All of the line, in order."""
    return list(calendar.line)


def plain(calendar: Calendar) -> dict[str, Any]:
    """Everything a calendar remembers, but for its services, in an order of its own.

    Members of a session stand in any order: they are equals.
    """
    return {
        "id": calendar.id,
        "version": calendar.version,
        "schedule": calendar.hours.schedule,
        "line": [c.id for c in claims_of(calendar)],
        "reservations": calendar.reservations,
        "sessions": {
            s.id: (s.start, s.duration, s.before, s.after, s.service_id, s.capacity, s.taken, s.held,
                   sorted(m.id for m in s.members))
            for s in (calendar.sessions or {}).values()
        },
        "blocks": sorted((b.start, b.end, b.id) for b in calendar.blocks or ()),
        "holds": sorted(calendar.holds or ()),
        "doubles": sorted(r.id for r in calendar.doubles or ()),
        "marked": {key: r.id for key, r in (calendar.marked or {}).items()},
        "done": calendar.done or {},
    }  # fmt: skip


def assert_same(a: Calendar, b: Calendar) -> None:
    assert plain(a) == plain(b)
    starts = [c.start - c.before for c in claims_of(a)]
    assert starts == sorted(starts), "the line is in order"

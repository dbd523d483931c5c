"""How long a calendar is open on its days: working hours without time off."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

import msgspec
import orjson

from actors.calendar.hours import Hours, Span, default_schedule, hours_of
from protocol.events import Schedule
from protocol.times import SECOND

_decode_schedule: Final = msgspec.json.Decoder(Schedule).decode


def hours_kept(schedule: str | None, time_zone: str) -> Hours:
    """Hours as a calendar's row has them."""
    return hours_of(_decode_schedule(schedule) if schedule else default_schedule(time_zone))


def spans_kept(blocks: str | None) -> list[Span]:
    """Time off as queries bring it, a JSON list of pairs; merged and in order."""
    return merged((a, b) for a, b in orjson.loads(blocks or "[]"))


def open_seconds(hours: Hours, days: Sequence[date], blocks: Sequence[Span]) -> list[int]:
    """Of each day. `blocks` are in order and do not overlap."""
    return [_without(_open(hours, day), blocks) // SECOND for day in days]


def days_between(first: date, last: date) -> list[date]:
    """Both included; none when the last is before the first."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def merged(spans: Iterable[Span]) -> list[Span]:
    """In order, and none that touches another."""
    found: list[Span] = []
    for a, b in sorted(spans):
        if found and a <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], b))
        else:
            found.append((a, b))
    return found


@lru_cache(maxsize=16_384)
def _open(hours: Hours, day: date) -> list[Span]:
    """Most professionals of a business have the same hours."""
    return merged(hours.of_date(day))


def _without(spans: Sequence[Span], blocks: Sequence[Span]) -> int:
    total = sum(b - a for a, b in spans)
    if not spans or not blocks:
        return total
    first = bisect_right(blocks, spans[0][0], key=lambda block: block[1])
    for start, end in blocks[first:]:
        if start >= spans[-1][1]:
            break
        total -= sum(max(0, min(b, end) - max(a, start)) for a, b in spans)
    return total

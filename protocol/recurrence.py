"""Recurrence rules (RFC 5545) on a wall clock, within bounds."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

from protocol import limits
from protocol.errors import Refused, invalid
from protocol.times import END_OF_TIME, from_us, local_date, to_us, zone

_KNOWN: Final = frozenset({"FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY", "BYMONTHDAY", "BYMONTH", "BYSETPOS", "WKST"})
_FREQUENCIES: Final = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_UNTIL: Final = re.compile(r"(\d{8})(T\d{6}Z?)?\Z")

Span = tuple[int, int]


def occurrences(field: str, rule: str, first: Span, time_zone: str, at_most: int) -> list[Span]:
    """The spans that the rule makes of the first one, each from the same time of day to the same time of day on the
    clocks of that zone. `first` itself counts only if the rule has it.

    Raises `Refused(validation_failed)` for a rule without an end, with more spans than `at_most`, or reaching further
    than `limits.series_days_max` days.
    """
    parts = _parts(field, rule)
    tz = zone(time_zone)
    begins, ends = (from_us(us).astimezone(tz).replace(tzinfo=None) for us in first)
    count = _number(field, parts, "COUNT", at_most) if "COUNT" in parts else None
    last = begins + timedelta(days=limits.series_days_max)
    if "UNTIL" in parts:
        until = _until(field, parts["UNTIL"], tz)
        if until > last:
            raise _too_far(field)
        last = until
    elif count is None:
        raise invalid(field, "needs an end: COUNT or UNTIL")
    # Bounded before it is expanded: a rule that no day fits would else be searched through all years to come.
    bounded = {name: value for name, value in parts.items() if name not in ("COUNT", "UNTIL")}
    bounded["UNTIL"] = last.strftime("%Y%m%dT%H%M%S")
    try:
        rules = rrulestr(";".join(f"{n}={v}" for n, v in bounded.items()), dtstart=begins)
        found = list(islice(rules, (count or at_most) + 1))
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
        raise invalid(field, "is no recurrence rule of RFC 5545") from None
    if count is not None:
        if len(found) < count:
            raise _too_far(field)
        found = found[:count]
    if len(found) > at_most:
        raise invalid(field, f"makes more than {at_most} periods")
    spans = list(_spans(found, first, begins, ends, tz))
    if not spans:
        raise invalid(field, "makes no period at all")
    if spans[-1][1] >= END_OF_TIME:
        raise _too_far(field)
    return spans


def _parts(field: str, rule: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in rule.upper().removeprefix("RRULE:").split(";"):
        name, equals, value = part.partition("=")
        if not equals or not value or name not in _KNOWN or name in parts:
            raise invalid(field, f"{part[:40]!r} is not understood; known are {', '.join(sorted(_KNOWN))}, each once")
        parts[name] = value
    if parts.get("FREQ") not in _FREQUENCIES:
        raise invalid(field, f"FREQ must be one of {', '.join(_FREQUENCIES)}")
    if "COUNT" in parts and "UNTIL" in parts:
        raise invalid(field, "has either COUNT or UNTIL")
    if "INTERVAL" in parts:
        _number(field, parts, "INTERVAL", limits.rule_interval_max)
    return parts


def _number(field: str, parts: dict[str, str], name: str, at_most: int) -> int:
    text = parts[name]
    if not text.isdecimal() or len(text) > 6 or not 0 < int(text) <= at_most:
        raise invalid(field, f"{name} must be 1 to {at_most}")
    return int(text)


def _until(field: str, text: str, tz: ZoneInfo) -> datetime:
    """On the wall clock. A date is included."""
    match = _UNTIL.match(text)
    try:
        if match is None:
            raise ValueError
        if match[2] is None:
            return datetime.strptime(text, "%Y%m%d") + timedelta(days=1, microseconds=-1)
        if text.endswith("Z"):
            given = datetime.strptime(text, "%Y%m%dT%H%M%S%z")
            return given.astimezone(tz).replace(tzinfo=None)
        return datetime.strptime(text, "%Y%m%dT%H%M%S")
    except (ValueError, OverflowError):
        raise invalid(field, "UNTIL must be a date (20261231) or a time (20261231T220000Z)") from None


def _too_far(field: str) -> Refused:
    return invalid(field, f"reaches further than {limits.series_days_max} days")


def _spans(starts: list[datetime], first: Span, begins: datetime, ends: datetime, tz: ZoneInfo) -> Iterator[Span]:
    """Without those whose time the clock skips: that day has no such hours."""
    for start in starts:
        if start == begins:
            # As given: of a time that comes twice it may be the second.
            yield first
            continue
        a, b = (to_us(wall.replace(tzinfo=tz, fold=0)) for wall in (start, start + (ends - begins)))
        if a < b and local_date(a, tz) == start.date():
            yield a, b

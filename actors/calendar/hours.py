"""Working hours: from a weekly schedule on a wall clock to spans of instants.

Read with RFC 5545's rules for times that a change of offset skips or repeats (`protocol.times.local_us`).
A range that the clock change shortens or lengthens has fewer or more slots; slots are `step` apart in elapsed
time from the start of their range.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from protocol import limits
from protocol.errors import invalid
from protocol.events import HoursFrom, Override, Schedule, WeeklyRange
from protocol.times import DAY, local_date, local_us, parse_date, zone

OPEN_MINUTE_DEFAULT = 5 * 60
CLOSE_MINUTE_DEFAULT = 23 * 60
DAY_MINUTES = 24 * 60

_DAYS_CACHED_MAX = 1_024

Span = tuple[int, int]
Ranges = tuple[Span, ...]
NO_HOLIDAYS: frozenset[str] = frozenset()


def default_schedule(time_zone: str) -> Schedule:
    """05:00 to 23:00 every day: what a professional has who never set hours."""
    return Schedule(
        time_zone,
        tuple(WeeklyRange(d, OPEN_MINUTE_DEFAULT, CLOSE_MINUTE_DEFAULT) for d in range(7)),
    )


def check_schedule(schedule: Schedule) -> None:
    """Raises `Refused(validation_failed)` naming the first field that makes no sense."""
    zone(schedule.time_zone)
    _check_weekly("", schedule.weekly, schedule.breaks)
    if len(schedule.overrides) > limits.overrides_max:
        raise invalid("overrides", f"at most {limits.overrides_max} dates")
    if len(schedule.later) > limits.later_hours_max:
        raise invalid("later", f"at most {limits.later_hours_max} changes of hours ahead")
    seen: set[str] = set()
    for i, override in enumerate(schedule.overrides):
        parse_date(f"overrides[{i}].date", override.date)
        if override.date in seen:
            raise invalid(f"overrides[{i}].date", "stands there twice")
        seen.add(override.date)
        _check_ranges(f"overrides[{i}].ranges", list(override.ranges))
    for i, later in enumerate(schedule.later):
        parse_date(f"later[{i}].date", later.date)
        if i and later.date <= schedule.later[i - 1].date:
            raise invalid(f"later[{i}].date", "must come after the one before")
        _check_weekly(f"later[{i}].", later.weekly, later.breaks)


def _check_weekly(where: str, weekly: Sequence[WeeklyRange], breaks: Sequence[WeeklyRange]) -> None:
    for name, ranges in (("weekly", weekly), ("breaks", breaks)):
        if len(ranges) > limits.weekly_ranges_max:
            raise invalid(where + name, f"at most {limits.weekly_ranges_max} ranges")
        by_weekday: dict[int, list[Span]] = {}
        for i, r in enumerate(ranges):
            if not 0 <= r.weekday <= 6:
                raise invalid(f"{where}{name}[{i}].weekday", "must be 0 (Monday) to 6 (Sunday)")
            by_weekday.setdefault(r.weekday, []).append((r.start, r.end))
        for of_day in by_weekday.values():
            _check_ranges(where + name, of_day)


def _check_ranges(field: str, ranges: list[Span]) -> None:
    ordered = sorted(ranges)
    for start, end in ordered:
        if not 0 <= start < end <= DAY_MINUTES:
            raise invalid(field, "a range must start before it ends, within 00:00 to 24:00")
    if any(ordered[i][1] > ordered[i + 1][0] for i in range(len(ordered) - 1)):
        raise invalid(field, "ranges of one day must not overlap")


def less_breaks(ranges: Iterable[Span], breaks: Iterable[Span]) -> Ranges:
    """What is left of a day's ranges; both in order and without overlaps."""
    left = sorted(ranges)
    for a, b in breaks:
        left = [s for x, y in left for s in ((x, min(y, a)), (max(x, b), y)) if s[0] < s[1]]
    return tuple(left)


def _by_weekday(weekly: Sequence[WeeklyRange], breaks: Sequence[WeeklyRange]) -> tuple[Ranges, ...]:
    return tuple(
        less_breaks(
            ((r.start, r.end) for r in weekly if r.weekday == day),
            ((r.start, r.end) for r in breaks if r.weekday == day),
        )
        for day in range(7)
    )


class Hours:
    """A schedule made ready to answer: when is it open? Shared by all calendars with that schedule.

    On `holidays` of the business nobody works, but for those who have hours of their own for that date.
    """

    __slots__ = ("_changes", "_days", "_overrides", "_weeks", "holidays", "schedule", "tz")

    def __init__(self, schedule: Schedule, holidays: frozenset[str] = NO_HOLIDAYS) -> None:
        self.schedule = schedule
        self.holidays = holidays
        self.tz: ZoneInfo = zone(schedule.time_zone)
        self._changes = [later.date for later in schedule.later]
        self._weeks = [
            _by_weekday(schedule.weekly, schedule.breaks),
            *(_by_weekday(later.weekly, later.breaks) for later in schedule.later),
        ]
        self._overrides = {o.date: tuple(sorted(o.ranges)) for o in schedule.overrides}
        self._days: dict[int, tuple[Span, ...]] = {}

    def _ranges(self, day: date) -> Ranges:
        name = day.isoformat()
        ranges = self._overrides.get(name)
        if ranges is not None:
            return ranges
        if name in self.holidays:
            return ()
        return self._weeks[bisect_right(self._changes, name)][day.weekday()]

    def of_date(self, day: date) -> list[Span]:
        """The open spans of one local date, `[start, end)`, in order."""
        spans: list[Span] = []
        for start, end in self._ranges(day):
            a, b = local_us(day, start, self.tz), local_us(day, end, self.tz)
            # A zone may skip a whole date (Apia, 30 December 2011): such a day has no hours.
            if a < b and local_date(a, self.tz) == day:
                spans.append((a, b))
        return spans

    def near(self, us: int) -> tuple[Span, ...]:
        """All open spans that touch the UTC day of that instant. Cached: booking asks this first."""
        index = us // DAY
        spans = self._days.get(index)
        if spans is None:
            if len(self._days) >= _DAYS_CACHED_MAX:
                self._days.clear()
            spans = self._days[index] = tuple(self._read(index * DAY, (index + 1) * DAY))
        return spans

    def between(self, from_us: int, to_us: int) -> list[Span]:
        """The open spans that touch `[from_us, to_us)`, whole, in order, none overlapping."""
        found: list[Span] = []
        for index in range(from_us // DAY, -(-to_us // DAY)):
            for span in self.near(index * DAY):
                # A span over midnight UTC is near both days.
                if span[0] < to_us and span[1] > from_us and (not found or span[0] > found[-1][0]):
                    found.append(span)
        return found

    def is_open(self, from_us: int, to_us: int) -> bool:
        """Whether one span holds all of it."""
        return any(a <= from_us and to_us <= b for a, b in self.near(from_us))

    def _read(self, from_us: int, to_us: int) -> list[Span]:
        day = local_date(from_us, self.tz) - timedelta(days=1)
        last = local_date(max(from_us, to_us - 1), self.tz) + timedelta(days=1)
        found: list[Span] = []
        reached = from_us - 3 * DAY
        while day <= last:
            for opens, b in self.of_date(day):
                # A skipped hour can make the end of one range pass the start of the next. Ends before `from_us` count
                # too: the grid of a range starts at the same instant whichever period is asked for.
                a, reached = max(opens, reached), max(b, reached)
                if a < b and a < to_us and b > from_us:
                    found.append((a, b))
            day += timedelta(days=1)
        return found


class Occasion:
    """Hours that are one span, however long: a party's."""

    __slots__ = ("span", "tz")

    def __init__(self, span: Span, time_zone: str) -> None:
        self.span = span
        self.tz: ZoneInfo = zone(time_zone)

    def near(self, us: int) -> tuple[Span, ...]:
        return tuple(self.between(us, us + 1))

    def between(self, from_us: int, to_us: int) -> list[Span]:
        return [self.span] if self.span[0] < to_us and self.span[1] > from_us else []

    def is_open(self, from_us: int, to_us: int) -> bool:
        return self.span[0] <= from_us and to_us <= self.span[1]


AnyHours = Hours | Occasion


@lru_cache(maxsize=4_096)
def hours_of(schedule: Schedule, holidays: frozenset[str] = NO_HOLIDAYS) -> Hours:
    """The shared `Hours` of a schedule; a hundred thousand calendars with default hours hold one."""
    return Hours(schedule, holidays)


@lru_cache(maxsize=4_096)
def hours_at(hours: Hours, locations: tuple[str, ...], own: str | None) -> Hours:
    """Those of the hours that are worked at one of the locations. Ranges that name none, and dates with hours of their
    own, are worked at the `own` location, and anywhere where there is none.
    """
    schedule = hours.schedule

    def here(r: WeeklyRange) -> bool:
        place = r.location_id or own
        return place is None or place in locations

    own_here = own is None or own in locations
    narrowed = msgspec.structs.replace(
        schedule,
        weekly=tuple(filter(here, schedule.weekly)),
        overrides=schedule.overrides if own_here else tuple(Override(o.date) for o in schedule.overrides),
        later=tuple(HoursFrom(f.date, tuple(filter(here, f.weekly)), f.breaks) for f in schedule.later),
    )
    return hours_of(narrowed, hours.holidays)


@lru_cache(maxsize=4_096)
def occasion_of(span: Span, time_zone: str) -> Occasion:
    return Occasion(span, time_zone)

"""Working hours: from a weekly schedule on a wall clock to spans of instants.

Read with RFC 5545's rules for times that a change of offset skips or repeats (`protocol.times.local_us`).
A range that the clock change shortens or lengthens has fewer or more slots; slots are `step` apart in elapsed
time from the start of their range.
"""

from datetime import date, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from protocol import limits
from protocol.errors import invalid
from protocol.events import Schedule, WeeklyRange
from protocol.times import DAY, local_date, local_us, parse_date, zone

OPEN_MINUTE_DEFAULT = 5 * 60
CLOSE_MINUTE_DEFAULT = 23 * 60
DAY_MINUTES = 24 * 60

_DAYS_CACHED_MAX = 1_024

Span = tuple[int, int]


def default_schedule(time_zone: str) -> Schedule:
    """05:00 to 23:00 every day: what a professional has who never set hours."""
    return Schedule(
        time_zone,
        tuple(WeeklyRange(d, OPEN_MINUTE_DEFAULT, CLOSE_MINUTE_DEFAULT) for d in range(7)),
    )


def check_schedule(schedule: Schedule) -> None:
    """Raises `Refused(validation_failed)` naming the first field that makes no sense."""
    zone(schedule.time_zone)
    if len(schedule.weekly) > limits.weekly_ranges_max:
        raise invalid("weekly", f"at most {limits.weekly_ranges_max} ranges")
    if len(schedule.overrides) > limits.overrides_max:
        raise invalid("overrides", f"at most {limits.overrides_max} dates")
    by_weekday: dict[int, list[Span]] = {}
    for i, r in enumerate(schedule.weekly):
        if not 0 <= r.weekday <= 6:
            raise invalid(f"weekly[{i}].weekday", "must be 0 (Monday) to 6 (Sunday)")
        by_weekday.setdefault(r.weekday, []).append((r.start, r.end))
    for ranges in by_weekday.values():
        _check_ranges("weekly", ranges)
    seen: set[str] = set()
    for i, override in enumerate(schedule.overrides):
        parse_date(f"overrides[{i}].date", override.date)
        if override.date in seen:
            raise invalid(f"overrides[{i}].date", "stands there twice")
        seen.add(override.date)
        _check_ranges(f"overrides[{i}].ranges", list(override.ranges))


def _check_ranges(field: str, ranges: list[Span]) -> None:
    ordered = sorted(ranges)
    for start, end in ordered:
        if not 0 <= start < end <= DAY_MINUTES:
            raise invalid(field, "a range must start before it ends, within 00:00 to 24:00")
    if any(ordered[i][1] > ordered[i + 1][0] for i in range(len(ordered) - 1)):
        raise invalid(field, "ranges of one day must not overlap")


class Hours:
    """A schedule made ready to answer: when is it open? Shared by all calendars with that schedule."""

    __slots__ = ("_by_weekday", "_days", "_overrides", "schedule", "tz")

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.tz: ZoneInfo = zone(schedule.time_zone)
        self._by_weekday: list[list[Span]] = [[] for _ in range(7)]
        for r in schedule.weekly:
            self._by_weekday[r.weekday].append((r.start, r.end))
        self._overrides = {o.date: o.ranges for o in schedule.overrides}
        self._days: dict[int, tuple[Span, ...]] = {}

    def of_date(self, day: date) -> list[Span]:
        """The open spans of one local date, `[start, end)`, in order."""
        ranges = self._overrides.get(day.isoformat())
        spans: list[Span] = []
        for start, end in sorted(self._by_weekday[day.weekday()] if ranges is None else ranges):
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


@lru_cache(maxsize=4_096)
def hours_of(schedule: Schedule) -> Hours:
    """The shared `Hours` of a schedule; a hundred thousand calendars with default hours hold one."""
    return Hours(schedule)

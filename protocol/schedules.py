"""Bodies of working hours, holidays and time off."""

from typing import Annotated, Literal

from msgspec import Meta, field

from protocol import limits
from protocol.bodies import Answer, Body, ClockTime, Moment, Name, Text, Uuid, ZoneName

Date = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$(?!\n)", examples=["2026-12-24"])]
Rule = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.rule_chars_max,
        pattern=r"^[A-Za-z0-9=;,:+-]+$(?!\n)",
        examples=["FREQ=WEEKLY;BYDAY=MO;COUNT=10"],
    ),
]


class WeeklyHours(Body, kw_only=True, omit_defaults=True):
    """Open from `start` to `end` every `weekday`, 0 being Monday. `24:00` is the end of the day. Where `location_id` is
    absent the professional's own location is meant.
    """

    weekday: Annotated[int, Meta(ge=0, le=6)]
    start: ClockTime
    end: ClockTime
    location_id: Uuid | None = None


class Break(Body, kw_only=True):
    """Closed from `start` to `end` every `weekday`, whatever the weekly hours say."""

    weekday: Annotated[int, Meta(ge=0, le=6)]
    start: ClockTime
    end: ClockTime


class HoursRange(Body, kw_only=True):
    start: ClockTime
    end: ClockTime


class DatedOverride(Body, kw_only=True):
    """The hours of one date instead of the weekly ones, breaks included; no ranges means closed."""

    date: Date
    ranges: Annotated[list[HoursRange], Meta(max_length=12)] = field(default_factory=list)


Weekly = Annotated[list[WeeklyHours], Meta(max_length=limits.weekly_ranges_max)]
Breaks = Annotated[list[Break], Meta(max_length=limits.weekly_ranges_max)]


class LaterHours(Body, kw_only=True):
    """Weekly hours and breaks that hold from `date` on."""

    date: Date
    weekly: Weekly
    breaks: Breaks = field(default_factory=list)


class SchedulePut(Body, kw_only=True):
    """With `effective_from` the hours before that date stay as they are, and changes that were to come after it are
    dropped. Bookings that would stand outside the hours refuse the change, unless `force` is sent; they stay.
    """

    time_zone: ZoneName
    weekly: Weekly
    breaks: Breaks = field(default_factory=list)
    overrides: Annotated[list[DatedOverride], Meta(max_length=limits.overrides_max)] = field(default_factory=list)
    later: Annotated[list[LaterHours], Meta(max_length=limits.later_hours_max)] = field(default_factory=list)
    effective_from: Date | None = None
    force: bool = False


class ScheduleAnswer(Answer, kw_only=True):
    professional_id: str
    time_zone: str
    weekly: list[WeeklyHours]
    breaks: list[Break]
    overrides: list[DatedOverride]
    later: list[LaterHours]
    calendar_version: int


class HolidayCreate(Body, kw_only=True):
    """The whole business, or one location of it, is closed on that date. `force` goes on though there are bookings;
    they stay.
    """

    date: Date
    name: Name
    location_id: Uuid | None = None
    force: bool = False


class Holiday(Answer, kw_only=True):
    id: str
    date: str
    name: str
    location_id: str | None
    forced: bool
    created_at: str


class TimeOffCreate(Body, kw_only=True):
    """`force` blocks the time although bookings stand in it; they stay. `rrule` (RFC 5545, with COUNT or UNTIL) repeats
    the period on the wall clock of the calendar.
    """

    start: Moment
    end: Moment
    description: Text | None = None
    force: bool = False
    rrule: Rule | None = None


class TimeOffPeriod(Answer, kw_only=True):
    id: str
    start: str
    end: str
    forced: bool


class TimeOff(Answer, kw_only=True):
    """`series_id` is common to those that one rule has made. The answer to that rule has the first of them, and in
    `periods` all.
    """

    id: str
    type: Literal["unavailable"] = "unavailable"
    professional_id: str
    start: str
    end: str
    description: str | None
    forced: bool
    series_id: str | None = None
    periods: list[TimeOffPeriod] | None = None
    calendar_version: int | None = None

"""Breaks, hours that begin later, holidays, locations, and bookings in the way of new hours."""

from datetime import date
from typing import Any

import msgspec
import pytest

from actors.calendar import commands as cmd
from actors.calendar.hours import Hours, hours_of
from actors.calendar.slots import slots_between
from actors.calendar.state import Calendar, Service, new_calendar
from protocol import events as ev
from protocol import limits
from protocol.errors import Refused
from protocol.events import HoursFrom, Override, Schedule, WeeklyRange
from protocol.times import DAY, HOUR, MINUTE, from_us, local_us, zone
from tests.core.states import at
from tests.core.test_decide import book, decide, do, hold, offer, refused

NOW = at("2026-06-01T08:00:00+00:00")
MONDAY = "2026-06-08"
NINE, NOON, FIVE = 9 * 60, 12 * 60, 17 * 60
SOLO = Service("solo", "b", HOUR, HOUR)


def daily(*ranges: tuple[int, int], location: str | None = None) -> tuple[WeeklyRange, ...]:
    return tuple(WeeklyRange(d, a, b, location) for d in range(7) for a, b in ranges)


def wall(h: Hours, day: str) -> list[tuple[str, str]]:
    """The open spans of a date, as the clocks there show them."""
    return [
        tuple(from_us(us).astimezone(h.tz).strftime("%H:%M") for us in span)  # type: ignore[misc]
        for span in h.of_date(date.fromisoformat(day))
    ]


@pytest.fixture
def calendar() -> Calendar:
    """Open from nine to five, UTC."""
    calendar = new_calendar("calendar", "UTC")
    do(calendar, cmd.ChangeSchedule(Schedule("UTC", daily((NINE, FIVE)))))
    offer(calendar, SOLO)
    return calendar


def ten(day: str = MONDAY) -> int:
    return at(f"{day}T10:00:00+00:00")


# Breaks


@pytest.mark.parametrize(
    ("breaks", "left"),
    [
        ([(NOON, 13 * 60)], [("09:00", "12:00"), ("13:00", "17:00")]),
        ([(0, NINE)], [("09:00", "17:00")]),
        ([(8 * 60, 10 * 60), (16 * 60, 18 * 60)], [("10:00", "16:00")]),
        ([(0, 1440)], []),
        ([(10 * 60, 11 * 60), (11 * 60, NOON)], [("09:00", "10:00"), ("12:00", "17:00")]),
    ],
)
def test_breaks_are_taken_out_of_the_weekly_hours(breaks: list[tuple[int, int]], left: list[tuple[str, str]]) -> None:
    """Whatever they cover; what is left keeps its own grid. A date with hours of its own has no breaks."""
    h = hours_of(Schedule("UTC", daily((NINE, FIVE)), (Override("2026-06-09", ((NINE, FIVE),)),), daily(*breaks)))
    assert wall(h, MONDAY) == left
    assert wall(h, "2026-06-09") == [("09:00", "17:00")]


ZONES = {
    # Skipped, and coming twice, on these dates: (zone, date, elapsed hours of 00:00–06:00).
    "Berlin forward": ("Europe/Berlin", "2026-03-29", 5),
    "Berlin back": ("Europe/Berlin", "2026-10-25", 7),
    "New York forward": ("America/New_York", "2026-03-08", 5),
    "New York back": ("America/New_York", "2026-11-01", 7),
    "Kolkata": ("Asia/Kolkata", "2026-03-29", 6),
    "Apia, a day after a skipped one": ("Pacific/Apia", "2011-12-31", 6),
    "Casablanca back for Ramadan": ("Africa/Casablanca", "2026-02-15", 7),
    "Casablanca forward after it": ("Africa/Casablanca", "2026-03-22", 5),
}


@pytest.mark.parametrize("case", ZONES)
def test_breaks_on_days_when_the_clock_changes(case: str) -> None:
    """A break is as long as the clock makes it, and so is what is left: nothing is lost or counted twice."""
    tz, day, elapsed = ZONES[case]
    whole = hours_of(Schedule(tz, daily((0, 360))))
    parted = hours_of(Schedule(tz, daily((0, 360)), breaks=daily((60, 240))))
    rest = hours_of(Schedule(tz, daily((60, 240))))
    spent = [sum(b - a for a, b in h.of_date(date.fromisoformat(day))) for h in (whole, parted, rest)]
    assert spent[0] == elapsed * HOUR
    assert spent[1] + spent[2] == spent[0]
    assert [a for a, _ in wall(parted, day)] == ["00:00", "04:00"]


@pytest.mark.parametrize("case", ZONES)
def test_a_daily_cap_counts_the_day_of_the_wall_clock(case: str) -> None:
    """Two meetings fill the local date, however long it is; the dates beside it stay open."""
    tz, day, _ = ZONES[case]
    calendar = new_calendar("calendar", tz)
    long_ago = at("2011-12-01T00:00:00+00:00")
    do(calendar, cmd.ChangeSchedule(Schedule(tz, daily((0, 1440)))), long_ago)
    offer(calendar, msgspec.structs.replace(SOLO, daily_cap=2))
    today = date.fromisoformat(day)
    opens, closes = (local_us(today, minute, zone(tz)) for minute in (0, 1440))
    do(calendar, book("first", opens), long_ago)
    do(calendar, book("last", closes - HOUR), long_ago)
    assert refused(calendar, book("third", opens + 2 * HOUR), long_ago).code == "cap_reached"
    do(calendar, book("before", opens - HOUR), long_ago)
    do(calendar, book("after", closes), long_ago)
    states = {s.state for s in slots_between(calendar, calendar.services["solo"], opens, closes, long_ago)}
    assert states == {"booked", "blocked"}


# Hours that begin later


def test_later_hours_hold_from_their_date_on() -> None:
    """To the day, on the calendar's wall clock, one change after the other."""
    later = (HoursFrom("2026-06-09", daily((NINE, NOON))), HoursFrom("2026-06-11", (), daily((0, 60))))
    h = hours_of(Schedule("Pacific/Apia", daily((NINE, FIVE)), later=later))
    assert wall(h, "2026-06-08") == [("09:00", "17:00")]
    assert wall(h, "2026-06-09") == wall(h, "2026-06-10") == [("09:00", "12:00")]
    assert wall(h, "2026-06-11") == wall(h, "2030-01-01") == []


def test_a_change_from_a_date_leaves_what_is_before(calendar: Calendar) -> None:
    """Hours and dated hours before it stay; what was to come after it is replaced."""
    do(
        calendar,
        cmd.ChangeSchedule(Schedule("UTC", daily((NINE, FIVE)), (Override("2026-06-05"), Override("2026-06-20")))),
    )
    do(calendar, cmd.ChangeSchedule(Schedule("UTC", daily((0, 60))), "2026-06-15"))
    (event,) = do(calendar, cmd.ChangeSchedule(Schedule("UTC", daily((NINE, NOON)), (Override("2026-06-21"),)), MONDAY))
    assert isinstance(event, ev.ScheduleChanged)
    assert event.schedule == Schedule(
        "UTC", daily((NINE, FIVE)), (Override("2026-06-05"), Override("2026-06-21")),
        later=(HoursFrom(MONDAY, daily((NINE, NOON))),),
    )  # fmt: skip


def test_a_change_from_a_date_keeps_the_time_zone(calendar: Calendar) -> None:
    """Hours before the date would silently be others."""
    assert refused(calendar, cmd.ChangeSchedule(Schedule("Asia/Kolkata", ()), MONDAY)).code == "validation_failed"


def test_changes_from_dates_are_bounded_but_old_ones_make_room(calendar: Calendar) -> None:
    """As many ahead as the limit; one that has long taken effect becomes the weekly hours."""
    for i in range(limits.later_hours_max):
        do(calendar, cmd.ChangeSchedule(Schedule("UTC", daily((i, i + 60))), f"2026-07-{i + 1:02d}"), NOW)
    more = cmd.ChangeSchedule(Schedule("UTC", ()), "2026-08-01")
    with pytest.raises(Refused):
        decide(calendar, more, NOW)
    do(calendar, more, at("2026-07-01T12:00:00+00:00"))
    assert calendar.hours.schedule.weekly == daily((0, 60))
    assert len(calendar.hours.schedule.later) == limits.later_hours_max


# Holidays


def test_on_holidays_nobody_works_but_by_hours_of_the_date() -> None:
    """The weekly hours and later ones do not hold; an override does."""
    schedule = Schedule("UTC", daily((NINE, FIVE)), (Override("2026-06-09", ((NINE, NOON),)),))
    h = hours_of(schedule, frozenset({"2026-06-08", "2026-06-09"}))
    assert [wall(h, d) for d in ("2026-06-07", MONDAY, "2026-06-09", "2026-06-10")] == [
        [("09:00", "17:00")], [], [("09:00", "12:00")], [("09:00", "17:00")],
    ]  # fmt: skip


# Locations


def test_a_service_of_some_locations_is_open_only_in_hours_there(calendar: Calendar) -> None:
    """Ranges that name no location are worked at the professional's own."""
    weekly = (*daily((NINE, NOON)), *daily((13 * 60, FIVE), location="there"))
    do(calendar, cmd.ChangeSchedule(Schedule("UTC", weekly, (Override("2026-06-09", ((NINE, FIVE),)),))))
    calendar.location_id = "here"
    of = {"here": (["09:00", "10:00", "11:00"], 8), "there": (["13:00", "14:00", "15:00", "16:00"], 0), "else": ([], 0)}
    for place, (starts, on_override) in of.items():
        service = msgspec.structs.replace(SOLO, locations=(place,))
        found = slots_between(
            calendar, service, at(f"{MONDAY}T00:00:00+00:00"), at(f"{MONDAY}T00:00:00+00:00") + DAY, NOW
        )
        assert [from_us(s.start).strftime("%H:%M") for s in found] == starts
        other = at("2026-06-09T00:00:00+00:00")
        assert len(slots_between(calendar, service, other, other + DAY, NOW)) == on_override
    offer(calendar, msgspec.structs.replace(SOLO, locations=("there",)))
    assert refused(calendar, book("a", ten())).code == "outside_hours"
    do(calendar, book("a", ten() + 4 * HOUR))


# Bookings in the way


def test_new_hours_name_the_bookings_they_leave_outside(calendar: Calendar) -> None:
    """Live holds too, ended ones and what is over not; forced they stay, and the event says so."""
    do(calendar, book("a", ten()))
    do(calendar, hold("h", ten() + HOUR, ttl=10 * MINUTE))
    do(calendar, book("fits", ten("2026-06-10") - HOUR))
    early = cmd.ChangeSchedule(Schedule("UTC", daily((NINE, 10 * 60))))
    assert refused(calendar, early).conflicts == ("a", "h")
    assert refused(calendar, early, NOW + HOUR).conflicts == ("a",)
    assert isinstance(decide(calendar, early, ten() + DAY), list)
    (event,) = do(calendar, msgspec.structs.replace(early, force=True))
    assert isinstance(event, ev.ScheduleChanged)
    assert event.forced
    assert {"a", "h"} <= set(calendar.reservations)
    (event,) = do(calendar, early)
    assert not event.forced  # type: ignore[attr-defined] - what stands outside already is not left outside anew


def test_hours_moved_to_another_location_are_a_conflict(calendar: Calendar) -> None:
    """The booking would be at a place where the professional is not, though they work."""
    offer(calendar, msgspec.structs.replace(SOLO, locations=("here",)))
    do(calendar, cmd.ChangeSchedule(Schedule("UTC", daily((NINE, FIVE), location="here"))))
    do(calendar, book("a", ten()))
    moved = cmd.ChangeSchedule(Schedule("UTC", daily((NINE, FIVE), location="there")))
    assert refused(calendar, moved).conflicts == ("a",)


def test_a_change_from_a_later_date_meets_only_later_bookings(calendar: Calendar) -> None:
    """What is before the date stays inside."""
    do(calendar, book("before", ten("2026-06-07")))
    do(calendar, book("on", ten(MONDAY)))
    closed: Any = cmd.ChangeSchedule(Schedule("UTC", ()), MONDAY)
    assert refused(calendar, closed).conflicts == ("on",)

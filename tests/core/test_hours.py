"""Working hours on wall clocks that jump: RFC 5545, section 3.3.5, and dates that never were."""

from datetime import date, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from actors.calendar.hours import Hours, check_schedule, default_schedule, hours_of
from protocol.events import Override, Schedule, WeeklyRange
from protocol.times import DAY, HOUR, MINUTE, from_us, local_date, local_us, zone
from tests.core.states import at

EVERY_DAY = range(7)


def hours(tz: str, *ranges: tuple[int, int], overrides: tuple[Override, ...] = ()) -> Hours:
    schedule = Schedule(tz, tuple(WeeklyRange(d, a, b) for d in EVERY_DAY for a, b in ranges), overrides)
    check_schedule(schedule)
    return Hours(schedule)


def spans(h: Hours, day: str) -> list[tuple[str, str]]:
    return [
        (from_us(a).isoformat()[11:16], from_us(b).isoformat()[11:16]) for a, b in h.of_date(date.fromisoformat(day))
    ]


@pytest.mark.parametrize(
    ("tz", "day", "wall", "utc"),
    [
        # Skipped: read with the offset before the gap.
        ("Europe/Berlin", "2026-03-29", 2 * 60 + 30, "2026-03-29T01:30:00+00:00"),
        ("America/New_York", "2026-03-08", 2 * 60 + 30, "2026-03-08T07:30:00+00:00"),
        ("Africa/Casablanca", "2026-03-22", 2 * 60 + 30, "2026-03-22T02:30:00+00:00"),
        # Twice: the first.
        ("Europe/Berlin", "2026-10-25", 2 * 60 + 30, "2026-10-25T00:30:00+00:00"),
        ("America/New_York", "2026-11-01", 1 * 60 + 30, "2026-11-01T05:30:00+00:00"),
        ("Africa/Casablanca", "2026-02-15", 2 * 60 + 30, "2026-02-15T01:30:00+00:00"),
        # Neither.
        ("Asia/Kolkata", "2026-03-29", 2 * 60 + 30, "2026-03-28T21:00:00+00:00"),
        ("Europe/Berlin", "2026-03-29", 3 * 60, "2026-03-29T01:00:00+00:00"),
        ("Europe/Berlin", "2026-10-25", 3 * 60, "2026-10-25T02:00:00+00:00"),
        # The end of the day is the next midnight, also of a day with 23 or 25 hours.
        ("Europe/Berlin", "2026-03-29", 1440, "2026-03-29T22:00:00+00:00"),
        ("Europe/Berlin", "2026-10-25", 1440, "2026-10-25T23:00:00+00:00"),
    ],
)
def test_what_a_wall_clock_means(tz: str, day: str, wall: int, utc: str) -> None:
    """Checked against instants worked out by hand from the zones' rules."""
    assert local_us(date.fromisoformat(day), wall, zone(tz)) == at(utc)


@pytest.mark.parametrize(
    ("tz", "day", "elapsed_hours"),
    [
        ("Europe/Berlin", "2026-03-28", 24),
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Asia/Kolkata", "2026-03-29", 24),
        ("Africa/Casablanca", "2026-02-15", 25),
        ("Africa/Casablanca", "2026-03-22", 23),
        ("Pacific/Apia", "2011-12-29", 24),
        ("Pacific/Apia", "2011-12-31", 24),
    ],
)
def test_a_whole_day_is_as_long_as_the_clock_makes_it(tz: str, day: str, elapsed_hours: int) -> None:
    """Open from 00:00 to 24:00 is one span of so many hours of elapsed time."""
    ((a, b),) = hours(tz, (0, 1440)).of_date(date.fromisoformat(day))
    assert (b - a) // HOUR == elapsed_hours
    assert local_date(a, zone(tz)) == date.fromisoformat(day)


def test_a_date_that_never_was_has_no_hours() -> None:
    """Samoa went from 29 to 31 December 2011; open round the clock means no gap and no overlap between them."""
    h = hours("Pacific/Apia", (0, 720), (720, 1440))
    assert h.of_date(date(2011, 12, 30)) == []
    found = h.between(at("2011-12-29T10:00:00+00:00"), at("2011-12-31T10:00:00+00:00"))
    assert all(found[i][1] == found[i + 1][0] for i in range(len(found) - 1))


def test_an_override_for_a_date_that_never_was_opens_nothing() -> None:
    """Its hours fall on another date, where they were not asked for."""
    h = hours("Pacific/Apia", overrides=(Override("2011-12-30", ((540, 1020),)),))
    assert h.between(at("2011-12-28T00:00:00+00:00"), at("2012-01-02T00:00:00+00:00")) == []


def test_a_range_inside_the_gap_is_moved_not_lost() -> None:
    """02:15 to 02:45 on the day without a second hour is 03:15 to 03:45 on the clock there."""
    assert spans(hours("Europe/Berlin", (135, 165)), "2026-03-29") == [("01:15", "01:45")]


def test_a_range_that_ends_inside_the_gap_pushes_the_next() -> None:
    """Its end passes the start of the next range, which then starts where the first ends: never an overlap."""
    h = hours("Europe/Berlin", (60, 150), (180, 300))
    midnight = at("2026-03-28T23:00:00+00:00")
    found = h.between(midnight, midnight + 12 * HOUR)
    assert found == [
        (at("2026-03-29T00:00:00+00:00"), at("2026-03-29T01:30:00+00:00")),
        (at("2026-03-29T01:30:00+00:00"), at("2026-03-29T03:00:00+00:00")),
    ]


@pytest.mark.parametrize("late", [0, 30, 60, 100, 150])
def test_the_grid_does_not_depend_on_where_one_starts_to_look(late: int) -> None:
    """The pushed range starts at the same instant for who asks only for what comes later."""
    h = hours("Europe/Berlin", (60, 150), (180, 300))
    look_from = at("2026-03-29T01:30:00+00:00") + late * MINUTE
    pushed = (at("2026-03-29T01:30:00+00:00"), at("2026-03-29T03:00:00+00:00"))
    assert (pushed in h.between(look_from, look_from + DAY)) == (look_from < pushed[1])
    assert not any(a < pushed[0] < b for a, b in h.between(look_from, look_from + DAY))


def test_a_gap_at_the_end_of_a_day_pushes_the_next_day() -> None:
    """In Nuuk the last hour of a Saturday is skipped: Saturday's end may pass Sunday's start."""
    h = hours("America/Nuuk", (0, 300), (600, 1410))
    sunday = at("2026-03-29T01:00:00+00:00")
    for look_from in (sunday - DAY, sunday, sunday + 31 * MINUTE, sunday + HOUR):
        found = h.between(look_from, sunday + 6 * HOUR)
        assert found[-1] == (sunday + 30 * MINUTE, sunday + 5 * HOUR)


def test_overrides_replace_the_week() -> None:
    """A date with ranges has those, a date without is closed, other dates keep theirs."""
    h = hours("UTC", (540, 1020), overrides=(Override("2026-06-02", ((0, 60), (1380, 1440))), Override("2026-06-03")))
    assert spans(h, "2026-06-01") == [("09:00", "17:00")]
    assert spans(h, "2026-06-02") == [("00:00", "01:00"), ("23:00", "00:00")]
    assert spans(h, "2026-06-03") == []
    assert spans(h, "2026-06-04") == [("09:00", "17:00")]


def test_default_hours() -> None:
    """Who never set hours is open from 05:00 to 23:00 every day, on one shared object."""
    h = hours_of(default_schedule("Asia/Kolkata"))
    assert h is hours_of(default_schedule("Asia/Kolkata"))
    for i in range(7):
        ((a, b),) = h.of_date(date(2026, 6, 1) + timedelta(days=i))
        assert b - a == 18 * HOUR
        assert from_us(a).isoformat()[11:16] == "23:30"


ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Africa/Casablanca", "America/Nuuk",
         "Australia/Lord_Howe", "UTC")  # fmt: skip
# Days around every jump of 2026 in these zones, and the lost day of Samoa.
DAYS = [date(2011, 12, 29), date(2026, 2, 14), date(2026, 3, 7), date(2026, 3, 21), date(2026, 3, 28),
        date(2026, 4, 4), date(2026, 10, 3), date(2026, 10, 24), date(2026, 10, 31), date(2026, 6, 1)]  # fmt: skip


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    def ranges() -> list[tuple[int, int]]:
        marks = draw(st.lists(st.integers(0, 96).map(lambda q: q * 15), unique=True, max_size=8).map(sorted))
        return list(zip(marks[::2], marks[1::2], strict=False))

    weekly = [WeeklyRange(d, a, b) for d in EVERY_DAY for a, b in ranges()]
    dates = draw(st.lists(st.integers(0, 3), unique=True, max_size=2))
    base = draw(st.sampled_from(DAYS))
    overrides = tuple(Override((base + timedelta(days=d)).isoformat(), tuple(ranges())) for d in dates)
    return Schedule(draw(st.sampled_from(ZONES)), tuple(weekly), overrides)


@settings(max_examples=300, deadline=None, database=None)
@given(
    schedule=schedules(),
    day=st.sampled_from(DAYS),
    offset=st.integers(-48 * 4, 48 * 4),
    length=st.integers(1, 72 * 4),
)
@example(
    schedule=Schedule(
        "Europe/Berlin", tuple(WeeklyRange(d, a, b) for d in EVERY_DAY for a, b in ((60, 150), (180, 300)))
    ),
    day=date(2026, 3, 29),
    offset=8,
    length=8,
)
def test_spans_are_ordered_apart_and_the_same_for_everybody(
    schedule: Schedule, day: date, offset: int, length: int
) -> None:
    """However a period is cut, `between` gives the same whole spans, in order, none overlapping; `near` agrees."""
    check_schedule(schedule)
    h = Hours(schedule)
    base = local_us(day, 0, h.tz)
    low = base + offset * 15 * MINUTE
    high = low + length * 15 * MINUTE
    found = h.between(low, high)
    assert all(a < b for a, b in found)
    assert all(found[i][1] <= found[i + 1][0] for i in range(len(found) - 1))
    assert all(a < high and b > low for a, b in found)
    # A wider look sees the same spans, and no others in the period.
    assert [s for s in h.between(low - 5 * DAY, high + 5 * DAY) if s[0] < high and s[1] > low] == found
    for us in range(low, high, 3 * HOUR):
        assert [s for s in h.near(us) if s[0] <= us < s[1]] == [s for s in found if s[0] <= us < s[1]]
    # Every open instant shows a wall clock inside the hours of its date, unless a jump has moved it.
    for a, b in found:
        assert b - a <= 25 * HOUR

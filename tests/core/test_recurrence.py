"""Recurrence rules on wall clocks: what they make, on which days, and where they end."""

import contextlib
from datetime import timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given

from protocol import limits
from protocol.errors import Refused
from protocol.recurrence import occurrences
from protocol.times import END_OF_TIME, HOUR, MINUTE, from_us, zone
from tests.core.states import at


def made(rule: str, start: str, length: int = HOUR, tz: str = "UTC", at_most: int = 400) -> list[str]:
    first = at(start)
    return [
        f"{from_us(a).astimezone(zone(tz)):%Y-%m-%d %H:%M}–{from_us(b).astimezone(zone(tz)):%H:%M}"
        for a, b in occurrences("rrule", rule, (first, first + length), tz, at_most)
    ]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("FREQ=DAILY;COUNT=3", ["2026-06-01", "2026-06-02", "2026-06-03"]),
        ("rrule:freq=weekly;byday=mo,we;count=3", ["2026-06-01", "2026-06-03", "2026-06-08"]),
        ("FREQ=WEEKLY;INTERVAL=2;UNTIL=20260629", ["2026-06-01", "2026-06-15", "2026-06-29"]),
        ("FREQ=WEEKLY;UNTIL=20260608T085959Z", ["2026-06-01"]),
        ("FREQ=WEEKLY;UNTIL=20260608T090000Z", ["2026-06-01", "2026-06-08"]),
        ("FREQ=MONTHLY;BYDAY=2TU;COUNT=2", ["2026-06-09", "2026-07-14"]),
        ("FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=2", ["2026-06-30", "2026-07-31"]),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;COUNT=2", ["2026-06-30", "2026-07-31"]),
        ("FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=24;COUNT=2", ["2026-12-24", "2027-12-24"]),
    ],
)
def test_a_rule_makes_its_dates(rule: str, expected: list[str]) -> None:
    """The first period counts only if the rule has it."""
    assert made(rule, "2026-06-01T09:00:00+00:00") == [f"{day} 09:00–10:00" for day in expected]


BAD = [
    "", "x", "FREQ", "FREQ=", "FREQ=DAILY", "COUNT=3", "FREQ=HOURLY;COUNT=3", "FREQ=SECONDLY;COUNT=3",
    "FREQ=DAILY;COUNT=0", "FREQ=DAILY;COUNT=-1", "FREQ=DAILY;COUNT=x", "FREQ=DAILY;COUNT=401",
    "FREQ=DAILY;COUNT=9999999",
    "FREQ=DAILY;COUNT=1;COUNT=2", "FREQ=DAILY;COUNT=2;UNTIL=20270101", "FREQ=DAILY;UNTIL=2027-01-01",
    "FREQ=DAILY;UNTIL=20270230", "FREQ=DAILY;UNTIL=20260501", "FREQ=DAILY;UNTIL=20990101",
    "FREQ=DAILY;INTERVAL=0;COUNT=2",
    "FREQ=DAILY;INTERVAL=367;COUNT=2", "FREQ=DAILY;INTERVAL=366;COUNT=4", "FREQ=WEEKLY;BYDAY=XX;COUNT=2",
    "FREQ=WEEKLY;BYDAY=;COUNT=2", "FREQ=MONTHLY;BYMONTHDAY=x;COUNT=2", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=31;COUNT=1",
    "FREQ=YEARLY;BYMONTH=13;COUNT=1", "FREQ=DAILY;BYHOUR=9;COUNT=2", "FREQ=DAILY;COUNT=2;DTSTART=20260101",
    "FREQ=DAILY;COUNT=2\nEXDATE:20260601", "FREQ=WEEKLY;WKST=99;COUNT=2", "FREQ=MONTHLY;BYSETPOS=0;BYDAY=MO;COUNT=2",
    "FREQ=DAILY;UNTIL=99991231", "FREQ=DAILY;UNTIL=00010101T000000Z", "FREQ=MONTHLY;BYDAY=99999MO;COUNT=1",
]  # fmt: skip


@pytest.mark.parametrize("rule", BAD)
def test_a_rule_without_sense_or_end_is_refused(rule: str) -> None:
    """The field is named; none of them takes long, whatever it asks for."""
    with pytest.raises(Refused) as raised:
        made(rule, "2026-06-01T09:00:00+00:00")
    assert (raised.value.code, raised.value.errors[0].field) == ("validation_failed", "rrule")


@pytest.mark.parametrize(
    ("tz", "start", "expected"),
    [
        ("Europe/Berlin", "2026-03-28T12:00:00+01:00", ["2026-03-28", "2026-03-29", "2026-03-30"]),
        ("Europe/Berlin", "2026-10-24T12:00:00+02:00", ["2026-10-24", "2026-10-25", "2026-10-26"]),
        ("America/New_York", "2026-03-07T12:00:00-05:00", ["2026-03-07", "2026-03-08", "2026-03-09"]),
        ("America/New_York", "2026-10-31T12:00:00-04:00", ["2026-10-31", "2026-11-01", "2026-11-02"]),
        ("Asia/Kolkata", "2026-03-28T12:00:00+05:30", ["2026-03-28", "2026-03-29", "2026-03-30"]),
        ("Africa/Casablanca", "2026-02-14T12:00:00+01:00", ["2026-02-14", "2026-02-15", "2026-02-16"]),
        ("Africa/Casablanca", "2026-03-21T12:00:00+00:00", ["2026-03-21", "2026-03-22", "2026-03-23"]),
    ],
)
def test_lunch_stays_at_noon_when_the_clock_changes(tz: str, start: str, expected: list[str]) -> None:
    """From noon to one on the clocks of the calendar, on every one of the days."""
    assert made("FREQ=DAILY;COUNT=3", start, tz=tz) == [f"{day} 12:00–13:00" for day in expected]


def test_a_night_ends_at_six_whether_an_hour_is_missing_or_not() -> None:
    """The end is read from the clock as well: the night of the change has seven hours."""
    nights = occurrences(
        "rrule",
        "FREQ=DAILY;COUNT=2",
        (at("2026-03-27T22:00:00+01:00"), at("2026-03-28T06:00:00+01:00")),
        "Europe/Berlin",
        9,
    )
    assert [b - a for a, b in nights] == [8 * HOUR, 7 * HOUR]


def test_a_day_without_that_hour_has_no_period() -> None:
    """02:00 to 03:00 is not there on one Sunday in Berlin, and 30 December 2011 never was in Apia."""
    assert made("FREQ=DAILY;COUNT=3", "2026-03-28T02:00:00+01:00", tz="Europe/Berlin") == [
        "2026-03-28 02:00–03:00", "2026-03-30 02:00–03:00",
    ]  # fmt: skip
    assert made("FREQ=DAILY;COUNT=3", "2011-12-29T09:00:00-10:00", tz="Pacific/Apia") == [
        "2011-12-29 09:00–10:00", "2011-12-31 09:00–10:00",
    ]  # fmt: skip


def test_a_first_period_in_an_hour_that_comes_twice_stays_where_it_was_given() -> None:
    """The second 02:30 of that Sunday is not the first."""
    second = at("2026-10-25T02:30:00+01:00")
    found = occurrences("rrule", "FREQ=DAILY;COUNT=1", (second, second + 10 * MINUTE), "Europe/Berlin", 9)
    assert found == [(second, second + 10 * MINUTE)]


def test_periods_end_with_the_years_that_are_understood() -> None:
    """However short the rule."""
    start = END_OF_TIME - 2 * 24 * HOUR
    with pytest.raises(Refused):
        occurrences("rrule", "FREQ=DAILY;COUNT=3", (start, start + HOUR), "UTC", 9)


@given(
    st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]),
    st.integers(1, 400),
    st.integers(1, 400),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Africa/Casablanca"]),
    st.integers(at("2011-01-01T00:00:00+00:00") // MINUTE, at("2030-01-01T00:00:00+00:00") // MINUTE),
    st.integers(1, 3 * 24 * 60),
)
def test_whatever_a_rule_makes_is_in_order_and_bounded(
    freq: str, interval: int, count: int, tz: str, minute: int, length: int
) -> None:
    """Rising, none empty, none further ahead than may be, each at the same time of day unless the clock skips it."""
    first = (minute * MINUTE, (minute + length) * MINUTE)
    found: list[tuple[int, int]] = []
    with contextlib.suppress(Refused):
        found = occurrences("rrule", f"FREQ={freq};INTERVAL={interval};COUNT={count}", first, tz, 400)
    assert len(found) <= count
    assert all(a < b for a, b in found)
    assert all(found[i][0] < found[i + 1][0] for i in range(len(found) - 1))
    reach = timedelta(days=limits.series_days_max + 1)
    assert not found or from_us(found[-1][0]) <= from_us(first[0]) + reach

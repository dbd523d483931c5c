"""Holds whose time is over before anybody has written so: they are in nobody's way, and are ended once."""

from actors.calendar import commands as cmd
from actors.calendar.apply import apply
from actors.calendar.decide import decide
from actors.calendar.state import Calendar, Service, new_calendar
from protocol import events as ev
from protocol.times import DAY, HOUR, MINUTE
from tests.core.states import at

NOW = at("2026-06-01T08:00:00+00:00")
LATER = NOW + 20 * MINUTE
NINE = at("2026-06-02T09:00:00+00:00")

SOLO = Service("solo", "b", HOUR, HOUR)
SCARCE = Service("scarce", "b", HOUR, HOUR, capacity=2, daily_cap=2)
ONCE = Service("once", "b", HOUR, HOUR, guard="standard")
RETREAT = Service("retreat", "b", 14 * HOUR, HOUR)


def calendar_of(*services: Service) -> Calendar:
    calendar = new_calendar("calendar", "UTC")
    calendar.services = {s.id: s for s in services}
    return calendar


def do(calendar: Calendar, command: cmd.Command, now: int = NOW) -> list[ev.Event]:
    decision = decide(calendar, command, now)
    assert isinstance(decision, list), decision
    for event in decision:
        apply(calendar, event)
    return decision


def items(*starts: int) -> tuple[cmd.Occurrence, ...]:
    return tuple(cmd.Occurrence(f"i{n}", f"BK-{n}", start) for n, start in enumerate(starts))


def test_a_series_ends_a_long_hold_once() -> None:
    """Though several of its bookings go where it stood."""
    calendar = calendar_of(SOLO, RETREAT)
    do(calendar, cmd.Hold("h", "retreat", NINE, "ann", MINUTE))
    told = do(calendar, cmd.BookSeries("s", items(NINE, NINE + 3 * HOUR, NINE + DAY), "solo"), LATER)
    assert [type(e) for e in told] == [ev.HoldExpired, ev.Booked, ev.Booked, ev.Booked]
    assert calendar.holds is None


def test_a_series_that_joins_a_session_makes_no_meeting_of_its_own() -> None:
    """So it counts once for the cap, as it does when each is booked alone."""
    calendar = calendar_of(SCARCE)
    do(calendar, cmd.Book("b", "BK-B", "scarce", NINE))
    told = do(calendar, cmd.BookSeries("s", items(NINE, NINE + 2 * HOUR), "scarce"))
    assert [e.start for e in told if isinstance(e, ev.Booked)] == [NINE, NINE + 2 * HOUR]


def test_a_mark_is_of_one_reservation() -> None:
    """A person's hold that has ended is written off with their next one, so that a calendar which is read from its rows
    knows the same of them.
    """
    who = ("e:ann",)
    for command in (
        cmd.Hold("later", "once", NINE, "ann", HOUR, marks=who),
        cmd.Book("later", "BK-1", "once", NINE, marks=who),
        cmd.Book("later", "BK-1", "once", NINE, marks=who, double=True),
    ):
        calendar = calendar_of(ONCE, SOLO)
        do(calendar, cmd.Hold("ended", "once", NINE + 4 * HOUR, "ann", MINUTE, marks=who))
        if isinstance(command, cmd.Book) and command.double:
            do(calendar, cmd.Book("other", "BK-0", "solo", NINE))
        assert do(calendar, command, LATER)[0] == ev.HoldExpired("ended")
        assert [r.id for r in (calendar.marked or {}).values()] == ["later"]


def test_who_says_only_when_booking_who_they_are_frees_their_ended_hold() -> None:
    calendar = calendar_of(ONCE)
    do(calendar, cmd.Hold("ended", "once", NINE + 4 * HOUR, "ann", MINUTE, marks=("e:ann",)))
    do(calendar, cmd.Hold("nobodys", "once", NINE, "x", HOUR), LATER)
    booked = do(calendar, cmd.Book("b", "BK-1", "once", NINE, hold_id="nobodys", marks=("e:ann",)), LATER)
    assert [type(e) for e in booked] == [ev.HoldExpired, ev.Booked]


def test_over_a_cap_is_a_double_booking_too() -> None:
    """It is shown as what it is: staff wanted one more than there should be."""
    calendar = calendar_of(Service("once a day", "b", HOUR, HOUR, daily_cap=1))
    do(calendar, cmd.Book("a", "BK-A", "once a day", NINE))
    booked = do(calendar, cmd.Book("b", "BK-B", "once a day", NINE + 4 * HOUR, double=True))[-1]
    assert isinstance(booked, ev.Booked)
    assert booked.doubled

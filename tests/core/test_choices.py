"""Durations to choose from, notices for those who are bound by them, and bookings put over others on purpose."""

import msgspec
import pytest

from actors.calendar import commands as cmd
from actors.calendar.slots import slots_between
from actors.calendar.state import Calendar, Service
from protocol import events as ev
from protocol import limits
from protocol.times import DAY, HOUR, MINUTE
from tests.core.test_decide import NOW, TEN, book, calendar, do, hold, offer, refused

__all__ = ["calendar"]

CHOICE = Service("solo", "b", 30 * MINUTE, 30 * MINUTE, durations=(HOUR, 90 * MINUTE))


def test_a_duration_is_one_of_those_to_choose_from(calendar: Calendar) -> None:
    """For holds and bookings; 0 is the usual one, and a hold keeps what it was placed with."""
    offer(calendar, CHOICE)
    assert refused(calendar, book("x", duration=45 * MINUTE)).code == "duration_not_offered"
    (booked,) = do(calendar, book("a", duration=90 * MINUTE))
    assert isinstance(booked, ev.Booked)
    assert booked.duration == 90 * MINUTE
    assert refused(calendar, book("b", TEN + HOUR)).code == "slot_unavailable"
    do(calendar, msgspec.structs.replace(hold("h", TEN + 2 * HOUR), duration=HOUR))
    other = book("c", TEN + 2 * HOUR, hold_id="h", duration=90 * MINUTE)
    assert refused(calendar, other).code == "validation_failed"
    (kept,) = do(calendar, book("c", TEN + 2 * HOUR, hold_id="h"))
    assert kept.duration == HOUR  # type: ignore[attr-defined]


def test_a_booking_moves_with_the_duration_it_has(calendar: Calendar) -> None:
    """Unless the service has that one no longer: then the usual one holds."""
    offer(calendar, CHOICE)
    do(calendar, book("a", duration=HOUR))
    (moved,) = do(calendar, cmd.Reschedule("a", TEN + DAY))
    assert moved.duration == HOUR  # type: ignore[attr-defined]
    offer(calendar, msgspec.structs.replace(CHOICE, durations=()))
    (moved,) = do(calendar, cmd.Reschedule("a", TEN + 2 * DAY))
    assert moved.duration == 30 * MINUTE  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("of_business", "cancel", "move", "may_cancel", "may_move"),
    [
        (-1, DAY, DAY, True, True),
        (0, -1, -1, True, True),
        (DAY, -1, -1, False, False),
        (DAY, 0, -1, True, True),
        (DAY, 0, DAY, True, False),
        (0, DAY, -1, False, False),
        (0, DAY, 0, False, True),
        (0, -1, DAY, True, False),
        # Exactly at the end of the notice it is still possible.
        (2 * HOUR, -1, -1, True, True),
        (2 * HOUR + 1, -1, -1, False, False),
    ],
)
def test_who_is_bound_changes_their_mind_in_time(
    calendar: Calendar, of_business: int, cancel: int, move: int, may_cancel: bool, may_move: bool
) -> None:
    """The service's own notice goes first, moving follows cancelling, and -1 of the caller is not bound at all."""
    offer(calendar, Service("solo", "b", HOUR, HOUR, cancel_notice=cancel, move_notice=move))
    do(calendar, book("a"))
    for command, may in (
        (cmd.Reschedule("a", TEN + DAY, notice=of_business), may_move),
        (cmd.Cancel("a", "client", notice=of_business), may_cancel),
    ):
        if may:
            do(calendar, command)
            if isinstance(command, cmd.Reschedule):
                do(calendar, cmd.Reschedule("a", TEN))
        else:
            assert refused(calendar, command).code == "too_late_to_cancel"


def test_double_bookings_stand_beside_the_line(calendar: Calendar) -> None:
    """Over bookings, holds and full sessions; the slot opens when all of them have gone."""
    do(calendar, book("a"))
    (doubled,) = do(calendar, book("b", double=True))
    assert isinstance(doubled, ev.Booked)
    assert doubled.doubled
    assert refused(calendar, book("c")).code == "slot_unavailable"
    do(calendar, cmd.Cancel("a", "owner"))
    assert refused(calendar, book("c")).code == "slot_unavailable"
    # What stands there is taken by a double booking alone, and a further one goes over it.
    do(calendar, book("d", double=True))
    for id_ in ("b", "d"):
        do(calendar, cmd.Cancel(id_, "owner"))
    assert calendar.doubles is None
    (plain,) = do(calendar, book("e", double=True))
    assert not plain.doubled  # type: ignore[attr-defined]


def test_a_double_booking_that_moves_away_is_none(calendar: Calendar) -> None:
    """It takes its place on the line, and is in nobody's way where it was."""
    do(calendar, book("a"))
    do(calendar, book("b", double=True))
    do(calendar, cmd.Reschedule("b", TEN + 3 * HOUR))
    assert calendar.doubles is None
    assert not calendar.reservations["b"].doubled
    (event,) = do(calendar, cmd.Reschedule("b", TEN, double=True))
    assert event.doubled  # type: ignore[attr-defined]
    states = {s.start: s.state for s in slots_between(calendar, calendar.services["solo"], TEN, TEN + DAY, NOW)}
    assert states[TEN] == "booked"
    assert states[TEN + 3 * HOUR] == "open"


def test_double_bookings_are_bounded_and_for_one(calendar: Calendar, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is looked at on its own, so there are few."""
    monkeypatch.setattr(limits, "doubles_per_calendar_max", 1)
    do(calendar, book("a"))
    assert refused(calendar, book("x", service="class", places=2, double=True)).code == "too_many_attendees"
    do(calendar, book("b", double=True))
    assert refused(calendar, book("c", double=True)).code == "limit_reached"
    do(calendar, book("d", TEN + 3 * HOUR))
    assert refused(calendar, cmd.Reschedule("d", TEN, double=True)).code == "limit_reached"
    do(calendar, cmd.Reschedule("b", TEN + 3 * HOUR, double=True))

"""Single decisions that are easy to get wrong, each by itself."""

import msgspec
import pytest

from actors.calendar import commands as cmd
from actors.calendar.apply import apply
from actors.calendar.decide import Refusal, decide
from actors.calendar.slots import judge
from actors.calendar.state import Calendar, Service, new_calendar
from protocol import events as ev
from protocol import limits
from protocol.errors import KINDS, Refused
from protocol.events import Override, Schedule, WeeklyRange
from protocol.times import DAY, HOUR, MINUTE, SECOND
from tests.core.states import at

NOW = at("2026-06-01T08:00:00+00:00")
TEN = at("2026-06-01T10:00:00+00:00")
SOLO = Service("solo", "b", HOUR, 30 * MINUTE)
CLASS = Service("class", "b", HOUR, 30 * MINUTE, capacity=3)


@pytest.fixture
def calendar() -> Calendar:
    """Open round the clock in UTC, offering `SOLO` and `CLASS`."""
    calendar = new_calendar("calendar", "UTC")
    do(calendar, cmd.ChangeSchedule(Schedule("UTC", tuple(WeeklyRange(d, 0, 1440) for d in range(7)))))
    offer(calendar, SOLO, CLASS)
    return calendar


def offer(calendar: Calendar, *services: Service) -> None:
    calendar.services = {s.id: s for s in services}


def do(calendar: Calendar, command: cmd.Command, now: int = NOW) -> list[ev.Event]:
    decision = decide(calendar, command, now)
    assert isinstance(decision, list), decision
    for event in decision:
        apply(calendar, event)
    return decision


def refused(calendar: Calendar, command: cmd.Command, now: int = NOW) -> Refusal:
    decision = decide(calendar, command, now)
    assert isinstance(decision, Refusal), decision
    assert decision.code in KINDS
    return decision


def hold(
    id_: str, start: int = TEN, service: str = "solo", ttl: int = MINUTE, places: int = 1, by: str = "ann"
) -> cmd.Hold:
    return cmd.Hold(id_, service, start, by, ttl, places)


def book(id_: str, start: int = TEN, service: str = "solo", places: int = 1, **more: object) -> cmd.Book:
    return cmd.Book(id_, f"BK-{id_}", service, start, places, **more)  # type: ignore[arg-type]


def test_an_ended_hold_is_cleared_before_what_takes_its_place(calendar: Calendar) -> None:
    """The database guards a hold's span until its end is written, so the end comes first."""
    for how in (hold("next"), book("next")):
        do(calendar, hold("old"), NOW)
        decision = decide(calendar, how, NOW + MINUTE)
        assert isinstance(decision, list)
        assert [type(e) for e in decision][:-1] == [ev.HoldExpired]
        assert decision[0] == ev.HoldExpired("old")
        do(calendar, cmd.Release("old"))


def test_a_hold_stands_until_its_last_microsecond(calendar: Calendar) -> None:
    """At `expires_at` it has ended, one microsecond before it has not."""
    do(calendar, hold("held"))
    assert refused(calendar, book("b"), NOW + MINUTE - 1).retry_at == NOW + MINUTE
    assert refused(calendar, book("b", hold_id="held"), NOW + MINUTE).code == "hold_gone"
    assert decide(calendar, book("b", hold_id="held"), NOW + MINUTE - 1) != []
    assert isinstance(decide(calendar, book("b"), NOW + MINUTE), list)


def test_a_hold_is_never_longer_than_the_longest(calendar: Calendar) -> None:
    """Whatever time to live is asked for."""
    (placed,) = do(calendar, hold("held", ttl=DAY))
    assert isinstance(placed, ev.HoldPlaced)
    assert placed.expires_at == NOW + limits.hold_ttl_max_s * SECOND


def test_holds_of_one_holder_are_bounded(calendar: Calendar) -> None:
    """Ended holds do not count, other holders do not either."""
    for i in range(limits.holds_per_holder_max):
        do(calendar, hold(f"h{i}", TEN + i * HOUR))
    assert refused(calendar, hold("more", TEN + DAY)).code == "hold_limit"
    assert isinstance(decide(calendar, hold("more", TEN + DAY, by="bob"), NOW), list)
    assert isinstance(decide(calendar, hold("more", TEN + DAY), NOW + MINUTE), list)


def test_a_hold_becomes_the_booking_with_its_own_terms(calendar: Calendar) -> None:
    """What was held is what is booked, though the service has changed and its notice has passed meanwhile."""
    do(calendar, hold("held"))
    offer(calendar, msgspec.structs.replace(SOLO, duration=2 * HOUR, before=HOUR, notice=7 * DAY, approval=True))
    (booked,) = do(calendar, book("ignored", hold_id="held"), NOW + 1)
    assert isinstance(booked, ev.Booked)
    assert (booked.id, booked.duration, booked.before, booked.from_hold) == ("held", HOUR, 0, True)
    assert booked.status == "pending"
    assert not calendar.holds


@pytest.mark.parametrize(
    "wrong", [{"start": TEN + HOUR}, {"service": "class"}, {"places": 2}], ids=["start", "service", "places"]
)
def test_a_hold_is_good_for_nothing_else(calendar: Calendar, wrong: dict[str, object]) -> None:
    """Another start, service or number of places is a mistake of the caller, not a booking."""
    do(calendar, hold("held"))
    code = refused(calendar, book("b", hold_id="held", **wrong)).code  # type: ignore[arg-type]
    assert code == "validation_failed"


def test_a_session_joined_later_keeps_its_own_span(calendar: Calendar) -> None:
    """Who joins takes a place in the session as it was agreed, whatever buffers the service has by now."""
    do(calendar, book("first", service="class"))
    offer(calendar, SOLO, msgspec.structs.replace(CLASS, before=30 * MINUTE, after=30 * MINUTE))
    (joined,) = do(calendar, book("second", service="class"))
    assert isinstance(joined, ev.Booked)
    assert (joined.before, joined.after) == (0, 0)
    # Its neighbour is bounded by the session's span, in memory as in the rows.
    do(calendar, book("neighbour", TEN + HOUR))


def test_a_session_rescheduled_into_keeps_its_own_span(calendar: Calendar) -> None:
    """The same for who moves into it."""
    do(calendar, book("first", service="class"))
    offer(calendar, SOLO, msgspec.structs.replace(CLASS, before=30 * MINUTE))
    do(calendar, book("mover", TEN + 4 * HOUR, service="class"))
    (moved,) = do(calendar, cmd.Reschedule("mover", TEN))
    assert isinstance(moved, ev.Rescheduled)
    assert (moved.before, moved.session) == (0, calendar.reservations["first"].session)


def test_a_service_that_is_no_longer_shared_leaves_sessions_alone(calendar: Calendar) -> None:
    """An exclusive booking never lands on a session, even one of its own service with places left."""
    do(calendar, book("first", service="class"))
    alone = msgspec.structs.replace(CLASS, capacity=1)
    offer(calendar, alone)
    assert judge(calendar, alone, TEN, NOW).state == "booked"
    assert refused(calendar, book("second", service="class")).code == "slot_unavailable"


def test_a_service_that_became_shared_leaves_bookings_alone(calendar: Calendar) -> None:
    """Nobody joins an exclusive booking."""
    do(calendar, book("first"))
    offer(calendar, msgspec.structs.replace(SOLO, capacity=5))
    assert refused(calendar, book("second")).code == "slot_unavailable"


def test_a_session_of_ended_holds_only_is_made_anew(calendar: Calendar) -> None:
    """It takes the capacity now in force: nothing of the old session is left when the first place is taken."""
    do(calendar, hold("h", service="class", places=3))
    offer(calendar, msgspec.structs.replace(CLASS, capacity=5))
    events = do(calendar, book("b", service="class", places=5), NOW + HOUR)
    assert [type(e) for e in events] == [ev.HoldExpired, ev.Booked]
    assert calendar.sessions is not None
    (session,) = calendar.sessions.values()
    assert (session.capacity, session.taken, session.held) == (5, 5, 0)


def test_a_sessions_capacity_outlives_the_services(calendar: Calendar) -> None:
    """A session keeps the capacity it was opened with, smaller or larger than the service's now."""
    do(calendar, book("first", service="class", places=2))
    offer(calendar, msgspec.structs.replace(CLASS, capacity=10))
    assert refused(calendar, book("many", service="class", places=2)).code == "slot_unavailable"
    offer(calendar, msgspec.structs.replace(CLASS, capacity=2))
    do(calendar, book("last", service="class"))
    assert refused(calendar, book("more", service="class")).code == "slot_unavailable"


def test_moving_within_ones_own_session(calendar: Calendar) -> None:
    """A booking's own places do not stand in its way."""
    do(calendar, book("a", service="class", places=2))
    do(calendar, book("b", service="class"))
    do(calendar, cmd.Reschedule("a", TEN))
    do(calendar, cmd.Reschedule("a", TEN + 2 * HOUR))
    assert refused(calendar, cmd.Reschedule("a", TEN + 30 * MINUTE)).code == "slot_unavailable"
    do(calendar, cmd.Reschedule("a", TEN))


def test_buffers_block_others_but_reach_into_closed_hours_and_time_off(calendar: Calendar) -> None:
    """A service with buffers fits into the last slot of the day and beside time off, not beside a booking."""
    nine_to_ten = Schedule("UTC", tuple(WeeklyRange(d, 540, 660) for d in range(7)))
    offer(calendar, msgspec.structs.replace(SOLO, before=30 * MINUTE, after=30 * MINUTE))
    do(calendar, cmd.ChangeSchedule(nine_to_ten))
    do(calendar, cmd.BlockTime("off", TEN - HOUR, TEN))
    do(calendar, book("a"))
    do(calendar, cmd.Cancel("a", "client"))
    do(calendar, cmd.Unblock("off"))
    do(calendar, book("b", TEN - HOUR))
    assert refused(calendar, book("c")).code == "slot_unavailable"


def test_book_with_a_calendar_version_is_for_that_version(calendar: Calendar) -> None:
    """`if_version` is the calendar's, and another one is a refusal that changes nothing."""
    assert refused(calendar, book("a", if_version=calendar.version + 1)).code == "calendar_changed"
    do(calendar, book("a", if_version=calendar.version))


def test_time_off_needs_force_over_bookings_and_live_holds_only(calendar: Calendar) -> None:
    """The refusal names what is in the way; ended holds are not."""
    do(calendar, book("a"))
    do(calendar, hold("h", TEN + HOUR))
    day = ("off", TEN, TEN + 3 * HOUR)
    assert refused(calendar, cmd.BlockTime(*day)).conflicts == ("a", "h")
    assert refused(calendar, cmd.BlockTime(*day), NOW + HOUR).conflicts == ("a",)
    (blocked,) = do(calendar, cmd.BlockTime(*day, force=True))
    assert isinstance(blocked, ev.TimeBlocked)
    assert blocked.forced


def test_time_off_is_bounded(calendar: Calendar, monkeypatch: pytest.MonkeyPatch) -> None:
    """A calendar takes no more periods than its limit."""
    monkeypatch.setattr(limits, "blocks_per_calendar_max", 2)
    for i in range(2):
        do(calendar, cmd.BlockTime(f"off{i}", TEN, TEN + HOUR))
    assert refused(calendar, cmd.BlockTime("off2", TEN, TEN + HOUR)).code == "limit_reached"


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule("Mars/Olympus", ()),
        Schedule("../etc/passwd", ()),
        Schedule("UTC", (WeeklyRange(7, 0, 60),)),
        Schedule("UTC", (WeeklyRange(0, 60, 60),)),
        Schedule("UTC", (WeeklyRange(0, 0, 1441),)),
        Schedule("UTC", (WeeklyRange(0, -1, 60),)),
        Schedule("UTC", (WeeklyRange(0, 0, 61), WeeklyRange(0, 60, 120))),
        Schedule("UTC", (), (Override("2026-02-30"),)),
        Schedule("UTC", (), (Override("2026-02-03"), Override("2026-02-03"))),
        Schedule("UTC", (), (Override("2026-02-03", ((60, 0),)),)),
        Schedule("UTC", (), (Override("1803-02-03"),)),
        Schedule("UTC", tuple(WeeklyRange(0, i, i + 1) for i in range(limits.weekly_ranges_max + 1))),
    ],
)
def test_a_schedule_that_makes_no_sense_is_not_taken(calendar: Calendar, schedule: Schedule) -> None:
    """It is the caller's mistake, named by field; the calendar stays as it is."""
    version = calendar.version
    with pytest.raises(Refused) as raised:
        decide(calendar, cmd.ChangeSchedule(schedule), NOW)
    assert raised.value.code == "validation_failed"
    assert raised.value.errors
    assert calendar.version == version

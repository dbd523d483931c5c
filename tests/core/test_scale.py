"""The work that an answer takes does not grow with the calendar: counted in steps of the interpreter, not in time."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from actors.calendar import commands as cmd
from actors.calendar.apply import apply
from actors.calendar.decide import decide
from actors.calendar.explain import explain
from actors.calendar.slots import slots_between
from actors.calendar.state import Calendar, Service, new_calendar
from actors.questions import OpenSlots
from protocol.events import Booked, TimeBlocked
from protocol.times import DAY, HOUR, MINUTE
from tests.core.states import at, claims_of

NOW = at("2026-01-05T04:00:00+00:00")
DAY_OF = at("2026-06-03T00:00:00+00:00")
"""A Wednesday in the middle of all that stands in the calendar."""
MANY = 10_000
SLACK = 1.15
"""Looking for a place among a thousand times as many takes some more steps, and not a thousand times as many."""

PLAIN = Service("plain", "b", 30 * MINUTE, 30 * MINUTE, before=5 * MINUTE, horizon=730 * DAY)
CAPPED = Service("capped", "b", 30 * MINUTE, 30 * MINUTE, horizon=730 * DAY, daily_cap=20, weekly_cap=60)
SHARED = Service("shared", "b", 30 * MINUTE, 30 * MINUTE, horizon=730 * DAY, capacity=8)
SERVICES = (PLAIN, CAPPED, SHARED)


def booked(n: int, service: Service, start: int) -> Booked:
    return Booked(f"b{n}", f"BK-{n}", "confirmed", service.id, start, 30 * MINUTE, 0, 0, 1)


def calendar_with(bookings: int) -> Calendar:
    """Ten on the day that is asked about, none on the others of its week, and all the rest around it."""
    calendar = new_calendar("calendar", "UTC")
    calendar.services = {s.id: s for s in SERVICES}
    for n in range(10):
        apply(calendar, booked(n, SERVICES[n % 2], DAY_OF + 6 * HOUR + n * 90 * MINUTE))
    around = [DAY_OF + d * DAY for k in range(8, bookings // 30 + 8) for d in (-k, k) if DAY_OF + d * DAY > NOW + DAY]
    starts = (day + 6 * HOUR + i * 30 * MINUTE for day in around for i in range(32))
    for n, start in zip(range(10, bookings), starts, strict=False):
        apply(calendar, booked(n, SERVICES[n % 2], start))
    assert len(calendar.reservations) == bookings == len(claims_of(calendar))
    return calendar


def steps(work: Callable[[], Any]) -> int:
    """How many instructions of Python it takes, and calls of what is written in C."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    def profile(_frame: FrameType, event: str, _: Any) -> None:
        nonlocal count
        count += event == "c_call"

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    return count


def done(calendar: Calendar, command: cmd.Command) -> None:
    decision = decide(calendar, command, NOW)
    assert isinstance(decision, list), decision
    for event in decision:
        apply(calendar, event)


def ways(service: Service) -> dict[str, Callable[[Calendar], Any]]:
    """What is asked, each beginning with the calendar that the one before has left."""
    free, other = DAY_OF + 7 * HOUR, DAY_OF + 8 * HOUR + 30 * MINUTE
    day = "2026-06-03"
    return {
        "list": lambda c: slots_between(c, service, DAY_OF, DAY_OF + DAY, NOW),
        "answer": lambda c: OpenSlots(day, day, service.id).answer(c, NOW),
        "refuse": lambda c: decide(c, cmd.Book("x", "BK-X", service.id, DAY_OF + 6 * HOUR), NOW),
        "explain": lambda c: explain(c, service, DAY_OF + 6 * HOUR, 1, NOW),
        "book": lambda c: done(c, cmd.Book("x", "BK-X", service.id, free)),
        "move": lambda c: done(c, cmd.Reschedule("x", other)),
        "cancel": lambda c: done(c, cmd.Cancel("x", "client")),
        "hold": lambda c: done(c, cmd.Hold("h", service.id, free, "ann", HOUR)),
        "sweep": lambda c: done(c, cmd.Sweep()),
        "release": lambda c: done(c, cmd.Release("h")),
    }


@pytest.mark.parametrize("service", SERVICES, ids=lambda s: s.id)
def test_ten_thousand_bookings_are_as_much_work_as_ten(service: Service) -> None:
    """A day's slots, a booking, and what else people do."""
    few, many = calendar_with(10), calendar_with(MANY)
    counted: dict[str, tuple[int, int]] = {}
    for name, way in ways(service).items():
        if name in ("list", "answer", "refuse", "explain"):
            way(few)  # what is remembered of hours and texts is there for both
        counted[name] = steps(lambda way=way: way(few)), steps(lambda way=way: way(many))
    assert {name: c for name, c in counted.items() if c[1] > c[0] * SLACK + 40} == {}
    assert counted["book"][0] > 100, "something is counted at all"
    assert len(few.reservations) == 10
    assert len(many.reservations) == MANY


def test_years_of_time_off_are_as_much_work_as_a_day() -> None:
    """Of a day's list, whether it has time off itself or not."""
    few, many = calendar_with(10), calendar_with(10)
    for calendar, days in ((few, 1), (many, 400)):
        for n in range(days):
            lunch = DAY_OF + (n - days // 2) * DAY + 12 * HOUR
            apply(calendar, TimeBlocked(f"t{n}", lunch, lunch + HOUR))
    assert len(many.blocks or ()) == 400
    for service in SERVICES:
        listed = [slots_between(c, service, DAY_OF, DAY_OF + DAY, NOW) for c in (few, many)]
        assert listed[0] == listed[1]
        assert "time_off" in {slot.why for slot in listed[0]}
        a, b = (steps(lambda c=c, s=service: slots_between(c, s, DAY_OF, DAY_OF + DAY, NOW)) for c in (few, many))
        assert b < a + 400 * 20, "time off is gone through once, and not for every slot"


def test_what_grows_is_seen() -> None:
    """The count would tell: it does of what goes through the whole calendar, as a change of hours must."""
    few, many = calendar_with(10), calendar_with(MANY)
    command = cmd.ChangeSchedule(few.hours.schedule)
    assert steps(lambda: decide(many, command, NOW)) > 50 * steps(lambda: decide(few, command, NOW))

"""Lists of slots, and what time alone does to them."""

from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from actors.calendar import commands as cmd
from actors.calendar.apply import apply
from actors.calendar.decide import decide
from actors.calendar.slots import nearest_open, next_change_by_time, slots_between, starts_between
from actors.calendar.state import HOURLY, Calendar, Service, new_calendar
from protocol import limits
from protocol.errors import Refused
from protocol.events import Schedule, WeeklyRange
from protocol.times import DAY, HOUR, MINUTE
from tests.core.states import at

ZONE = "Europe/Berlin"
LOW = at("2026-03-28T00:00:00+00:00")
HIGH = LOW + 2 * DAY


def calendar_open(*ranges: tuple[int, int]) -> Calendar:
    calendar = new_calendar("calendar", ZONE)
    schedule = Schedule(ZONE, tuple(WeeklyRange(d, a, b) for d in range(7) for a, b in ranges or ((0, 1440),)))
    for event in decide(calendar, cmd.ChangeSchedule(schedule), LOW):  # type: ignore[union-attr]
        apply(calendar, event)
    return calendar


def shown(calendar: Calendar, service: Service, now: int) -> list[tuple[int, str, int]]:
    return [(s.start, s.state, s.remaining) for s in slots_between(calendar, service, LOW, HIGH, now)]


# A horizon beyond the notice, as no slot would ever open otherwise.
terms = st.builds(
    lambda duration, step, notice, more, has_horizon, capacity: Service(
        "s", "b", duration * MINUTE, step * MINUTE, 0, 0, notice * MINUTE,
        (notice + more) * MINUTE if has_horizon else 0, capacity,
    ),
    st.sampled_from([15, 30, 60]), st.sampled_from([15, 20, 60]), st.integers(0, 3000), st.integers(1, 3000),
    st.booleans(), st.integers(1, 3),
)  # fmt: skip


@settings(max_examples=150, deadline=None, database=None)
@given(service=terms, minutes=st.integers(-2000, 4000), microseconds=st.sampled_from([-1, 0, 1]))
def test_the_next_change_by_time_is_the_first(service: Service, minutes: int, microseconds: int) -> None:
    """Nothing changes before it, something changes at it; `None` means never."""
    calendar = calendar_open((480, 720))
    now = LOW + minutes * MINUTE + microseconds
    starts = list(starts_between(calendar, service, LOW, HIGH))
    due = next_change_by_time(service, starts, now)
    before = shown(calendar, service, now)
    if due is None:
        for later in (1, MINUTE, HOUR, 10 * DAY, 1000 * DAY):
            assert shown(calendar, service, now + later) == before
        return
    assert due > now
    assert shown(calendar, service, due - 1) == before
    assert shown(calendar, service, now + (due - now) // 2) == before
    assert shown(calendar, service, due) != before


@settings(max_examples=60, deadline=None, database=None)
@given(
    service=terms,
    bookings=st.lists(st.integers(0, 60), max_size=6),
    blocks=st.lists(st.tuples(st.integers(0, 2800), st.integers(1, 300)), max_size=3),
    minutes=st.integers(-2000, 3000),
)
def test_with_bookings_nothing_changes_before_it(
    service: Service, bookings: list[int], blocks: list[tuple[int, int]], minutes: int
) -> None:
    """What is booked or blocked may hide a change, never add one."""
    calendar = calendar_open()
    free = Service(service.id, "b", service.duration, service.step, capacity=service.capacity)
    calendar.services = {free.id: free}
    starts = list(starts_between(calendar, free, LOW, HIGH))
    asked: list[cmd.Command] = [
        cmd.Book(f"r{i}", "BK", free.id, starts[n % len(starts)]) for i, n in enumerate(bookings)
    ]
    asked += [cmd.BlockTime(f"o{i}", LOW + a * MINUTE, LOW + (a + n) * MINUTE, True) for i, (a, n) in enumerate(blocks)]
    for command in asked:
        decision = decide(calendar, command, LOW - DAY)
        for event in decision if isinstance(decision, list) else ():
            apply(calendar, event)
    now = LOW + minutes * MINUTE
    due = next_change_by_time(service, starts, now)
    before = shown(calendar, service, now)
    assert shown(calendar, service, due - 1 if due else now + 1000 * DAY) == before


@settings(max_examples=100, deadline=None, database=None)
@given(
    service=terms,
    cuts=st.lists(st.integers(0, 2 * 24 * 60), min_size=1, max_size=4, unique=True).map(sorted),
    pieces=st.sampled_from([((0, 1440),), ((60, 150), (180, 300), (310, 1440)), ((1380, 1440),)]),
)
def test_a_list_cut_in_parts_is_the_whole_list(
    service: Service, cuts: list[int], pieces: tuple[tuple[int, int], ...]
) -> None:
    """No start is lost, doubled or moved where one answer ends and the next begins."""
    calendar = calendar_open(*pieces)
    marks = [LOW, *(LOW + c * MINUTE for c in cuts), HIGH]
    parts = [s for a, b in pairwise(marks) for s in starts_between(calendar, service, a, b)]
    assert parts == list(starts_between(calendar, service, LOW, HIGH))


def test_a_list_is_bounded() -> None:
    """Too much is refused and never cut short: a shorter list would say that the rest is not free."""
    minutely = Service("s", "b", MINUTE, MINUTE)
    calendar = calendar_open()
    day = slots_between(calendar, minutely, LOW, LOW + DAY, LOW)
    assert len(day) == len(list(starts_between(calendar, minutely, LOW, LOW + DAY)))
    with pytest.raises(Refused, match="shorter range"):
        slots_between(calendar, minutely, LOW, LOW + 300 * DAY, LOW)


def test_the_nearest_open_are_the_nearest() -> None:
    """Exactly those that a full list sorted by distance would give."""
    calendar = calendar_open((480, 1020))
    calendar.services = {"": HOURLY}
    around = LOW + DAY + 12 * HOUR
    full = sorted(
        (abs(s.start - around), s.start, s.end)
        for s in slots_between(calendar, HOURLY, LOW - 7 * DAY, LOW + 9 * DAY, LOW)
        if s.state == "open"
    )
    assert nearest_open(calendar, HOURLY, around, LOW) == sorted(s[1:] for s in full[: limits.alternatives_max])


def test_no_alternatives_in_an_empty_fortnight() -> None:
    """A calendar that is closed all week has none, and says so quickly."""
    calendar = new_calendar("calendar", ZONE)
    (event,) = decide(calendar, cmd.ChangeSchedule(Schedule(ZONE, ())), LOW)  # type: ignore[misc]
    apply(calendar, event)
    assert nearest_open(calendar, HOURLY, LOW, LOW) == []

"""Parts of meetings that other calendars lead: what is said to be free can be held, and settling follows the leader."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from actors.calendar import commands as cmd
from actors.calendar.apply import apply
from actors.calendar.decide import Refusal, decide
from actors.calendar.hours import hours_of
from actors.calendar.state import Calendar, Service, new_calendar
from actors.questions import FreeAt
from protocol.events import Override, Schedule, WeeklyRange
from protocol.times import HOUR, MINUTE
from tests.core.states import at

NOW = at("2026-06-01T06:00:00+00:00")
DAY = at("2026-06-02T00:00:00+00:00")
SERVICE = Service("s", "b", HOUR, HOUR // 2, daily_cap=2)
OPEN = tuple(WeeklyRange(d, 9 * 60, 17 * 60) for d in range(7))
_decode = msgspec.json.Decoder(list[int]).decode


def calendar(*, offers: bool = True) -> Calendar:
    made = new_calendar("c", "UTC")
    made.hours = hours_of(Schedule("UTC", OPEN, (Override("2026-06-03", ()),)))
    made.services = {"s": SERVICE} if offers else {}
    return made


def part(number: int, start: int, **more: int) -> cmd.HoldPart:
    return cmd.HoldPart(f"part{number}", "leader", "s", start, HOUR, more.get("before", 0), more.get("after", 0))


def carry_out(c: Calendar, command: cmd.Command, now: int = NOW) -> Refusal | None:
    decision = decide(c, command, now)
    if isinstance(decision, Refusal):
        return decision
    for event in decision:
        apply(c, event)
    return None


@given(
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 47), st.sampled_from(["part", "hold", "book", "block"])), max_size=6),
    st.sampled_from([0, 15]),
    st.sampled_from([0, 15]),
)
def test_what_is_said_to_be_free_can_be_held(
    offers: bool, before: list[tuple[int, str]], buffer_before: int, buffer_after: int
) -> None:
    """And nothing else, whatever there is already: hours, dates, time off, holds that have ended, caps, buffers."""
    c = calendar(offers=offers)
    for number, (half_hour, what) in enumerate(before):
        start = DAY + half_hour * HOUR // 2
        if what == "part":
            carry_out(c, part(number, start))
        elif what == "hold":
            carry_out(c, cmd.Hold(f"h{number}", "s", start, f"h{number}", MINUTE))
        elif what == "book":
            carry_out(c, cmd.Book(f"b{number}", f"BK-{number}", "s", start))
        else:
            carry_out(c, cmd.BlockTime(f"t{number}", start, start + HOUR))
    later = NOW + 2 * MINUTE
    starts = tuple(DAY + n * HOUR // 2 for n in range(96))
    length = {"before": buffer_before * MINUTE, "after": buffer_after * MINUTE}
    answer, _ = FreeAt(starts, HOUR, length["before"], length["after"], "s").answer(c, later)
    can = [s for s in starts if not isinstance(decide(c, part(99, s, **length), later), Refusal)]
    assert _decode(answer) == can


def test_caps_count_parts() -> None:
    """Two a day, however they come; where the service is not offered there is no cap."""
    c = calendar()
    assert carry_out(c, part(1, DAY + 9 * HOUR)) is None
    assert carry_out(c, cmd.Book("b", "BK-1", "s", DAY + 10 * HOUR)) is None
    refused = carry_out(c, part(2, DAY + 12 * HOUR))
    assert refused is not None
    assert refused.code == "cap_reached"
    room = calendar(offers=False)
    assert [carry_out(room, part(n, DAY + n * HOUR)) for n in range(9, 12)] == [None] * 3


def test_settling_is_asked_twice_at_no_cost() -> None:
    """Booked, completed or gone, each once; and a part that is not there any more stays gone."""
    c = calendar()
    carry_out(c, part(1, DAY + 9 * HOUR))
    for _ in range(2):
        carry_out(c, cmd.Settle("part1", "BK-2", "booked"))
        assert c.reservations["part1"].status == "confirmed"
    assert c.version == 2
    for _ in range(2):
        carry_out(c, cmd.Settle("part1", "BK-2", "gone"))
        assert c.reservations == {}
    carry_out(c, cmd.Settle("part1", "BK-2", "booked"))
    assert (c.reservations, c.version) == ({}, 3)

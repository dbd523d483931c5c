"""What can be booked when. Listing and booking judge by the same rules; a state machine in the tests compares them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal

import msgspec

from actors.calendar.caps import Caps
from actors.calendar.state import (
    Block,
    Calendar,
    Claim,
    Reservation,
    Service,
    Session,
    blocks_between,
    claims_between,
    hours_for,
    live_places,
    members_of,
)
from protocol import limits
from protocol.errors import invalid
from protocol.times import DAY

SlotState = Literal["open", "held", "booked", "blocked"]
Why = Literal["past", "notice", "horizon", "time_off", "hold", "booking", "full", "cap", ""]


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The state of one start, the places still free, and why it is not open.

    `until` is when what holds it ends, if nobody books it (0 where that is not known). `joins` a session that there is.
    """

    state: SlotState
    remaining: int
    why: Why = ""
    until: int = 0
    joins: bool = False


class Slot(msgspec.Struct, frozen=True, gc=False):
    start: int
    end: int
    state: SlotState
    remaining: int
    why: Why = ""
    until: int = 0


_PAST = Verdict("blocked", 0, "past")
_NOTICE = Verdict("blocked", 0, "notice")
_HORIZON = Verdict("blocked", 0, "horizon")
_TIME_OFF = Verdict("blocked", 0, "time_off")
_BOOKED = Verdict("booked", 0, "booking")
_CAPPED = Verdict("blocked", 0, "cap")
_FULL = Verdict("booked", 0, "full")
_OPEN = Verdict("open", 1)


def judge(
    calendar: Calendar,
    service: Service,
    start: int,
    now: int,
    *,
    ignoring: Reservation | None = None,
    caps: Caps | None = None,
) -> Verdict:
    """The state of a start that lies on the grid. `ignoring` is a reservation about to move away; `caps` are the
    counts for that service and time, where many starts are asked about.

    Buffers are blocked against other claims only: they may reach into closed hours and time off.
    """
    outside = _outside(service, start, now)
    if outside is not None:
        return outside
    end = start + service.duration
    if calendar.blocks and blocks_between(calendar, start, end):
        return _TIME_OFF
    verdict = _judge_claims(
        service, start, now, claims_between(calendar, start - service.before, end + service.after), ignoring
    )
    if not service.capped:
        return verdict
    return _unless_capped(verdict, caps or Caps(calendar, service, now, ignoring), start)


def _outside(service: Service, start: int, now: int) -> Verdict | None:
    """Why the start cannot be booked at this time, whatever is in the calendar."""
    if start < now:
        return _PAST
    if start < now + service.notice:
        return _NOTICE
    if service.horizon and start > now + service.horizon:
        return _HORIZON
    return None


def _judge_claims(
    service: Service, start: int, now: int, claims: Sequence[Claim], ignoring: Reservation | None
) -> Verdict:
    """`claims` are those that touch what the meeting would block."""
    if len(claims) == 1:
        only = claims[0]
        # By far the most frequent case, told early: a booking that is not about to move is in the way.
        if isinstance(only, Reservation) and only.status != "held" and only is not ignoring:
            return _BOOKED
    if claims:
        claims = [c for c in claims if live_places(c, now, ignoring)]
    if not claims:
        return _OPEN if service.capacity == 1 else Verdict("open", service.capacity)
    first = claims[0]
    if len(claims) == 1 and isinstance(first, Session) and is_session_of(first, service, start):
        left = first.capacity - live_places(first, now, ignoring)
        if left > 0:
            return Verdict("open", left, joins=True)
        return Verdict("held", 0, "full", _first_end(first, now)) if first.held else _FULL
    if all(_is_only_held(c) for c in claims):
        return Verdict("held", 0, "hold", _last_end(claims, now))
    return _BOOKED


def _last_end(claims: Sequence[Claim], now: int) -> int:
    """When all of these holds will have ended; 0 where one does not end by itself."""
    ends = [r.expires_at for c in claims for r in members_of(c) if not r.has_ended(now)]
    return max(ends, default=0) if all(ends) else 0


def _first_end(session: Session, now: int) -> int:
    return min((r.expires_at for r in session.members if r.expires_at > now), default=0)


def is_session_of(session: Session, service: Service, start: int) -> bool:
    """Whether booking `service` at `start` would take places in that session.

    Terms may have changed since it was opened: a service that is exclusive now joins none.
    """
    return (
        session.start == start
        and session.service_id == service.id
        and session.duration == service.duration
        and service.capacity > 1
    )


def _is_only_held(claim: Claim) -> bool:
    if isinstance(claim, Reservation):
        return claim.status == "held"
    return claim.taken == claim.held


def on_grid(calendar: Calendar, service: Service, start: int) -> str:
    """`""` when a slot of the service starts there, else the refusal: `outside_hours` or `off_grid`.

    The grid of a range of hours starts where the range starts; the meeting must end within the range.
    """
    for opens, closes in hours_for(calendar, service).near(start):
        if opens <= start and start + service.duration <= closes:
            return "" if (start - opens) % service.step == 0 else "off_grid"
    return "outside_hours"


def starts_between(calendar: Calendar, service: Service, from_us: int, to_us: int) -> Iterator[int]:
    """The starts of the service's grid in `[from_us, to_us)`, in order."""
    for opens, closes in hours_for(calendar, service).between(from_us, to_us):
        first = opens if opens >= from_us else opens + -(-(from_us - opens) // service.step) * service.step
        yield from range(first, min(closes - service.duration + 1, to_us), service.step)


def slots_between(calendar: Calendar, service: Service, from_us: int, to_us: int, now: int) -> list[Slot]:
    """Every slot of the grid in `[from_us, to_us)` with its state.

    Raises `Refused(validation_failed)` when there are more than `slots_per_answer_max`.
    """
    starts = list(islice(starts_between(calendar, service, from_us, to_us), limits.slots_per_answer_max + 1))
    if len(starts) > limits.slots_per_answer_max:
        raise invalid("to", f"more than {limits.slots_per_answer_max} slots; ask for a shorter range")
    if not starts:
        return []
    caps = Caps(calendar, service, now)
    if calendar.doubles:
        return [_slot(service, start, judge(calendar, service, start, now, caps=caps)) for start in starts]
    # Time off, claims and starts all rise, so what is near a start is a window that moves along.
    closed = _joined(blocks_between(calendar, starts[0], starts[-1] + service.duration))
    claims = claims_between(calendar, starts[0] - service.before, starts[-1] + service.duration + service.after)
    duration, before, reach = service.duration, service.before, service.duration + service.after
    found: list[Slot] = []
    first = last = off = 0
    for start in starts:
        while off < len(closed) and closed[off][1] <= start:
            off += 1
        while first < len(claims) and claims[first].blocked_to <= start - before:
            first += 1
        last = max(first, last)
        while last < len(claims) and claims[last].start - claims[last].before < start + reach:
            last += 1
        verdict = _outside(service, start, now)
        if verdict is None and off < len(closed) and closed[off][0] < start + duration:
            verdict = _TIME_OFF
        if verdict is None and first == last and not service.capped:
            found.append(Slot(start, start + duration, "open", service.capacity))
            continue
        if verdict is None:
            verdict = _unless_capped(_judge_claims(service, start, now, claims[first:last], None), caps, start)
        found.append(_slot(service, start, verdict))
    return found


def _joined(blocks: Sequence[Block]) -> list[tuple[int, int]]:
    """The same time as spans that rise and do not overlap."""
    spans: list[tuple[int, int]] = []
    for b in blocks:
        if spans and b.start <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(spans[-1][1], b.end)
        else:
            spans.append((b.start, b.end))
    return spans


def _unless_capped(verdict: Verdict, caps: Caps, start: int) -> Verdict:
    if verdict.state == "open" and not verdict.joins and caps.reached(start):
        return _CAPPED
    return verdict


def _slot(service: Service, start: int, v: Verdict) -> Slot:
    return Slot(start, start + service.duration, v.state, v.remaining, v.why, v.until)


def nearest_open(calendar: Calendar, service: Service, around: int, now: int, places: int = 1) -> list[tuple[int, int]]:
    """The open slots nearest to an instant, as `(start, end)` in order of time.

    At most `alternatives_max`, from at most `alternatives_tried_max` candidates within a week each way.
    """
    week = 7 * DAY
    low = max(now, around - week)
    after = starts_between(calendar, service, around, around + week)
    # Walk the days before backwards without listing the whole week.
    before = _starts_before(calendar, service, low, around)
    caps = Caps(calendar, service, now)
    found: list[int] = []
    a, b = next(after, None), next(before, None)
    for _ in range(limits.alternatives_tried_max):
        if len(found) == limits.alternatives_max or (a is None and b is None):
            break
        if b is None or (a is not None and a - around <= around - b):
            candidate, a = a, next(after, None)
        else:
            candidate, b = b, next(before, None)
        if candidate is None:
            break
        verdict = judge(calendar, service, candidate, now, caps=caps)
        if verdict.state == "open" and verdict.remaining >= places:
            found.append(candidate)
    return [(s, s + service.duration) for s in sorted(found)]


def _starts_before(calendar: Calendar, service: Service, low: int, high: int) -> Iterator[int]:
    while high > low:
        day = max(low, high - DAY)
        yield from reversed(list(starts_between(calendar, service, day, high)))
        high = day


def next_change_by_time(service: Service, starts: Sequence[int], now: int) -> int | None:
    """When, after `now`, one of these rising starts changes state only because time passes; `None` for never.

    A start turns blocked when the notice reaches it, and opens when the horizon does.
    """
    due: list[int] = []
    # A slot is open up to and including its last moment, and changes the microsecond after.
    closing = bisect_left(starts, now + service.notice)
    if closing < len(starts):
        due.append(starts[closing] - service.notice + 1)
    opening = bisect_right(starts, now + service.horizon)
    if service.horizon and opening < len(starts):
        due.append(starts[opening] - service.horizon)
    return min(due, default=None)

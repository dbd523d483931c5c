"""How each event changes the state. `apply` never refuses: an event has been decided, or was read from the journal."""

from collections.abc import Callable
from typing import Any, Final

from actors.calendar.hours import hours_of
from actors.calendar.state import (
    Block,
    Calendar,
    Done,
    Reservation,
    Session,
    Status,
    extra_of,
    put_block,
    put_double,
    remember,
)
from protocol import events as ev


def apply(calendar: Calendar, event: ev.Event) -> None:
    """Changes the state in place and advances its version by one."""
    _APPLY[type(event)](calendar, event)
    calendar.version += 1


def touched(calendar: Calendar, event: ev.Event) -> tuple[tuple[int, int], ...]:
    """The blocked spans whose slots `event` may change; ask before and after applying, the union counts.

    Changed hours touch everything: `((-inf, inf),)` as the largest instants.
    """
    if isinstance(event, ev.HoldPlaced | ev.Booked | ev.Rescheduled):
        spans = [(event.start - event.before, event.start + event.duration + event.after)]
    elif isinstance(event, ev.TimeBlocked):
        return ((event.start, event.end),)
    elif isinstance(event, ev.TimeUnblocked):
        return tuple((b.start, b.end) for b in calendar.blocks or () if b.id == event.id)
    elif isinstance(event, ev.ScheduleChanged):
        return (EVERYTHING,)
    else:
        spans = []
    reservation = calendar.reservations.get(event.id)  # type: ignore[attr-defined] - every other event has an id
    if reservation is not None:
        spans.append((reservation.blocked_from, reservation.blocked_to))
    return tuple(spans)


EVERYTHING: Final = (-(1 << 62), 1 << 62)


def _hold_placed(calendar: Calendar, e: ev.HoldPlaced) -> None:
    held = Reservation(
        e.start,
        e.duration,
        e.before,
        e.after,
        e.id,
        "held",
        e.service_id,
        e.places,
        1,
        e.session,
        e.expires_at,
        extra_of(e.marks, e.parts, e.leader, holder=e.holder),
    )
    _claim(calendar, held, e.capacity)


def _booked(calendar: Calendar, e: ev.Booked) -> None:
    if e.from_hold:
        r = calendar.reservations[e.id]
        if r.session is not None:
            _session(calendar, r).held -= r.places
        r.status = e.status
        r.expires_at = 0
        r.extra = extra_of(r.marks, r.parts, r.leader, doubled=r.doubled)
        r.version += 1
        _no_hold(calendar, r)
        if e.marks != r.marks:
            _mark(calendar, r, e.marks)
        return
    extra = extra_of(e.marks, doubled=e.doubled)
    booked = Reservation(
        e.start, e.duration, e.before, e.after, e.id, e.status, e.service_id, e.places, 1, e.session, extra=extra
    )
    _claim(calendar, booked, e.capacity)


def _confirmed(calendar: Calendar, e: ev.Confirmed) -> None:
    r = calendar.reservations[e.id]
    r.status = "confirmed"
    r.version += 1


def _ended(calendar: Calendar, e: ev.BookingEnd | ev.HoldReleased | ev.HoldExpired) -> None:
    _unclaim(calendar, calendar.reservations[e.id])


def _over(calendar: Calendar, e: ev.Completed | ev.NoShow) -> None:
    status = "completed" if isinstance(e, ev.Completed) else "no_show"
    done = (calendar.done or {}).get(e.id)
    if done is not None:
        done.status = status
        done.version += 1
        return
    r = calendar.reservations[e.id]
    _unclaim(calendar, r)
    remember(calendar, Done(r.id, r.service_id, r.start, r.session or r.id, status, r.version + 1, r.leader))


def _rescheduled(calendar: Calendar, e: ev.Rescheduled) -> None:
    r = calendar.reservations[e.id]
    _unclaim(calendar, r)
    r.start, r.duration, r.before, r.after = e.start, e.duration, e.before, e.after
    r.session = e.session
    r.version += 1
    r.extra = extra_of(r.marks, e.parts, r.leader, doubled=e.doubled)
    _claim(calendar, r, e.capacity)


def _amended(calendar: Calendar, e: ev.Amended) -> None:
    calendar.reservations[e.id].version += 1


def _time_blocked(calendar: Calendar, e: ev.TimeBlocked) -> None:
    put_block(calendar, Block(e.id, e.start, e.end, e.series))


def _time_unblocked(calendar: Calendar, e: ev.TimeUnblocked) -> None:
    calendar.blocks = [b for b in calendar.blocks or () if b.id != e.id] or None


def _schedule_changed(calendar: Calendar, e: ev.ScheduleChanged) -> None:
    calendar.hours = hours_of(e.schedule, calendar.hours.holidays)


def _claim(calendar: Calendar, r: Reservation, capacity: int) -> None:
    calendar.reservations[r.id] = r
    held = r.status == "held"
    if held:
        if calendar.holds is None:
            calendar.holds = {}
        calendar.holds[r.id] = r
    if r.extra is not None:
        _mark(calendar, r, r.extra.marks)
    if r.session is None:
        if r.doubled:
            put_double(calendar, r)
        else:
            calendar.line.put(r)
        return
    if calendar.sessions is None:
        calendar.sessions = {}
    session = calendar.sessions.get(r.session)
    if session is None:
        session = Session(r.start, r.duration, r.before, r.after, r.session, r.service_id, capacity, [])
        calendar.sessions[session.id] = session
        calendar.line.put(session)
    session.members.append(r)
    session.taken += r.places
    session.held += r.places if held else 0


def _unclaim(calendar: Calendar, r: Reservation) -> None:
    del calendar.reservations[r.id]
    held = r.status == "held"
    if held:
        _no_hold(calendar, r)
    if r.extra is not None:
        _unmark(calendar, r)
    if r.session is None:
        if r.doubled:
            calendar.doubles = [d for d in calendar.doubles or () if d is not r] or None
        else:
            calendar.line.take(r)
        return
    session = _session(calendar, r)
    session.members = [m for m in session.members if m is not r]
    session.taken -= r.places
    session.held -= r.places if held else 0
    if not session.members:
        calendar.line.take(session)
        assert calendar.sessions is not None
        del calendar.sessions[session.id]
        calendar.sessions = calendar.sessions or None


def _mark(calendar: Calendar, r: Reservation, marks: tuple[str, ...]) -> None:
    _unmark(calendar, r)
    r.extra = extra_of(marks, r.parts, r.leader, doubled=r.doubled, holder=r.holder)
    if not marks:
        return
    if calendar.marked is None:
        calendar.marked = {}
    for mark in marks:
        calendar.marked[r.service_id, mark] = r


def _unmark(calendar: Calendar, r: Reservation) -> None:
    marked = calendar.marked or {}
    for mark in r.marks:
        # A hold that has ended may have been followed by another of the same person before its end was written.
        if marked.get((r.service_id, mark)) is r:
            del marked[r.service_id, mark]
    calendar.marked = marked or None


def _no_hold(calendar: Calendar, r: Reservation) -> None:
    assert calendar.holds is not None
    del calendar.holds[r.id]
    calendar.holds = calendar.holds or None


def _session(calendar: Calendar, r: Reservation) -> Session:
    assert calendar.sessions is not None
    assert r.session is not None
    return calendar.sessions[r.session]


def restore(calendar: Calendar, reservation: Reservation, capacity: int, status: Status) -> None:
    """Puts a reservation read from its row where its events would have put it."""
    reservation.status = status
    _claim(calendar, reservation, capacity)


_APPLY: Final[dict[type[ev.Event], Callable[[Calendar, Any], None]]] = {
    ev.HoldPlaced: _hold_placed,
    ev.HoldReleased: _ended,
    ev.HoldExpired: _ended,
    ev.Booked: _booked,
    ev.Confirmed: _confirmed,
    ev.Cancelled: _ended,
    ev.Rejected: _ended,
    ev.Completed: _over,
    ev.NoShow: _over,
    ev.Expired: _ended,
    ev.Rescheduled: _rescheduled,
    ev.Amended: _amended,
    ev.TimeBlocked: _time_blocked,
    ev.TimeUnblocked: _time_unblocked,
    ev.ScheduleChanged: _schedule_changed,
}

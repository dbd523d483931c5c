"""May this be done? A pure function of state, command and time; `apply` then carries out what it answers."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from actors.calendar import commands as cmd
from actors.calendar.hours import check_schedule
from actors.calendar.lifecycle import ALLOWED_FROM, ONLY_ONCE_STARTED
from actors.calendar.slots import Verdict, is_session_of, judge, live_places, nearest_open, on_grid
from actors.calendar.state import (
    Calendar,
    Reservation,
    Service,
    Session,
    claims_between,
)
from protocol import events as ev
from protocol import limits
from protocol.derived_ids import session_id
from protocol.times import SECOND, format_us


class Refusal(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Why not. `code` is one of `protocol.errors`; the calendar's version is told with it.

    `alternatives` are open slots near the one asked for; `retry_at` is when a hold in the way ends;
    `conflicts` are ids of bookings in the way.
    """

    code: str
    detail: str = ""
    alternatives: tuple[tuple[int, int], ...] = ()
    conflicts: tuple[str, ...] = ()
    retry_at: int = 0


_NOT_OFFERED: Final = Refusal("service_not_offered")

Decision = list[ev.Event] | Refusal

_CODE_OF_WHY: Final = {"past": "in_the_past", "notice": "too_soon", "horizon": "beyond_horizon"}


def decide(calendar: Calendar, command: cmd.Command, now: int) -> Decision:
    """The events that carry out `command`, or the refusal. Changes nothing.

    Holds that have ended and stand where the command wants to go are ended by events that come first, because
    the database guards their span until their end is written.
    """
    return _DECIDE[type(command)](calendar, command, now)


def _hold(calendar: Calendar, c: cmd.Hold, now: int) -> Decision:
    mine = sum(r.holder == c.holder and r.expires_at > now for r in (calendar.holds or {}).values())
    if mine >= limits.holds_per_holder_max:
        return Refusal("hold_limit", f"at most {limits.holds_per_holder_max} holds at once in a calendar")
    service = calendar.services.get(c.service_id)
    if service is None:
        return _NOT_OFFERED
    refusal = _refuse_start(calendar, service, c.start, c.places, now)
    if refusal is not None:
        return refusal
    before, after, session, capacity = _place_at(calendar, service, c.start, now)
    return [
        *_clear_ended(calendar, service, c.start, now),
        ev.HoldPlaced(
            c.id,
            service.id,
            c.start,
            service.duration,
            before,
            after,
            c.places,
            now + min(c.ttl, limits.hold_ttl_max_s * SECOND),
            c.holder,
            session,
            capacity,
            c.client_id,
        ),
    ]


def _release(calendar: Calendar, c: cmd.Release, now: int) -> Decision:
    held = calendar.reservations.get(c.id)
    if held is None or held.status != "held":
        return Refusal("hold_gone")
    return [ev.HoldReleased(c.id)]


def _book(calendar: Calendar, c: cmd.Book, now: int) -> Decision:
    if c.if_version is not None and c.if_version != calendar.version:
        return Refusal("calendar_changed")
    service = calendar.services.get(c.service_id)
    if service is None:
        return _NOT_OFFERED
    if c.hold_id is not None:
        return _book_held(calendar, service, c, c.hold_id, now)
    refusal = _refuse_start(calendar, service, c.start, c.places, now)
    if refusal is not None:
        return refusal
    before, after, session, capacity = _place_at(calendar, service, c.start, now)
    booked = ev.Booked(
        c.id,
        c.code,
        "pending" if service.approval else "confirmed",
        service.id,
        c.start,
        service.duration,
        before,
        after,
        c.places,
        c.client_id,
        session,
        capacity,
    )
    return [*_clear_ended(calendar, service, c.start, now), booked]


def _book_held(calendar: Calendar, service: Service, c: cmd.Book, hold_id: str, now: int) -> Decision:
    """The hold has the time already: hours and notice were judged when it was placed."""
    held = calendar.reservations.get(hold_id)
    if held is None or held.status != "held" or held.expires_at <= now:
        return Refusal("hold_gone", alternatives=tuple(nearest_open(calendar, service, c.start, now, c.places)))
    if (held.start, held.service_id, held.places) != (c.start, service.id, c.places):
        return Refusal("validation_failed", "the hold is for another start, service or number of attendees")
    return [
        ev.Booked(
            held.id,
            c.code,
            "pending" if service.approval else "confirmed",
            held.service_id,
            held.start,
            held.duration,
            held.before,
            held.after,
            held.places,
            c.client_id,
            held.session,
            _capacity_of(calendar, held),
            from_hold=True,
        )
    ]


def _change_status(calendar: Calendar, c: cmd.StatusCommand, now: int) -> Decision:
    booking = _booking(calendar, c.id, c.if_version)
    if isinstance(booking, Refusal):
        return booking
    if booking.status not in ALLOWED_FROM[type(c)]:
        return Refusal("invalid_transition", f"the booking is {booking.status}")
    if isinstance(c, ONLY_ONCE_STARTED) and now < booking.start:
        return Refusal("not_yet")
    return [_STATUS_EVENT[type(c)](c)]


def _reschedule(calendar: Calendar, c: cmd.Reschedule, now: int) -> Decision:
    booking = _booking(calendar, c.id, c.if_version)
    if isinstance(booking, Refusal):
        return booking
    if booking.start <= now:
        return Refusal("invalid_transition", "the booking has started")
    s = calendar.services.get(booking.service_id)
    if s is None:
        return _NOT_OFFERED
    refusal = _refuse_start(calendar, s, c.start, booking.places, now, ignoring=booking)
    if refusal is not None:
        return refusal
    before, after, session, capacity = _place_at(calendar, s, c.start, now, ignoring=booking)
    return [
        *_clear_ended(calendar, s, c.start, now),
        ev.Rescheduled(c.id, c.start, s.duration, before, after, session, capacity),
    ]


def _amend(calendar: Calendar, c: cmd.Amend, now: int) -> Decision:
    booking = _booking(calendar, c.id, c.if_version)
    return booking if isinstance(booking, Refusal) else [ev.Amended(c.id)]


def _block_time(calendar: Calendar, c: cmd.BlockTime, now: int) -> Decision:
    if len(calendar.blocks or ()) >= limits.blocks_per_calendar_max:
        return Refusal("limit_reached", f"at most {limits.blocks_per_calendar_max} periods of time off")
    inside = [k for k in claims_between(calendar, c.start, c.end) if k.start < c.end and k.end > c.start]
    in_the_way = [
        r
        for k in inside
        for r in (k.members if isinstance(k, Session) else (k,))
        if r.status != "held" or r.expires_at > now
    ]
    if in_the_way and not c.force:
        return Refusal(
            "time_off_conflict",
            f"{len(in_the_way)} bookings or holds stand in that period",
            conflicts=tuple(r.id for r in in_the_way[:50]),
        )
    return [ev.TimeBlocked(c.id, c.start, c.end, bool(in_the_way))]


def _unblock(calendar: Calendar, c: cmd.Unblock, now: int) -> Decision:
    if not any(b.id == c.id for b in calendar.blocks or ()):
        return Refusal("not_found", "there is no such time off")
    return [ev.TimeUnblocked(c.id)]


def _change_schedule(calendar: Calendar, c: cmd.ChangeSchedule, now: int) -> Decision:
    check_schedule(c.schedule)
    return [ev.ScheduleChanged(c.schedule)]


def _sweep(calendar: Calendar, c: cmd.Sweep, now: int) -> Decision:
    return [ev.HoldExpired(r.id) for r in (calendar.holds or {}).values() if r.expires_at <= now]


def _booking(calendar: Calendar, booking_id: str, if_version: int | None) -> Reservation | Refusal:
    booking = calendar.reservations.get(booking_id)
    if booking is None or booking.status == "held":
        return Refusal("invalid_transition", "the booking has ended")
    if if_version is not None and booking.version != if_version:
        return Refusal("version_mismatch")
    return booking


def _refuse_start(
    calendar: Calendar,
    service: Service,
    start: int,
    places: int,
    now: int,
    *,
    ignoring: Reservation | None = None,
) -> Refusal | None:
    if places > service.capacity:
        return Refusal("too_many_attendees", f"a session takes {service.capacity}")
    verdict = judge(calendar, service, start, now, ignoring=ignoring)
    if verdict.why in _CODE_OF_WHY:
        return Refusal(_CODE_OF_WHY[verdict.why])
    off = on_grid(calendar, service, start)
    if off:
        return Refusal(off, alternatives=tuple(nearest_open(calendar, service, start, now, places)))
    if verdict.state == "open" and verdict.remaining >= places:
        return None
    return _taken(calendar, service, start, places, now, verdict)


def _taken(calendar: Calendar, service: Service, start: int, places: int, now: int, verdict: Verdict) -> Refusal:
    retry_at = 0
    if verdict.state == "held":
        claims = claims_between(calendar, start - service.before, start + service.duration + service.after)
        ends = [
            r.expires_at for k in claims for r in (k.members if isinstance(k, Session) else (k,)) if r.status == "held"
        ]
        retry_at = max(ends, default=0)
    detail = f"{format_us(start)} is {verdict.state}" if verdict.state != "open" else "not enough places left"
    return Refusal(
        "slot_unavailable",
        detail,
        alternatives=tuple(nearest_open(calendar, service, start, now, places)),
        retry_at=retry_at,
    )


def _clear_ended(calendar: Calendar, service: Service, start: int, now: int) -> list[ev.Event]:
    if not calendar.holds:
        return []
    claims = claims_between(calendar, start - service.before, start + service.duration + service.after)
    return [
        ev.HoldExpired(r.id)
        for k in claims
        for r in (k.members if isinstance(k, Session) else (k,))
        if r.status == "held" and r.expires_at <= now
    ]


def _place_at(
    calendar: Calendar, service: Service, start: int, now: int, *, ignoring: Reservation | None = None
) -> tuple[int, int, str | None, int]:
    """The buffers, session and capacity a place at `start` comes with; no session for an exclusive service.

    Who joins a session takes its terms, not those the service has by now: its members block one span together. The id
    of a new one follows from calendar, version, service and start, so that deciding stays a pure function.
    """
    if service.capacity == 1:
        return service.before, service.after, None, 1
    for claim in claims_between(calendar, start, start + service.duration):
        if (
            isinstance(claim, Session)
            and is_session_of(claim, service, start)
            and live_places(claim, now, ignoring)  # else nobody is left to join, and it ends with this decision
        ):
            return claim.before, claim.after, claim.id, claim.capacity
    new = session_id(calendar.id, service.id, start, calendar.version)
    return service.before, service.after, new, service.capacity


def _capacity_of(calendar: Calendar, r: Reservation) -> int:
    return calendar.sessions[r.session].capacity if calendar.sessions and r.session else 1


_STATUS_EVENT: Final[dict[type[cmd.Command], Callable[[Any], ev.Event]]] = {
    cmd.Confirm: lambda c: ev.Confirmed(c.id),
    cmd.Cancel: lambda c: ev.Cancelled(c.id, c.cancelled_by),
    cmd.Reject: lambda c: ev.Rejected(c.id),
    cmd.Complete: lambda c: ev.Completed(c.id),
    cmd.MarkNoShow: lambda c: ev.NoShow(c.id),
}

_DECIDE: Final[dict[type[cmd.Command], Callable[[Calendar, Any, int], Decision]]] = {
    cmd.Hold: _hold,
    cmd.Release: _release,
    cmd.Book: _book,
    cmd.Confirm: _change_status,
    cmd.Cancel: _change_status,
    cmd.Reject: _change_status,
    cmd.Complete: _change_status,
    cmd.MarkNoShow: _change_status,
    cmd.Reschedule: _reschedule,
    cmd.Amend: _amend,
    cmd.BlockTime: _block_time,
    cmd.Unblock: _unblock,
    cmd.ChangeSchedule: _change_schedule,
    cmd.Sweep: _sweep,
}

"""May this be done? A pure function of state, command and time; `apply` then carries out what it answers."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

from actors.calendar import commands as cmd
from actors.calendar.caps import Caps
from actors.calendar.lifecycle import ALLOWED_FROM, NOT_ONCE_OVER, ONLY_ONCE_STARTED
from actors.calendar.periods import block_series, block_time, change_schedule, unblock
from actors.calendar.refusal import Decision, Refusal
from actors.calendar.series import book_series
from actors.calendar.slots import nearest_open
from actors.calendar.starts import (
    clear_ended,
    clear_marked,
    place_at,
    refuse_answers,
    refuse_part,
    refuse_person,
    refuse_start,
)
from actors.calendar.state import (
    Calendar,
    Done,
    Reservation,
    Service,
    Session,
    claims_between,
    lasting,
    live_places,
    members_of,
)
from protocol import events as ev
from protocol import limits
from protocol.times import DAY, MINUTE, SECOND, START_OF_TIME

__all__ = ["Decision", "Refusal", "decide"]

_NOT_OFFERED: Final = Refusal("service_not_offered")

_NO_CHOICE: Final = Refusal("duration_not_offered")
_PART: Final = Refusal("invalid_transition", "it is part of a meeting that another calendar leads")


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
    service = _terms(calendar, c.service_id, c.duration)
    if isinstance(service, Refusal):
        return service
    refusal = refuse_start(calendar, service, c.start, c.places, now) or _refuse_holder(calendar, service, c, now)
    if refusal is not None:
        return refusal
    before, after, session, capacity = place_at(calendar, service, c.start, now)
    marks = c.marks if service.guard != "none" else ()
    return [
        *clear_ended(calendar, service, c.start, now, marks),
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
            marks,
            c.parts,
        ),
    ]


def _refuse_holder(calendar: Calendar, service: Service, c: cmd.Hold, now: int) -> Refusal | None:
    """Who holds may not have said yet who they are; then only what is known of them counts."""
    if service.guard == "strict" and not any(mark.startswith("d:") for mark in c.marks):
        return Refusal("identity_required", "holding this takes a device token")
    if not c.marks:
        return None
    # Who it is may be said when booking; an empty mark stands for that and is nobody's.
    return refuse_person(calendar, service, (*c.marks, "e:"), now)


def _hold_part(calendar: Calendar, c: cmd.HoldPart, now: int) -> Decision:
    if c.id in calendar.reservations:
        return []  # asked again by a coordinator that does not know how far it came
    refusal = refuse_part(calendar, c.service_id, c.start, c.duration, c.before, c.after, now)
    if refusal is not None:
        return refusal
    claims = claims_between(calendar, c.start - c.before, c.start + c.duration + c.after)
    return [
        *(ev.HoldExpired(r.id) for k in claims for r in members_of(k) if r.has_ended(now)),
        ev.HoldPlaced(
            c.id, c.service_id, c.start, c.duration, c.before, c.after, c.places, 0, f"part:{c.leader}", leader=c.leader
        ),
    ]


def _settle(calendar: Calendar, c: cmd.Settle, now: int) -> Decision:
    """Follows what the leading calendar has decided; asked again, there is nothing more to do."""
    part = calendar.reservations.get(c.id)
    if part is None or part.leader is None:
        return []
    held = part.status == "held"
    booked = ev.Booked(
        part.id, c.code, "confirmed", part.service_id, part.start, part.duration, part.before, part.after, part.places,
        from_hold=True,
    )  # fmt: skip
    if c.became == "booked":
        return [booked] if held else []
    if c.became == "completed":
        return [booked, ev.Completed(part.id)] if held else [ev.Completed(part.id)]
    return [ev.HoldReleased(part.id) if held else ev.Cancelled(part.id, "leader")]


def _check_hold(calendar: Calendar, c: cmd.CheckHold, now: int) -> Decision:
    held = calendar.reservations.get(c.id)
    return Refusal("hold_gone") if held is None or held.has_ended(now) else []


def _refuse(calendar: Calendar, c: cmd.Refuse, now: int) -> Decision:
    return Refusal(c.code, c.detail, c.alternatives, retry_at=c.retry_at)


def _release(calendar: Calendar, c: cmd.Release, now: int) -> Decision:
    held = calendar.reservations.get(c.id)
    if held is None or held.status != "held":
        return Refusal("hold_gone")
    return _PART if held.leader else [ev.HoldReleased(c.id)]


def _book(calendar: Calendar, c: cmd.Book, now: int) -> Decision:
    if c.if_version is not None and c.if_version != calendar.version:
        return Refusal("calendar_changed")
    service = _terms(calendar, c.service_id, c.duration)
    if isinstance(service, Refusal):
        return service
    if service.required or service.guard != "none":
        refusal = refuse_answers(service, c.answered) or refuse_person(calendar, service, c.marks, now, own=c.hold_id)
        if refusal is not None:
            return refusal
    if c.hold_id is not None:
        return _book_held(calendar, service, c, c.hold_id, now)
    refusal = refuse_start(calendar, service, c.start, c.places, now, double=c.double)
    if refusal is not None:
        return refusal
    marks = c.marks if service.guard != "none" else ()
    if c.double and _stands_in_the_way(calendar, service, c.start, now):
        return _book_over(calendar, service, c, marks, now)
    before, after, session, capacity = place_at(calendar, service, c.start, now)
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
        marks=marks,
    )
    return [*clear_ended(calendar, service, c.start, now, marks), booked]


def _book_over(calendar: Calendar, service: Service, c: cmd.Book, marks: tuple[str, ...], now: int) -> Decision:
    if len(calendar.doubles or ()) >= limits.doubles_per_calendar_max:
        return Refusal("limit_reached", f"at most {limits.doubles_per_calendar_max} double bookings")
    if c.places > 1:
        return Refusal("too_many_attendees", "a double booking takes one")
    booked = ev.Booked(
        c.id, c.code, "confirmed", service.id, c.start, service.duration, service.before, service.after, 1,
        c.client_id, marks=marks, doubled=True,
    )  # fmt: skip
    return [*clear_marked(calendar, service, marks, now), booked]


def _stands_in_the_way(
    calendar: Calendar, service: Service, start: int, now: int, ignoring: Reservation | None = None
) -> bool:
    """Whether a booking there would have to be put over others, and not just among them, or over a cap."""
    _, _, session, _ = place_at(calendar, service, start, now, ignoring=ignoring)
    joins = False
    for claim in claims_between(calendar, start - service.before, start + service.duration + service.after):
        taken = live_places(claim, now, ignoring)
        if not taken:
            continue
        if not (isinstance(claim, Session) and claim.id == session and taken < claim.capacity):
            return True
        joins = True
    return not joins and bool(Caps(calendar, service, now, ignoring).reached(start))


def _book_held(calendar: Calendar, service: Service, c: cmd.Book, hold_id: str, now: int) -> Decision:
    """The hold has the time already: hours and notice were judged when it was placed."""
    held = calendar.reservations.get(hold_id)
    if held is None or held.status != "held" or held.leader or held.has_ended(now):
        return Refusal("hold_gone", alternatives=tuple(nearest_open(calendar, service, c.start, now, c.places)))
    if (held.start, held.service_id, held.places) != (c.start, service.id, c.places):
        return Refusal("validation_failed", "the hold is for another start, service or number of attendees")
    if c.duration and c.duration != held.duration:
        return Refusal("validation_failed", "the hold is for another duration")
    marks = c.marks if service.guard != "none" else ()
    return [
        *clear_marked(calendar, service, marks, now),
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
            marks=marks,
        ),
    ]


def _change_status(calendar: Calendar, c: cmd.StatusCommand, now: int) -> Decision:
    booking = _booking(calendar, c.id, c.if_version)
    if isinstance(booking, Refusal):
        return booking
    if booking.status not in ALLOWED_FROM[type(c)]:
        return Refusal("invalid_transition", f"the booking is {booking.status}")
    if isinstance(booking, Done):
        if booking.start <= now - limits.done_days * DAY:
            return Refusal("invalid_transition", "the booking has ended")
    elif isinstance(c, NOT_ONCE_OVER) and booking.is_over(now):
        return Refusal("invalid_transition", "its time is over")
    if isinstance(c, ONLY_ONCE_STARTED) and now < booking.start:
        return Refusal("not_yet")
    if isinstance(c, cmd.Cancel) and isinstance(booking, Reservation):
        service = calendar.services.get(booking.service_id)
        late = _too_late(booking, c.notice, service.cancel_notice if service else -1, now)
        if late is not None:
            return late
    return [_STATUS_EVENT[type(c)](c)]


def _too_late(booking: Reservation, of_business: int, of_service: int, now: int) -> Refusal | None:
    """For who is bound by it: until how long before the start one may change one's mind."""
    if of_business < 0:
        return None
    notice = of_service if of_service >= 0 else of_business
    if now <= booking.start - notice:
        return None
    when = f"{notice // MINUTE} minutes before the start" if notice else "the start"
    return Refusal("too_late_to_cancel", f"possible until {when}; ask the business")


def _reschedule(calendar: Calendar, c: cmd.Reschedule, now: int) -> Decision:
    booking = _booking(calendar, c.id, c.if_version)
    if isinstance(booking, Refusal):
        return booking
    if not isinstance(booking, Reservation) or booking.start <= now:
        return Refusal("invalid_transition", "the booking has started")
    terms = calendar.services.get(booking.service_id)
    if terms is None:
        return _NOT_OFFERED
    late = _too_late(booking, c.notice, terms.move_notice if terms.move_notice >= 0 else terms.cancel_notice, now)
    if late is not None:
        return late
    if c.hold_id is not None:
        return _move_into(calendar, booking, c.start, c.hold_id, now)
    if booking.parts:
        return Refusal("invalid_transition", "a meeting of several calendars moves by a hold of all of them")
    s = lasting(terms, booking.duration) or terms
    refusal = refuse_start(calendar, s, c.start, booking.places, now, ignoring=booking, double=c.double)
    if refusal is not None:
        return refusal
    if c.double and _stands_in_the_way(calendar, s, c.start, now, booking):
        if booking.places > 1:
            return Refusal("too_many_attendees", "a double booking takes one")
        if not booking.doubled and len(calendar.doubles or ()) >= limits.doubles_per_calendar_max:
            return Refusal("limit_reached", f"at most {limits.doubles_per_calendar_max} double bookings")
        return [ev.Rescheduled(c.id, c.start, s.duration, s.before, s.after, doubled=True)]
    before, after, session, capacity = place_at(calendar, s, c.start, now, ignoring=booking)
    return [
        *clear_ended(calendar, s, c.start, now),
        ev.Rescheduled(c.id, c.start, s.duration, before, after, session, capacity),
    ]


def _move_into(calendar: Calendar, booking: Reservation, start: int, hold_id: str, now: int) -> Decision:
    """The hold ends and the booking takes its place, with the parts that were held for it."""
    held = calendar.reservations.get(hold_id)
    if held is None or held.status != "held" or held.leader or held.has_ended(now):
        return Refusal("hold_gone")
    if (held.start, held.service_id, held.places) != (start, booking.service_id, booking.places):
        return Refusal("validation_failed", "the hold is for another start, service or number of attendees")
    return [
        ev.HoldReleased(hold_id),
        ev.Rescheduled(
            booking.id, held.start, held.duration, held.before, held.after, held.session, _capacity_of(calendar, held),
            held.parts,
        ),
    ]  # fmt: skip


def _amend(calendar: Calendar, c: cmd.Amend, now: int) -> Decision:
    booking = _booking(calendar, c.id, c.if_version)
    if isinstance(booking, Done):
        return Refusal("invalid_transition", f"the booking is {booking.status}")
    return booking if isinstance(booking, Refusal) else [ev.Amended(c.id)]


def _sweep(calendar: Calendar, c: cmd.Sweep, now: int) -> Decision:
    ended: Iterator[ev.Event] = (ev.HoldExpired(r.id) for r in (calendar.holds or {}).values() if r.has_ended(now))
    events = list(islice(ended, limits.sweep_events_max))
    return events + list(islice(_over(calendar, now), limits.sweep_events_max - len(events)))


def _over(calendar: Calendar, now: int) -> Iterator[ev.Event]:
    """What time has made of bookings. What has begun stands at the front of the line, because what is over leaves
    it.
    """
    begun = claims_between(calendar, START_OF_TIME, now)
    for r in (r for k in begun if k.start <= now for r in members_of(k) if r.leader is None):
        if r.is_over(now):
            yield ev.Expired(r.id) if r.status == "pending" else ev.Completed(r.id)


def _terms(calendar: Calendar, service_id: str, duration: int) -> Service | Refusal:
    service = calendar.services.get(service_id)
    if service is None:
        return _NOT_OFFERED
    return (lasting(service, duration) or _NO_CHOICE) if duration else service


def _booking(calendar: Calendar, booking_id: str, if_version: int | None) -> Reservation | Done | Refusal:
    booking = calendar.reservations.get(booking_id) or (calendar.done or {}).get(booking_id)
    if booking is None or booking.status == "held":
        return Refusal("invalid_transition", "the booking has ended")
    if booking.leader is not None:
        return _PART
    if if_version is not None and booking.version != if_version:
        return Refusal("version_mismatch")
    return booking


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
    cmd.HoldPart: _hold_part,
    cmd.Settle: _settle,
    cmd.CheckHold: _check_hold,
    cmd.Refuse: _refuse,
    cmd.Release: _release,
    cmd.Book: _book,
    cmd.BookSeries: book_series,
    cmd.Confirm: _change_status,
    cmd.Cancel: _change_status,
    cmd.Reject: _change_status,
    cmd.Complete: _change_status,
    cmd.MarkNoShow: _change_status,
    cmd.Reschedule: _reschedule,
    cmd.Amend: _amend,
    cmd.BlockTime: block_time,
    cmd.BlockSeries: block_series,
    cmd.Unblock: unblock,
    cmd.ChangeSchedule: change_schedule,
    cmd.Sweep: _sweep,
}

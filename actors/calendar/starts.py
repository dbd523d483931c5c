"""May one meeting begin there, and on which terms? Hold, book, move and series ask the same."""

from typing import Final

from actors.calendar.caps import Caps
from actors.calendar.refusal import Refusal
from actors.calendar.slots import Verdict, is_session_of, judge, nearest_open, on_grid
from actors.calendar.state import (
    Calendar,
    Reservation,
    Service,
    Session,
    blocks_between,
    claims_between,
    hours_for,
    live_places,
    members_of,
)
from protocol import events as ev
from protocol.derived_ids import session_id
from protocol.times import format_us

_CODE_OF_WHY: Final = {"past": "in_the_past", "notice": "too_soon", "horizon": "beyond_horizon", "cap": "cap_reached"}


def refuse_start(
    calendar: Calendar,
    service: Service,
    start: int,
    places: int,
    now: int,
    *,
    ignoring: Reservation | None = None,
    double: bool = False,
) -> Refusal | None:
    """With `double`, other bookings in the way are none; hours, notice and time off hold all the same."""
    if places > service.capacity:
        return Refusal("too_many_attendees", f"a session takes {service.capacity}")
    verdict = judge(calendar, service, start, now, ignoring=ignoring)
    if verdict.why in ("past", "notice", "horizon"):
        return Refusal(_CODE_OF_WHY[verdict.why])
    off = on_grid(calendar, service, start)
    if off:
        return Refusal(off, alternatives=tuple(nearest_open(calendar, service, start, now, places)))
    if verdict.state == "open" and verdict.remaining >= places:
        return None
    if double and verdict.why in ("hold", "booking", "full", "cap"):
        return None
    return _taken(calendar, service, start, places, now, verdict)


def _taken(calendar: Calendar, service: Service, start: int, places: int, now: int, verdict: Verdict) -> Refusal:
    detail = f"{format_us(start)} is {verdict.state}" if verdict.state != "open" else "not enough places left"
    return Refusal(
        _CODE_OF_WHY.get(verdict.why, "slot_unavailable"),
        detail,
        alternatives=tuple(nearest_open(calendar, service, start, now, places)),
        retry_at=verdict.until,
    )


def clear_ended(
    calendar: Calendar, service: Service, start: int, now: int, marks: tuple[str, ...] = ()
) -> list[ev.Event]:
    """The ends of holds that stand where a meeting is to go, because the database guards them until these are
    written, and of those with one of its marks.
    """
    if not calendar.holds:
        return []
    claims = claims_between(calendar, start - service.before, start + service.duration + service.after)
    ended = {r.id: None for k in claims for r in members_of(k) if r.has_ended(now)}
    ended.update(dict.fromkeys(_ended_with(calendar, service, marks, now)))
    return [ev.HoldExpired(id_) for id_ in ended]


def clear_marked(calendar: Calendar, service: Service, marks: tuple[str, ...], now: int) -> list[ev.Event]:
    """The ends of holds with one of these marks: each mark is of one reservation, for whoever reads the rows too."""
    return [ev.HoldExpired(id_) for id_ in dict.fromkeys(_ended_with(calendar, service, marks, now))]


def _ended_with(calendar: Calendar, service: Service, marks: tuple[str, ...], now: int) -> list[str]:
    marked = calendar.marked or {}
    found = (marked.get((service.id, mark)) for mark in marks)
    return [r.id for r in found if r is not None and r.has_ended(now)]


def place_at(
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


def refuse_part(
    calendar: Calendar,
    service_id: str,
    start: int,
    duration: int,
    before: int,
    after: int,
    now: int,
    caps: Caps | None = None,
) -> Refusal | None:
    """Why that time cannot be a part of a meeting that another calendar leads. `caps` are the counts for the service,
    where many starts are asked about.
    """
    service, end = calendar.services.get(service_id), start + duration
    hours = hours_for(calendar, service) if service is not None else calendar.hours
    if not hours.is_open(start, end):
        return Refusal("outside_hours", "another calendar of this meeting is closed then")
    if blocks_between(calendar, start, end):
        return Refusal("slot_unavailable", "another calendar of this meeting has time off then")
    if any(live_places(k, now, None) for k in claims_between(calendar, start - before, end + after)):
        return Refusal("slot_unavailable", "another calendar of this meeting is taken then")
    if service is not None and service.capped and (caps or Caps(calendar, service, now)).reached(start):
        return Refusal("cap_reached", "another calendar of this meeting takes no more of these then")
    return None


def refuse_person(
    calendar: Calendar, service: Service, marks: tuple[str, ...], now: int, *, own: str | None = None
) -> Refusal | None:
    """Whether an offering that takes one booking per person, or per device too, refuses who has these marks.

    `own` is the hold that is about to become the booking. A mark begins with its kind: `e:` for a person, `d:` for
    a device.
    """
    if service.guard == "none":
        return None
    kinds = {mark[:2] for mark in marks}
    wanted = {"e:"} if service.guard == "standard" else {"e:", "d:"}
    if not wanted <= kinds:
        needs = "an e-mail address" if service.guard == "standard" else "an e-mail address and a device token"
        return Refusal("identity_required", f"booking this takes {needs}")
    for mark in marks:
        earlier = (calendar.marked or {}).get((service.id, mark))
        if earlier is not None and earlier.id != own and not earlier.has_ended(now):
            what = "device" if mark.startswith("d:") else "person"
            return Refusal("already_booked", f"this {what} has a booking or a hold already")
    return None


def refuse_answers(service: Service, answered: tuple[str, ...]) -> Refusal | None:
    missing = [q for q in service.required if q not in answered]
    return Refusal("answers_required", f"{len(missing)} questions have no answer") if missing else None

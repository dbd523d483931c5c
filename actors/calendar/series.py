"""Several bookings in one decision."""

from actors.calendar import commands as cmd
from actors.calendar.caps import Caps
from actors.calendar.refusal import Decision, Refusal
from actors.calendar.starts import clear_ended, place_at, refuse_answers, refuse_start
from actors.calendar.state import Calendar, Service, lasting
from protocol import events as ev
from protocol import limits


def book_series(calendar: Calendar, c: cmd.BookSeries, now: int) -> Decision:
    """All of them, or with `skip` all that can be had and at least one."""
    if not 0 < len(c.items) <= limits.series_max:
        return Refusal("limit_reached", f"a series has at most {limits.series_max} bookings")
    terms = calendar.services.get(c.service_id)
    if terms is None:
        return Refusal("service_not_offered")
    service = lasting(terms, c.duration)
    if service is None:
        return Refusal("duration_not_offered")
    refusal = refuse_answers(service, c.answered)
    if refusal is not None:
        return refusal
    refusal = refuse_series(service)
    if refusal is not None:
        return refusal
    taken, refused = starts_of_series(calendar, service, [i.start for i in c.items], c.places, now)
    if refused and (not c.skip or not taken):
        return Refusal("series_conflict", f"{len(refused)} of {len(c.items)} cannot be booked", starts=tuple(refused))
    # A long hold that has ended may stand where several of them are to go.
    ended: dict[ev.Event, None] = {}
    booked: list[ev.Event] = []
    for item in c.items:
        if item.start not in taken:
            continue
        before, after, session, capacity = place_at(calendar, service, item.start, now)
        ended.update(dict.fromkeys(clear_ended(calendar, service, item.start, now)))
        booked.append(
            ev.Booked(
                item.id,
                item.code,
                "pending" if service.approval else "confirmed",
                service.id,
                item.start,
                service.duration,
                before,
                after,
                c.places,
                c.client_id,
                session,
                capacity,
                series=c.id,
            )
        )
    return [*ended, *booked]


def refuse_series(service: Service) -> Refusal | None:
    if service.guard == "none":
        return None
    return Refusal("validation_failed", "this takes one booking per person, and no series")


def starts_of_series(
    calendar: Calendar, service: Service, starts: list[int], places: int, now: int
) -> tuple[set[int], list[tuple[int, str]]]:
    """The starts that can be booked together, and the others with why not. An earlier one goes before a later one."""
    taken: list[int] = []
    opened: tuple[int, ...] = ()
    refused: list[tuple[int, str]] = []
    caps = Caps(calendar, service, now)
    apart = service.before + service.duration + service.after
    for start in starts:
        refusal = refuse_start(calendar, service, start, places, now)
        if refusal is not None:
            refused.append((start, refusal.code))
        elif taken and start - taken[-1] < apart:
            refused.append((start, "slot_unavailable"))
        elif _joins(calendar, service, start, now):
            taken.append(start)
        elif caps.reached(start, opened):
            refused.append((start, "cap_reached"))
        else:
            taken.append(start)
            opened += (start,)
    return set(taken), refused


def _joins(calendar: Calendar, service: Service, start: int, now: int) -> bool:
    _, _, session, _ = place_at(calendar, service, start, now)
    return session is not None and session in (calendar.sessions or {})

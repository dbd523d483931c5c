"""Why is a start not offered? Every reason there is, not only the first, for the state and time that are given."""

from collections.abc import Iterator

import msgspec

from actors.calendar.caps import Caps
from actors.calendar.slots import is_session_of
from actors.calendar.state import (
    Calendar,
    Claim,
    Service,
    Session,
    blocks_between,
    claims_between,
    hours_for,
    live_places,
    members_of,
)
from protocol.times import local_date


class Reason(msgspec.Struct, frozen=True, gc=False):
    """`start` and `end` are of what is in the way; `ids` name it; `until` is when a hold ends by itself."""

    code: str
    start: int = 0
    end: int = 0
    ids: tuple[str, ...] = ()
    until: int = 0


def explain(calendar: Calendar, service: Service, start: int, places: int, now: int) -> list[Reason]:
    """No reasons: it is offered, and can be booked."""
    return [
        *_by_time(service, start, now),
        *_by_hours(calendar, service, start),
        *(
            Reason("time_off", b.start, b.end, (b.id,))
            for b in blocks_between(calendar, start, start + service.duration)
        ),
        *_by_claims(calendar, service, start, places, now),
    ]


def _by_time(service: Service, start: int, now: int) -> Iterator[Reason]:
    if start < now:
        yield Reason("past")
    elif start < now + service.notice:
        yield Reason("notice", end=start - service.notice)
    if service.horizon and start > now + service.horizon:
        yield Reason("horizon", start=start - service.horizon)


def _by_hours(calendar: Calendar, service: Service, start: int) -> Iterator[Reason]:
    end = start + service.duration
    for opens, closes in hours_for(calendar, service).near(start):
        if opens <= start and end <= closes:
            if (start - opens) % service.step:
                yield Reason("off_grid", opens, closes)
            return
    if service.own_hours is None and local_date(start, calendar.hours.tz).isoformat() in calendar.hours.holidays:
        yield Reason("holiday")
    yield Reason("hours")


def _by_claims(calendar: Calendar, service: Service, start: int, places: int, now: int) -> Iterator[Reason]:
    """A claim that only the buffers reach is told as `buffer`."""
    end = start + service.duration
    joined = False
    for claim in claims_between(calendar, start - service.before, end + service.after):
        taken = live_places(claim, now, None)
        if not taken:
            continue
        if isinstance(claim, Session) and is_session_of(claim, service, start):
            joined = True
            if claim.capacity - taken < places:
                yield _reason("full", claim, now)
        elif claim.start < end and claim.end > start:
            yield _reason("hold" if _is_held(claim, now) else "booking", claim, now)
        else:
            yield _reason("buffer", claim, now)
    if places > service.capacity:
        yield Reason("too_many_attendees")
    cap = "" if joined else Caps(calendar, service, now).reached(start)
    if cap:
        yield Reason(f"cap_{cap}")


def _is_held(claim: Claim, now: int) -> bool:
    return all(r.status == "held" for r in members_of(claim) if not r.has_ended(now))


def _reason(code: str, claim: Claim, now: int) -> Reason:
    live = [r for r in members_of(claim) if not r.has_ended(now)]
    ends = [r.expires_at for r in live if r.expires_at]
    return Reason(code, claim.blocked_from, claim.blocked_to, tuple(r.id for r in live), max(ends, default=0))

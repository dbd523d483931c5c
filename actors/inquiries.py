"""Questions of people who want to know more than what is open: why not, and could it be every week?"""

from itertools import islice
from typing import Any, Final

import msgspec

from actors.calendar.caps import Caps
from actors.calendar.explain import Reason, explain
from actors.calendar.series import refuse_series, starts_of_series
from actors.calendar.slots import judge, slots_between, starts_between
from actors.calendar.state import Calendar, Service, offered
from actors.questions import Question, next_end, service_of
from protocol import limits
from protocol import series as said
from protocol.errors import Refused
from protocol.times import format_us

_encode = msgspec.json.Encoder().encode

TITLES: Final = {
    "past": "The time has passed",
    "notice": "It is inside the minimum notice",
    "horizon": "It is further ahead than bookings are taken",
    "hours": "It is outside working hours",
    "holiday": "The business is closed on that date",
    "off_grid": "No slot starts at that time",
    "time_off": "There is time off",
    "hold": "Somebody holds it",
    "booking": "It is booked",
    "buffer": "The time before or after it is needed for another booking",
    "full": "Not enough places are left",
    "too_many_attendees": "More attendees than one session can hold",
    "cap_day": "No more of these are taken that day",
    "cap_week": "No more of these are taken that week",
}


class Explain(Question, frozen=True, tag=True):
    """Why `start` cannot be booked, if it cannot. Who may read the bookings there is told what is `in_the_way`."""

    service_id: str
    start: int
    duration: int = 0
    places: int = 1
    in_the_way: bool = False

    def answer(self, calendar: Calendar, now: int) -> tuple[bytes, int]:
        # Told for this moment; the next may have another reason.
        return _encode(self.explanation(calendar, now)), now

    def explanation(self, calendar: Calendar, now: int) -> said.Explanation:
        service = service_of(calendar, self.service_id, self.duration)
        reasons = explain(calendar, service, self.start, self.places, now)
        return said.Explanation(
            professional_id=calendar.id,
            service_id=self.service_id,
            start=format_us(self.start),
            end=format_us(self.start + service.duration),
            offered=not reasons,
            at=format_us(now),
            version=calendar.version,
            reasons=[self._told(r) for r in reasons],
        )

    def _told(self, r: Reason) -> said.ExplainReason:
        code: Any = r.code
        return said.ExplainReason(
            code=code,
            title=TITLES[r.code],
            start=format_us(r.start) if r.start and self.in_the_way else None,
            end=format_us(r.end) if r.end and self.in_the_way else None,
            until=format_us(r.until) if r.until else None,
            ids=list(r.ids) if r.ids and self.in_the_way else None,
        )


class Openings(msgspec.Struct, frozen=True, array_like=True):
    """What is open, as starts with their ends and places, up to `until`; what lies beyond was not looked at."""

    until: int
    found: list[tuple[int, int, int]]


class FindOpenings(Question, frozen=True, tag=True):
    """What is open in `[from_us, to_us)`, as far as one answer goes; nothing where it is not offered."""

    service_id: str
    from_us: int
    to_us: int
    duration: int = 0

    def answer(self, calendar: Calendar, now: int) -> tuple[bytes, int]:
        service = offered(calendar, self.service_id, self.duration)
        if service is None:
            return _encode(Openings(self.to_us, [])), now
        # What lies before the notice is never open.
        first = max(self.from_us, now + service.notice)
        starts = list(islice(starts_between(calendar, service, first, self.to_us), limits.slots_per_answer_max + 1))
        until = starts[-1] if len(starts) > limits.slots_per_answer_max else self.to_us
        slots = slots_between(calendar, service, first, until, now)
        return _encode(Openings(until, [(s.start, s.end, s.remaining) for s in slots if s.state == "open"])), now


class HeldUntil(Question, frozen=True, tag=True):
    """When the first of the holds on slots in `[from_us, to_us)` ends, in microseconds; 0 where none is known to."""

    service_id: str
    from_us: int
    to_us: int
    duration: int = 0

    def answer(self, calendar: Calendar, now: int) -> tuple[bytes, int]:
        service = offered(calendar, self.service_id, self.duration)
        ends: list[int] = []
        if service is not None and calendar.holds:
            caps = Caps(calendar, service, now)
            verdicts = (judge(calendar, service, s, now, caps=caps) for s in self._near_holds(calendar, service))
            ends = [v.until for v in verdicts if v.state == "held" and v.until]
        return _encode(min(ends, default=0)), next_end(calendar, now)

    def _near_holds(self, calendar: Calendar, service: Service) -> set[int]:
        """Starts of meetings that a hold would be in the way of."""
        found: set[int] = set()
        for hold in (calendar.holds or {}).values():
            low = max(self.from_us, hold.blocked_from - service.duration - service.after)
            high = min(self.to_us, hold.blocked_to + service.before)
            room = limits.slots_per_answer_max - len(found)
            found.update(islice(starts_between(calendar, service, low, high), room))
        return found


class OfferSeries(Question, frozen=True, tag=True):
    """Which of these starts could be booked together, as they would be by `BookSeries`."""

    service_id: str
    starts: tuple[int, ...]
    duration: int = 0
    places: int = 1

    def answer(self, calendar: Calendar, now: int) -> tuple[bytes, int]:
        service = service_of(calendar, self.service_id, self.duration)
        refusal = refuse_series(service)
        if refusal is not None:
            raise Refused(refusal.code, refusal.detail)
        _, refused = starts_of_series(calendar, service, list(self.starts), self.places, now)
        why = dict(refused)
        body = said.SeriesOffer(
            version=calendar.version,
            starts=[
                said.SeriesStart(
                    start=format_us(s), end=format_us(s + service.duration), available=s not in why, code=why.get(s)
                )
                for s in self.starts
            ],
        )
        return _encode(body), now

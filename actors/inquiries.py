"""Questions of people who want to know more than what is open: why not, and could it be every week?"""

from itertools import islice
from typing import Any, Final

import msgspec

from actors.calendar.caps import Caps
from actors.calendar.explain import Reason, explain
from actors.calendar.series import starts_of_series
from actors.calendar.slots import judge, slots_between, starts_between
from actors.calendar.state import Calendar, lasting
from actors.questions import Question, next_end, service_of
from protocol import limits
from protocol import series as said
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
    """Why `start` cannot be booked, if it cannot. `staff` are told what is in the way."""

    service_id: str
    start: int
    duration: int = 0
    places: int = 1
    staff: bool = False

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
            start=format_us(r.start) if r.start and self.staff else None,
            end=format_us(r.end) if r.end and self.staff else None,
            until=format_us(r.until) if r.until else None,
            ids=list(r.ids) if r.ids and self.staff else None,
        )


class FirstOpen(Question, frozen=True, tag=True):
    """The first start in `[from_us, to_us)` with so many places left, with its end; `null` where there is none."""

    service_id: str
    from_us: int
    to_us: int
    duration: int = 0
    places: int = 1

    def answer(self, calendar: Calendar, now: int) -> tuple[bytes, int]:
        terms = calendar.services.get(self.service_id)
        service = lasting(terms, self.duration) if terms else None
        found = None
        if service is not None:
            caps = Caps(calendar, service, now)
            # What lies before the notice is never open; what lies far ahead is not looked at one by one.
            starts = starts_between(calendar, service, max(self.from_us, now + service.notice), self.to_us)
            for start in islice(starts, limits.slots_per_answer_max):
                verdict = judge(calendar, service, start, now, caps=caps)
                if verdict.state == "open" and verdict.remaining >= self.places:
                    found = (start, start + service.duration)
                    break
        return _encode(found), now


class HeldUntil(Question, frozen=True, tag=True):
    """When the first of the holds on slots in `[from_us, to_us)` ends, in microseconds; 0 where none is known to."""

    service_id: str
    from_us: int
    to_us: int
    duration: int = 0

    def answer(self, calendar: Calendar, now: int) -> tuple[bytes, int]:
        terms = calendar.services.get(self.service_id)
        service = lasting(terms, self.duration) if terms else None
        ends: list[int] = []
        if service is not None and calendar.holds:
            found = slots_between(calendar, service, self.from_us, self.to_us, now)
            ends = [s.until for s in found if s.state == "held" and s.until]
        return _encode(min(ends, default=0)), next_end(calendar, now)


class OfferSeries(Question, frozen=True, tag=True):
    """Which of these starts could be booked together, as they would be by `BookSeries`."""

    service_id: str
    starts: tuple[int, ...]
    duration: int = 0
    places: int = 1

    def answer(self, calendar: Calendar, now: int) -> tuple[bytes, int]:
        service = service_of(calendar, self.service_id, self.duration)
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
        return _encode(body), min(next_end(calendar, now), now)

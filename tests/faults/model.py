"""One calendar as a list of reservations, changed by one event after the other: what the checker holds to be true.

It knows calendars as the load makes them: open round the clock in UTC, one service, instant confirmation. Holds that
have ended count no more, although their end may not be in the journal yet; so what a start looks like depends on the
version and on the time.
"""

from bisect import bisect_right
from collections import defaultdict
from typing import Any, Final

import msgspec

from tests.faults.history import Terms
from tests.faults.tables import Event

State = tuple[str, int]
"""A slot's state and free places, as views and answers tell them; of a full session only that it is full."""

_ENDS: Final = {
    "booking.cancelled": "cancelled", "booking.rejected": "rejected", "booking.completed": "completed",
    "booking.no_show": "no_show", "booking.expired": "expired", "hold.released": "", "hold.expired": "",
}  # fmt: skip
DAY_US: Final = 86_400_000_000


class Claim(msgspec.Struct, frozen=True):
    """A hold or an active booking. `ends` is when a hold ends by itself."""

    id: str
    status: str
    start: int
    blocked_from: int
    blocked_to: int
    places: int
    capacity: int
    session: str
    version: int
    ends: int = 0

    def over(self, now: int) -> bool:
        return self.status == "held" and self.ends <= now


class Calendar:
    """Replays events, and remembers every state that a start and a booking have had."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.version = 0
        self.claims: dict[str, Claim] = {}
        self.events: dict[int, Event] = {}
        self.touched: dict[int, tuple[int, ...]] = {}
        """By version, the starts whose state may have changed."""
        self._at_start: dict[int, list[tuple[int, tuple[Claim, ...]]]] = {}
        self._of_booking: defaultdict[str, list[tuple[int, str, int]]] = defaultdict(list)

    # Replaying

    def apply(self, event: Event) -> str:
        """What is illegal about the event; it is applied all the same."""
        data = event.data
        before = self.claims.get(data.get("id", ""))
        wrong = self._judge(event, before)
        after = _after(data, before, self.terms)
        self.version = event.version
        self.events[event.version] = event
        if before is not None:
            del self.claims[before.id]
        if after is not None:
            self.claims[after.id] = after
        if "id" in data:
            status = after.status if after is not None else _ENDS.get(event.type, "")
            count = before.version if before is not None else 0
            self._of_booking[data["id"]].append((event.version, status, count + 1))
        self._remember(before, after)
        return wrong

    def _judge(self, event: Event, before: Claim | None) -> str:
        data, kind = event.data, event.type
        if kind in ("booking.created", "hold.created"):
            if data.get("from_hold"):
                return "" if before is not None and before.status == "held" else "books a hold that is not there"
            if before is not None or data["id"] in self._of_booking:
                return "makes what was there before"
            new = _after(data, None, self.terms)
            assert new is not None
            return self._collides(new)
        if kind in _ENDS:
            if before is None:
                return "ends what is not there"
            if (before.status == "held") != kind.startswith("hold."):
                return f"ends what is {before.status}"
            if kind == "hold.expired" and before.ends > event.at:
                return "ends a hold before its time"
        return ""

    def _collides(self, new: Claim) -> str:
        there = [c for c in self.claims.values() if c.blocked_from < new.blocked_to and new.blocked_from < c.blocked_to]
        if any(c.session != new.session for c in there):
            return f"takes what {there[0].id} has"
        places = new.places + sum(c.places for c in there)
        return "" if places <= new.capacity else f"fills a session with {places} of {new.capacity}"

    def _remember(self, *changed: Claim | None) -> None:
        terms = self.terms
        starts: set[int] = set()
        for claim in changed:
            if claim is not None:
                low = claim.blocked_from - terms.duration - terms.after
                first = low - (low - terms.first) % terms.step + terms.step
                starts.update(range(first, claim.blocked_to + terms.before, terms.step))
        for start in starts:
            there = tuple(c for c in self.claims.values() if self._reaches(c, start))
            self._at_start.setdefault(start, []).append((self.version, there))
        self.touched[self.version] = tuple(starts)

    def _reaches(self, claim: Claim, start: int) -> bool:
        terms = self.terms
        return claim.blocked_from < start + terms.duration + terms.after and start - terms.before < claim.blocked_to

    # Asking

    def claims_at(self, start: int, version: int) -> tuple[Claim, ...]:
        """The claims in the way of a start."""
        known = self._at_start.get(start, [])
        index = bisect_right(known, version, key=lambda k: k[0])
        return known[index - 1][1] if index else ()

    def states(self, start: int, version: int, began: int, ended: int) -> set[State]:
        """Every state a start can have had at a version, between two instants."""
        there = self.claims_at(start, version)
        moments = {began, ended} | {c.ends for c in there if c.status == "held" and began < c.ends <= ended}
        return {self._state(start, [c for c in there if not c.over(now)]) for now in moments}

    def _state(self, start: int, there: list[Claim]) -> State:
        if not there:
            return "open", self.terms.capacity
        first = there[0]
        if self.terms.capacity > 1 and first.start == start and all(c.session == first.session for c in there):
            left = first.capacity - sum(c.places for c in there)
            return ("open", left) if left > 0 else ("full", 0)
        if self.terms.capacity > 1:
            return "full", 0
        return ("held" if all(c.status == "held" for c in there) else "booked"), 0

    def seen(self, state: str, remaining: int) -> State:
        """A state as it was told, as `states` would say it."""
        return ("full", 0) if self.terms.capacity > 1 and state in ("held", "booked") else (state, remaining)

    def life(self, booking_id: str) -> list[tuple[int, str, int]]:
        """Each change of a booking: the calendar's version, its status and its own version from then on."""
        return self._of_booking.get(booking_id, [])

    def was(self, booking_id: str, version: int) -> tuple[str, int]:
        """Status and version of a booking at a version of the calendar; empty and 0 when it was not there."""
        life = self.life(booking_id)
        index = bisect_right(life, version, key=lambda k: k[0])
        return life[index - 1][1:] if index else ("", 0)

    def held(self, hold_id: str, version: int, now: int) -> bool:
        claim = next((c for c in self._claims_of(hold_id, version)), None)
        return claim is not None and claim.status == "held" and claim.ends > now

    def _claims_of(self, claim_id: str, version: int) -> list[Claim]:
        made = next((v for v, _, _ in self.life(claim_id)), None)
        if made is None:
            return []
        start = self.events[made].data["start"]
        return [c for c in self.claims_at(start, version) if c.id == claim_id]


def _after(data: dict[str, Any], before: Claim | None, terms: Terms) -> Claim | None:
    """The claim as the event leaves it."""
    kind = data["type"]
    if kind in ("booking.created", "hold.created"):
        status = "held" if kind == "hold.created" else data["status"]
        start = data["start"]
        return Claim(
            data["id"], status, start, start - data["before"], start + data["duration"] + data["after"],
            data["places"], data.get("capacity", 1), data.get("session") or data["id"],
            before.version + 1 if before is not None else 1, data.get("expires_at", 0),
        )  # fmt: skip
    return None if kind in _ENDS else before


def replayed(terms: Terms, events: list[Event]) -> tuple[Calendar, list[str]]:
    """A calendar after its events in order of version, and what is illegal about them."""
    calendar = Calendar(terms)
    found: list[str] = []
    for event in events:
        wrong = calendar.apply(event)
        if wrong:
            found.append(f"illegal event: {terms.calendar_id} version {event.version} {event.type} {wrong}")
    return calendar, found

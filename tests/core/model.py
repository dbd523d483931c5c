"""A naive calendar to check the real one against: a dict of rows, and loops over all of it.

It shares the event and command types with the server, and nothing that decides. It has no sorted line, no session
objects and no cached hours; what it says about a command follows from the rows alone.
"""

from dataclasses import dataclass, field

from actors.calendar.hours import Hours
from actors.calendar.state import Service
from protocol import events as ev
from protocol import limits


@dataclass
class Row:
    id: str
    service_id: str
    start: int
    duration: int
    before: int
    after: int
    places: int
    status: str
    session: str | None
    capacity: int
    holder: str | None = None
    expires_at: int = 0
    version: int = 1

    @property
    def end(self) -> int:
        return self.start + self.duration

    @property
    def blocked(self) -> tuple[int, int]:
        return self.start - self.before, self.end + self.after

    def has_ended(self, now: int) -> bool:
        return self.status == "held" and self.expires_at <= now


def overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] < b[1] and b[0] < a[1]


@dataclass
class Model:
    rows: dict[str, Row] = field(default_factory=dict)
    blocks: dict[str, tuple[int, int]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    # What events do

    def take(self, event: ev.Event) -> None:
        """Carries out one event. After each one the promises of `check` must hold, as in the database."""
        if isinstance(event, ev.HoldPlaced):
            assert event.id not in self.rows
            self.rows[event.id] = Row(
                event.id, event.service_id, event.start, event.duration, event.before, event.after, event.places,
                "held", event.session, event.capacity, event.holder, event.expires_at,
            )  # fmt: skip
        elif isinstance(event, ev.Booked) and event.from_hold:
            row = self.rows[event.id]
            assert row.status == "held"
            assert (row.start, row.duration, row.places) == (event.start, event.duration, event.places)
            row.status, row.holder, row.expires_at, row.version = event.status, None, 0, row.version + 1
        elif isinstance(event, ev.Booked):
            assert event.id not in self.rows
            self.rows[event.id] = Row(
                event.id, event.service_id, event.start, event.duration, event.before, event.after, event.places,
                event.status, event.session, event.capacity,
            )  # fmt: skip
        elif isinstance(event, ev.Rescheduled):
            row = self.rows[event.id]
            row.start, row.duration, row.before, row.after = event.start, event.duration, event.before, event.after
            row.session, row.capacity, row.version = event.session, event.capacity, row.version + 1
        elif isinstance(event, ev.Confirmed):
            self.rows[event.id].status = "confirmed"
            self.rows[event.id].version += 1
        elif isinstance(event, ev.Amended):
            self.rows[event.id].version += 1
        elif isinstance(event, ev.TimeBlocked):
            self.blocks[event.id] = (event.start, event.end)
        elif isinstance(event, ev.TimeUnblocked):
            del self.blocks[event.id]
        elif not isinstance(event, ev.ScheduleChanged):
            row = self.rows.pop(event.id)  # type: ignore[attr-defined]
            is_hold_event = isinstance(event, ev.HoldExpired | ev.HoldReleased)
            assert is_hold_event == (row.status == "held")
            self.gone.add(row.id)

    # The promises

    def check(self) -> None:
        """No two rows overlap unless they share a session, and no session is over its capacity."""
        rows = list(self.rows.values())
        for i, a in enumerate(rows):
            for b in rows[i + 1 :]:
                if overlap(a.blocked, b.blocked):
                    assert a.session is not None, f"{a} overlaps {b}"
                    assert a.session == b.session, f"{a} overlaps {b}"
        for session in {r.session for r in rows if r.session}:
            members = [r for r in rows if r.session == session]
            assert len({(m.start, m.duration, m.before, m.after, m.capacity) for m in members}) == 1, members
            assert sum(m.places for m in members) <= members[0].capacity, members
        assert all(r.capacity == 1 and r.places == 1 for r in rows if r.session is None)

    # What should be answered

    def refusal_of_start(
        self, hours: Hours, service: Service, start: int, places: int, now: int, ignoring: str | None = None
    ) -> str:
        """The code with which `start` must be refused; empty when it must not."""
        if places > service.capacity:
            return "too_many_attendees"
        if start < now:
            return "in_the_past"
        if start < now + service.notice:
            return "too_soon"
        if service.horizon and start > now + service.horizon:
            return "beyond_horizon"
        return off_grid(hours, service, start) or self._taken(service, start, places, now, ignoring)

    def _taken(self, service: Service, start: int, places: int, now: int, ignoring: str | None) -> str:
        state, free = self.state_inside_bounds(service, start, now, ignoring)
        return "" if state == "open" and places <= free else "slot_unavailable"

    def state_of(self, service: Service, start: int, now: int) -> tuple[str, int]:
        """State and free places of a start that lies on the grid."""
        if start < now + service.notice or (service.horizon and start > now + service.horizon):
            return "blocked", 0
        return self.state_inside_bounds(service, start, now)

    def state_inside_bounds(
        self, service: Service, start: int, now: int, ignoring: str | None = None
    ) -> tuple[str, int]:
        end = start + service.duration
        if any(overlap((start, end), block) for block in self.blocks.values()):
            return "blocked", 0
        wanted = (start - service.before, end + service.after)
        others = [
            r
            for r in self.rows.values()
            if r.id != ignoring and not r.has_ended(now) and overlap(r.blocked, wanted)
        ]  # fmt: skip
        if not others:
            return "open", service.capacity
        together = (service.id, start, service.duration)
        sessions = {r.session for r in others}
        if (
            service.capacity > 1
            and sessions != {None}
            and len(sessions) == 1
            and all((r.service_id, r.start, r.duration) == together for r in others)
        ):
            free = others[0].capacity - sum(r.places for r in others)
            if free:
                return "open", free
            return ("held" if any(r.status == "held" for r in others) else "booked"), 0
        return ("held" if all(r.status == "held" for r in others) else "booked"), 0

    def holds_of(self, holder: str, now: int) -> int:
        return sum(r.holder == holder and r.status == "held" and not r.has_ended(now) for r in self.rows.values())

    def refusal_of_hold(
        self, hours: Hours, service: Service | None, start: int, places: int, holder: str, now: int
    ) -> str:
        if self.holds_of(holder, now) >= limits.holds_per_holder_max:
            return "hold_limit"
        if service is None:
            return "service_not_offered"
        return self.refusal_of_start(hours, service, start, places, now)


def off_grid(hours: Hours, service: Service, start: int) -> str:
    """Looks at every span of a fortnight around `start`, one by one."""
    day = 24 * 3600 * 1_000_000
    for opens, closes in hours.between(start - 7 * day, start + 7 * day):
        if opens <= start and start + service.duration <= closes:
            return "off_grid" if (start - opens) % service.step else ""
    return "outside_hours"

"""A naive calendar to check the real one against: a dict of rows, and loops over all of it.

It shares the event and command types with the server, and nothing that decides. It has no sorted line, no session
objects and no cached hours; what it says about a command follows from the rows alone.
"""

from dataclasses import dataclass, field
from datetime import date
from zoneinfo import ZoneInfo

from actors.calendar.hours import Hours
from actors.calendar.state import Service
from protocol import events as ev
from protocol import limits
from protocol.times import from_us

ZONE = ZoneInfo("Europe/Berlin")


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
    marks: tuple[str, ...] = ()
    doubled: bool = False
    leader: str | None = None

    @property
    def end(self) -> int:
        return self.start + self.duration

    @property
    def blocked(self) -> tuple[int, int]:
        return self.start - self.before, self.end + self.after

    def has_ended(self, now: int) -> bool:
        return self.status == "held" and 0 < self.expires_at <= now

    def is_over(self, now: int) -> bool:
        """Whether time alone has ended it, so that a sweep must write so."""
        if self.leader is not None:
            return False
        return self.has_ended(now) or (
            self.start <= now if self.status == "pending" else self.status == "confirmed" and self.end <= now
        )


def overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] < b[1] and b[0] < a[1]


@dataclass
class Model:
    rows: dict[str, Row] = field(default_factory=dict)
    blocks: dict[str, tuple[int, int]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    done: dict[str, Row] = field(default_factory=dict)
    """Meetings that are over, for caps and late no-shows."""

    # What events do

    def take(self, event: ev.Event) -> None:
        """Carries out one event. After each one the promises of `check` must hold, as in the database."""
        if isinstance(event, ev.HoldPlaced):
            assert event.id not in self.rows
            self.rows[event.id] = Row(
                event.id, event.service_id, event.start, event.duration, event.before, event.after, event.places,
                "held", event.session, event.capacity, event.holder, event.expires_at, 1, event.marks, False,
                event.leader,
            )  # fmt: skip
        elif isinstance(event, ev.Booked) and event.from_hold:
            row = self.rows[event.id]
            assert row.status == "held"
            assert (row.start, row.duration, row.places) == (event.start, event.duration, event.places)
            row.status, row.holder, row.expires_at, row.version = event.status, None, 0, row.version + 1
            row.marks = event.marks
        elif isinstance(event, ev.Booked):
            assert event.id not in self.rows
            self.rows[event.id] = Row(
                event.id, event.service_id, event.start, event.duration, event.before, event.after, event.places,
                event.status, event.session, event.capacity, marks=event.marks, doubled=event.doubled,
            )  # fmt: skip
        elif isinstance(event, ev.Rescheduled):
            row = self.rows[event.id]
            row.start, row.duration, row.before, row.after = event.start, event.duration, event.before, event.after
            row.session, row.capacity, row.version = event.session, event.capacity, row.version + 1
            row.doubled = event.doubled
        elif isinstance(event, ev.Confirmed):
            self.rows[event.id].status = "confirmed"
            self.rows[event.id].version += 1
        elif isinstance(event, ev.Amended):
            self.rows[event.id].version += 1
        elif isinstance(event, ev.TimeBlocked):
            self.blocks[event.id] = (event.start, event.end)
        elif isinstance(event, ev.TimeUnblocked):
            del self.blocks[event.id]
        elif isinstance(event, ev.NoShow) and event.id in self.done:
            self.done[event.id].status = "no_show"
            self.done[event.id].version += 1
        elif not isinstance(event, ev.ScheduleChanged):
            row = self.rows.pop(event.id)  # type: ignore[attr-defined]
            if isinstance(event, ev.Completed | ev.NoShow):
                row.status, row.version = ("no_show" if isinstance(event, ev.NoShow) else "completed"), row.version + 1
                self.done[row.id] = row
                return
            is_hold_event = isinstance(event, ev.HoldExpired | ev.HoldReleased)
            assert is_hold_event == (row.status == "held")
            self.gone.add(row.id)

    # The promises

    def check(self) -> None:
        """No two rows overlap unless they share a session or staff wanted it, and no session is over its capacity."""
        rows = [r for r in self.rows.values() if not r.doubled]
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
        if state == "capped":
            return "cap_reached"
        return "" if state == "open" and places <= free else "slot_unavailable"

    def is_capped(self, service: Service, start: int, now: int, ignoring: str | None) -> bool:
        """Whether another meeting would be one too many in its day or week, counted one by one."""
        day = wall_day(start)
        for cap, same in (
            (service.daily_cap, lambda d: d == day),
            (service.weekly_cap, lambda d: d.isocalendar()[:2] == day.isocalendar()[:2]),
        ):
            meetings = {
                r.session or r.id
                for r in (*self.rows.values(), *self.done.values())
                if r.service_id == service.id and r.id != ignoring and not r.has_ended(now) and same(wall_day(r.start))
            }
            if cap and len(meetings) >= cap:
                return True
        return False

    def state_of(self, service: Service, start: int, now: int) -> tuple[str, int]:
        """State and free places of a start that lies on the grid."""
        if start < now + service.notice or (service.horizon and start > now + service.horizon):
            return "blocked", 0
        state, free = self.state_inside_bounds(service, start, now)
        return ("blocked", 0) if state == "capped" else (state, free)

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
            if self.is_capped(service, start, now, ignoring):
                return "capped", 0
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

    def refusal_of_person(self, service: Service, marks: tuple[str, ...], now: int, own: str | None = None) -> str:
        if service.guard == "none":
            return ""
        if not any(m.startswith("e:") for m in marks):
            return "identity_required"
        if any(
            r.service_id == service.id and set(r.marks) & set(marks) and not r.has_ended(now) and r.id != own
            for r in self.rows.values()
        ):
            return "already_booked"
        return ""

    def in_the_way(self, service: Service, start: int, now: int, ignoring: str | None = None) -> bool:
        """Whether a meeting there stands over others, and not among those of a session with a place left, or is one
        more than a cap allows.
        """
        return self.state_inside_bounds(service, start, now, ignoring)[0] != "open"

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


def wall_day(us: int) -> date:
    return from_us(us).astimezone(ZONE).date()


def off_grid(hours: Hours, service: Service, start: int) -> str:
    """Looks at every span of a fortnight around `start`, one by one."""
    day = 24 * 3600 * 1_000_000
    for opens, closes in hours.between(start - 7 * day, start + 7 * day):
        if opens <= start and start + service.duration <= closes:
            return "off_grid" if (start - opens) % service.step else ""
    return "outside_hours"

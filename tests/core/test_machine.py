"""Generated histories of one calendar, checked step by step against a naive model."""

import os
from collections.abc import Callable
from copy import deepcopy
from itertools import count
from typing import Literal

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.calendar import commands as cmd
from actors.calendar.apply import EVERYTHING, apply, touched
from actors.calendar.decide import Refusal, decide
from actors.calendar.hours import Hours, hours_of
from actors.calendar.lifecycle import ALLOWED_FROM
from actors.calendar.slots import nearest_open, slots_between, starts_between
from actors.calendar.state import Calendar, Service, new_calendar
from actors.views import View, ViewKey
from protocol import events as ev
from protocol import limits
from protocol.errors import KINDS
from protocol.events import Override, Schedule, WeeklyRange
from protocol.times import DAY, HOUR, MINUTE, SECOND
from tests.core.model import Model, overlap
from tests.core.states import assert_same, at

ZONE = "Europe/Berlin"
FIRST = at("2026-03-27T20:00:00+00:00")
"""A Friday evening; the clocks go forward on Sunday, 29 March at 01:00 UTC."""
replace = msgspec.structs.replace
WINDOW = (FIRST, FIRST + 3 * DAY)

ALWAYS = Schedule(ZONE, tuple(WeeklyRange(d, 0, 1440) for d in range(7)))
SCHEDULES = (
    ALWAYS,
    Schedule(ZONE, tuple(WeeklyRange(d, a, b) for d in range(7) for a, b in ((60, 150), (180, 780), (800, 1440)))),
    Schedule(ZONE, tuple(WeeklyRange(d, 480, 1200) for d in range(7)), (Override("2026-03-28"),)),
    Schedule(ZONE, (WeeklyRange(6, 0, 1440),), (Override("2026-03-28", ((600, 960),)),)),
)
SERVICES = (
    Service("solo", "b", 30 * MINUTE, 15 * MINUTE, 10 * MINUTE, 5 * MINUTE, 0, 2 * DAY),
    Service("long", "b", HOUR, 30 * MINUTE, 0, 0, 2 * HOUR, 10 * DAY, approval=True),
    Service("class", "b", 45 * MINUTE, 45 * MINUTE, 0, 15 * MINUTE, 0, 9 * DAY, capacity=3),
    Service("pair", "b", HOUR, 20 * MINUTE, 5 * MINUTE, 0, 30 * MINUTE, DAY, capacity=2),
    Service("scarce", "b", 20 * MINUTE, 20 * MINUTE, horizon=9 * DAY, daily_cap=2, weekly_cap=3),
    Service("course", "b", 30 * MINUTE, 30 * MINUTE, horizon=9 * DAY, capacity=2, daily_cap=1, durations=(HOUR,)),
    Service("once", "b", 15 * MINUTE, 15 * MINUTE, horizon=9 * DAY, guard="standard"),
)
OTHER_TERMS = (
    Service("solo", "b", 30 * MINUTE, 15 * MINUTE, 0, 0, 0, 2 * DAY, capacity=2),
    Service("class", "b", 45 * MINUTE, 45 * MINUTE, 30 * MINUTE, 0, 0, 9 * DAY, capacity=5),
    Service("class", "b", 45 * MINUTE, 45 * MINUTE, 0, 15 * MINUTE, 0, 9 * DAY, capacity=1),
    Service("pair", "b", 40 * MINUTE, 20 * MINUTE, 0, 0, 0, DAY, capacity=2),
)

services = st.sampled_from([s.id for s in SERVICES])
holders = st.sampled_from(["ann", "bob"])
places = st.sampled_from([1, 1, 1, 2, 3])
people = st.sampled_from([(), ("e:ann",), ("e:bob",), ("e:bob", "p:1"), ("e:cy", "p:1")])


def any_row(*statuses: str) -> Callable[["CalendarMachine"], bool]:
    return lambda self: any(r.status in statuses for r in self.model.rows.values())


def inside(hours: Hours, start: int, end: int) -> bool:
    return any(a <= start and end <= b for a, b in hours.between(start - DAY, end + DAY))


class CalendarMachine(RuleBasedStateMachine):
    """Every rule asks the calendar for something, at a `now` that only rises."""

    @initialize(schedule=st.sampled_from((ALWAYS, ALWAYS, *SCHEDULES)))
    def start(self, schedule: Schedule) -> None:
        self.now = FIRST
        self.ids = count(1)
        self.live = self._empty()
        self.folded = new_calendar("calendar", ZONE)
        self.model = Model()
        self.views: list[View] = []
        self.act(cmd.ChangeSchedule(schedule))
        for service in SERVICES:
            key = ViewKey("calendar", service.id, *WINDOW, ZONE)
            self.views.append(View(key, service, self.live, self.now))

    def _empty(self) -> Calendar:
        calendar = new_calendar("calendar", ZONE)
        calendar.services = {s.id: s for s in SERVICES}
        return calendar

    def new_id(self) -> str:
        return f"r{next(self.ids)}"

    # The house in small: decide, apply, fold, watch

    def act(self, command: cmd.Command) -> str:
        """The refusal's code, or empty when it was done. Checks everything that must hold of any decision."""
        before = self.live.version
        decision = decide(self.live, command, self.now)
        assert decide(self.live, command, self.now) == decision, "deciding changes nothing"
        assert self.live.version == before
        if isinstance(decision, Refusal):
            self.check_refusal(command, decision)
            return decision.code
        spans: set[tuple[int, int]] = set()
        for event in decision:
            spans.update(touched(self.live, event))
            apply(self.live, event)
            apply(self.folded, ev.decode(ev.encode(event)))
            self.model.take(event)
            self.model.check()
        assert self.live.version == before + len(decision)
        for view in self.views:
            changes = (
                view.changes_of_everything(self.live, view.service, self.now)
                if EVERYTHING in spans
                else view.changes_in(self.live, spans, self.now)
            )
            view.publish(changes, self.live.version)
        return ""

    def check_refusal(self, command: cmd.Command, refusal: Refusal) -> None:
        assert refusal.code in KINDS
        assert len(refusal.alternatives) <= limits.alternatives_max
        assert list(refusal.alternatives) == sorted(set(refusal.alternatives))
        if refusal.alternatives:
            service_id = getattr(command, "service_id", "") or self.live.reservations[command.id].service_id  # type: ignore[attr-defined]
            wanted = getattr(command, "places", None) or self.live.reservations[command.id].places  # type: ignore[attr-defined]
            for start, end in refusal.alternatives:
                assert end - start in (
                    self.live.services[service_id].duration,
                    *self.live.services[service_id].durations,
                )
                length, who = end - start, ("e:nobody-else",)
                book = cmd.Book("alternative", "BK-X", service_id, start, wanted, duration=length, marks=who)
                assert isinstance(decide(self.live, book, self.now), list), "an alternative can be booked"

    def a_start(self, data: st.DataObject, service_id: str) -> int:
        """Mostly one of the next few starts of the grid or one that was used before, sometimes any minute."""
        service = self.live.services[service_id]
        kind = data.draw(st.integers(0, 9), "kind of start")
        used = sorted({r.start for r in self.model.rows.values() if r.service_id == service_id})
        if kind < 5 and used:
            return data.draw(st.sampled_from(used), "used start")
        if kind < 9:
            soon = self.now + service.notice
            starts = list(starts_between(self.live, service, soon, soon + DAY))[:12]
            if starts:
                return data.draw(st.sampled_from(starts), "start")
        return self.now + data.draw(st.integers(-60, 3 * 1440), "minute") * MINUTE

    def an_id(self, data: st.DataObject) -> str:
        """Of a reservation that lives, or now and then of one that is gone or never was."""
        living = sorted(self.model.rows)
        ids = [*living, *living, *living, *sorted(self.model.gone)[-1:], "never-was"]
        return data.draw(st.sampled_from(ids), "reservation")

    # Rules

    @rule(data=st.data(), service_id=services, places=places, holder=holders, ttl=st.integers(1, 20), who=people)
    def hold(
        self, data: st.DataObject, service_id: str, places: int, holder: str, ttl: int, who: tuple[str, ...]
    ) -> None:
        start, id_ = self.a_start(data, service_id), self.new_id()
        service = self.live.services[service_id]
        expected = self.model.refusal_of_hold(self.live.hours, service, start, places, holder, self.now)
        if not expected and who:
            expected = self.model.refusal_of_person(service, who, self.now)
        marks = who if service.guard != "none" else ()
        assert self.act(cmd.Hold(id_, service_id, start, holder, ttl * MINUTE, places, marks=marks)) == expected
        assert self.model.holds_of(holder, self.now) <= limits.holds_per_holder_max
        if not expected:
            assert self.model.rows[id_].expires_at <= self.now + limits.hold_ttl_max_s * SECOND

    @rule(data=st.data(), service_id=services, places=places, who=people)
    def book(self, data: st.DataObject, service_id: str, places: int, who: tuple[str, ...]) -> None:
        start = self.a_start(data, service_id)
        service = self.live.services[service_id]
        expected = self.model.refusal_of_person(service, who, self.now) or self.model.refusal_of_start(
            self.live.hours, service, start, places, self.now
        )
        assert self.act(cmd.Book(self.new_id(), "BK-X", service_id, start, places, marks=who)) == expected

    @rule(data=st.data(), minutes=st.sampled_from([60, 45]))
    def book_longer(self, data: st.DataObject, minutes: int) -> None:
        """One of the durations to choose from, and one that is not."""
        start, usual = self.a_start(data, "course"), self.live.services["course"]
        chosen = replace(usual, duration=minutes * MINUTE)
        expected = "duration_not_offered"
        if chosen.duration in usual.durations:
            expected = self.model.refusal_of_start(self.live.hours, chosen, start, 1, self.now)
        book = cmd.Book(self.new_id(), "BK-X", "course", start, 1, duration=chosen.duration)
        assert self.act(book) == expected

    @rule(data=st.data(), service_id=st.sampled_from(["solo", "class", "scarce"]))
    def book_over_others(self, data: st.DataObject, service_id: str) -> None:
        """Staff may, within hours and terms; it is told as what it is, and no other than the others are in its way."""
        start, id_ = self.a_start(data, service_id), self.new_id()
        service = self.live.services[service_id]
        expected = self.model.refusal_of_start(self.live.hours, service, start, 1, self.now)
        over = self.model.in_the_way(service, start, self.now)
        blocked = any(overlap((start, start + service.duration), b) for b in self.model.blocks.values())
        if expected in ("slot_unavailable", "cap_reached") and not blocked:
            expected = ""
        assert self.act(cmd.Book(id_, "BK-X", service_id, start, double=True)) == expected
        if not expected:
            assert self.model.rows[id_].doubled == over

    @rule(data=st.data(), service_id=services, places=places, count=st.integers(1, 4), skip=st.booleans())
    def book_series(self, data: st.DataObject, service_id: str, places: int, count: int, skip: bool) -> None:
        """As if each were booked after the other: all or none, or with `skip` all that can be."""
        service = self.live.services[service_id]
        starts = sorted({self.a_start(data, service_id) for _ in range(count)})
        items = tuple(cmd.Occurrence(self.new_id(), "BK-X", start) for start in starts)
        command = cmd.BookSeries("series", items, service_id, places, skip=skip)
        if service.guard != "none":
            assert self.act(command) == "validation_failed"
            return
        trial, had = deepcopy(self.model), list[int]()
        for item in items:
            if not trial.refusal_of_start(self.live.hours, service, item.start, places, self.now):
                single = decide(self.live, cmd.Book(item.id, "BK-X", service_id, item.start, places), self.now)
                assert isinstance(single, list), "what the model takes alone, the calendar takes alone"
                for event in single:
                    if event.id in trial.rows or isinstance(event, ev.Booked):  # type: ignore[attr-defined]
                        trial.take(event)
                had.append(item.start)
        whole = len(had) == len(starts)
        expected = "" if whole or (skip and had) else "series_conflict"
        before = set(self.model.rows)
        assert self.act(command) == expected
        made = sorted(r.start for r in self.model.rows.values() if r.id not in before)
        assert made == ([] if expected else had)

    @rule(data=st.data(), minutes=st.sampled_from([30, 60]))
    def hold_part(self, data: st.DataObject, minutes: int) -> None:
        """For a meeting that another calendar leads: off the grid, but within hours, and of free time only."""
        start, length = self.a_start(data, "solo"), minutes * MINUTE
        end = start + length
        taken = any(
            not r.has_ended(self.now) and overlap(r.blocked, (start - 5 * MINUTE, end))
            for r in self.model.rows.values()
        )
        expected = ""
        if not any(a <= start and end <= b for a, b in self.live.hours.between(start - DAY, end + DAY)):
            expected = "outside_hours"
        elif taken or any(overlap((start, end), b) for b in self.model.blocks.values()):
            expected = "slot_unavailable"
        part = cmd.HoldPart(self.new_id(), "another", "elsewhere", start, length, 5 * MINUTE, 0)
        assert self.act(part) == expected

    @precondition(lambda self: any(r.leader for r in self.model.rows.values()))
    @rule(data=st.data(), became=st.sampled_from(["booked", "gone", "completed"]))
    def settle(self, data: st.DataObject, became: Literal["booked", "gone", "completed"]) -> None:
        """A part follows its leader, and nobody else."""
        part = data.draw(st.sampled_from([r for r in self.model.rows.values() if r.leader]), "part")
        for other in (cmd.Release(part.id), cmd.Cancel(part.id, "owner"), cmd.Reschedule(part.id, part.start + HOUR)):
            assert self.act(other) in ("invalid_transition", "hold_gone")
        assert self.act(cmd.Settle(part.id, "BK-X", became)) == ""
        row = self.model.rows.get(part.id)
        assert (row.status if row else "gone") == ("confirmed" if became == "booked" else "gone")

    @precondition(any_row("held"))
    @rule(data=st.data())
    def move_into_a_hold(self, data: st.DataObject) -> None:
        held = data.draw(st.sampled_from([r for r in self.model.rows.values() if r.status == "held"]), "hold")
        bookings = [r for r in self.model.rows.values() if r.status != "held" and r.service_id == held.service_id]
        if not bookings:
            return
        row = data.draw(st.sampled_from(bookings), "booking")
        if row.leader or row.start <= self.now:
            expected = "invalid_transition"
        elif held.leader or held.has_ended(self.now):
            expected = "hold_gone"
        elif held.places != row.places:
            expected = "validation_failed"
        else:
            expected = ""
        if held.service_id in self.live.services:
            assert self.act(cmd.Reschedule(row.id, held.start, hold_id=held.id)) == expected

    # Asked more often than the rest, so that calendars fill.
    book_again, book_more, hold_again = book, book, hold

    @precondition(any_row("held"))
    @rule(data=st.data())
    def book_held(self, data: st.DataObject) -> None:
        held = data.draw(st.sampled_from([r for r in self.model.rows.values() if r.status == "held"]), "hold")
        if held.leader:
            return
        service = self.live.services[held.service_id]
        who = held.marks or ("e:dee",)
        expected = self.model.refusal_of_person(service, who, self.now, held.id)
        expected = expected or ("hold_gone" if held.has_ended(self.now) else "")
        duration = held.duration if held.duration != service.duration else 0
        book = cmd.Book(
            self.new_id(),
            "BK-X",
            held.service_id,
            held.start,
            held.places,
            hold_id=held.id,
            duration=duration,
            marks=who,
        )
        if duration and duration not in service.durations:
            book = msgspec.structs.replace(book, duration=0)
        assert self.act(book) == expected

    @precondition(any_row("held"))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        id_ = self.an_id(data)
        row = self.model.rows.get(id_)
        expected = "hold_gone" if row is None or row.status != "held" else "invalid_transition" if row.leader else ""
        assert self.act(cmd.Release(id_)) == expected

    @precondition(any_row("held", "pending", "confirmed"))
    @rule(data=st.data(), kind=st.sampled_from(sorted(ALLOWED_FROM, key=lambda k: k.__name__)))
    def change_status(self, data: st.DataObject, kind: type[cmd.Command]) -> None:
        id_ = self.an_id(data)
        row = self.model.rows.get(id_)
        more = {"cancelled_by": "client"} if kind is cmd.Cancel else {}
        if row is None or row.leader or row.status not in ALLOWED_FROM[kind]:
            expected = "invalid_transition"
        elif kind in (cmd.Complete, cmd.MarkNoShow) and self.now < row.start:
            expected = "not_yet"
        elif kind in (cmd.Confirm, cmd.Cancel, cmd.Reject) and row.is_over(self.now):
            expected = "invalid_transition"
        else:
            expected = ""
        assert self.act(kind(id_, **more)) == expected

    @precondition(lambda self: self.model.done)
    @rule(data=st.data())
    def missed_after_all(self, data: st.DataObject) -> None:
        """What is over turned out to be a no-show; nothing else happens to it any more."""
        done = data.draw(st.sampled_from(sorted(self.model.done)), "done")
        row = self.model.done[done]
        lately = row.start > self.now - limits.done_days * DAY
        expected = "" if row.status == "completed" and not row.leader and lately else "invalid_transition"
        assert self.act(cmd.MarkNoShow(done)) == expected
        assert self.act(cmd.Cancel(done, "owner")) == "invalid_transition"
        assert self.act(cmd.Amend(done)) == "invalid_transition"

    @precondition(any_row("pending", "confirmed"))
    @rule(data=st.data(), wrong_version=st.booleans())
    def amend(self, data: st.DataObject, wrong_version: bool) -> None:
        id_ = self.an_id(data)
        row = self.model.rows.get(id_)
        if row is None or row.status == "held" or row.leader:
            assert self.act(cmd.Amend(id_, 1)) == "invalid_transition"
            return
        expected = "version_mismatch" if wrong_version else ""
        assert self.act(cmd.Amend(id_, row.version + wrong_version)) == expected

    @precondition(any_row("pending", "confirmed"))
    @rule(data=st.data())
    def reschedule(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from([r for r in self.model.rows.values() if r.status != "held"]), "booking")
        start = self.a_start(data, row.service_id if row.service_id in self.live.services else "solo")
        if row.leader or row.start <= self.now:
            expected = "invalid_transition"
        else:
            service = self.live.services[row.service_id]
            if row.duration in service.durations:
                service = replace(service, duration=row.duration)
            expected = self.model.refusal_of_start(self.live.hours, service, start, row.places, self.now, row.id)
        assert self.act(cmd.Reschedule(row.id, start)) == expected

    @rule(minute=st.integers(-60, 2000), length=st.integers(1, 300), force=st.booleans())
    def block(self, minute: int, length: int, force: bool) -> None:
        a = self.now + minute * MINUTE
        b = a + length * MINUTE
        inside = [
            r
            for r in self.model.rows.values()
            if r.start < b and r.end > a and not r.has_ended(self.now)
        ]  # fmt: skip
        expected = "time_off_conflict" if inside and not force else ""
        assert self.act(cmd.BlockTime(self.new_id(), a, b, force)) == expected

    @precondition(lambda self: self.model.blocks)
    @rule(data=st.data())
    def unblock(self, data: st.DataObject) -> None:
        id_ = data.draw(st.sampled_from([*sorted(self.model.blocks), "never-was"]), "block")
        expected = "" if id_ in self.model.blocks else "not_found"
        assert self.act(cmd.Unblock(id_)) == expected

    @rule(change=st.one_of(st.sampled_from(SERVICES + OTHER_TERMS), st.sampled_from(SCHEDULES)), force=st.booleans())
    def change_terms_or_hours(self, change: Service | Schedule, force: bool) -> None:
        """What was agreed stays as it is; new hours that leave it outside are refused unless forced."""
        if isinstance(change, Schedule):
            new = hours_of(change)
            outside = [
                r
                for r in self.model.rows.values()
                if r.end > self.now
                and not r.has_ended(self.now)
                and inside(self.live.hours, r.start, r.end)
                and not inside(new, r.start, r.end)
            ]
            expected = "schedule_conflict" if outside and not force else ""
            assert self.act(cmd.ChangeSchedule(change, force=force)) == expected
            return
        self.live.services = {**self.live.services, change.id: change}
        for view in self.views:
            service = self.live.services[view.key.service_id]
            view.publish(view.changes_of_everything(self.live, service, self.now), self.live.version)

    @rule(seconds=st.one_of(st.integers(1, 1800), st.integers(1800, 30_000)), sweep=st.booleans())
    def pass_time(self, seconds: int, sweep: bool) -> None:
        """Time passes; the sweep comes at once or later."""
        self.now += seconds * SECOND
        if sweep:
            assert self.act(cmd.Sweep()) == ""
            assert not any(r.is_over(self.now) for r in self.model.rows.values())

    @rule(service_id=services, hour=st.integers(-2, 60), places=places)
    def whole_list_agrees_with_booking(self, service_id: str, hour: int, places: int) -> None:
        """Each start listed open can be booked now with all its places; each other is refused, and says why."""
        service = self.live.services[service_id]
        low = self.now + hour * HOUR
        code_of_why = {"past": "in_the_past", "notice": "too_soon", "horizon": "beyond_horizon", "cap": "cap_reached"}
        who = ("e:nobody-else",) if service.guard != "none" else ()
        listed = slots_between(self.live, service, low, low + 4 * HOUR, self.now)
        for slot in listed:
            assert (slot.state, slot.remaining) == self.model.state_of(service, slot.start, self.now), slot
            one = decide(self.live, cmd.Book("x", "BK-X", service_id, slot.start, marks=who), self.now)
            if slot.state == "open":
                assert isinstance(one, list), slot
                all_places = cmd.Book("x", "BK-X", service_id, slot.start, slot.remaining, marks=who)
                assert isinstance(decide(self.live, all_places, self.now), list), slot
                more = cmd.Book("x", "BK-X", service_id, slot.start, slot.remaining + 1, marks=who)
                one = decide(self.live, more, self.now)
                assert isinstance(one, Refusal), slot
                assert one.code in ("too_many_attendees", "slot_unavailable")
            else:
                assert isinstance(one, Refusal), slot
                assert one.code == code_of_why.get(slot.why, "slot_unavailable")
        starts = {slot.start for slot in listed}
        for start in range(-(-low // (5 * MINUTE)) * 5 * MINUTE, low + 4 * HOUR, 25 * MINUTE):
            expected = self.model.refusal_of_start(self.live.hours, service, start, places, self.now)
            found = decide(self.live, cmd.Book("x", "BK-X", service_id, start, places, marks=who), self.now)
            assert (found.code if isinstance(found, Refusal) else "") == expected
            if start not in starts:
                assert expected not in ("", "slot_unavailable", "cap_reached")
        near = nearest_open(self.live, service, low, self.now)
        if any(slot.state == "open" for slot in listed):
            assert near, "with something open so near there is an alternative"

    # What holds after every step

    @invariant()
    def folded_events_rebuild_the_state(self) -> None:
        """The journal is enough: its events, encoded and decoded, make the same calendar."""
        assert_same(self.live, self.folded)

    @invariant()
    def rows_agree(self) -> None:
        """The model has exactly the calendar's reservations."""
        found = {r.id: (r.start, r.status, r.places, r.version) for r in self.live.reservations.values()}
        assert found == {r.id: (r.start, r.status, r.places, r.version) for r in self.model.rows.values()}
        assert set(self.live.holds or ()) == {r.id for r in self.model.rows.values() if r.status == "held"}
        for session in (self.live.sessions or {}).values():
            members = [r for r in self.model.rows.values() if r.session == session.id]
            assert sorted(m.id for m in session.members) == sorted(r.id for r in members)
            assert session.taken == sum(r.places for r in members)
            assert session.held == sum(r.places for r in members if r.status == "held")

    @invariant()
    def views_show_what_is_true(self) -> None:
        """What was published, kept up by changes alone, equals a list made from scratch."""
        if any(r.has_ended(self.now) for r in self.model.rows.values()):
            return  # the sweep that tells viewers is still to come
        for view in self.views:
            if view.due is not None and view.due <= self.now:
                view.publish(view.changes_by_time(self.live, self.now), self.live.version)
                assert view.due is None or view.due > self.now
            fresh = slots_between(self.live, view.service, *WINDOW, self.now)
            assert view.published == {s.start: (s.state, s.remaining, s.end - s.start, s.until) for s in fresh}


TestCalendarMachine = CalendarMachine.TestCase
TestCalendarMachine.pytestmark = pytest.mark.timeout(600)  # a failure needs time to be made small
TestCalendarMachine.__doc__ = "Whatever is asked, in any order: the promises hold and all parts agree."
TestCalendarMachine.settings = settings(
    max_examples=400 if os.environ.get("SLOTCAST_PROVE") == "long" else 40,
    stateful_step_count=40,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

"""A calendar that is loaded from its rows is the one in memory, whatever has happened to it."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors.calendar import commands as cmd
from actors.calendar.state import Service, version_of
from protocol.events import Part, Schedule, WeeklyRange
from protocol.ids import booking_code, new_id
from protocol.times import DAY, HOUR, MINUTE, SECOND
from tests.contract.world import FixedClock, House, World, service
from tests.core.states import assert_same

Houses = Callable[..., Any]

NOW = (time.time_ns() // 1000 // HOUR + 1) * HOUR
"""Of our days, because the rows of what is over are read as far back as the database's clock says."""
ALWAYS = Schedule("UTC", tuple(WeeklyRange(d, 0, 1440) for d in range(7)))


class Story:
    """Chapters of what is asked of one calendar, all of which can be done."""

    def __init__(self) -> None:
        self.solo = service(before=5 * MINUTE, after=10 * MINUTE)
        self.lesson = service(capacity=3)
        self.asked = service(approval=True)
        self.once = service(guard="strict")
        self.services = (self.solo, self.lesson, self.asked, self.once)

    def hold(self, s: Service, hours: int, id_: str, **more: Any) -> cmd.Hold:
        return cmd.Hold(id_, s.id, NOW + hours * HOUR, new_id(), 10 * MINUTE, **more)

    def book(self, s: Service, hours: int, id_: str = "", **more: Any) -> cmd.Book:
        return cmd.Book(id_ or new_id(), booking_code(), s.id, NOW + hours * HOUR, **more)

    def chapters(self) -> Iterator[list[cmd.Command]]:
        yield [cmd.ChangeSchedule(ALWAYS)]
        yield from self.one_booking()
        yield from self.sessions()
        yield from self.doubles_and_marks()
        yield from self.meetings()
        yield from self.periods()

    def one_booking(self) -> Iterator[list[cmd.Command]]:
        a, b, c, d, e = (new_id() for _ in range(5))
        yield [
            self.hold(self.solo, 10, a, client_id=new_id()), self.book(self.solo, 10, hold_id=a), cmd.Amend(a),
            cmd.Reschedule(a, NOW + 12 * HOUR), cmd.Amend(a), cmd.Reschedule(a, NOW + 10 * HOUR),
        ]  # fmt: skip
        yield [self.hold(self.solo, 14, b), cmd.Release(b), self.book(self.solo, 14, c), cmd.Cancel(c, "client")]
        yield [self.book(self.asked, 16, d), self.book(self.asked, 17, e), self.book(self.asked, 1)]
        yield [cmd.Confirm(d, 1), cmd.Amend(d, 2), cmd.Reject(e), cmd.Reschedule(d, NOW + 18 * HOUR, 3)]
        yield [cmd.Cancel(a, "owner"), self.hold(self.solo, 10, new_id()), self.hold(self.solo, 11, new_id())]

    def sessions(self) -> Iterator[list[cmd.Command]]:
        """Also one that is full, in which a hold makes place for a booking from elsewhere."""
        a, b, c, held = (new_id() for _ in range(4))
        yield [self.book(self.lesson, 20, a, places=2), self.book(self.lesson, 22, b), self.book(self.lesson, 22, c)]
        yield [self.hold(self.lesson, 20, held), cmd.Reschedule(b, NOW + 20 * HOUR, hold_id=held)]
        yield [cmd.Cancel(a, "client"), cmd.Reschedule(c, NOW + 20 * HOUR), cmd.Cancel(b, "client")]
        last = tuple(cmd.Occurrence(new_id(), booking_code(), NOW + h * HOUR) for h in (20, 24, 28))
        yield [cmd.BookSeries(new_id(), last, self.lesson.id, 2)]
        more = tuple(cmd.Occurrence(new_id(), booking_code(), NOW + h * HOUR) for h in (20, 30))
        yield [cmd.BookSeries(new_id(), more, self.lesson.id, skip=True)]

    def doubles_and_marks(self) -> Iterator[list[cmd.Command]]:
        a, b, c = (new_id() for _ in range(3))
        yield [self.book(self.solo, 40, a), self.book(self.solo, 40, b, double=True)]
        yield [cmd.Reschedule(a, NOW + 42 * HOUR), cmd.Reschedule(b, NOW + 41 * HOUR), cmd.Amend(b)]
        yield [cmd.Reschedule(b, NOW + 42 * HOUR, double=True), self.book(self.solo, 42, double=True)]
        ann, bob = ("e:ann", "p:1", "d:x"), ("d:y",)
        yield [self.hold(self.once, 44, c, marks=bob), self.book(self.once, 45, marks=ann)]
        yield [self.book(self.once, 44, hold_id=c, marks=("e:bob", "p:2", "d:y"))]
        yield [cmd.Reschedule(c, NOW + 46 * HOUR), self.hold(self.once, 47, new_id(), marks=("d:z",))]

    def meetings(self) -> Iterator[list[cmd.Command]]:
        """Parts of others' meetings, and two that this calendar leads, of which one moves."""
        parts = [new_id() for _ in range(5)]
        yield [cmd.HoldPart(p, new_id(), new_id(), NOW + (50 + n) * HOUR, HOUR, 0, 0) for n, p in enumerate(parts)]
        became = ("booked", "booked", "gone", "completed", "gone")
        yield [cmd.Settle(p, booking_code(), b) for p, b in zip(parts, became, strict=True)]
        yield [cmd.Settle(parts[0], "", "gone"), cmd.Settle(parts[1], "", "completed")]
        a, b, held = (new_id() for _ in range(3))
        two, other = (Part(new_id(), new_id()), Part(new_id(), new_id())), (Part(new_id(), new_id()),)
        yield [self.hold(self.solo, 60, a, parts=two), self.book(self.solo, 60, hold_id=a)]
        yield [self.hold(self.solo, 62, b, parts=other)]
        yield [self.book(self.solo, 62, hold_id=b), self.hold(self.solo, 64, held, parts=other)]
        yield [cmd.Reschedule(b, NOW + 64 * HOUR, hold_id=held), cmd.Amend(b)]

    def periods(self) -> Iterator[list[cmd.Command]]:
        a, series = new_id(), new_id()
        days = tuple(cmd.Period(new_id(), NOW + n * DAY, NOW + n * DAY + HOUR) for n in (5, 6, 7))
        yield [cmd.BlockTime(a, NOW + 70 * HOUR, NOW + 71 * HOUR), cmd.BlockSeries(series, days)]
        yield [cmd.Unblock(a), cmd.Unblock(days[1].id)]
        yield [cmd.BlockTime(new_id(), NOW + 41 * HOUR, NOW + 43 * HOUR, force=True), cmd.Unblock(series)]


async def done(house: House, calendar: str, chapter: list[cmd.Command], *, at_once: bool) -> None:
    """All of it is done, told with the versions that its bookings then have, and the same when it is read again."""
    if at_once:
        outcomes = await asyncio.gather(*(house.ask(calendar, command) for command in chapter))
    else:
        outcomes = [await house.ask(calendar, command) for command in chapter]
    assert [(c, o.refusal) for c, o in zip(chapter, outcomes, strict=True) if o.refusal] == []
    live = await house.live(calendar)
    told = {getattr(o.event, "id", ""): o.booking_version for o in outcomes}
    assert {id_: v for id_, v in told.items() if version_of(live, id_) not in (0, v)} == {}
    await house.journal.flush()
    loaded = (await house.world.store.load([calendar]))[calendar].calendar
    assert_same(live, loaded)


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "one by one"])
async def test_rows_say_what_memory_says(world: World, houses: Houses, *, at_once: bool) -> None:
    """Through every event, several of one booking in one batch and each in its own; then time passes over it all."""
    story, clock = Story(), FixedClock(NOW)
    calendar = await world.calendar(*story.services)
    house = await houses(clock=clock)
    for chapter in story.chapters():
        await done(house, calendar, chapter, at_once=at_once)
    clock.now = NOW + 20 * MINUTE
    # Whose hold has ended, though nobody has written so, holds an earlier start.
    again = story.hold(story.once, 39, new_id(), marks=("d:z",))
    await done(house, calendar, [again, cmd.Release(again.id)], at_once=at_once)
    await done(house, calendar, [cmd.Sweep()], at_once=at_once)
    assert (await house.live(calendar)).holds is None
    clock.now = NOW + 18 * HOUR + 10 * MINUTE
    begun = [r.id for r in (await house.live(calendar)).reservations.values() if r.start <= clock.now]
    await done(house, calendar, [cmd.Complete(id_) for id_ in begun if id_ == begun[-1]], at_once=at_once)
    await done(house, calendar, [cmd.MarkNoShow(begun[-1]), cmd.Sweep()], at_once=at_once)
    clock.now = NOW + 4 * DAY
    await done(house, calendar, [cmd.Sweep()], at_once=at_once)
    live = await house.live(calendar)
    assert live.reservations == {}
    assert live.done is not None
    assert {d.status for d in live.done.values()} == {"completed", "no_show"}
    await done(house, calendar, [cmd.MarkNoShow(d.id) for d in live.done.values() if not d.leader][1:], at_once=at_once)
    assert clock.now < NOW + 8 * DAY - SECOND

"""The actor runtime on both kinds of storage: what callers are told is what the database has."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import pytest

from actors.calendar import commands as cmd
from actors.calendar.line import Line
from actors.ports import IdempotencyKey, Outcome
from actors.questions import WorkingHours, Zone
from protocol import events as ev
from protocol import limits
from protocol.errors import Refused
from protocol.ids import booking_code, new_id
from protocol.times import MINUTE
from tests.contract.world import NOON, FixedClock, House, HowMany, Scribe, SlowStore, World, booked, service
from tests.core.states import assert_same

Houses = Callable[..., Any]


def book(service_id: str, minutes: int = 0, **more: Any) -> cmd.Book:
    return cmd.Book(new_id(), more.pop("code", booking_code()), service_id, NOON + minutes * MINUTE, **more)


def key(name: str = "", fingerprint: bytes = b"same") -> IdempotencyKey:
    return IdempotencyKey("caller", name or new_id(), fingerprint)


async def code_of(future: "asyncio.Future[Outcome]") -> str:
    """The refusal's code, from the calendar or before it; empty when it was done."""
    try:
        outcome = await future
    except Refused as refused:
        return refused.code
    return outcome.refusal.code if outcome.refusal else ""


async def same_after_reload(house: House, calendar_id: str) -> None:
    """What the database gives equals what the actor remembers."""
    live = await house.live(calendar_id)
    await house.journal.flush()
    loaded = (await house.world.store.load([calendar_id]))[calendar_id].calendar
    assert_same(live, loaded)


async def test_what_is_made_in_no_time_is_not_kept(world: World, houses: Houses) -> None:
    """Kept answers are most of what an idle calendar would weigh."""
    calendar = await world.calendar(service())
    house = await houses()
    await house.live(calendar)
    actor = house.runtime.roster.actors[calendar]
    assert await house.runtime.reader.read(actor, Zone()) == b'"UTC"'
    assert b'"weekly"' in await house.runtime.reader.read(actor, WorkingHours())
    assert actor.answers is None


async def test_a_booking_is_durable_when_it_is_told(world: World, houses: Houses) -> None:
    """At the moment the reply is there, so are event and row."""
    s = service()
    calendar = await world.calendar(s)
    house = await houses()
    outcome = await house.ask(calendar, book(s.id))
    assert (outcome.version, outcome.booking_version) == (1, 1)
    assert [e.event for e in await world.events(calendar)] == [outcome.event]
    assert list(await world.rows(calendar)) == [outcome.event.id]
    await same_after_reload(house, calendar)


@pytest.mark.parametrize("seed", range(4))
async def test_loaded_equals_live_after_anything(world: World, houses: Houses, seed: int) -> None:
    """Random commands, many to a batch: rows and events tell the same state as the actor's memory."""
    random = Random(seed)
    exclusive = service(before=10 * MINUTE, after=5 * MINUTE)
    shared, approved = service(capacity=3), service(approval=True)
    offered = [exclusive, shared, approved]
    calendar = await world.calendar(*offered)
    clock = FixedClock()
    house = await houses(clock=clock)
    done: list[asyncio.Future[Outcome]] = []
    for step in range(200):
        live = await house.live(calendar)
        ids = [*live.reservations] or ["none"]
        offer = random.choice(offered)
        start = clock.now + random.randrange(12) * 30 * MINUTE
        start -= start % (30 * MINUTE)
        one = random.choice(ids)
        commands = [
            cmd.Hold(new_id(), offer.id, start, random.choice("ab"), random.randrange(1, 20) * MINUTE, 1),
            cmd.Book(new_id(), booking_code(), offer.id, start, random.choice((1, 1, 2))),
            cmd.Cancel(one, "client"), cmd.Confirm(one), cmd.Reject(one), cmd.Complete(one), cmd.MarkNoShow(one),
            cmd.Reschedule(one, start), cmd.Amend(one), cmd.Release(one),
            cmd.BlockTime(new_id(), start, start + 15 * MINUTE, random.random() < 0.5),
            cmd.Unblock(random.choice([b.id for b in live.blocks or ()] or ["none"])),
            cmd.Sweep(),
        ]  # fmt: skip
        weights = [9, 9, 2, 2, 1, 1, 1, 4, 2, 1, 1, 1, 1]
        command = random.choices(commands, weights)[0]
        held = [r for r in live.reservations.values() if r.status == "held"]
        if held and random.random() < 0.15:
            h = random.choice(held)
            command = cmd.Book(new_id(), booking_code(), h.service_id, h.start, h.places, hold_id=h.id)
        if random.random() < 0.02:
            command = cmd.ChangeSchedule(ev.Schedule("UTC", tuple(ev.WeeklyRange(d, 0, 1440) for d in range(7))))
        done.append(house.ask(calendar, command))
        if random.random() < 0.2:
            clock.now += random.randrange(20) * MINUTE
        if step % 50 == 49:
            await asyncio.gather(*done)
            await same_after_reload(house, calendar)
    codes = [o.refusal.code if o.refusal else "" for o in await asyncio.gather(*done)]
    assert codes.count("") > 60, "the walk did something"
    events = await world.events(calendar)
    assert [e.version for e in events] == list(range(1, len(events) + 1))
    await same_after_reload(house, calendar)
    assert house.runtime.statistics.guard_violations == 0


async def test_hold_booked_and_cancelled_at_once(world: World, houses: Houses) -> None:
    """Three commands in one batch leave one cancelled booking, and the slot open."""
    s = service()
    calendar = await world.calendar(s)
    house = await houses()
    await house.live(calendar)
    hold = cmd.Hold(new_id(), s.id, NOON, "ann", MINUTE)
    taken = book(s.id, hold_id=hold.id)
    answers = [house.ask(calendar, c) for c in (hold, taken, cmd.Cancel(hold.id, "client"))]
    assert [await code_of(a) for a in answers] == ["", "", ""]
    rows = await world.rows(calendar)
    assert [(r.status, r.code) for r in rows.values()] == [("cancelled", taken.code)]
    assert await code_of(house.ask(calendar, book(s.id))) == ""
    await same_after_reload(house, calendar)


async def test_changed_terms_leave_memory_and_rows_agreed(world: World, houses: Houses) -> None:
    """A session opened under old terms is joined under its own: the guard has nothing to object to."""
    s = service(capacity=3)
    calendar = await world.calendar(s)
    house = await houses()
    assert await code_of(house.ask(calendar, book(s.id, 60))) == ""
    await world.offer(calendar, msgspec.structs.replace(s, before=30 * MINUTE))
    await house.runtime.roster.refresh_services([calendar])
    assert await code_of(house.ask(calendar, book(s.id, 60))) == ""
    other = service()
    await world.offer(calendar, msgspec.structs.replace(s, before=30 * MINUTE), other)
    await house.runtime.roster.refresh_services([calendar])
    assert await code_of(house.ask(calendar, book(other.id, 30))) == ""
    assert house.runtime.statistics.guard_violations == 0
    await same_after_reload(house, calendar)


# Losses


async def test_a_code_that_is_taken_is_replaced(world: World, houses: Houses) -> None:
    """The caller never hears of it: another code is drawn and the booking made."""
    s = service()
    first, second = await world.calendar(s), await world.calendar(s)
    house = await houses()
    code = booking_code()
    assert await code_of(house.ask(first, book(s.id, code=code))) == ""
    outcome = await house.ask(second, book(s.id, code=code))
    assert isinstance(outcome.event, ev.Booked)
    assert outcome.event.code != code
    assert house.runtime.statistics.lost["code_taken"] == 1
    await same_after_reload(house, second)


async def test_what_was_decided_on_a_lost_entry_is_decided_again(world: World, houses: Houses) -> None:
    """Neighbours of a lost entry are told only what rests on the database, in the end all is done."""
    s = service()
    first, second = await world.calendar(s), await world.calendar(s)
    house = await houses()
    code = booking_code()
    assert await code_of(house.ask(first, book(s.id, code=code))) == ""
    await house.live(second)
    answers = [
        house.ask(second, book(s.id, 0, code=code)),
        house.ask(second, book(s.id, 30)),
        house.ask(second, book(s.id, 30)),  # refused on a tentative booking, and again on the real one
        house.ask(first, book(s.id, 30)),
    ]
    codes = [await code_of(a) for a in answers]
    assert (codes[0], codes[3]) == ("", "")
    assert sorted(codes[1:3]) == ["", "slot_unavailable"], "one of them wins, whichever is decided again first"
    events = await world.events(second)
    assert [e.version for e in events] == [1, 2]
    await same_after_reload(house, second)


async def test_a_guard_that_fires_costs_a_reload_not_a_calendar(world: World, houses: Houses) -> None:
    """Memory that missed a row is loaded anew, and the command is decided again on the truth."""
    s = service()
    calendar = await world.calendar(s)
    house = await houses()
    live = await house.live(calendar)
    assert await code_of(house.ask(calendar, book(s.id))) == ""
    # Memory goes wrong: it forgets what it booked.
    live.reservations.clear()
    live.line = Line()
    assert await code_of(house.ask(calendar, book(s.id))) == "slot_unavailable"
    assert house.runtime.statistics.guard_violations == 1
    await same_after_reload(house, calendar)


async def test_a_fenced_runtime_tells_moved_and_writes_nothing(world: World, houses: Houses) -> None:
    """Its calendars go on at the new owner."""
    s = service()
    calendar = await world.calendar(s)
    old = await houses()
    assert await code_of(old.ask(calendar, book(s.id))) == ""
    new = await houses()
    assert await code_of(old.ask(calendar, book(s.id, 30))) == "moved"
    assert await code_of(new.ask(calendar, book(s.id, 30))) == ""
    assert await code_of(old.ask(calendar, book(s.id, 60))) == "moved"
    assert len(await world.events(calendar)) == 2


# Idempotency keys


async def test_the_same_key_gives_the_same_outcome(world: World, houses: Houses) -> None:
    """While the first is on its way, after it, after a reload, and from another node."""
    s = service()
    calendar = await world.calendar(s)
    house = await houses()
    asked, k = book(s.id), key()
    first, second = house.ask(calendar, asked, k), house.ask(calendar, asked, k)
    outcome = await first
    assert await second == outcome
    assert await house.ask(calendar, book(s.id), k) == outcome
    house.runtime.roster.actors.clear()
    assert await house.ask(calendar, book(s.id), k) == outcome
    another = await houses()
    assert await another.ask(calendar, book(s.id), k) == outcome
    assert len(await world.events(calendar)) == 1
    assert house.runtime.statistics.replayed == 3


async def test_the_same_key_for_something_else_is_a_mistake(world: World, houses: Houses) -> None:
    """On the same calendar, on another, at once and later."""
    s = service()
    first, second = await world.calendar(s), await world.calendar(s)
    house = await houses()
    for calendar in (first, second):
        await house.live(calendar)
    name = new_id()
    answers = [
        house.ask(first, book(s.id), key(name)),
        house.ask(first, book(s.id, 30), key(name, b"other")),
        house.ask(second, book(s.id), key(name, b"another")),
    ]
    codes = [await code_of(a) for a in answers]
    assert codes[1] == "idempotency_mismatch"
    # Two writers may commit side by side: the database says which of the two came first.
    assert sorted([codes[0], codes[2]]) == ["", "idempotency_mismatch"]
    winner, loser = (first, second) if codes[0] == "" else (second, first)
    for calendar in (first, second):
        assert await code_of(house.ask(calendar, book(s.id, 30), key(name, b"other"))) == "idempotency_mismatch"
    assert len(await world.events(winner)) == 1
    assert await world.events(loser) == []
    await same_after_reload(house, loser)


async def test_a_refusal_is_kept_under_its_key(world: World, houses: Houses) -> None:
    """Though the slot is free by now, the same key gets the same refusal; a new one books."""
    s = service()
    calendar = await world.calendar(s)
    house = await houses()
    won = await house.ask(calendar, book(s.id))
    k = key()
    refusal = await house.ask(calendar, book(s.id), k)
    assert refusal.refusal is not None
    assert refusal.refusal.code == "slot_unavailable"
    assert await code_of(house.ask(calendar, cmd.Cancel(won.event.id, "client"))) == ""
    assert await house.ask(calendar, book(s.id), k) == refusal
    house.runtime.roster.actors.clear()
    assert await house.ask(calendar, book(s.id), k) == refusal
    assert await code_of(house.ask(calendar, book(s.id), key())) == ""


# Tentative and committed


async def test_a_refusal_waits_for_what_it_rests_on(world: World, houses: Houses) -> None:
    """It is told after the booking it rests on is told, never before."""
    s = service()
    calendar = await world.calendar(s)
    house = await houses()
    await house.live(calendar)
    order: list[str] = []
    won, lost = house.ask(calendar, book(s.id)), house.ask(calendar, book(s.id))
    assert not lost.done()
    won.add_done_callback(lambda _: order.append("won"))
    lost.add_done_callback(lambda _: order.append("lost"))
    assert [await code_of(won), await code_of(lost)] == ["", "slot_unavailable"]
    await asyncio.sleep(0)
    assert order == ["won", "lost"]


async def test_reads_never_run_ahead_of_the_database(world: World, houses: Houses) -> None:
    """A read shows a booking only once it is durable, and shows it from then on."""
    s = service()
    calendar = await world.calendar(s)
    house = await houses()
    loop = asyncio.get_running_loop()
    actor = await house.runtime.roster.activate(calendar, world.business, loop.time() + 10)

    assert await house.runtime.reader.read(actor, HowMany()) == b"0"
    for expected in (1, 2, 3):
        booked = house.ask(calendar, book(s.id, 30 * expected))
        for question in (HowMany(), HowMany(expected)):
            read = await house.runtime.reader.read(actor, question)
            assert int(read) <= len(await world.rows(calendar))
        await booked
        assert int(await house.runtime.reader.read(actor, HowMany())) == expected


# Bounds


async def test_the_mailbox_of_a_calendar_is_bounded(
    world: World, houses: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond it callers hear `overloaded`; what was taken is done."""
    monkeypatch.setattr(limits, "mailbox_depth_max", 5)
    s = service()
    calendar = await world.calendar(s)
    house = await houses()
    # While it loads, and once it is active.
    for start in (0, 300):
        answers = [house.ask(calendar, book(s.id, start + 30 * i)) for i in range(8)]
        codes = [await code_of(a) for a in answers]
        assert codes == [""] * 5 + ["overloaded"] * 3
    assert len(await world.rows(calendar)) == 10


async def test_work_past_its_deadline_is_not_begun(world: World, houses: Houses) -> None:
    """Before and while its calendar loads."""
    s = service()
    calendar = await world.calendar(s)
    store = SlowStore(world.store)
    house = await houses(store=store)
    store.gate.clear()
    answer = house.ask(calendar, book(s.id), deadline_s=0.02)
    await asyncio.sleep(0.05)
    house.runtime.timers.tick()
    assert await code_of(answer) == "deadline_exceeded"
    store.gate.set()
    await house.live(calendar)
    assert await code_of(house.ask(calendar, book(s.id), deadline_s=-1)) == "deadline_exceeded"
    assert await world.events(calendar) == []


async def test_many_calendars_load_in_few_queries(world: World, houses: Houses) -> None:
    """Those asked for while a query runs share the next; each is loaded once."""
    s = service()
    calendars = [await world.calendar(s) for _ in range(30)]
    store = SlowStore(world.store)
    house = await houses(store=store)
    answers = [house.ask(c, book(s.id, 30 * i)) for c in calendars for i in range(3)]
    assert [await code_of(a) for a in answers] == [""] * 90
    assert len(store.loads) <= 3
    assert sorted(c for batch in store.loads for c in batch) == sorted(calendars)


async def test_a_calendar_that_is_not_there(world: World, houses: Houses) -> None:
    """Or is another business's: both are `not_found`, and its neighbours in the query load."""
    s = service()
    calendar = await world.calendar(s)
    house = await houses()
    nowhere, here = house.ask(new_id(), book(s.id)), house.ask(calendar, book(s.id))
    assert (await code_of(nowhere), await code_of(here)) == ("not_found", "")
    stranger = house.work(calendar, book(s.id, 30))
    stranger.caller = type(stranger.caller)(new_id(), "test:stranger", "req")
    assert await code_of(house.runtime.ask(stranger)) == "not_found"


async def test_idle_calendars_are_forgotten_and_come_back(world: World, houses: Houses) -> None:
    """One that is held, watched or has work on its way stays."""
    s = service()
    idle, held = await world.calendar(s), await world.calendar(s)
    house = await houses()
    assert await code_of(house.ask(idle, book(s.id))) == ""
    assert await code_of(house.ask(held, cmd.Hold(new_id(), s.id, NOON, "ann", MINUTE))) == ""
    on_its_way = house.ask(idle, book(s.id, 30))
    for actor in house.runtime.roster.actors.values():
        actor.last_used -= limits.passivate_after_s + 1
    house.runtime.roster.passivate_idle()
    assert set(house.runtime.roster.actors) == {idle, held}
    assert await code_of(on_its_way) == ""
    house.runtime.roster.passivate_idle()
    assert set(house.runtime.roster.actors) == {held}
    assert await code_of(house.ask(idle, book(s.id))) == "slot_unavailable"
    await same_after_reload(house, idle)


async def test_an_ended_hold_is_written_down_by_the_timers(world: World, houses: Houses) -> None:
    """Without anybody asking, also for a calendar that was loaded with its hold."""
    s = service()
    calendar = await world.calendar(s)
    clock = FixedClock()
    first = await houses(clock=clock)
    assert await code_of(first.ask(calendar, cmd.Hold(new_id(), s.id, NOON, "ann", MINUTE))) == ""
    await first.journal.stop()
    house = await houses(clock=clock)
    await house.live(calendar)
    clock.now += MINUTE - 1
    house.runtime.timers.tick()
    await house.journal.flush()
    assert len(await world.rows(calendar)) == 1
    clock.now += 1
    house.runtime.timers.tick()
    await house.journal.flush()
    assert await world.rows(calendar) == {}
    assert [type(e.event) for e in await world.events(calendar)] == [ev.HoldPlaced, ev.HoldExpired]


async def test_the_store_is_away(world: World, houses: Houses) -> None:
    """Callers hear `unavailable`; the next one finds the calendar when it is back."""
    s = service()
    calendar = await world.calendar(s)
    store = SlowStore(world.store)
    house = await houses(store=store)
    store.failing = Refused("unavailable")
    assert await code_of(house.ask(calendar, book(s.id))) == "unavailable"
    store.failing = RuntimeError("a bug")
    assert await code_of(house.ask(calendar, book(s.id))) == "internal_error"
    store.failing = None
    assert await code_of(house.ask(calendar, book(s.id))) == ""


async def test_terms_that_change_while_a_calendar_loads(world: World, houses: Houses) -> None:
    """A load that began before the change does not bring the old terms back after it."""
    s, other = service(), service()
    calendar = await world.calendar(s)
    store = SlowStore(world.store)
    loaded = asyncio.Event()

    async def load_then_wait(calendar_ids: Any) -> Any:
        found = await world.store.load(calendar_ids)
        loaded.set()
        await store.gate.wait()
        return found

    store.load = load_then_wait  # type: ignore[method-assign]
    house = await houses(store=store)
    store.gate.clear()
    answer = house.ask(calendar, book(other.id))
    await loaded.wait()
    await world.offer(calendar, s, other)
    await house.runtime.roster.refresh_services([calendar])
    store.gate.set()
    assert await code_of(answer) == ""


def test_a_scribe_makes_what_the_runtime_makes() -> None:
    """Entries made by hand have the shape of real ones."""
    assert Scribe.entry.__annotations__["return"]
    assert booked(0).duration == 30 * MINUTE

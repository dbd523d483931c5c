"""The runtime on a journal with bad days: what is told stays true, whatever becomes of a batch.

In memory, so that faults come at every moment and from a seed; the same faults on Postgres are in `tests/faults`.
"""

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
import pytest

from actors.broadcast import Broadcast, Sink
from actors.calendar import commands as cmd
from actors.calendar.slots import slots_between
from actors.ports import IdempotencyKey, Outcome
from actors.views import View, ViewKey
from protocol import events as ev
from protocol.errors import Refused
from protocol.frames import Frame
from protocol.ids import booking_code, new_id
from protocol.live import Delta, Snapshot
from protocol.times import DAY, HOUR, MINUTE, format_us
from tests.contract.world import NOON, FixedClock, House, HowMany, MemoryWorld, service
from tests.core.model import Model
from tests.core.states import assert_same
from tests.support.faulty_journal import Fate, FaultyJournal


async def open_house(world: MemoryWorld, **faults: Any) -> House:
    return await House(world, FaultyJournal(world.database, **faults), FixedClock()).start()


def book(service_id: str, minutes: int = 0, **more: Any) -> cmd.Book:
    return cmd.Book(new_id(), booking_code(), service_id, NOON + minutes * MINUTE, **more)


async def told(future: "asyncio.Future[Outcome]") -> str:
    try:
        outcome = await future
    except Refused as refused:
        return refused.code
    return outcome.refusal.code if outcome.refusal else ""


class Viewer(Sink):
    """Keeps a picture from frames alone, as a client does."""

    def __init__(self) -> None:
        self.slots: dict[str, tuple[str, int]] = {}
        self.version = -1
        self.highest_committed = 0
        self.world: MemoryWorld

    def begin(self, view: View) -> None:
        snapshot = _decode_snapshot(view.snapshot().payload)
        self.slots = {s.start: (s.state, s.remaining) for s in snapshot.slots}
        self.version = snapshot.version

    def deliver(self, view: Broadcast, frame: Frame) -> None:
        delta = _decode_delta(frame.payload)
        assert delta.from_version <= self.version, "nothing was missed"
        assert delta.version <= self.world.database.version_of(view.key.calendar_id), "never ahead of the database"
        self.version = max(self.version, delta.version)
        for start in delta.removed:
            self.slots.pop(start, None)
        self.slots |= {s.start: (s.state, s.remaining) for s in delta.changes}


def _decode_delta(payload: bytes) -> Delta:

    return msgspec.json.decode(payload, type=Delta)


def _decode_snapshot(payload: bytes) -> Snapshot:

    return msgspec.json.decode(payload, type=Snapshot)


@pytest.mark.parametrize("seed", range(12))
async def test_what_is_told_is_what_is_written(seed: int) -> None:
    """Told done: written once. Told unavailable: not written. And the promises of a calendar hold throughout."""
    random = Random(seed)
    world = MemoryWorld()
    s, shared = service(), service(capacity=2)
    calendars = [await world.calendar(s, shared) for _ in range(3)]
    house = await open_house(world, seed=seed)
    asked: list[tuple[str, cmd.Command, asyncio.Future[Outcome]]] = []
    for _ in range(300):
        calendar = random.choice(calendars)
        actor = house.runtime.roster.actors.get(calendar)
        ids = list(actor.calendar.reservations) if actor else []
        one = random.choice(ids or ["none"])
        offer = random.choice((s, s, shared)).id
        start = random.randrange(16) * 30
        command = random.choices(
            [
                book(offer, start),
                cmd.Hold(new_id(), offer, NOON + start * MINUTE, random.choice("abc"), MINUTE),
                cmd.Cancel(one, "client"),
                cmd.Reschedule(one, NOON + start * MINUTE),
            ],
            [5, 3, 2, 2],
        )[0]
        asked.append((calendar, command, house.ask(calendar, command)))
        if random.random() < 0.3:
            await asyncio.sleep(0)
    codes = [await told(future) for _, _, future in asked]
    await house.journal.flush()
    assert {"", "unavailable"} <= set(codes)
    assert house.journal.seen["lost"], "the bad days came"
    for calendar in calendars:
        events = [e.event for e in await world.events(calendar)]
        expected = [
            f.result().event for (c, _, f), code in zip(asked, codes, strict=True) if c == calendar and not code
        ]
        assert sorted(map(ev.encode, events)) == sorted(ev.encode(e) for e in expected if e is not None)
        model = Model()
        for event in events:
            model.take(event)
            model.check()
        live = await house.live(calendar)
        assert_same(live, (await world.store.load([calendar]))[calendar].calendar)


@pytest.mark.parametrize("seed", range(8))
async def test_viewers_end_up_with_the_truth(seed: int) -> None:
    """Frames are never ahead of the database, none is missing, and in the end the picture is the database's."""
    random = Random(seed)
    world = MemoryWorld()
    s = service(capacity=2)
    calendar = await world.calendar(s)
    house = await open_house(world, seed=seed, weights=(6, 4, 2, 2, 2))
    await house.live(calendar)
    actor = house.runtime.roster.actors[calendar]
    key = ViewKey(calendar, s.id, NOON - HOUR, NOON + DAY, "UTC")
    view = house.runtime.watch.open(actor, key)
    viewer = Viewer()
    viewer.world = world
    viewer.begin(view)
    view.join(viewer)
    answers = []
    for _ in range(150):
        ids = list(actor.calendar.reservations) or ["none"]
        command = random.choices(
            [book(s.id, random.randrange(16) * 30), cmd.Cancel(random.choice(ids), "client")], [3, 1]
        )[0]
        answers.append(house.ask(calendar, command))
        if random.random() < 0.3:
            await asyncio.sleep(0)
        if random.random() < 0.05:
            house.clock.now += 7 * MINUTE
            house.runtime.timers.tick()
    for answer in answers:
        await told(answer)
    await house.journal.flush()
    await house.live(calendar)
    house.clock.now += MINUTE
    house.runtime.timers.tick()
    fresh = (await world.store.load([calendar]))[calendar].calendar
    expected = slots_between(fresh, s, key.from_us, key.to_us, house.clock.now)
    assert viewer.slots == {format_us(x.start): (x.state, x.remaining) for x in expected}


# One fault at a time


@pytest.mark.parametrize("fate", ["lost", "lost after all"])
async def test_a_refusal_that_rested_on_a_lost_booking_is_decided_again(fate: Fate) -> None:
    """The first is told unavailable; the second, refused for its sake, gets the slot."""
    world = MemoryWorld()
    s = service()
    calendar = await world.calendar(s)
    house = await open_house(world, fates=[fate], weights=(1, 0, 0, 0, 0))
    await house.live(calendar)
    first, second = house.ask(calendar, book(s.id)), house.ask(calendar, book(s.id))
    assert not second.done()
    assert [await told(first), await told(second)] == ["unavailable", ""]
    assert len(await world.rows(calendar)) == 1


async def test_an_unknown_outcome_that_was_written_is_told_as_done() -> None:
    """The caller waits a little longer and hears the truth; meanwhile others hear `unavailable`."""
    world = MemoryWorld()
    s = service()
    calendar = await world.calendar(s)
    house = await open_house(world, fates=["written after all"], weights=(1, 0, 0, 0, 0))
    await house.live(calendar)
    first = house.ask(calendar, book(s.id))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not house.journal.writing
    second = house.ask(calendar, book(s.id, 30))
    assert await told(second) == "unavailable"
    assert await told(first) == ""
    assert len(await world.events(calendar)) == 1
    assert await told(house.ask(calendar, book(s.id, 30))) == ""


async def test_nothing_is_loaded_while_a_batch_is_unsettled() -> None:
    """What the database shows then may be one batch behind; whoever needs the calendar waits."""
    world = MemoryWorld()
    s = service()
    calendar = await world.calendar(s)
    house = await open_house(world, fates=["written after all"], weights=(1, 0, 0, 0, 0))
    await house.live(calendar)
    first = house.ask(calendar, book(s.id))
    while house.journal.writing:
        await asyncio.sleep(0)
    house.runtime.roster.load_anew([calendar])  # which asks for a load
    after = house.ask(calendar, book(s.id))
    assert [await told(first), await told(after)] == ["", "slot_unavailable"]
    events = await world.events(calendar)
    assert [e.version for e in events] == list(range(1, len(events) + 1))
    assert house.runtime.statistics.guard_violations == 0


async def test_who_cannot_wait_hears_that_it_is_unknown_and_may_ask_again() -> None:
    """Past the deadline the answer is `unknown_outcome`; the same key tells what became of it."""
    world = MemoryWorld()
    s = service()
    calendar = await world.calendar(s)
    house = await open_house(world, fates=["written after all"], weights=(1, 0, 0, 0, 0))
    await house.live(calendar)
    key = IdempotencyKey("caller", new_id(), b"same")
    asked = book(s.id)
    work = house.work(calendar, asked, key)
    answer = house.runtime.ask(work)
    work.deadline = asyncio.get_running_loop().time() - 1
    assert await told(answer) == "unknown_outcome"
    await house.journal.flush()
    again = await house.ask(calendar, asked, key)
    assert isinstance(again.event, ev.Booked)
    assert again.event.id == asked.id
    assert len(await world.events(calendar)) == 1


async def test_a_read_that_saw_a_lost_booking_is_made_again() -> None:
    """It shows what the database has, and does not wait for ever."""
    world = MemoryWorld()
    s = service()
    calendar = await world.calendar(s)
    house = await open_house(world, fates=["lost"], weights=(1, 0, 0, 0, 0))
    await house.live(calendar)
    actor = house.runtime.roster.actors[calendar]

    lost = house.ask(calendar, book(s.id))
    reading = asyncio.create_task(house.runtime.reader.read(actor, HowMany()))
    await asyncio.sleep(0)
    assert not reading.done()
    assert await told(lost) == "unavailable"
    assert actor.stale
    # Who comes with the actor in hand while it is stale is answered too.
    late = asyncio.create_task(house.runtime.reader.read(actor, HowMany()))
    assert await asyncio.wait_for(asyncio.gather(reading, late), 5) == [b"0", b"0"]
    assert not await house.runtime.reader.settled(actor, actor.committed + 1), "nothing is on its way"


async def test_new_terms_reach_viewers_though_work_is_on_its_way() -> None:
    """A service that is no longer offered has no slots, at once and for good."""
    world = MemoryWorld()
    s, other = service(), service()
    calendar = await world.calendar(s, other)
    house = await open_house(world, weights=(0, 1, 0, 0, 0))
    await house.live(calendar)
    actor = house.runtime.roster.actors[calendar]
    view = house.runtime.watch.open(actor, ViewKey(calendar, s.id, NOON, NOON + DAY, "UTC"))
    assert view.published
    answer = house.ask(calendar, book(other.id))
    await world.offer(calendar, other)
    await house.runtime.roster.refresh_services([calendar])
    assert await told(answer) == ""
    assert await told(house.ask(calendar, book(other.id, 60))) == ""
    house.clock.now += HOUR
    house.runtime.timers.tick()
    assert view.published == {}
    await world.offer(calendar, other, s)
    await house.runtime.roster.refresh_services([calendar])
    fresh = slots_between(actor.calendar, s, NOON, NOON + DAY, house.clock.now)
    assert view.published == {x.start: (x.state, x.remaining, x.end - x.start, x.until) for x in fresh}


async def test_the_same_seed_has_the_same_faults() -> None:
    """So that a failure can be looked at twice."""

    async def run() -> Sequence[tuple[str, int]]:
        world = MemoryWorld()
        s = service()
        calendar = await world.calendar(s)
        house = await open_house(world, seed=5, weights=(1, 1, 1, 1, 1))
        for i in range(40):
            await told(house.ask(calendar, book(s.id, 30 * (i % 20))))
        return sorted(house.journal.seen.items())

    assert await run() == await run()

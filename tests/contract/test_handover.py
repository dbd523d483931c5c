"""Calendars that go from one runtime to another with their shard: what is told stays true on the way."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from actors.calendar import commands as cmd
from actors.placement import shard_of
from actors.ports import IdempotencyKey, Outcome
from actors.shards import OwnedShards
from actors.views import View, ViewKey
from protocol import events as ev
from protocol.errors import Refused
from protocol.ids import booking_code, new_id
from protocol.times import DAY, MINUTE
from storage.memory_database import MemoryDatabase
from tests.contract.world import NOON, SHARDS, FixedClock, House, MemoryWorld, SlowStore, World, service
from tests.core.model import Model
from tests.support.faulty_journal import FaultyJournal

Houses = Callable[..., Any]


def book(service_id: str, minutes: int = 0) -> cmd.Book:
    return cmd.Book(new_id(), booking_code(), service_id, NOON + minutes * MINUTE)


async def code_of(future: "asyncio.Future[Outcome]") -> str:
    try:
        outcome = await future
    except Refused as refused:
        return refused.code
    return outcome.refusal.code if outcome.refusal else ""


def shards_of(house: House) -> OwnedShards:
    return OwnedShards(house.journal, house.runtime)


async def two_houses(houses: Houses, **more: Any) -> tuple[House, House]:
    """The first owns everything, the second nothing yet."""
    second = await houses()
    await second.journal.release(range(SHARDS))
    return await houses(**more), second


async def test_nothing_is_decided_once_the_release_began(world: World, houses: Houses) -> None:
    """What was decided before is told as done, what comes after hears `moved`, and the other one goes on from there."""
    s = service()
    calendar = await world.calendar(s)
    old, new = await two_houses(houses)
    mine = shard_of(calendar, SHARDS)
    await old.live(calendar)
    before = [old.ask(calendar, book(s.id, minutes)) for minutes in (0, 30, 30)]
    releasing = asyncio.create_task(shards_of(old).release([mine]))
    await asyncio.sleep(0)
    after = old.ask(calendar, book(s.id, 60))
    assert after.done()
    with pytest.raises(Refused, match="moved"):
        await old.live(calendar)
    assert await code_of(new.ask(calendar, book(s.id, 60))) == "moved"
    await releasing
    assert [f.done() for f in before] == [True] * 3
    assert [await code_of(f) for f in before] == ["", "", "slot_unavailable"]
    assert await code_of(after) == "moved"
    assert calendar not in old.runtime.roster.actors
    assert mine not in old.runtime.owned
    with pytest.raises(Refused, match="moved"):
        await old.live(calendar)
    await shards_of(new).take([mine])
    codes = [await code_of(new.ask(calendar, book(s.id, minutes))) for minutes in (0, 30, 60)]
    assert codes == ["slot_unavailable", "slot_unavailable", ""]
    assert [e.version for e in await world.events(calendar)] == [1, 2, 3]


async def test_whoever_waits_for_a_calendar_is_told(world: World, houses: Houses) -> None:
    """What was being read when its shard left is not used, not even when the shard is back before it was read."""
    s = service()
    calendar = await world.calendar(s)
    mine = shard_of(calendar, SHARDS)
    store, loaded = SlowStore(world.store), asyncio.Event()

    async def load_then_wait(calendar_ids: Any) -> Any:
        found = await world.store.load(calendar_ids)
        loaded.set()
        await store.gate.wait()
        return found

    store.load = load_then_wait  # type: ignore[method-assign]
    old, new = await two_houses(houses, store=store)
    store.gate.clear()
    waiting = old.ask(calendar, book(s.id))
    await loaded.wait()
    await shards_of(old).release([mine])
    assert await code_of(waiting) == "moved"
    await shards_of(new).take([mine])
    assert await code_of(new.ask(calendar, book(s.id))) == ""
    await shards_of(new).release([mine])
    await shards_of(old).take([mine])
    again = old.ask(calendar, book(s.id))
    await asyncio.sleep(0.01)
    store.gate.set()
    assert await code_of(again) == "slot_unavailable"
    assert old.runtime.statistics.guard_violations == 0


async def test_a_calendar_loaded_too_late_is_not_taken_in(world: World, houses: Houses) -> None:
    """Its shard is somebody else's by then, and nobody has said so: whoever asked hears `moved`."""
    s = service()
    calendar = await world.calendar(s)
    mine = shard_of(calendar, SHARDS)
    store = SlowStore(world.store)
    old, new = await two_houses(houses, store=store)
    store.gate.clear()
    waiting = old.ask(calendar, book(s.id))
    await shards_of(new).take([mine])
    assert await shards_of(old).verify() == {mine}
    store.gate.set()
    assert await code_of(waiting) == "moved"
    assert old.runtime.roster.actors == {}


async def test_watchers_are_told_that_their_calendar_left(world: World, houses: Houses) -> None:
    """After the last delta; one callback that fails keeps nothing from the others. Nothing is swept any more."""
    s = service()
    calendar = await world.calendar(s)
    old, new = await two_houses(houses)
    await old.live(calendar)
    actor = old.runtime.roster.actors[calendar]
    watch = old.runtime.watch
    views = [watch.open(actor, ViewKey(calendar, s.id, NOON, NOON + day * DAY, "UTC")) for day in (1, 2)]
    gone: list[tuple[View, int]] = []

    def on_gone(view: View) -> None:
        gone.append((view, view.version))
        raise RuntimeError

    watch.on_gone = on_gone
    held = old.ask(calendar, cmd.Hold(new_id(), s.id, NOON, "ann", MINUTE))
    await shards_of(old).release([shard_of(calendar, SHARDS)])
    assert await code_of(held) == ""
    assert gone == [(view, 1) for view in views]
    assert all(view.gone for view in views)
    assert (watch.views, watch.watched) == (0, ())
    assert old.runtime.timers._heap == []
    await shards_of(new).take([shard_of(calendar, SHARDS)])
    await new.live(calendar)
    new.clock.now += 2 * MINUTE
    new.runtime.timers.tick()
    await new.journal.flush()
    assert [type(e.event) for e in await world.events(calendar)] == [ev.HoldPlaced, ev.HoldExpired]


async def test_a_release_that_never_began(world: World, houses: Houses) -> None:
    """It waited for another one and was cancelled: the rest is still owned, decided for and watched."""
    s = service()
    calendars = {shard_of(c, SHARDS): c for c in [await world.calendar(s) for _ in range(64)]}
    old, _ = await two_houses(houses)
    for shard in (0, 1):
        await old.live(calendars[shard])
    going, staying = old.ask(calendars[0], book(s.id)), old.ask(calendars[1], book(s.id))
    first = asyncio.create_task(shards_of(old).release([0]))
    second = asyncio.create_task(shards_of(old).release([0, 1]))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([first, second])
    assert second.cancelled()
    assert set(old.runtime.roster.actors) == {calendars[1]}
    assert [await code_of(f) for f in (going, staying)] == ["", ""]
    assert await code_of(old.ask(calendars[1], book(s.id, 30))) == ""


async def test_reads_under_way_are_told(world: World, houses: Houses) -> None:
    """One that waits for a decision hears of it; the state that it saw is then durable."""
    s = service()
    calendar = await world.calendar(s)
    old, _ = await two_houses(houses)
    await old.live(calendar)
    actor = old.runtime.roster.actors[calendar]
    asked = old.ask(calendar, book(s.id))
    reading = asyncio.create_task(old.runtime.reader.settled(actor, actor.calendar.version))
    await asyncio.sleep(0)
    await shards_of(old).release([shard_of(calendar, SHARDS)])
    assert await reading is True
    assert await code_of(asked) == ""


async def test_what_others_took_is_forgotten(world: World, houses: Houses) -> None:
    """Views of calendars that were lost are gone as well, the others stay; what was decided in vain hears `moved`."""
    s = service()
    calendars = {shard_of(c, SHARDS): c for c in [await world.calendar(s) for _ in range(64)]}
    assert len(calendars) == SHARDS
    old, new = await two_houses(houses)
    gone: list[str] = []
    old.runtime.watch.on_gone = lambda view: gone.append(view.key.calendar_id)
    for calendar in calendars.values():
        await old.live(calendar)
        actor = old.runtime.roster.actors[calendar]
        old.runtime.watch.open(actor, ViewKey(calendar, s.id, NOON, NOON + DAY, "UTC"))
    await shards_of(new).take([1, 2])
    in_vain = old.ask(calendars[1], book(s.id))
    assert await code_of(in_vain) == "moved"
    assert await shards_of(old).verify() == {1, 2}
    assert sorted(gone) == sorted([calendars[1], calendars[2]])
    assert set(old.runtime.roster.actors) == {calendars[0], calendars[3]}
    codes = [await code_of(old.ask(calendars[shard], book(s.id))) for shard in range(SHARDS)]
    assert codes == ["", "moved", "moved", ""]


class Client:
    """Books until the slots are gone, wherever the calendar is; remembers what it was told."""

    def __init__(self, houses: list[House], random: Random, offer: str) -> None:
        self.houses = houses
        self.random = random
        self.offer = offer
        self.booked: set[str] = set()
        self.codes: set[str] = set()

    async def run(self, calendars: list[str], count: int) -> None:
        for _ in range(count):
            await self.book(self.random.choice(calendars), self.random.randrange(16) * 30)

    async def book(self, calendar: str, minutes: int) -> None:
        """The same command under the same key until somebody decides it."""
        asked, key = book(self.offer, minutes), IdempotencyKey("client", new_id(), b"same")
        async with asyncio.timeout(30):
            while True:
                house = self.random.choice(self.houses)
                try:
                    outcome = await house.ask(calendar, asked, key)
                except Refused as refused:
                    self.codes.add(refused.code)
                    await asyncio.sleep(0.001)
                    continue
                if outcome.refusal is None:
                    self.booked.add(asked.id)
                else:
                    self.codes.add(outcome.refusal.code)
                return


async def hand_over(shards: list[OwnedShards], random: Random, done: asyncio.Event, rude: bool) -> None:
    """Moves shards to and fro; rudely, the next owner takes without waiting for the last one's word."""
    owner = dict.fromkeys(range(SHARDS), 0)
    while not done.is_set():
        moving = random.sample(range(SHARDS), random.randrange(1, SHARDS + 1))
        leaving = {side: [s for s in moving if owner[s] == side] for side in (0, 1)}
        for side, some in leaving.items():
            if not some:
                continue
            if rude and random.random() < 0.5:
                await shards[1 - side].take(some)
                await shards[side].verify()
            else:
                await shards[side].release(some)
                await shards[1 - side].take(some)
            owner |= dict.fromkeys(some, 1 - side)
        await asyncio.sleep(random.choice((0, 0.002, 0.01)))


async def check(world: World, calendars: list[str], clients: list[Client]) -> None:
    """Every booking that was told is there and none beside, and no two overlap."""
    found: list[str] = []
    for calendar in calendars:
        events = await world.events(calendar)
        assert [e.version for e in events] == list(range(1, len(events) + 1))
        model = Model()
        for event in events:
            model.take(event.event)
            model.check()
        found += [e.event.id for e in events]
    told = [id_ for client in clients for id_ in client.booked]
    assert sorted(found) == sorted(told)


@pytest.mark.parametrize("rude", [False, True])
async def test_shards_move_under_load(world: World, houses: Houses, rude: bool) -> None:
    """No booking is lost, none is made twice, and nobody hears anything but `moved` on the way."""
    random = Random(int(rude))
    s = service()
    calendars = [await world.calendar(s) for _ in range(6)]
    first, second = await two_houses(houses)
    clients = [Client([first, second], Random(i), s.id) for i in range(8)]
    done = asyncio.Event()
    moving = asyncio.create_task(hand_over([shards_of(first), shards_of(second)], random, done, rude))
    await asyncio.gather(*(c.run(calendars, 40) for c in clients))
    done.set()
    await moving
    await check(world, calendars, clients)
    assert set().union(*(c.codes for c in clients)) <= {"moved", "slot_unavailable"}
    assert first.runtime.statistics.guard_violations == second.runtime.statistics.guard_violations == 0


@pytest.mark.parametrize("seed", range(8))
async def test_shards_move_on_bad_days(seed: int) -> None:
    """The same with journals that lose batches and learn of others late."""
    random = Random(seed)
    world = MemoryWorld()
    s = service()
    calendars = [await world.calendar(s) for _ in range(4)]
    second = await faulty_house(world, world.database, seed + 100)
    await second.journal.release(range(SHARDS))
    first = await faulty_house(world, world.database, seed)
    clients = [Client([first, second], Random(i), s.id) for i in range(6)]
    done = asyncio.Event()
    moving = asyncio.create_task(patiently(hand_over, [shards_of(first), shards_of(second)], random, done))
    await asyncio.gather(*(c.run(calendars, 30) for c in clients))
    done.set()
    await moving
    await check(world, calendars, clients)
    assert set().union(*(c.codes for c in clients)) <= {"moved", "slot_unavailable", "unavailable", "overloaded"}
    assert first.runtime.statistics.guard_violations == second.runtime.statistics.guard_violations == 0


async def faulty_house(world: MemoryWorld, database: MemoryDatabase, seed: int) -> House:
    return await House(world, FaultyJournal(database, seed=seed), FixedClock()).start()


async def patiently(hand_over: Any, shards: list[OwnedShards], random: Random, done: asyncio.Event) -> None:
    """Begins anew, with everything at the first, when a journal cannot tell what it owns."""
    while not done.is_set():
        try:
            await hand_over(shards, random, done, True)
        except Refused:
            await shards[1].release(range(SHARDS))
            await shards[0].release(range(SHARDS))
            await shards[0].take(range(SHARDS))

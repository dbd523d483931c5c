"""Several nodes in one process, over Postgres and in memory: requests and views find their calendar wherever it is."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from actors.broadcast import Broadcast, ViewKey
from actors.calendar import commands as cmd
from actors.cluster.cluster import Cluster
from actors.cluster.plan import Times
from actors.cluster.ports import Member
from actors.placement import shard_of
from actors.ports import Caller, IdempotencyKey, Outcome, Work
from actors.questions import Zone
from actors.runtime import Runtime
from actors.shards import OwnedShards
from protocol.errors import Refused
from protocol.frames import Frame
from protocol.ids import booking_code, new_id
from protocol.times import DAY, HOUR
from storage.memory_cluster import MemoryBus, MemoryDirectory, MemoryHub
from tests.contract.cluster_world import until
from tests.contract.world import NOON, SHARDS, FixedClock, World, service

TIMES = Times(0.5)
CUT = service()
DEADLINE_S = 8.0


class Watcher:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.view: Broadcast | None = None
        self.frames: list[bytes] = []

    def deliver(self, view: Broadcast, frame: Frame) -> None:
        self.frames.append(frame.payload)

    def rehomed(self, old: Broadcast, new: Broadcast) -> None:
        self.view = new
        new.subscribers.add(self)

    def shown(self) -> str:
        assert self.view is not None
        return self.view.snapshot().payload.decode()


class Node:
    def __init__(self, world: World, hub: MemoryHub, name: str) -> None:
        self.world = world
        self.journal = world.journal()
        self.runtime = Runtime(self.journal, world.store, FixedClock(), SHARDS)
        self.directory: MemoryDirectory = hub.directory(TIMES.heartbeat_s, 2 * TIMES.beat_s)
        self.bus: MemoryBus = hub.bus()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.cluster = Cluster(
            Member(new_id(), name), TIMES, self.directory, self.bus, self.runtime, world.store,
            OwnedShards(self.journal, self.runtime), SHARDS, lambda: 0.0, self.spawn,
        )  # fmt: skip
        self.board = self.cluster.switchboard

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> "asyncio.Task[Any]":
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def start(self) -> "Node":
        await self.journal.start(self.runtime)
        await self.cluster.start()
        for name, loop in self.cluster.loops():
            self.spawn(loop, name)
        return self

    async def crash(self) -> None:
        """Nothing more is said or done, and nobody is told."""
        self.directory.reachable = self.bus.reachable = False
        for task in tuple(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.journal.stop()

    async def stop(self) -> None:
        for task in tuple(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.journal.stop()
        with suppress(Refused):
            await self.cluster.stop()

    def work(self, calendar_id: str, start: int, key: str | None = None) -> Work:
        loop = asyncio.get_running_loop()
        command = cmd.Book(new_id(), booking_code(), CUT.id, start, client_id=new_id())
        return Work(
            calendar_id,
            command,
            Caller(self.world.business, "test", new_id()),
            loop.create_future(),
            loop.time() + DEADLINE_S,
            IdempotencyKey("scope", key, b"same") if key else None,
        )

    async def book(self, calendar_id: str, start: int, key: str | None = None) -> Outcome:
        return await self.board.ask(self.work(calendar_id, start, key))

    async def watch(self, calendar_id: str) -> Watcher:
        key = ViewKey(calendar_id, CUT.id, NOON - DAY // 2, NOON + DAY // 2, "UTC")
        watcher = Watcher()
        watcher.view = await self.board.watch(key, self.world.business)
        self.board.join(watcher.view, watcher)
        return watcher


class Nodes:
    def __init__(self, world: World) -> None:
        self.world = world
        self.hub = MemoryHub(TIMES.heartbeat_s)
        self.all: list[Node] = []

    async def start(self, *names: str) -> list[Node]:
        started = [await Node(self.world, self.hub, name).start() for name in names]
        self.all += started
        return started

    def alive(self) -> list[Node]:
        return [n for n in self.all if n.directory.connected]

    async def settled(self) -> None:
        """Every shard has one owner, and everybody says the same of it."""

        def done() -> bool:
            for shard in range(SHARDS):
                said = {getattr(n.cluster.keeper.owner_of(shard), "id", None) for n in self.alive()}
                if len(said) != 1 or None in said:
                    return False
            wanted = {n.cluster.me.id for n in self.alive() if not n.cluster.keeper.me.draining}
            return set(self.hub.sight().members) >= wanted and not any(n.cluster.keeper.moving for n in self.alive())

        await until(done)

    def owner(self, calendar_id: str) -> Node:
        return next(n for n in self.alive() if shard_of(calendar_id, SHARDS) in n.runtime.owned)

    def other(self, calendar_id: str) -> Node:
        return next(n for n in self.alive() if n is not self.owner(calendar_id))


@pytest.fixture
async def nodes(world: World) -> AsyncIterator[Nodes]:
    made = Nodes(world)
    yield made
    for node in made.all:
        await node.stop()


async def pair(nodes: Nodes) -> tuple[str, Node, Node]:
    """A calendar, its owner and another node."""
    await nodes.start("a", "b")
    await nodes.settled()
    calendar = await nodes.world.calendar(CUT)
    return calendar, nodes.owner(calendar), nodes.other(calendar)


async def test_a_command_is_answered_wherever_it_is_asked(nodes: Nodes) -> None:
    calendar, owner, other = await pair(nodes)
    assert (await other.book(calendar, NOON)).version == 1
    refused = await owner.book(calendar, NOON)
    assert refused.refusal is not None
    assert refused.refusal.code == "slot_unavailable"
    again = await other.book(calendar, NOON)
    assert again.refusal == refused.refusal
    assert other.board.forwarded["ask", "ok"] == 2
    assert len(await nodes.world.rows(calendar)) == 1


async def test_a_question_is_answered_wherever_it_is_asked(nodes: Nodes) -> None:
    calendar, owner, other = await pair(nodes)
    for node in (owner, other):
        assert await node.board.read(calendar, nodes.world.business, Zone()) == b'"UTC"'
        with pytest.raises(Refused, match="not_found"):
            await node.board.read(calendar, new_id(), Zone())


async def test_the_same_key_gives_the_same_outcome_on_every_node(nodes: Nodes) -> None:
    calendar, owner, other = await pair(nodes)
    key = new_id()
    first = await other.book(calendar, NOON, key)
    assert await owner.book(calendar, NOON, key) == first
    assert len(await nodes.world.rows(calendar)) == 1


async def test_viewers_of_another_node_see_every_change(nodes: Nodes) -> None:
    calendar, owner, other = await pair(nodes)
    near, far = await owner.watch(calendar), await other.watch(calendar)
    also_far = await other.watch(calendar)
    assert near.shown() == far.shown()
    await owner.book(calendar, NOON + HOUR)
    await other.book(calendar, NOON + 3 * HOUR)
    await until(lambda: len(far.frames) == 2 and len(also_far.frames) == 2)
    assert far.frames == near.frames
    assert near.shown() == far.shown()
    assert owner.cluster.host.relays == 1


async def test_a_lost_frame_is_noticed_and_mended(nodes: Nodes) -> None:
    calendar, owner, other = await pair(nodes)
    near, far = await owner.watch(calendar), await other.watch(calendar)
    other.bus.reachable = False
    await owner.book(calendar, NOON + HOUR)
    other.bus.reachable = True
    assert near.shown() != far.shown()
    await until(lambda: near.shown() == far.shown())


async def test_shards_move_without_losing_a_request_or_a_viewer(nodes: Nodes) -> None:
    [a] = await nodes.start("a")
    await nodes.settled()
    calendars = [await nodes.world.calendar(CUT) for _ in range(3 * SHARDS)]
    [b] = await nodes.start("b")
    await nodes.settled()
    watchers = [(c, await node.watch(c)) for c in calendars for node in (a, b)]
    booked = 0

    async def keep_booking(calendar: str) -> None:
        nonlocal booked
        for i in range(20):
            for node in (a, b):
                outcome = await node.book(calendar, NOON + i * HOUR // 2)
                booked += outcome.refusal is None

    async def converge(node: Node) -> None:
        for calendar, watcher in watchers:
            truth = await node.watch(calendar)
            await until(lambda t=truth, w=watcher: t.shown() == w.shown())

    under_way = asyncio.gather(*(keep_booking(c) for c in calendars))
    await a.cluster.drain(asyncio.get_running_loop().time() + DEADLINE_S)
    assert not a.runtime.owned
    await under_way
    rows = [await nodes.world.rows(c) for c in calendars]
    assert [len(r) for r in rows] == [20] * len(calendars)
    assert booked == 20 * len(calendars)
    await converge(b)
    [c] = await nodes.start("c")
    await nodes.settled()
    await b.cluster.drain(asyncio.get_running_loop().time() + DEADLINE_S)
    await until(lambda: set(c.runtime.owned) == set(range(SHARDS)))
    for calendar in calendars:
        await a.book(calendar, NOON - HOUR)
    await converge(c)


async def test_a_crashed_owner_is_replaced_and_keyed_requests_find_their_answer(nodes: Nodes) -> None:
    calendar, owner, other = await pair(nodes)
    key = new_id()
    first = await other.book(calendar, NOON, key)
    far = await other.watch(calendar)
    await owner.crash()
    assert await other.book(calendar, NOON, key) == first
    await other.book(calendar, NOON + 3 * HOUR)
    truth = await other.watch(calendar)
    await until(lambda: truth.shown() == far.shown())
    assert [e.version for e in await nodes.world.events(calendar)] == [1, 2]


async def test_a_command_without_a_key_whose_owner_dies_ends_unknown(nodes: Nodes) -> None:
    calendar, owner, other = await pair(nodes)
    # It hears the request and dies before it can say anything.
    owner.cluster.host.received = lambda sender, message: None  # type: ignore[method-assign]
    asked = asyncio.ensure_future(other.book(calendar, NOON))
    await asyncio.sleep(0.05)
    await owner.crash()
    with pytest.raises(Refused, match="unknown_outcome"):
        await asked


async def test_an_owner_without_the_directory_goes_on_for_its_own_calendars(nodes: Nodes) -> None:
    calendar, owner, other = await pair(nodes)
    nodes.hub.down = True
    assert (await owner.book(calendar, NOON)).version == 1
    await asyncio.sleep(2 * TIMES.lease_s)
    assert (await owner.book(calendar, NOON + HOUR)).version == 2
    with pytest.raises(Refused, match="unavailable"):
        await other.book(calendar, NOON + 2 * HOUR)
    nodes.hub.down = False
    await nodes.settled()
    assert (await other.book(calendar, NOON + 3 * HOUR)).version == 3


async def test_a_flushed_directory_moves_nothing(nodes: Nodes) -> None:
    calendar, _, other = await pair(nodes)
    before = {n.cluster.me.id: set(n.runtime.owned) for n in nodes.all}
    nodes.hub.flush()
    assert (await other.book(calendar, NOON)).version == 1
    await asyncio.sleep(3 * TIMES.lease_s)
    assert {n.cluster.me.id: set(n.runtime.owned) for n in nodes.all} == before
    assert [n.cluster.keeper.counts.lost for n in nodes.all] == [0, 0]


async def test_an_unknown_calendar_is_found_nowhere(nodes: Nodes) -> None:
    await pair(nodes)
    for node in nodes.all:
        with pytest.raises(Refused, match="not_found"):
            await node.book(new_id(), NOON)
        with pytest.raises(Refused, match="not_found"):
            await node.watch(new_id())

"""Several nodes in one process, over Postgres and in memory, on a directory and a bus in memory."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from actors.broadcast import Broadcast, Sink, ViewKey
from actors.calendar import commands as cmd
from actors.cluster.cluster import Cluster
from actors.cluster.plan import Times
from actors.cluster.ports import Member
from actors.placement import shard_of
from actors.ports import Caller, IdempotencyKey, Outcome, Work
from actors.runtime import Runtime
from actors.shards import OwnedShards
from protocol.errors import Refused
from protocol.frames import Frame
from protocol.ids import booking_code, new_id
from protocol.times import DAY
from storage.memory_cluster import MemoryBus, MemoryDirectory, MemoryHub
from tests.contract.cluster_world import until
from tests.contract.world import NOON, SHARDS, FixedClock, World, service

TIMES = Times(0.5)
CUT = service()
DEADLINE_S = 8.0


class Watcher(Sink):
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.view: Broadcast | None = None
        self.frames: list[bytes] = []

    def deliver(self, view: Broadcast, frame: Frame) -> None:
        self.frames.append(frame.payload)

    def rehomed(self, old: Broadcast, new: Broadcast) -> None:
        self.view = new
        new.join(self)

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

"""Keepers on one directory in memory and made-up time, with shards whose every step can be made to fail."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from actors.cluster.keeper import Keeper
from actors.cluster.plan import Times
from actors.cluster.ports import Member, Shards
from actors.placement import preferred
from storage.memory_cluster import MemoryDirectory, MemoryHub
from tests.support.fake_loop import FakeLoop

TIMES = Times(5.0)
SHARDS = 12
A, B = Member("1", "a"), Member("2", "b")
OF_A = {s for s in range(SHARDS) if preferred(s, [A, B]) == A.id}


class Epochs:
    """What Postgres knows."""

    def __init__(self) -> None:
        self.epochs = dict.fromkeys(range(SHARDS), 0)


class FakeShards(Shards):
    """Raises what `fails` names, once for each time it is named there."""

    def __init__(self, epochs: Epochs) -> None:
        self._epochs = epochs.epochs
        self.mine: dict[int, int] = {}
        self.fails: list[tuple[str, Exception]] = []
        self.asked: list[str] = []
        self.hold = asyncio.Event()
        self.hold.set()

    @property
    def owned(self) -> Mapping[int, int]:
        return self.mine

    async def take(self, shards: Sequence[int]) -> dict[int, int]:
        await self._step("take")
        for shard in shards:
            self._epochs[shard] += 1
            self.mine[shard] = self._epochs[shard]
        return {s: self.mine[s] for s in shards}

    async def release(self, shards: Collection[int]) -> None:
        await self._step("release")
        for shard in shards:
            self.mine.pop(shard, None)

    async def verify(self) -> set[int]:
        await self._step("verify")
        lost = {s for s, epoch in self.mine.items() if self._epochs[s] != epoch}
        for shard in lost:
            del self.mine[shard]
        return lost

    async def _step(self, name: str) -> None:
        self.asked.append(name)
        await self.hold.wait()
        await asyncio.sleep(0.01)
        for failing in self.fails:
            if failing[0] == name:
                self.fails.remove(failing)
                raise failing[1]


class Site:
    """One or two keepers on one directory."""

    def __init__(self) -> None:
        self.hub = MemoryHub(TIMES.heartbeat_s, asyncio.get_running_loop().time)
        self.epochs = Epochs()
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def node(self, member: Member) -> tuple[Keeper, FakeShards, MemoryDirectory]:
        directory = self.hub.directory(TIMES.heartbeat_s, 2 * TIMES.beat_s)
        await directory.start()
        shards = FakeShards(self.epochs)
        keeper = Keeper(directory, shards, member, SHARDS, TIMES)
        self.tasks[member.id] = asyncio.create_task(keeper.run())
        return keeper, shards, directory

    async def kill(self, member: Member) -> None:
        self.tasks[member.id].cancel()
        await asyncio.wait([self.tasks[member.id]])


async def eventually(condition: Callable[[], object], within_s: float = 30.0) -> None:
    deadline = asyncio.get_running_loop().time() + within_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)


def now() -> float:
    return asyncio.get_running_loop().time()


def in_fake_time(test: Callable[[Site], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        loop = FakeLoop()

        async def within() -> None:
            await test(Site())

        loop.run(within(), until=600)
        assert not loop.errors

    return run

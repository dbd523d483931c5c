"""What befalls a simulated cluster, drawn from its seed, and what must be true when it is over."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from tests.core.simulation import TIMES, Node, World

_NODES_MAX: Final = 5
_TRIAL_BEATS_MAX: Final = 32
"""For how long the others wait before they move shards to a node that has come and gone often."""


class Storm:
    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random
        self.story: list[str] = []
        self._running: set[asyncio.Task[None]] = set()

    async def rage(self, lasting_s: float) -> None:
        world = self.world
        for number in range(self.random.randint(1, 4)):
            world.join(f"name{number}")
            await asyncio.sleep(self.random.choice((0.0, 0.0, self.random.uniform(0, 8))))
        if self.random.random() < 0.7:
            await asyncio.sleep(10)
        world.faulty = self.random.random() < 0.6
        ends = world.now + lasting_s
        while world.now < ends:
            await asyncio.sleep(self.random.expovariate(1 / 2.5))
            event = self.random.choice(self._events())
            self.story.append(f"{world.now:.2f} {event.__name__.strip('_')}")
            self._start(event())
            world.check()
        await self._clear_up()

    def _events(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        return [
            self._kill, self._kill, self._join, self._join, self._pause, self._pause, self._drain, self._ask_to_drain,
            self._cut_from_redis, self._cut_from_postgres, self._flush, self._redis_down, self._postgres_down,
        ]  # fmt: skip

    async def _clear_up(self) -> None:
        """Everything works again; somebody is there to own the shards."""
        if self._running:
            await asyncio.wait(self._running)
        self.world.faulty = False
        await asyncio.sleep(2 * TIMES.beat_s)
        if not [n for n in self.world.living() if not n.keeper.me.draining]:
            self.world.join("last")
        self.story.append(f"{self.world.now:.2f} quiet")

    async def calm(self) -> None:
        """Soon everything is owned, in time it is where it belongs, and then nothing moves any more."""
        world = self.world
        await world.until(lambda: not world.unowned(), 3 * TIMES.lease_s, lambda: f"unowned {world.unowned()}")
        await world.settled((_TRIAL_BEATS_MAX + 5) * TIMES.beat_s)
        since = world.now
        await asyncio.sleep(6 * TIMES.beat_s)
        world.check()
        assert not world.takes_since(since), f"still moving: {world.takes_since(since)}"
        assert world.is_settled()
        assert {n.id for n in world.living()} == {n for n in world.hub.heartbeats if world.hub.is_alive(n)}

    # What happens

    def _start(self, happening: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(happening)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _one(self) -> Node | None:
        living = self.world.living()
        return self.random.choice(living) if living else None

    def _a_while(self) -> float:
        return self.random.choice((self.random.uniform(0.1, 2), self.random.uniform(2, 7), self.random.uniform(7, 15)))

    async def _kill(self) -> None:
        if node := self._one():
            node.kill()
            if self.random.random() < 0.5:
                await asyncio.sleep(self.random.uniform(0, 8))
                self.world.join(node.name)

    async def _join(self) -> None:
        if len(self.world.living()) < _NODES_MAX:
            self.world.join(f"name{self.random.randrange(9)}", self.random.choice((1.0, 1.0, 2.0)))

    async def _pause(self) -> None:
        if (node := self._one()) and node.going.is_set():
            node.going.clear()
            await asyncio.sleep(self._a_while())
            if not node.killed:
                node.going.set()

    async def _cut_from_redis(self) -> None:
        if node := self._one():
            node.line.reachable = False
            await asyncio.sleep(self._a_while())
            node.line.reachable = True

    async def _cut_from_postgres(self) -> None:
        if node := self._one():
            node.has_postgres = False
            await asyncio.sleep(self._a_while() * 1.5)
            node.has_postgres = True

    async def _flush(self) -> None:
        self.world.hub.flush()

    async def _redis_down(self) -> None:
        self.world.hub.down = True
        await asyncio.sleep(self._a_while())
        if self.random.random() < 0.5:
            self.world.hub.flush()
        self.world.hub.down = False

    async def _postgres_down(self) -> None:
        nodes = self.world.living()
        for node in nodes:
            node.has_postgres = False
        await asyncio.sleep(self._a_while())
        for node in nodes:
            node.has_postgres = True

    async def _drain(self) -> None:
        if node := self._one():
            node.tasks.append(asyncio.create_task(node.drain()))

    async def _ask_to_drain(self) -> None:
        node, other = self._one(), self._one()
        if node and other and other.line.reachable and not self.world.hub.down:
            await other.line.request_drain(node.id)

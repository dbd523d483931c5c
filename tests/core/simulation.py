"""Several nodes in one process and made-up time: the real keeper and plan, a directory, and Postgres' table of epochs.

Everything random comes from one seed. What must never happen is noted in `World.wrongs` at the moment at which it does,
and ends the run.
"""

import asyncio
import logging
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

from actors.cluster.keeper import Keeper
from actors.cluster.plan import Times
from actors.cluster.ports import Directory, Lease, Member, Shards, Sight
from actors.placement import preferred
from protocol import limits
from protocol.errors import Refused
from storage.memory_cluster import MemoryHub
from tests.support.fake_loop import FakeLoop

TIMES: Final = Times(limits.lease_ttl_default_s)
_VERIFIED_FOR_S: Final = 1.0
_ENDS_S: Final = 1000.0


class Database:
    """`epochs` is the referee: a commit under another epoch than the shard's is refused.

    Two switches show that the simulation can fail: `step` 0 does not advance epochs, `fence` off checks none.
    """

    def __init__(self, world: "World") -> None:
        self.epochs = dict.fromkeys(range(world.shard_count), 0)
        self.holders: dict[tuple[int, int], str] = {}
        self.takes: list[tuple[float, int, str]] = []
        self.committed: dict[int, int] = defaultdict(int)
        self.commits = self.fenced = 0
        self.step = 1
        self.fence = True
        self._world = world

    def advance(self, shard: int, node: "Node") -> int:
        self._world.check_take(shard, node)
        self.epochs[shard] += self.step
        epoch = self.epochs[shard]
        holder = self.holders.setdefault((shard, epoch), node.id)
        if holder != node.id:
            self._world.wrong(f"{node.id} and {holder} own shard {shard} under one epoch, {epoch}")
        self.takes.append((self._world.now, shard, node.id))
        return epoch

    def commit(self, shard: int, epoch: int, node: str) -> bool:
        if self.fence and self.epochs[shard] != epoch:
            self.fenced += 1
            return False
        if epoch < self.committed[shard] or self.holders[shard, epoch] != node:
            self._world.wrong(f"{node} committed to shard {shard} under epoch {epoch} after {self.committed[shard]}")
        self.committed[shard] = epoch
        self.commits += 1
        return True


class SimulatedShards(Shards):
    def __init__(self, node: "Node") -> None:
        self._node = node
        self._owned: dict[int, int] = {}

    @property
    def owned(self) -> Mapping[int, int]:
        return self._owned

    async def take(self, shards: Sequence[int]) -> dict[int, int]:
        database = self._node.world.database
        taken = await self._node.postgres(lambda: {s: database.advance(s, self._node) for s in shards})
        self._owned.update(taken)
        return taken

    async def release(self, shards: Collection[int]) -> None:
        """Intake stops at once; what was decided before still commits, or its outcome stays unknown."""
        for shard in shards:
            self._owned.pop(shard, None)
        try:
            await self._node.postgres(lambda: None)
        except Refused:
            return

    async def verify(self) -> set[int]:
        asked = dict(self._owned)
        epochs = await self._node.postgres(lambda: dict(self._node.world.database.epochs))
        lost = {s for s, epoch in asked.items() if epochs[s] != epoch and self._owned.get(s) == epoch}
        for shard in lost:
            del self._owned[shard]
        return lost


class Wire(Directory):
    """A node's way to the directory: it takes time, and answers get lost."""

    def __init__(self, node: "Node", inner: Directory) -> None:
        self._node = node
        self._inner = inner

    async def beat(self, me: Member, owned: Mapping[int, int]) -> Sight:
        return await self._node.redis(lambda: self._inner.beat(me, owned))

    async def claim(self, node: str, shards: Sequence[int]) -> dict[int, Lease]:
        return await self._node.redis(lambda: self._claim(node, shards))

    async def _claim(self, node: str, shards: Sequence[int]) -> dict[int, Lease]:
        granted = await self._inner.claim(node, shards)
        self._node.world.claimed_blindly(s for s, lease in granted.items() if not lease.epoch)
        return granted

    async def hand_over(self, node: str, heirs: Mapping[int, str]) -> None:
        await self._node.redis(lambda: self._inner.hand_over(node, dict(heirs)))

    async def release(self, node: str, shards: Collection[int]) -> None:
        await self._node.redis(lambda: self._inner.release(node, shards))

    async def leave(self, node: str) -> None:
        await self._node.redis(lambda: self._inner.leave(node))

    async def request_drain(self, member: str) -> bool:
        return await self._inner.request_drain(member)

    def on_notice(self, callback: Callable[[], None]) -> None:
        self._inner.on_notice(callback)


class Node:
    """`going` is off while the node is paused, and for ever when it was killed."""

    def __init__(self, world: "World", name: str, weight: float = 1.0) -> None:
        self.world = world
        self.id = f"n{world.next_number()}"
        self.name = name
        self.going = asyncio.Event()
        self.going.set()
        self.killed = self.gone = False
        self.has_postgres = True
        self.line = world.hub.directory(TIMES.heartbeat_s, 2 * TIMES.beat_s)
        self.shards = SimulatedShards(self)
        self.member = Member(self.id, name, weight)
        self.keeper = Keeper(Wire(self, self.line), self.shards, self.member, world.shard_count, TIMES)
        parts = (self.line.start(), self.keeper.run(), self._decide(), self._heed())
        self.tasks = [asyncio.create_task(part) for part in parts]

    @property
    def living(self) -> bool:
        return not self.killed and not self.gone

    async def redis(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Ends within the second that the port allows, except that a paused node notices nothing."""
        await self.going.wait()
        sent_in, fate = self.world.delay(), self.world.fate()
        if fate == "unsent":
            await asyncio.sleep(limits.directory_timeout_s)
        elif fate == "late":
            asyncio.get_running_loop().call_later(1.0 + sent_in, self._carry_out, call)
            await asyncio.sleep(limits.directory_timeout_s)
        else:
            await asyncio.sleep(sent_in)
            if self.line.reachable and not self.world.hub.down:
                answer = await call()
                if fate != "unanswered":
                    await asyncio.sleep(self.world.delay())
                    await self.going.wait()
                    return answer
            await asyncio.sleep(limits.directory_timeout_s - sent_in)
        await self.going.wait()
        raise Refused("unavailable")

    def _carry_out(self, call: Callable[[], Awaitable[Any]]) -> None:
        if self.line.reachable and not self.world.hub.down:
            task = asyncio.create_task(call())  # type: ignore[arg-type]
            task.add_done_callback(lambda t: t.cancelled() or t.exception())
            self.tasks.append(task)

    async def postgres(self, call: Callable[[], Any]) -> Any:
        await self.going.wait()
        await asyncio.sleep(self.world.delay())
        if not self.has_postgres:
            await asyncio.sleep(limits.directory_timeout_s)
            raise Refused("unavailable")
        answer = call()
        unanswered = self.world.fate() == "unanswered"
        await asyncio.sleep(self.world.delay())
        await self.going.wait()
        if unanswered:
            raise Refused("unavailable")
        return answer

    async def _decide(self) -> None:
        """Decides for all it thinks it owns; each decision commits a moment later, if the epoch is still right."""
        while True:
            await self.going.wait()
            await asyncio.sleep(TIMES.beat_s)
            decided = dict(self.shards.owned)
            await self.going.wait()
            await asyncio.sleep(self.world.delay())
            if self.has_postgres:
                for shard, epoch in decided.items():
                    self.world.database.commit(shard, epoch, self.id)

    async def _heed(self) -> None:
        await self.keeper.drain_asked.wait()
        await self.drain()

    async def drain(self) -> None:
        await self.keeper.drain(self.world.now + 30)
        await self.keeper.leave()
        self.gone = True

    def kill(self) -> None:
        self.killed = True
        self.going.clear()

    def is_certain(self) -> bool:
        """By its beats, and not only because it asked Postgres a moment ago."""
        until = self.keeper.certain_until
        return self.world.now <= until and until > self.keeper.certainty.verified_at + _VERIFIED_FOR_S


class World:
    def __init__(self, seed: int, shard_count: int = 8) -> None:
        self.random = random.Random(seed)
        self.shard_count = shard_count
        self.loop = asyncio.get_running_loop()
        self.hub = MemoryHub(TIMES.heartbeat_s, self.loop.time)
        self.wrongs: list[str] = []
        self.nodes: list[Node] = []
        self.faulty = False
        self.blind: set[int] = set()
        """Claimed while the directory had forgotten that they ever had an owner."""
        self.database = Database(self)

    @property
    def now(self) -> float:
        return self.loop.time()

    def next_number(self) -> int:
        return len(self.nodes) + 1

    def join(self, name: str, weight: float = 1.0) -> Node:
        node = Node(self, name, weight)
        self.nodes.append(node)
        return node

    def living(self) -> list[Node]:
        return [n for n in self.nodes if n.living]

    def delay(self) -> float:
        if self.faulty and self.random.random() < 0.05:
            return self.random.uniform(0.05, 0.45)
        return self.random.uniform(0.0005, 0.02)

    def fate(self) -> str:
        """Of one question."""
        if not self.faulty:
            return ""
        return self.random.choices(("", "unsent", "unanswered", "late"), (94, 2, 2, 2))[0]

    def claimed_blindly(self, shards: Iterable[int]) -> None:
        self.blind.update(s for s in shards if self.database.epochs[s])

    # What never may happen, and what must

    def wrong(self, what: str) -> None:
        self.wrongs.append(f"at {self.now:.3f} s {what}")

    def check_take(self, shard: int, taker: Node) -> None:
        """Nobody who answers from memory, certain that the shard is theirs, loses it in that moment.

        But for a directory that has forgotten the owner: whose next beat may come between the claim and this.
        """
        if shard in self.blind:
            self.blind.remove(shard)
            return
        for node in self.nodes:
            is_owner = node.shards.owned.get(shard) == self.database.epochs[shard]
            if node is not taker and not node.killed and is_owner and node.is_certain():
                self.wrong(f"{taker.id} took shard {shard} from {node.id}, which was certain of it")

    def check(self) -> None:
        assert not self.wrongs, self.wrongs[0]

    def owners(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {s: [] for s in range(self.shard_count)}
        for node in self.living():
            for shard, epoch in node.shards.owned.items():
                if self.database.epochs[shard] == epoch:
                    found[shard].append(node.id)
        return found

    def unowned(self) -> list[int]:
        return [s for s, nodes in self.owners().items() if not nodes]

    def misplaced(self) -> dict[int, list[str]]:
        """Shards that are not where they belong, or about which anybody errs."""
        members = [n.member for n in self.living() if not n.keeper.me.draining]
        return {
            shard: nodes
            for shard, nodes in self.owners().items()
            if nodes != [preferred(shard, members)]
            or any(self._thinks(n, shard) != nodes for n in self.living())
            or any(shard in n.shards.owned for n in self.living() if n.id not in nodes)
        }

    def _thinks(self, node: Node, shard: int) -> list[str]:
        owner = node.keeper.owner_of(shard)
        return [owner.id] if owner else []

    def takes_since(self, since: float) -> Counter[int]:
        return Counter(shard for at, shard, _ in self.database.takes if at >= since)

    async def until(self, condition: Callable[[], bool], within_s: float, what: Callable[[], object]) -> None:
        deadline = self.now + within_s
        while not condition():
            if self.now >= deadline:
                self.wrong(f"after {within_s:.1f} s still {what()}")
            self.check()
            await asyncio.sleep(TIMES.beat_s / 2)

    def is_settled(self) -> bool:
        ids = {n.id for n in self.living()}
        if any(n.keeper.me.draining or n.keeper.moving or not n.keeper.me.weight for n in self.living()):
            return False
        know = all(n.keeper.sight and n.keeper.sight.members.keys() == ids for n in self.living())
        return know and not self.misplaced()

    async def settled(self, within_s: float) -> None:
        await self.until(self.is_settled, within_s, lambda: f"misplaced {self.misplaced()}")


def simulate(seed: int, scenario: Callable[["World"], Coroutine[Any, Any, None]], shard_count: int = 8) -> "World":
    """Runs it to its end. Beside what it asserts, nothing unexpected may have been raised or logged anywhere."""
    loop = FakeLoop()
    heard = _Errors()
    log = logging.getLogger("slotcast.keeper")
    before = log.level, log.propagate
    log.setLevel(logging.ERROR)
    log.propagate = False
    log.addHandler(heard)

    async def run() -> World:
        world = World(seed, shard_count)
        await scenario(world)
        world.check()
        return world

    try:
        world: World = loop.run(run(), until=_ENDS_S)
    finally:
        log.removeHandler(heard)
        log.level, log.propagate = before
    assert not heard.found, heard.found[0]
    assert not loop.errors, loop.errors[0]
    return world


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))

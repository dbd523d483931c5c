"""The ports `Directory` and `Bus` in memory: the same promises as on Redis, without one."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from time import monotonic
from typing import Final

import msgspec

from actors.cluster.ports import Bus, Directory, Lease, Member, Sight
from protocol import limits
from protocol.errors import Refused
from protocol.ids import new_id

log = logging.getLogger("slotcast.memory")

_OVERHEAD_BYTES: Final = 64


class Heartbeat(msgspec.Struct):
    member: Member
    expires: float
    asked_to_drain: bool = False


class MemoryHub:
    """What Redis is to real nodes. `directory()` and `bus()` make those of one node.

    While it is `down` nobody reaches it; a node alone is cut off by `reachable` of its directory and its bus.
    `clock` is in seconds.
    """

    def __init__(self, lease_ttl_s: float = limits.lease_ttl_default_s, clock: Callable[[], float] = monotonic) -> None:
        self.lease_ttl_s = lease_ttl_s
        self.clock = clock
        self.down = False
        self.incarnation = ""
        self.heartbeats: dict[str, Heartbeat] = {}
        self.leases: dict[int, Lease] = {}
        self.grace_ends: dict[int, float] = {}
        self.directories: list[MemoryDirectory] = []
        self.buses: dict[str, MemoryBus] = {}

    def directory(self, lease_ttl_s: float | None = None, grace_s: float | None = None) -> "MemoryDirectory":
        ttl_s = self.lease_ttl_s if lease_ttl_s is None else lease_ttl_s
        made = MemoryDirectory(self, ttl_s, 0.4 * ttl_s if grace_s is None else grace_s)
        self.directories.append(made)
        return made

    def bus(self) -> "MemoryBus":
        return MemoryBus(self)

    def flush(self) -> None:
        """Forgets everything but who is connected."""
        self.incarnation = ""
        self.heartbeats.clear()
        self.leases.clear()
        self.grace_ends.clear()

    def is_alive(self, node: str) -> bool:
        found = self.heartbeats.get(node)
        return found is not None and found.expires > self.clock()

    def put(self, shard: int, lease: Lease, grace_ends: float = 0.0) -> None:
        self.leases[shard] = lease
        self.grace_ends[shard] = grace_ends

    def drop(self, shard: int) -> None:
        del self.leases[shard]
        del self.grace_ends[shard]

    def sight(self) -> Sight:
        alive = {n: h for n, h in self.heartbeats.items() if self.is_alive(n)}
        members = {n: h.member for n, h in alive.items()}
        return Sight(
            members, dict(self.leases), self.incarnation, frozenset(n for n, h in alive.items() if h.asked_to_drain)
        )

    def notify(self, teller: "MemoryDirectory") -> None:
        for directory in self.directories:
            if directory is not teller and directory.connected:
                directory.notify()


class MemoryDirectory(Directory):
    def __init__(self, hub: MemoryHub, lease_ttl_s: float, grace_s: float) -> None:
        self._hub = hub
        self._lease_ttl_s = lease_ttl_s
        self._grace_s = grace_s
        self._callbacks: list[Callable[[], None]] = []
        self._started = False
        self.reachable = True

    @property
    def connected(self) -> bool:
        return self._started and self.reachable and not self._hub.down

    async def start(self) -> None:
        self._started = True

    async def stop(self) -> None:
        self._started = False

    def on_notice(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def notify(self) -> None:
        for callback in self._callbacks:
            asyncio.get_running_loop().call_soon(callback)

    async def beat(self, me: Member, owned: Mapping[int, int]) -> Sight:
        hub = await self._reach()
        hub.incarnation = hub.incarnation or new_id()
        hub.heartbeats = {n: h for n, h in hub.heartbeats.items() if hub.is_alive(n)}
        before = hub.heartbeats.get(me.id)
        expires = hub.clock() + self._lease_ttl_s
        hub.heartbeats[me.id] = Heartbeat(me, expires, before is not None and before.asked_to_drain)
        for shard, epoch in owned.items():
            lease = hub.leases.get(shard)
            if lease is not None and lease.node == me.id:
                hub.put(shard, Lease(me.id, epoch, lease.heir))
            elif lease is None or lease.epoch < epoch or self._was_left(lease, epoch):
                hub.put(shard, Lease(me.id, epoch))
        return hub.sight()

    def _was_left(self, lease: Lease, epoch: int) -> bool:
        """Whether it is of somebody who claimed the shard and died before advancing the epoch."""
        return lease.epoch == epoch and lease.node != "" and not self._hub.is_alive(lease.node)

    async def look(self) -> Sight:
        return (await self._reach()).sight()

    async def claim(self, node: str, shards: Sequence[int]) -> dict[int, Lease]:
        hub = await self._reach()
        if not hub.is_alive(node):
            return {}
        granted: dict[int, Lease] = {}
        for shard in shards:
            lease = hub.leases.get(shard)
            if lease is None or self._may_claim(node, shard, lease):
                granted[shard] = Lease(node, lease.epoch if lease else 0)
                hub.put(shard, granted[shard])
        if granted:
            hub.notify(self)
        return granted

    def _may_claim(self, node: str, shard: int, lease: Lease) -> bool:
        if node in (lease.node, lease.heir):
            return True
        if lease.node:
            return not self._hub.is_alive(lease.node)
        return self._hub.grace_ends[shard] <= self._hub.clock() or not self._hub.is_alive(lease.heir)

    async def hand_over(self, node: str, heirs: Mapping[int, str]) -> None:
        hub = await self._reach()
        for shard, heir in heirs.items():
            lease = hub.leases.get(shard)
            if lease is not None and lease.node == node:
                hub.put(shard, Lease(node, lease.epoch, heir))

    async def release(self, node: str, shards: Collection[int]) -> None:
        hub = await self._reach()
        mine = [s for s in shards if s in hub.leases and hub.leases[s].node == node]
        for shard in mine:
            lease = hub.leases[shard]
            if lease.heir:
                hub.put(shard, Lease("", lease.epoch, lease.heir), hub.clock() + self._grace_s)
            else:
                hub.drop(shard)
        if mine:
            hub.notify(self)

    async def leave(self, node: str) -> None:
        hub = await self._reach()
        mine = [s for s, lease in hub.leases.items() if lease.node == node]
        for shard in mine:
            hub.drop(shard)
        if hub.heartbeats.pop(node, None) is not None or mine:
            hub.notify(self)

    async def request_drain(self, member: str) -> bool:
        hub = await self._reach()
        found = [n for n, h in hub.heartbeats.items() if member in (n, h.member.name) and hub.is_alive(n)]
        for node in found:
            hub.heartbeats[node].asked_to_drain = True
        if found:
            hub.notify(self)
        return bool(found)

    async def _reach(self) -> MemoryHub:
        await asyncio.sleep(0)
        if self._hub.down or not self.reachable:
            raise Refused("unavailable", "the directory did not answer")
        return self._hub


class MemoryBus(Bus):
    """Delivers on a later turn of the loop. Nothing is ever `lost` here: it is delivered, or it is not."""

    def __init__(self, hub: MemoryHub) -> None:
        self._hub = hub
        self._node = ""
        self._receive: Callable[[str, bytes], None]
        self._undelivered: Callable[[str, Sequence[bytes]], None]
        self._outbox: list[tuple[str, bytes]] = []
        self._outbox_bytes = 0
        self.reachable = True
        self.lost = 0

    @property
    def connected(self) -> bool:
        return self._hub.buses.get(self._node) is self and self.reachable and not self._hub.down

    async def start(
        self,
        node: str,
        receive: Callable[[str, bytes], None],
        undelivered: Callable[[str, Sequence[bytes]], None],
    ) -> None:
        self._node, self._receive, self._undelivered = node, receive, undelivered
        self._hub.buses[node] = self

    def send(self, node: str, message: bytes) -> None:
        loop = asyncio.get_running_loop()
        cost = len(message) + _OVERHEAD_BYTES
        full = self._outbox_bytes + cost > limits.bus_outbox_bytes_max
        if full or len(message) > limits.bus_message_bytes_max or not self.connected:
            loop.call_soon(self._undelivered, node, [message])
            return
        if not self._outbox:
            loop.call_soon(self._flush)
        self._outbox.append((node, message))
        self._outbox_bytes += cost

    def _flush(self) -> None:
        outbox, self._outbox, self._outbox_bytes = self._outbox, [], 0
        parcels: dict[str, list[bytes]] = {}
        for node, message in outbox:
            parcels.setdefault(node, []).append(message)
        for node, messages in parcels.items():
            receiver = self._hub.buses.get(node)
            if receiver is None or not receiver.connected or not self.connected:
                self._undelivered(node, messages)
            else:
                receiver.take_in(self._node, messages)

    def take_in(self, sender: str, messages: Sequence[bytes]) -> None:
        for message in messages:
            try:
                self._receive(sender, message)
            except Exception:
                log.exception("a message was not taken well")

    async def stop(self) -> None:
        self._flush()
        if self._hub.buses.get(self._node) is self:
            del self._hub.buses[self._node]

"""What makes a node one of several, put together: `server` gives it Redis, tests give it the twins."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from actors.broadcast import Broadcast, ViewKey
from actors.cluster import messages as m
from actors.cluster.host import Host
from actors.cluster.keeper import Keeper
from actors.cluster.plan import Times
from actors.cluster.ports import Bus, Directory, Member, Shards
from actors.cluster.post import Post
from actors.cluster.relays import Relays
from actors.cluster.switchboard import ClusterSwitchboard
from actors.ports import CalendarStore, Outcome, Work
from actors.questions import Question
from actors.runtime import Runtime
from protocol import limits

Spawn = Callable[[Coroutine[Any, Any, Any], str], "asyncio.Task[Any]"]


class Cluster:
    """`start` connects; then `loops` have to run for as long as the node lives. It ends with `drain` and `stop`."""

    def __init__(
        self,
        me: Member,
        times: Times,
        directory: Directory,
        bus: Bus,
        runtime: Runtime,
        store: CalendarStore,
        shards: Shards,
        shard_count: int,
        lag_ms: Callable[[], float],
        spawn: Spawn,
    ) -> None:
        self.me = me
        self.directory = directory
        self.keeper = Keeper(directory, shards, me, shard_count, times, lag_ms)
        self.switchboard = ClusterSwitchboard(me.id, runtime, store, self.keeper, shard_count)
        self.post = Post(me.id, bus, self._received, self._unheard)
        self.relays = Relays(me.id, self.switchboard, self.post, spawn)
        self.host = Host(_Desk(runtime, self.switchboard), self.post, spawn)
        self.switchboard.connect(self.post, self.relays)
        runtime.watch.on_gone = self.switchboard.left
        self.keeper.on_change(self._changed)
        self._known: frozenset[str] = frozenset()
        """Members who were seen and are not certainly gone."""

    async def start(self) -> None:
        await self.directory.start()
        await self.post.start()

    def loops(self) -> Sequence[tuple[str, Coroutine[Any, Any, None]]]:
        return (("keeper", self.keeper.run()), ("relays", self.relays.run()), ("followers", self._tick()))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(limits.relay_keep_s)
            self.host.tick()
            self.post.measure()

    @property
    def members(self) -> int:
        """How many are in sight."""
        return len(self.keeper.sight.members) if self.keeper.sight is not None else 0

    def missing(self) -> list[str]:
        """What keeps the node from serving. A directory that went away after it joined does not: it decides on."""
        missing = [] if self.keeper.joined.is_set() else ["redis"]
        if self.keeper.me.draining:
            missing.append("draining")
        return missing

    async def drain(self, deadline: float) -> None:
        """Hands every shard over while callers wait; requests are passed on meanwhile."""
        await self.keeper.drain(deadline)

    async def stop(self) -> None:
        await self.keeper.leave()
        await self.post.stop()
        await self.directory.stop()

    def _received(self, sender: str, message: m.AnyMessage) -> None:
        if isinstance(message, m.State):
            self.relays.state(sender, message)
        elif isinstance(message, m.Told):
            self.relays.told(sender, message)
        elif isinstance(message, m.Gone):
            self.relays.gone(sender, message)
        else:
            self.host.received(sender, message)

    def _unheard(self, node: str) -> None:
        self.relays.unheard(node)

    def _changed(self) -> None:
        sight = self.keeper.sight
        if sight is not None:
            seen = frozenset(sight.members)
            missed = self._known - seen
            # Who is given up too early may yet do what it was asked, and callers would not hear of it.
            for gone in missed if self.keeper.silence_proves else ():
                self.host.member_gone(gone)
                self.post.gone(gone)
            self._known = seen if self.keeper.silence_proves else seen | missed
        self.switchboard.owners_changed()


class _Desk:
    """The calendars of this node, for others."""

    def __init__(self, runtime: Runtime, switchboard: ClusterSwitchboard) -> None:
        self._runtime = runtime
        self._switchboard = switchboard

    def ask(self, work: Work) -> "asyncio.Future[Outcome]":
        return self._runtime.ask(work)

    @property
    def in_doubt(self) -> bool:
        return self._switchboard.in_doubt

    async def confirm(self, calendar_id: str) -> None:
        await self._switchboard.confirm(calendar_id)

    async def read(self, calendar_id: str, business_id: str, question: Question) -> bytes:
        return await self._switchboard.read_here(calendar_id, business_id, question)

    async def watch(self, key: ViewKey, business_id: str) -> Broadcast:
        return await self._switchboard.watch_here(key, business_id)

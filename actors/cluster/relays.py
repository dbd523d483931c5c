"""Views of calendars that other nodes have: each is followed once, however many watch it here.

    fed ──owner gone, moved, or says so──► unfed ──`Watch` at the owner──► fed
                                             └──the calendar is here now──► (a view of this node)

What is lost on the way is found by its number: at once when the next message comes, within a second when none does.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

from actors.broadcast import Broadcast, ViewKey
from actors.cluster import messages as m
from actors.cluster.ports import Member
from actors.cluster.post import Post, Unanswered, Undelivered
from actors.cluster.replica import Replica
from protocol import limits
from protocol.errors import Refused
from protocol.frames import Frame
from protocol.live import Moved, encode_server

log = logging.getLogger("slotcast.relays")

_PAUSE_FIRST_S: Final = 0.01
_PAUSE_MAX_S: Final = 1.0
_ANSWER_S: Final = 2.0
_SAY_MOVED_S: Final = 0.5
"""After so long without an owner viewers are told that what they see may be behind."""


class Places(Protocol):
    """What the relays ask of the switchboard."""

    def owner_of(self, calendar_id: str) -> Member | None: ...

    async def watch_here(self, key: ViewKey, business_id: str) -> Broadcast: ...


class Relays:
    def __init__(
        self,
        me: str,
        places: Places,
        post: Post,
        spawn: Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"],
    ) -> None:
        self._me = me
        self._places = places
        self._post = post
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._replicas: dict[str, Replica] = {}
        self._feeding: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, list[asyncio.Future[Broadcast]]] = {}
        self.gaps = 0

    def __len__(self) -> int:
        return len(self._replicas)

    @property
    def unfed(self) -> int:
        return sum(not r.fed for r in self._replicas.values())

    async def watch(self, key: ViewKey, business_id: str, deadline: float) -> Broadcast:
        """The view as another node tells it; one of this node when the calendar has come here meanwhile.

        Raises `Refused`.
        """
        replica = self._replicas.get(Replica.id_of(key))
        if replica is None:
            if len(self._replicas) >= limits.replicas_max:
                raise Refused("overloaded", "too many views of other nodes are open")
            replica = Replica(key, business_id)
            self._replicas[replica.id] = replica
        replica.idle_since = self._loop.time()
        if replica.fed:
            return replica
        ready: asyncio.Future[Broadcast] = self._loop.create_future()
        waiting = self._waiting.setdefault(replica.id, [])
        waiting.append(ready)
        self._feed(replica)
        try:
            async with asyncio.timeout_at(deadline):
                return await ready
        except TimeoutError:
            raise Refused("unavailable", "the calendar has no node at the moment") from None
        finally:
            waiting.remove(ready)
            if not waiting and self._waiting.get(replica.id) is waiting:
                del self._waiting[replica.id]

    def adopt(self, view: Broadcast) -> Replica:
        """Who watches a view whose calendar has left goes on watching it from afar, as the replica returned."""
        replica = self._replicas.get(view.id)
        if replica is None:
            replica = Replica.of(view)
            replica.idle_since = self._loop.time()
        elif view.subscribers:
            # The difference to what the replica shows is none to what they have seen.
            replica.adrift = True
        view.gone = True
        view.rehome(replica)
        if replica.subscribers:
            self._replicas[replica.id] = replica
            self._lose(replica)
        return replica

    # What the owner says

    def state(self, sender: str, state: m.State) -> None:
        replica = self._replicas.get(state.view)
        if replica is not None and replica.owner == sender:
            replica.restore(state)

    def told(self, sender: str, told: m.Told) -> None:
        replica = self._replicas.get(told.view)
        if replica is None or replica.owner != sender or not replica.fed:
            return
        if not replica.follow(told):
            self.gaps += 1
            self._post.send(sender, m.Missed(told.view))

    def gone(self, sender: str, gone: m.Gone) -> None:
        for view in gone.views:
            replica = self._replicas.get(view)
            if replica is not None and replica.owner == sender:
                self._lose(replica)

    def unheard(self, node: str) -> None:
        """Nobody is there: what that member told is not news any more."""
        for replica in tuple(self._replicas.values()):
            if replica.fed and replica.owner == node:
                self._lose(replica)

    # Housekeeping

    def owners_changed(self) -> None:
        """The directory shows something new: whoever follows a member that has not got the calendar looks again."""
        for replica in tuple(self._replicas.values()):
            if replica.fed:
                owner = self._places.owner_of(replica.key.calendar_id)
                if owner is None or owner.id != replica.owner:
                    self._lose(replica)

    async def run(self) -> None:
        """Once a second tells every owner what is followed, until cancelled."""
        while True:
            await asyncio.sleep(limits.relay_keep_s)
            self._drop_idle()
            kept: dict[str, dict[str, int]] = {}
            for replica in self._replicas.values():
                if replica.fed:
                    kept.setdefault(replica.owner, {})[replica.id] = replica.number
            for owner, views in kept.items():
                for part in _parts(views):
                    self._post.send(owner, m.Keep(part))

    def _drop_idle(self) -> None:
        limit = self._loop.time() - limits.view_linger_s
        for replica in tuple(self._replicas.values()):
            if not replica.subscribers and replica.idle_since < limit and replica.id not in self._waiting:
                self._forget(replica)

    def _forget(self, replica: Replica) -> None:
        self._drop(replica)
        feeding = self._feeding.pop(replica.id, None)
        if feeding is not None:
            feeding.cancel()

    def _drop(self, replica: Replica) -> None:
        self._replicas.pop(replica.id, None)
        # Whoever was given it and has not joined yet would wait for news in vain.
        replica.gone = True

    # Feeding

    def _lose(self, replica: Replica) -> None:
        replica.fed = False
        self._feed(replica)

    def _feed(self, replica: Replica) -> None:
        if replica.id not in self._feeding:
            self._feeding[replica.id] = self._spawn(self._until_fed(replica), "relay")

    async def _until_fed(self, replica: Replica) -> None:
        started, pause = self._loop.time(), _PAUSE_FIRST_S
        try:
            while not await self._try(replica):
                if not replica.adrift and self._loop.time() - started > _SAY_MOVED_S:
                    replica.adrift = True
                    replica.show(Frame(encode_server(Moved(view=replica.id))))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _PAUSE_MAX_S)
        finally:
            if self._feeding.get(replica.id) is asyncio.current_task():
                del self._feeding[replica.id]

    async def _try(self, replica: Replica) -> bool:
        """Whether the matter is settled: it is followed, it is here, or there is no such view."""
        owner = self._places.owner_of(replica.key.calendar_id)
        try:
            if owner is None:
                return False
            if owner.id == self._me:
                view = await self._places.watch_here(replica.key, replica.business_id)
                if view.gone:
                    return False
                self._come_home(replica, view)
                return True
            replica.owner = owner.id
            await self._post.request(
                owner.id,
                lambda i: m.Watch(i, replica.key, replica.business_id, _ANSWER_S),
                self._loop.time() + _ANSWER_S,
            )
        except (Undelivered, Unanswered):
            return False
        except Refused as refused:
            if refused.kind.may_retry:
                return False
            return self._refuse(replica, refused)
        except Exception:
            log.exception("following view %s failed", replica.id)
            return False
        # The state came before the reply, unless it was lost or the owner has lost the calendar since.
        now = self._places.owner_of(replica.key.calendar_id)
        if not replica.fed or now is None or now.id != owner.id:
            replica.fed = False
            return False
        self._settle(replica, replica)
        if replica.adrift:
            replica.adrift = False
            replica.show(replica.snapshot())
        return True

    def _refuse(self, replica: Replica, refused: Refused) -> bool:
        """Whoever asked hears it. For who watches already, it may be otherwise again: they wait."""
        for ready in self._waiting.pop(replica.id, ()):
            if not ready.done():
                ready.set_exception(refused)
        if replica.subscribers:
            return False
        self._drop(replica)
        return True

    def _settle(self, replica: Replica, view: Broadcast) -> None:
        for ready in self._waiting.pop(replica.id, ()):
            if not ready.done():
                ready.set_result(view)

    def _come_home(self, replica: Replica, view: Broadcast) -> None:
        """The calendar is decided here now."""
        self._drop(replica)
        # Whoever joined the view itself has seen all of it.
        news = view.snapshot() if replica.adrift else replica.difference(view.slots(), view.version)
        moved = replica.rehome(view)
        if news is not None:
            view.show(news, moved)
        self._settle(replica, view)


def _parts(views: Mapping[str, int]) -> list[dict[str, int]]:
    items = list(views.items())
    size = limits.relays_per_message_max
    return [dict(items[i : i + size]) for i in range(0, len(items), size)]

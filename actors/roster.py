"""The calendars in memory: which are active, how they come in, and how they go."""

import asyncio
from collections.abc import Callable, Sequence, Set

from actors.activation import Activation, Waiter
from actors.actor import Actor
from actors.calendar.hours import hours_of
from actors.futures import refuse, settle
from actors.placement import shard_of
from actors.ports import CalendarStore, Loaded
from actors.statistics import Statistics
from actors.watch import Watch
from protocol import limits
from protocol.errors import Refused


class Roster:
    """`hold_ends` is told of every hold that comes in with a calendar: `(instant, calendar_id)`.

    `owns` says whether this node decides for a shard. A calendar of another shard is neither loaded nor taken in.
    """

    def __init__(
        self,
        store: CalendarStore,
        watch: Watch,
        statistics: Statistics,
        hold_ends: Callable[[int, str], None],
        owns: Callable[[int], bool],
        shard_count: int,
    ) -> None:
        self._store = store
        self._watch = watch
        self._statistics = statistics
        self._hold_ends = hold_ends
        self._owns = owns
        self._shard_count = shard_count
        self._loop = asyncio.get_running_loop()
        self._refreshing = asyncio.Lock()
        self.actors: dict[str, Actor] = {}
        self.activation = Activation(store, self._may_load, self._take_in)

    def enqueue(self, calendar_id: str, waiter: Waiter) -> None:
        """Lets `waiter` run when the calendar is loaded; it is told at once when it cannot be, or too many wait."""
        try:
            if not self._owns(shard_of(calendar_id, self._shard_count)):
                raise Refused("moved")
            self.activation.enqueue(calendar_id, waiter)
        except Refused as refused:
            waiter.fail(refused)

    def reload_watched(self) -> None:
        """Tries again where a calendar that is watched could not be loaded anew."""
        for actor in self._watch.watched:
            if actor.stale:
                self.reload_if_watched(actor)

    def reload_if_watched(self, actor: Actor) -> None:
        """Viewers wait for the true state even if nobody asks for it."""
        calendar_id = actor.calendar.id
        if actor.views and not self.activation.awaits(calendar_id):
            deadline = self._loop.time() + limits.request_deadline_s
            self.enqueue(calendar_id, Waiter(lambda: None, lambda _: None, deadline))

    def _may_load(self, calendar_id: str) -> bool:
        actor = self.actors.get(calendar_id)
        return actor is None or actor.pending == 0

    def _take_in(self, loaded: Loaded) -> None:
        now_s = self._loop.time()
        calendar = loaded.calendar
        if loaded.shard != shard_of(calendar.id, self._shard_count):
            raise ValueError(f"the row says shard {loaded.shard} of {self._shard_count}")
        if not self._owns(loaded.shard):
            raise Refused("moved")
        actor = self.actors.get(calendar.id)
        self._statistics.activations += 1
        if actor is None:
            self.actors[calendar.id] = Actor(loaded, now_s)
        elif actor.stale:
            actor.replace_state(loaded)
            self._watch.refresh(actor)
        for held in (calendar.holds or {}).values():
            if held.expires_at:
                self._hold_ends(held.expires_at, calendar.id)

    async def activate(self, calendar_id: str, business_id: str | None, deadline: float) -> Actor:
        """The active actor of a calendar. Raises `Refused`: `not_found` also when it is another business's."""
        while (actor := self.actors.get(calendar_id)) is None or actor.stale:
            if self._loop.time() > deadline:
                raise Refused("deadline_exceeded")
            # It may be stale or gone again by the time this goes on.
            await self._loaded(calendar_id, deadline)
        if business_id is not None and actor.business_id != business_id:
            raise Refused("not_found")
        actor.last_used = self._loop.time()
        return actor

    async def _loaded(self, calendar_id: str, deadline: float) -> None:
        ready: asyncio.Future[bool] = self._loop.create_future()
        waiter = Waiter(lambda: settle(ready, True), lambda refused: refuse(ready, refused), deadline)
        self.enqueue(calendar_id, waiter)
        await ready

    def passivate_idle(self) -> None:
        """Drops actors that nobody uses or watches and that have nothing to wait for.

        Before that, their encoded answers: a day of slots is as large as a calendar.
        """
        now_s = self._loop.time()
        for actor in self.actors.values():
            if actor.answers and actor.last_used < now_s - limits.answers_kept_s:
                actor.answers = None
        limit = now_s - limits.passivate_after_s
        idle = [
            c
            for c, a in self.actors.items()
            if a.last_used < limit and not (a.pending or a.views or a.parked or a.calendar.holds)
        ]
        for calendar_id in idle:
            del self.actors[calendar_id]
        self._statistics.passivations += len(idle)

    def distrust(self, shards: Set[int]) -> None:
        """Decides nothing more on what is in memory, or on its way there, of the calendars of these shards."""
        for actor in self.actors.values():
            if actor.shard in shards:
                actor.stale = True
        self.activation.refuse(lambda c: shard_of(c, self._shard_count) in shards, Refused("moved"))

    def forget(self, shards: Set[int]) -> Set[str]:
        """Drops the calendars of shards that are not this node's any more, whoever watches them."""
        gone = [a for a in self.actors.values() if a.shard in shards]
        for actor in gone:
            del self.actors[actor.calendar.id]
            self._watch.forget(actor)
        return {a.calendar.id for a in gone}

    async def refresh_services(self, calendar_ids: Sequence[str]) -> None:
        """Takes in changed terms of service for those of the calendars that are active."""
        self.activation.load_again(calendar_ids)
        # One after the other, so that an older answer never comes after a newer one.
        async with self._refreshing:
            active = [c for c in calendar_ids if c in self.actors]
            for i in range(0, len(active), limits.activation_batch_max):
                found = await self._store.terms_of(active[i : i + limits.activation_batch_max])
                for calendar_id, terms in found.items():
                    actor = self.actors.get(calendar_id)
                    if actor is not None:
                        actor.calendar.services = terms.services
                        actor.calendar.location_id = terms.location_id
                        actor.calendar.hours = hours_of(actor.calendar.hours.schedule, terms.holidays)
                        actor.answers = None
                        self._watch.refresh(actor)

    def load_anew(self, calendar_ids: Sequence[str]) -> None:
        """For what changed behind their backs: the calendars are loaded anew before they answer again, or are gone."""
        self.activation.load_again(calendar_ids)
        for calendar_id in calendar_ids:
            actor = self.actors.get(calendar_id)
            if actor is not None:
                actor.stale = True

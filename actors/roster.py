"""The calendars in memory: which are active, how they come in, and how they go."""

import asyncio
from collections.abc import Callable, Sequence

from actors.activation import Activation, Waiter
from actors.actor import Actor
from actors.futures import refuse, settle
from actors.ports import CalendarStore, Loaded
from actors.statistics import Statistics
from actors.watch import Watch
from protocol import limits
from protocol.errors import Refused


class Roster:
    """`hold_ends` is told of every hold that comes in with a calendar: `(instant, calendar_id)`."""

    def __init__(
        self, store: CalendarStore, watch: Watch, statistics: Statistics, hold_ends: Callable[[int, str], None]
    ) -> None:
        self._store = store
        self._watch = watch
        self._statistics = statistics
        self._hold_ends = hold_ends
        self._loop = asyncio.get_running_loop()
        self._refreshing = asyncio.Lock()
        self.actors: dict[str, Actor] = {}
        self.activation = Activation(store, self._may_load, self._take_in)

    def enqueue(self, calendar_id: str, waiter: Waiter) -> None:
        """Lets `waiter` run when the calendar is loaded; it is told at once when too many wait."""
        try:
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
        actor = self.actors.get(calendar.id)
        self._statistics.activations += 1
        if actor is None:
            self.actors[calendar.id] = Actor(loaded, now_s)
        elif actor.stale:
            actor.replace_state(loaded)
            self._watch.refresh(actor)
        for held in (calendar.holds or {}).values():
            self._hold_ends(held.expires_at, calendar.id)

    async def activate(self, calendar_id: str, business_id: str | None, deadline: float) -> Actor:
        """The active actor of a calendar. Raises `Refused`: `not_found` also when it is another business's."""
        actor = self.actors.get(calendar_id)
        if actor is None or actor.stale:
            ready: asyncio.Future[bool] = self._loop.create_future()
            self.enqueue(
                calendar_id,
                Waiter(lambda: settle(ready, True), lambda refused: refuse(ready, refused), deadline),
            )
            await ready
            actor = self.actors.get(calendar_id)
        if actor is None or (business_id is not None and actor.business_id != business_id):
            raise Refused("not_found")
        actor.last_used = self._loop.time()
        return actor

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

    async def refresh_services(self, calendar_ids: Sequence[str]) -> None:
        """Takes in changed terms of service for those of the calendars that are active."""
        self.activation.load_again(calendar_ids)
        # One after the other, so that an older answer never comes after a newer one.
        async with self._refreshing:
            active = [c for c in calendar_ids if c in self.actors]
            for i in range(0, len(active), limits.activation_batch_max):
                found = await self._store.services_of(active[i : i + limits.activation_batch_max])
                for calendar_id, services in found.items():
                    actor = self.actors.get(calendar_id)
                    if actor is not None:
                        actor.calendar.services = services
                        actor.answers = None
                        self._watch.refresh(actor)

    def load_anew(self, calendar_ids: Sequence[str]) -> None:
        """For what changed behind their backs: the calendars are loaded anew before they answer again, or are gone."""
        self.activation.load_again(calendar_ids)
        for calendar_id in calendar_ids:
            actor = self.actors.get(calendar_id)
            if actor is not None:
                actor.stale = True

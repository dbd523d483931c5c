"""Where requests about calendars go in: commands, questions, and who wants to watch.

Here every calendar is this node's own; `actors.cluster.switchboard` knows those of other nodes too. Callers
cannot tell.
"""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Final

import msgspec

from actors.broadcast import Broadcast, Sink, ViewKey
from actors.ports import CalendarStore, Outcome, Work
from actors.questions import Question, Zone
from actors.runtime import Runtime
from protocol import limits
from protocol.errors import Refused

_WATCH_TRIES: Final = 3
_BUSINESSES_KNOWN_MAX: Final = 200_000
answered_by: ContextVar[str] = ContextVar("answered_by", default="")
"""The name of the node that the request at hand was passed on to."""

_decode_text = msgspec.json.Decoder(str).decode


class Switchboard:
    certain_until = float("inf")
    """Until when, on the loop's clock, this node may answer from memory without asking whether it still may."""

    def __init__(self, runtime: Runtime, store: CalendarStore) -> None:
        self._runtime = runtime
        self._store = store
        self._loop = asyncio.get_running_loop()
        # Calendars never change hands, so what was seen once stays true until they are gone.
        self._businesses: dict[str, str] = {}

    async def ask(self, work: Work) -> Outcome:
        """What became of a command; as `Runtime.ask`."""
        return await self._runtime.ask(work)

    async def read(self, calendar_id: str, business_id: str, question: Question) -> bytes:
        """The encoded answer, never ahead of the database. Raises `Refused`: `not_found` for another business's."""
        actor = await self._runtime.roster.activate(calendar_id, business_id, self._deadline())
        return await self._runtime.reader.read(actor, question)

    async def watch(self, key: ViewKey, business_id: str) -> Broadcast:
        """The view, ready to be shown and joined: nothing in it rests on what is not committed."""
        for _ in range(_WATCH_TRIES):
            actor = await self._runtime.roster.activate(key.calendar_id, business_id, self._deadline())
            view = self._runtime.watch.open(actor, key)
            view.business_id = business_id
            if await self._runtime.reader.settled(actor, actor.calendar.version):
                return view
        raise Refused("unavailable")

    def join(self, view: Broadcast, sink: Sink) -> Broadcast:
        """The view that is joined: another one that stands for it, when it has gone since it was asked for."""
        view.join(sink)
        return view

    def leave(self, view: Broadcast, sink: Sink) -> None:
        view.leave(sink)
        if not view.subscribers:
            view.idle_since = self._loop.time()

    async def time_zone(self, calendar_id: str, business_id: str) -> str:
        return _decode_text(await self.read(calendar_id, business_id, Zone()))

    async def business_of(self, calendar_id: str) -> str:
        """Whose calendar it is. Raises `Refused(not_found)`."""
        actor = self._runtime.roster.actors.get(calendar_id)
        fresh = actor is not None and not actor.stale
        known = actor.business_id if actor is not None and fresh else self._businesses.get(calendar_id)
        if known is None:
            known = await self._store.business_of(calendar_id)
            if known is None:
                raise Refused("not_found")
            if len(self._businesses) >= _BUSINESSES_KNOWN_MAX:
                self._businesses.clear()
            self._businesses[calendar_id] = known
        return known

    def forget(self, calendar_ids: Sequence[str]) -> None:
        """They may be there no longer."""
        for calendar_id in calendar_ids:
            self._businesses.pop(calendar_id, None)

    async def require(self, calendar_id: str, business_id: str) -> None:
        """Raises `Refused(not_found)` for a calendar that is not the business's."""
        if await self.business_of(calendar_id) != business_id:
            raise Refused("not_found")

    def _deadline(self) -> float:
        return self._loop.time() + limits.request_deadline_s

"""Whoever waits for an opening gets it, in the order they came.

When time is freed in a calendar, the first entry that fits gets a hold of its own, an ordinary one that everybody
sees; so there is nothing left for the next. What is not booked by the hold's end goes to the next entry the same
way. Commits wake it; a look at everything now and then finds what a crash has left.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from typing import Any, Final, Protocol

import msgspec

from actors.calendar import commands as cmd
from actors.inquiries import FirstOpen
from actors.ports import Caller, Outcome, Work
from actors.runtime import Runtime
from protocol import events as ev
from protocol import limits
from protocol.errors import Refused
from protocol.ids import new_id
from protocol.times import MINUTE, SECOND
from protocol.waitlist import holder_of

log = logging.getLogger("slotcast.waitlist")

_EVERY_S: Final = 15.0
_CALENDARS_AT_ONCE_MAX: Final = 500
_ENTRIES_AT_ONCE_MAX: Final = 500
_CLAIM_S: Final = 30
_BY: Final = "system:waitlist"

_decode = msgspec.json.Decoder(tuple[int, int] | None).decode


class Queries(Protocol):
    async def fetch(self, query: str, *args: object) -> Sequence[Any]: ...
    async def row(self, query: str, *args: object) -> Any: ...
    async def value(self, query: str, *args: object) -> Any: ...


class Waitlist:
    def __init__(self, database: Queries, runtime: Runtime, ttl_s: int) -> None:
        self._database = database
        self._runtime = runtime
        self._ttl = ttl_s * SECOND
        self._freed: set[str] = set()
        self._woken = asyncio.Event()
        runtime.on_freed = self.wake

    def wake(self, calendar_ids: Collection[str]) -> None:
        """Something was freed there, or somebody has begun to wait."""
        self._freed.update(calendar_ids)
        self._woken.set()

    async def run(self) -> None:
        """Works until cancelled; what could not be done now is found again at the next look."""
        while True:
            try:
                async with asyncio.timeout(_EVERY_S):
                    await self._woken.wait()
            except TimeoutError:
                self._freed.clear()
                await self._guarded(None)
                continue
            self._woken.clear()
            freed, self._freed = self._freed, set()
            await self._guarded(freed)

    async def _guarded(self, calendar_ids: Collection[str] | None) -> None:
        try:
            await self.once(calendar_ids)
        except Refused as refused:
            log.warning("the waitlist was put off: %s", refused.code)
        except Exception:
            log.exception("the waitlist failed")

    async def once(self, calendar_ids: Collection[str] | None = None) -> None:
        """Offers what is open in these calendars, or in all that somebody waits for, as far as they are this node's."""
        owned = list(self._runtime.owned)
        await self._database.fetch("settle_offers", owned, _ENTRIES_AT_ONCE_MAX)
        await self._database.fetch("booked_otherwise", _ENTRIES_AT_ONCE_MAX)
        await self._database.fetch("end_past_entries", _ENTRIES_AT_ONCE_MAX)
        only = None if calendar_ids is None else list(calendar_ids)
        found = await self._database.fetch("calendars_waited_for", owned, only, _CALENDARS_AT_ONCE_MAX)
        for row in found:
            try:
                await self._serve(row["calendar_id"], row["business_id"])
            except Refused as refused:
                log.warning("cannot serve who waits for calendar %s: %s", row["calendar_id"], refused.code)

    async def _serve(self, calendar_id: str, business_id: str) -> None:
        entries = await self._database.fetch("waiting_for", business_id, calendar_id, _ENTRIES_AT_ONCE_MAX)
        nothing: set[tuple[object, ...]] = set()
        for e in entries:
            # Where the first found nothing, the others who ask for the same need not look.
            asked = (e["service_id"], e["from_us"], e["to_us"], e["attendees"], e["duration_minutes"])
            if asked in nothing:
                continue
            if not await self._offer(calendar_id, business_id, e):
                nothing.add(asked)

    async def _offer(self, calendar_id: str, business_id: str, entry: Any) -> bool:
        """Whether there was something for it."""
        opening = await self._opening(calendar_id, business_id, entry)
        if opening is None and await self._database.row("hold_of_entry", entry["id"]) is None:
            return False
        if await self._database.value("claim_entry", entry["id"], _CLAIM_S) is None:
            return True
        earlier = await self._database.row("hold_of_entry", entry["id"])
        held = tuple(earlier) if earlier else await self._hold(calendar_id, business_id, entry, opening or (0, 0))
        if held is None:
            await self._database.fetch("give_entry_back", entry["id"])
            return False
        if await self._database.value("offer_entry", entry["id"], *held) is None:
            # It has left meanwhile.
            await self._release(calendar_id, business_id, held[0])
        return True

    async def _opening(self, calendar_id: str, business_id: str, e: Any) -> tuple[int, int] | None:
        question = FirstOpen(e["service_id"], e["from_us"], e["to_us"], _duration(e), e["attendees"])
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limits.request_deadline_s
        actor = await self._runtime.roster.activate(calendar_id, business_id, deadline)
        return _decode(await self._runtime.reader.read(actor, question))

    async def _hold(
        self, calendar_id: str, business_id: str, e: Any, opening: tuple[int, int]
    ) -> tuple[str, str, int, int, int] | None:
        hold = cmd.Hold(
            new_id(),
            e["service_id"],
            opening[0],
            holder_of(e["id"]),
            self._ttl,
            e["attendees"],
            e["client_id"],
            _duration(e),
        )
        outcome = await self._ask(calendar_id, business_id, hold)
        placed = outcome.event
        if not isinstance(placed, ev.HoldPlaced):
            return None
        return placed.id, calendar_id, placed.start, placed.start + placed.duration, placed.expires_at

    async def _release(self, calendar_id: str, business_id: str, hold_id: str) -> None:
        await self._ask(calendar_id, business_id, cmd.Release(hold_id))

    async def _ask(self, calendar_id: str, business_id: str, command: cmd.Command) -> Outcome:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        caller = Caller(business_id, _BY, new_id())
        deadline = loop.time() + limits.request_deadline_s
        return await self._runtime.ask(Work(calendar_id, command, caller, future, deadline))


def _duration(entry: Any) -> int:
    return (entry["duration_minutes"] or 0) * MINUTE

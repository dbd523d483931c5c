"""Whoever waits for an opening gets it, in the order they came.

When time is freed in a calendar, the first entry that fits gets a hold of its own, an ordinary one that everybody
sees; so there is nothing left for the next. What is not booked by the hold's end goes to the next entry the same
way. Commits wake it; a look at everything now and then finds what a crash has left.
"""

import asyncio
import logging
from bisect import bisect_left
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final, Protocol

import msgspec

from actors.calendar import commands as cmd
from actors.inquiries import FindOpenings, Openings
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

_What = tuple[str, int | None]
"""A service, and one of its durations."""

_decode = msgspec.json.Decoder(Openings).decode


class Queries(Protocol):
    async def fetch(self, query: str, *args: object) -> Sequence[Any]: ...
    async def row(self, query: str, *args: object) -> Any: ...
    async def value(self, query: str, *args: object) -> Any: ...


class Look:
    """What is open of one service, for all who wait for it."""

    def __init__(self, from_us: int, openings: Openings) -> None:
        self._from_us = from_us
        self._openings = openings

    def covers(self, e: Any) -> bool:
        return self._from_us <= e["from_us"] and e["to_us"] <= self._openings.until

    def first(self, e: Any) -> tuple[int, int] | None:
        """The first that fits, with its end; far ahead of what one look takes in there may be others."""
        found = self._openings.found
        for start, end, places in islice(found, bisect_left(found, (e["from_us"],)), None):
            if start >= e["to_us"]:
                break
            if places >= e["attendees"]:
                return start, end
        return None


class Waitlist:
    def __init__(self, database: Queries, runtime: Runtime, ttl_s: int) -> None:
        self._database = database
        self._runtime = runtime
        self._ttl = ttl_s * SECOND
        self._freed: set[str] = set()
        self._reached: str | None = None
        """Up to which calendar the looks at everything have come, where there are too many for one."""
        self._woken = asyncio.Event()
        runtime.on_freed = self.wake

    def wake(self, calendar_ids: Collection[str]) -> None:
        """Something was freed there, or somebody has begun to wait."""
        self._freed.update(calendar_ids)
        self._woken.set()

    async def run(self) -> None:
        """Works until cancelled; what could not be done now is found again at the next look."""
        loop = asyncio.get_running_loop()
        next_look = loop.time() + _EVERY_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(next_look):
                    await self._woken.wait()
            self._woken.clear()
            freed, self._freed = self._freed, set()
            if freed:
                await self._guarded(freed)
            if loop.time() >= next_look:
                await self._guarded(None)
                next_look = loop.time() + _EVERY_S

    async def _guarded(self, calendar_ids: Collection[str] | None) -> None:
        try:
            await self.once(calendar_ids)
        except Refused as refused:
            log.warning("the waitlist was put off: %s", refused.code)
        except Exception:
            log.exception("the waitlist failed")

    async def once(self, calendar_ids: Collection[str] | None = None) -> None:
        """Offers what is open in these calendars, or in all that somebody waits for, as far as they are this node's.
        Of very many, some are looked at now and the others the next time.
        """
        fetch, owned = self._database.fetch, list(self._runtime.owned)
        if calendar_ids is None:
            only = None
            await fetch("end_past_entries", _ENTRIES_AT_ONCE_MAX)
            found = await fetch("calendars_waited_for", owned, self._reached, _CALENDARS_AT_ONCE_MAX)
            self._reached = found[-1]["calendar_id"] if len(found) == _CALENDARS_AT_ONCE_MAX else None
        else:
            only = list(calendar_ids)
            found = await fetch("waited_for_among", owned, only, _CALENDARS_AT_ONCE_MAX)
            if not found:
                return
        await fetch("settle_offers", owned, only, _ENTRIES_AT_ONCE_MAX)
        await fetch("booked_otherwise", sorted({row["business_id"] for row in found}), _ENTRIES_AT_ONCE_MAX)
        for row in found:
            try:
                await self._serve(row["calendar_id"], row["business_id"])
            except Refused as refused:
                log.warning("cannot serve who waits for calendar %s: %s", row["calendar_id"], refused.code)

    async def _serve(self, calendar_id: str, business_id: str) -> None:
        entries = await self._database.fetch("waiting_for", business_id, calendar_id, _ENTRIES_AT_ONCE_MAX)
        reach: dict[_What, int] = {}
        for e in entries:
            reach[_what(e)] = max(reach.get(_what(e), 0), e["to_us"])
        looks: dict[_What, Look] = {}
        for e in entries:
            # Who claimed it may have placed a hold for it and not got to say so.
            earlier = await self._database.row("hold_of_entry", e["id"]) if e["claimed"] else None
            opening = None
            if earlier is None:
                look = looks.get(_what(e))
                if look is None or not look.covers(e):
                    look = looks[_what(e)] = await self._look(calendar_id, business_id, e, reach[_what(e)])
                opening = look.first(e)
                if opening is None:
                    continue
            if await self._offer(calendar_id, business_id, e, opening, earlier):
                # What is held now is open no more, nor is what its buffers touch.
                looks.clear()

    async def _offer(
        self, calendar_id: str, business_id: str, entry: Any, opening: tuple[int, int] | None, earlier: Any
    ) -> bool:
        """Whether it took something, or found it taken."""
        if await self._database.value("claim_entry", entry["id"], _CLAIM_S) is None:
            return False
        held = tuple(earlier) if earlier else await self._hold(calendar_id, business_id, entry, opening or (0, 0))
        if held is None:
            await self._database.fetch("give_entry_back", entry["id"])
        elif await self._database.value("offer_entry", entry["id"], *held) is None:
            # It has left meanwhile, or another node has something for it.
            await self._release(held[1], business_id, held[0])
        return True

    async def _look(self, calendar_id: str, business_id: str, e: Any, to_us: int) -> "Look":
        # Between two looks others have their turn.
        await asyncio.sleep(0)
        question = FindOpenings(e["service_id"], e["from_us"], to_us, _duration(e))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limits.request_deadline_s
        actor = await self._runtime.roster.activate(calendar_id, business_id, deadline)
        return Look(e["from_us"], _decode(await self._runtime.reader.read(actor, question)))

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


def _what(entry: Any) -> _What:
    return entry["service_id"], entry["duration_minutes"]


def _duration(entry: Any) -> int:
    return (entry["duration_minutes"] or 0) * MINUTE

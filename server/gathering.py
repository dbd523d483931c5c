"""One request's way through the steps of docs/meetings.md: a hold in the leading calendar, then parts in the others."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from actors.calendar import commands as cmd
from actors.calendar.refusal import Refusal
from actors.ports import NO_DETAILS, Caller, Details, IdempotencyKey, Outcome, StoredOutcome, Work
from actors.questions import FreeAt, OpenStarts, Question
from actors.runtime import Runtime
from actors.switchboard import Switchboard
from protocol import events as ev
from protocol import limits
from protocol.errors import Refused
from protocol.ids import booking_code, new_id
from server.lineups import Lineup, Wanted, choose
from storage.meetings import Became

_ELSEWHERE: Final = frozenset(
    {"slot_unavailable", "cap_reached", "outside_hours", "off_grid", "service_not_offered", "hold_gone"}
)
"""Refusals that another line-up may not meet."""
_SETTLING_S: Final = 3.0


class Taken(msgspec.Struct, frozen=True):
    """A hold of everything that a meeting needs."""

    calendar_id: str
    held: ev.HoldPlaced
    version: int


class Gathering:
    """`order` are the professionals who may be asked, the one whose turn it is first."""

    def __init__(
        self,
        runtime: Runtime,
        switchboard: Switchboard,
        caller: Caller,
        key: IdempotencyKey | None,
        wanted: Wanted,
        order: Sequence[str] = (),
    ) -> None:
        self._runtime = runtime
        self._switchboard = switchboard
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + limits.request_deadline_s
        self._caller = caller
        self._wanted = wanted
        self._order = order
        self._busy: set[str] = set()
        self.key = key

    async def ask(
        self,
        calendar_id: str,
        command: cmd.Command,
        key: IdempotencyKey | None = None,
        details: Details = NO_DETAILS,
    ) -> Outcome:
        return await self._ask(calendar_id, command, self._until, key, details)

    async def _ask(
        self, calendar_id: str, command: cmd.Command, until: float, key: IdempotencyKey | None, details: Details
    ) -> Outcome:
        future: asyncio.Future[Outcome] = self._loop.create_future()
        return await self._switchboard.ask(Work(calendar_id, command, self._caller, future, until, key, details))

    async def decided(self) -> StoredOutcome | None:
        """What was decided under the request's key before."""
        return await self._runtime.stored_at(self.key) if self.key is not None else None

    async def gather(self, hold: cmd.Hold) -> Taken | Refusal:
        """Everything, held; or why it cannot be had, by who was asked last. `hold` is what to ask, but for id and
        parts.
        """
        refusal: Refusal | None = None
        for number in range(1, limits.lineups_tried_max + 1):
            found = await self._resumed(number)
            if found is None:
                lineup = await self._lineup()
                if lineup is None and (refusal is None or refusal.code == "hold_gone"):
                    # Nobody is free; why, a calendar knows best.
                    lineup = self._any_lineup()
                if lineup is None:
                    break
                found = await self._take(number, lineup, hold)
            if isinstance(found, Taken):
                return found
            refusal = found
            if refusal.code not in _ELSEWHERE:
                break
        if refusal is None or refusal.code == "hold_gone":
            return Refusal("slot_unavailable", "not everybody and everything needed can be had then")
        return refusal

    async def give_up(self, taken: Taken) -> None:
        """Lets go of what is held. Only whoever has ended the leading hold may end its parts; else the tender will."""
        with contextlib.suppress(Refused):
            until = self._loop.time() + _SETTLING_S
            outcome = await self._ask(taken.calendar_id, cmd.Release(taken.held.id), until, None, NO_DETAILS)
            if outcome.refusal is None:
                await self.settle(taken.held.parts, "gone")

    async def settle(self, parts: Sequence[ev.Part], became: Became) -> None:
        """Tells the parts. What cannot be told now, the tender tells soon."""
        until = self._loop.time() + _SETTLING_S
        await asyncio.gather(*(self._settle(part, became, until) for part in parts))

    async def _settle(self, part: ev.Part, became: Became, until: float) -> None:
        with contextlib.suppress(Refused):
            await self._ask(part.calendar_id, cmd.Settle(part.id, booking_code(), became), until, None, NO_DETAILS)

    # Attempts

    def _key(self, number: int) -> IdempotencyKey | None:
        """Of one attempt's first hold. A blank, which no caller's key has, keeps it apart from theirs."""
        if self.key is None:
            return None
        return msgspec.structs.replace(self.key, key=f"{self.key.key} {number}")

    async def _resumed(self, number: int) -> Taken | Refusal | None:
        """What an earlier run of this request has come to in that attempt."""
        key = self._key(number)
        stored = await self._runtime.stored_at(key) if key is not None else None
        if stored is None:
            return None
        if stored.outcome.refusal is not None:
            self._busy.add(stored.calendar_id)
            return stored.outcome.refusal
        return await self._resume(stored)

    async def _resume(self, stored: StoredOutcome) -> Taken | Refusal:
        held = stored.outcome.event
        assert isinstance(held, ev.HoldPlaced)
        taken = Taken(stored.calendar_id, held, stored.outcome.version)
        outcome = await self.ask(taken.calendar_id, cmd.CheckHold(held.id))
        return outcome.refusal or await self._fill(taken)

    async def _take(self, number: int, lineup: Lineup, hold: cmd.Hold) -> Taken | Refusal:
        hold_id, key = new_id(), self._key(number)
        command = msgspec.structs.replace(
            hold,
            id=hold_id,
            holder=hold_id if hold.holder == hold.id else hold.holder,
            parts=tuple(ev.Part(c, new_id()) for c in lineup.others),
        )
        outcome = await self._ask_for_time(lineup.leader, command, key)
        if outcome.refusal is not None:
            self._busy.add(lineup.leader)
            return outcome.refusal
        held = outcome.event
        assert isinstance(held, ev.HoldPlaced)
        if held.id == hold_id:
            return await self._fill(Taken(lineup.leader, held, outcome.version))
        # The same request runs elsewhere too, and was faster.
        stored = await self._runtime.stored_at(key) if key is not None else None
        assert stored is not None
        return await self._resume(stored)

    async def _fill(self, taken: Taken) -> Taken | Refusal:
        """Takes the parts of what the leader has held, in their order."""
        held = taken.held
        try:
            for part in held.parts:
                command = cmd.HoldPart(
                    part.id, taken.calendar_id, held.service_id, held.start, held.duration, held.before, held.after,
                    held.places,
                )  # fmt: skip
                outcome = await self._ask_for_time(part.calendar_id, command, None)
                if outcome.refusal is not None:
                    self._busy.add(part.calendar_id)
                    await self.give_up(taken)
                    return outcome.refusal
        except Refused as refused:
            if self.key is None:
                # Nobody will go on with it.
                await self.give_up(taken)
            if refused.code == "unknown_outcome":
                raise Refused("unavailable", "a calendar of the meeting cannot be reached") from None
            raise
        return taken

    async def _ask_for_time(self, calendar_id: str, command: cmd.Command, key: IdempotencyKey | None) -> Outcome:
        try:
            return await self.ask(calendar_id, command, key)
        except Refused as refused:
            if refused.code != "not_found":
                raise
            return Outcome(0, 0, refusal=Refusal("service_not_offered", "a calendar of the meeting is gone"))

    # Line-ups

    async def _lineup(self) -> Lineup | None:
        """Of those who say that they are free now."""
        wanted, team = self._wanted, self._wanted.team
        named = wanted.professional_ids
        asked = [p for p in (named if len(named) >= team.needed else self._order) if p not in self._busy]
        start, duration = wanted.start, wanted.duration or team.duration
        opens = OpenStarts(team.service_id, start, start + 1, wanted.duration)
        free_at = FreeAt((start,), duration, team.before, team.after, team.service_id)
        resources = sorted(team.resource_ids - self._busy)
        leads, fits, free = await asyncio.gather(
            self._saying_yes(asked, opens),
            self._saying_yes(asked if team.needed > 1 else (), free_at),
            self._saying_yes(resources, free_at),
        )
        return choose(wanted, [p for p in self._order if p in asked], leads, fits, free)

    def _any_lineup(self) -> Lineup | None:
        order = [p for p in self._order if p not in self._busy]
        return choose(self._wanted, order, order, order, self._wanted.team.resource_ids - self._busy)

    async def _saying_yes(self, calendar_ids: Sequence[str], question: Question) -> set[str]:
        answers = await asyncio.gather(*(self._answer(c, question) for c in calendar_ids))
        return {c for c, answer in zip(calendar_ids, answers, strict=True) if answer}

    async def _answer(self, calendar_id: str, question: Question) -> list[Any]:
        try:
            return _decode(await self._switchboard.read(calendar_id, self._caller.business_id, question))
        except Refused:
            return []


_decode: Final = msgspec.json.Decoder(list[Any]).decode

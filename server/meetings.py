"""Meetings of several calendars, and bookings for which a professional is found: docs/meetings.md, carried out."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from actors.calendar import commands as cmd
from actors.calendar.refusal import Refusal
from actors.ports import Caller, Clock, Details, IdempotencyKey, Outcome
from actors.runtime import Runtime
from actors.switchboard import Switchboard
from protocol import events as ev
from protocol import limits
from protocol.errors import Refused
from protocol.times import SECOND
from server.gathering import Gathering, Taken
from server.joined import nearest
from server.lineups import Wanted
from server.outcomes import refused_by_calendar
from storage import meetings
from storage.meetings import Became, Team
from storage.postgres import Database

_BECAME: Final[dict[str, Became]] = {
    "pending": "booked", "confirmed": "booked", "completed": "completed", "no_show": "completed",
}  # fmt: skip


class Asked(msgspec.Struct, frozen=True):
    """For whom, under which key, and whom the caller may book (`None`: everybody); one of those takes part."""

    caller: Caller
    key: IdempotencyKey | None
    reachable: frozenset[str] | None


class Met(msgspec.Struct, frozen=True):
    """What was decided, in which calendar, and what it takes up in others."""

    calendar_id: str
    outcome: Outcome
    parts: tuple[ev.Part, ...] = ()
    held: ev.HoldPlaced | None = None


class Meetings:
    def __init__(self, runtime: Runtime, switchboard: Switchboard, database: Database, clock: Clock) -> None:
        self._runtime = runtime
        self._switchboard = switchboard
        self._database = database
        self._clock = clock

    async def hold(self, asked: Asked, wanted: Wanted, hold: cmd.Hold) -> Met:
        """Raises `Refused`."""
        way = await self._way(asked, wanted)
        if (earlier := await self._earlier(way)) is not None:
            return earlier
        taken = await way.gather(hold)
        if isinstance(taken, Refusal):
            return await self._refuse(way, asked, wanted, taken)
        outcome = await way.ask(taken.calendar_id, cmd.CheckHold(taken.held.id), asked.key)
        if outcome.refusal is not None or outcome.about not in ("", taken.held.id):
            return await self._outdone(way, taken, outcome)
        return Met(taken.calendar_id, outcome, taken.held.parts, taken.held)

    async def book(self, asked: Asked, wanted: Wanted, book: cmd.Book, details_of: Callable[[str], Details]) -> Met:
        """`details_of` makes what the row keeps, from the booking's id. Raises `Refused`."""
        way = await self._way(asked, wanted)
        if (earlier := await self._earlier(way)) is not None:
            return earlier
        hold = cmd.Hold(
            book.id, book.service_id, book.start, book.id, limits.gathering_ttl_s * SECOND, book.places,
            book.client_id, book.duration, book.marks,
        )  # fmt: skip
        taken = await way.gather(hold)
        if isinstance(taken, Refusal):
            return await self._refuse(way, asked, wanted, taken)
        command = msgspec.structs.replace(book, hold_id=taken.held.id)
        outcome = await way.ask(taken.calendar_id, command, asked.key, details_of(taken.held.id))
        if not isinstance(outcome.event, ev.Booked) or outcome.event.id != taken.held.id:
            return await self._outdone(way, taken, outcome)
        await way.settle(taken.held.parts, "booked")
        return Met(taken.calendar_id, outcome, taken.held.parts)

    async def move(
        self,
        asked: Asked,
        wanted: Wanted,
        hold: cmd.Hold,
        command: cmd.Reschedule,
        parts: Sequence[ev.Part],
        from_start: int,
    ) -> Outcome:
        """Into a hold of everything at the new time; `parts` are those of the old one. Raises `Refused`."""
        assert wanted.leader is not None
        way = await self._way(asked, wanted)
        if (earlier := await self._earlier(way)) is not None:
            return earlier.outcome
        team = wanted.team
        if abs(wanted.start - from_start) < (wanted.duration or team.duration) + team.before + team.after:
            # It would stand in its own way: old and new time are taken together for a moment.
            taken: Taken | Refusal = Refusal(
                "slot_unavailable", "a meeting of several calendars moves only to a time clear of the one it has"
            )
        else:
            taken = await way.gather(hold)
        if isinstance(taken, Refusal):
            return (await self._refuse(way, asked, wanted, taken)).outcome
        command = msgspec.structs.replace(command, hold_id=taken.held.id)
        outcome = await way.ask(taken.calendar_id, command, asked.key)
        if not isinstance(outcome.event, ev.Rescheduled) or outcome.event.parts != taken.held.parts:
            return (await self._outdone(way, taken, outcome)).outcome
        await way.settle(parts, "gone")
        await way.settle(taken.held.parts, "booked")
        return outcome

    async def follow(self, caller: Caller, reservation_id: str, before: Sequence[ev.Part] = ()) -> tuple[ev.Part, ...]:
        """Lets the parts of a meeting become what it has become. `before` are those that it had. Its parts now."""
        led = await meetings.led(self._database, reservation_id)
        parts = led.parts if led is not None else ()
        way = Gathering(self._runtime, self._switchboard, caller, None, _NOTHING)
        if led is not None and led.status != "held":
            await way.settle(parts, _BECAME.get(led.status, "gone"))
        await way.settle([p for p in before if p not in parts], "gone")
        return parts

    async def _way(self, asked: Asked, wanted: Wanted) -> Gathering:
        order = list(wanted.professional_ids)
        if len(order) < wanted.team.needed:
            if len(wanted.team.professional_ids) > limits.professionals_per_service_max:
                raise Refused("limit_reached", "too many professionals offer this service; name one")
            order = await meetings.by_turn(self._database, wanted.team, wanted.start)
        if asked.reachable is not None and not asked.reachable.intersection(wanted.professional_ids):
            order = [p for p in order if p in asked.reachable]
        return Gathering(self._runtime, self._switchboard, asked.caller, asked.key, wanted, order)

    async def _earlier(self, way: Gathering) -> Met | None:
        """What was decided under the same key. Raises `Refused` where that was a refusal."""
        stored = await way.decided()
        if stored is None:
            return None
        outcome = stored.outcome
        if outcome.refusal is not None:
            raise _refused(outcome.refusal)
        event = outcome.event
        id_ = outcome.about if event is None else getattr(event, "id", "")
        held = await meetings.hold_as_placed(self._database, stored.calendar_id, id_)
        return Met(stored.calendar_id, outcome, held.parts if held is not None else (), held)

    async def _outdone(self, way: Gathering, taken: Taken, outcome: Outcome) -> Met:
        """The calendar refuses after all, or the same request has come to its end elsewhere."""
        await way.give_up(taken)
        if outcome.refusal is not None:
            raise _refused(outcome.refusal)
        earlier = await self._earlier(way)
        assert earlier is not None
        return earlier

    async def _refuse(self, way: Gathering, asked: Asked, wanted: Wanted, refusal: Refusal) -> Met:
        """Raises `Refused`, and keeps it under the key; unless the same request was carried out elsewhere."""
        if refusal.code in ("slot_unavailable", "cap_reached", "outside_hours", "off_grid"):
            business_id = asked.caller.business_id
            near = await nearest(self._switchboard, business_id, wanted, self._clock.now_us())
            refusal = msgspec.structs.replace(refusal, alternatives=near)
        where = wanted.leader or next(iter((*wanted.professional_ids, *wanted.team.professional_ids)), None)
        if asked.key is not None and where is not None:
            command = cmd.Refuse(refusal.code, refusal.detail, refusal.alternatives, refusal.retry_at)
            outcome = await way.ask(where, command, asked.key)
            if outcome.refusal is None:
                earlier = await self._earlier(way)
                assert earlier is not None
                return earlier
            refusal = outcome.refusal
        raise _refused(refusal)


_NOTHING: Final = Wanted(Team("", 1, (), "", 0, 0, 0, ()), 0)


def _refused(refusal: Refusal) -> Refused:
    """Versions of one calendar mean nothing where there are several."""
    if refusal.code == "hold_gone":
        refusal = Refusal("slot_unavailable", "that time was lost on the way")
    return refused_by_calendar(refusal, None)

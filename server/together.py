"""The desk's side of meetings: who is asked for, whom the caller may book, and what callers are told."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from actors.calendar import commands as cmd
from actors.ports import Caller, Details, Outcome
from actors.runtime import Runtime
from actors.switchboard import Switchboard
from protocol import bodies, limits
from protocol import events as ev
from protocol.errors import Refused, invalid
from protocol.times import MINUTE, SECOND, to_us
from server import permissions
from server.auth import Auth
from server.businesses import Businesses
from server.lineups import Wanted
from server.meetings import Asked, Meetings, Met
from server.offered import Meant
from server.permissions import Reach
from server.places import Places
from server.principal import Principal
from server.teams import Teams
from storage import bookings
from storage.meetings import Team
from storage.postgres import Database

if TYPE_CHECKING:
    from server.desk import Asker, Desk

_MAKE = "bookings.make"


class Together:
    def __init__(
        self,
        desk: "Desk",
        runtime: Runtime,
        switchboard: Switchboard,
        database: Database,
        businesses: Businesses,
        auth: Auth,
        places: Places,
    ) -> None:
        self._desk = desk
        self._auth = auth
        self._places = places
        self.teams = Teams(database)
        self._meetings = Meetings(runtime, switchboard, database, businesses)

    def is_of_one(self, business_id: str, body: bodies.BookingCreate | bodies.HoldCreate) -> bool:
        """Whether it is known without asking that the calendar it names is all there is to it."""
        return (
            body.professional_id is not None
            and not body.professional_ids
            and not body.resource_ids
            and body.service_id is not None
            and self.teams.takes_one(business_id, body.service_id)
        )

    async def meeting(
        self, business_id: str, body: bodies.BookingCreate | bodies.HoldCreate, start: int
    ) -> Wanted | None:
        """What is to be found, where a service takes several calendars or the body leaves open whose."""
        assert body.service_id is not None
        named = tuple(dict.fromkeys(([body.professional_id] if body.professional_id else []) + body.professional_ids))
        if isinstance(body, bodies.BookingCreate) and body.hold_id is not None:
            if body.professional_id is None:
                raise invalid("professional_id", "is needed with hold_id: the one that the hold names")
            return None
        team = await self.teams.of(business_id, body.service_id)
        if team is None:
            if body.professional_id is None:
                raise Refused("not_found", "there is no such service")
            return None
        if len(named) > team.needed:
            raise invalid("professional_ids", f"the service takes {team.needed}")
        if not set(body.resource_ids) <= team.resource_ids:
            raise invalid("resource_ids", "are not all among those that the service takes one of")
        if not team.several and named:
            body.professional_id = named[0]
            return None
        for professional_id in named:
            if professional_id not in team.professional_ids:
                raise Refused("service_not_offered", f"{professional_id} does not offer it")
        if isinstance(body, bodies.BookingCreate):
            if body.double_booking:
                raise invalid("double_booking", "is for one calendar, and one that is named")
            if body.if_version is not None:
                raise invalid("if_version", "is of one calendar; here several are asked")
        duration = (body.duration_minutes or 0) * MINUTE
        return Wanted(team, start, duration, named, tuple(dict.fromkeys(body.resource_ids)))

    async def hold(self, asker: "Asker", meant: Meant, command: cmd.Hold) -> Met:
        if meant.meeting is not None:
            asked, wanted = await self._asked(asker, meant.meeting)
            return await self._meetings.hold(asked, wanted, command)
        outcome = await self._desk.ask(asker, meant.professional_id, command)
        assert isinstance(outcome.event, ev.HoldPlaced)
        return Met(meant.professional_id, outcome, held=outcome.event)

    async def book(self, asker: "Asker", meant: Meant, command: cmd.Book, details: Details) -> Met:
        if meant.meeting is not None:
            asked, wanted = await self._asked(asker, meant.meeting)

            def details_of(booking_id: str) -> Details:
                if details.guest is None:
                    return details
                hashed = self._auth.manage_hash(self._auth.manage_token(booking_id))
                return msgspec.structs.replace(details, manage_hash=hashed)

            return await self._meetings.book(asked, wanted, command, details_of)
        outcome = await self._desk.ask(asker, meant.professional_id, command, details)
        parts: Sequence[ev.Part] = ()
        if command.hold_id is not None and await self.several(asker.principal.business_id, command.service_id):
            parts = await self._meetings.follow(_caller(asker), command.hold_id)
        return Met(meant.professional_id, outcome, tuple(parts))

    async def change(self, asker: "Asker", row: bookings.BookingRow, command: cmd.Command, details: Details) -> Outcome:
        """Of a booking; its parts become what it becomes."""
        if isinstance(command, cmd.Reschedule) and row.parts and command.hold_id is None:
            return await self._move(asker, row, command)
        outcome = await self._desk.ask(asker, row.body.professional_id, command, details)
        if row.parts:
            await self._meetings.follow(_caller(asker), row.body.id, row.parts)
        return outcome

    async def release(self, asker: "Asker", row: bookings.HoldRow, hold_id: str) -> None:
        await self._desk.ask(asker, row.calendar_id, cmd.Release(hold_id))
        if row.parts:
            await self._meetings.follow(_caller(asker), hold_id, row.parts)

    async def people(self, asker: "Asker", met: Met, service_id: str) -> dict[str, Any]:
        """Fields of the answer that tell who takes part, where there are several."""
        if not met.parts:
            return {}
        team = await self.teams.of(asker.principal.business_id, service_id)
        resources = team.resource_ids if team is not None else frozenset[str]()
        return who_takes_part(met.calendar_id, [(p.calendar_id, p.calendar_id in resources) for p in met.parts])

    async def may_touch(
        self, principal: Principal, permission: str, row: bookings.BookingRow, *, holds_token: bool
    ) -> None:
        """Of a booking: whoever takes part may do as who leads it. What is not theirs is not found."""
        refused: Refused | None = None
        for calendar_id in row.body.professional_ids or [row.body.professional_id]:
            place = await self._places.of(principal, calendar_id)
            try:
                permissions.may_touch_booking(
                    principal, permission, calendar_id, row.body.client_id, place, holds_token=holds_token
                )
            except Refused as error:
                refused = error
            else:
                return
        assert refused is not None
        raise refused

    async def several(self, business_id: str, service_id: str) -> bool:
        """Whether a meeting of that service takes more than one calendar."""
        team = await self.teams.of(business_id, service_id)
        return team is not None and team.several

    async def _move(self, asker: "Asker", row: bookings.BookingRow, command: cmd.Reschedule) -> Outcome:
        body = row.body
        team = await self.teams.of(row.business_id, body.service_id)
        if team is None:
            raise Refused("service_not_offered")
        if command.double:
            raise invalid("double_booking", "a meeting of several calendars takes only time that is free")
        start, end = (to_us(datetime.fromisoformat(t)) for t in (body.start, body.end))
        professionals, resources = tuple(body.professional_ids or ()), tuple(body.resource_ids or ())
        groups = team.resources
        if len(groups) != len(resources) or not team.resource_ids.issuperset(resources):
            # The service has come to need others; the meeting keeps what it has.
            groups = tuple((r,) for r in resources)
        team = msgspec.structs.replace(team, needed=len(professionals), resources=groups)
        duration = end - start if end - start != team.duration else 0
        wanted = Wanted(team, command.start, duration, professionals, leader=body.professional_id, preferred=resources)
        hold = cmd.Hold(
            body.id, body.service_id, command.start, body.id, limits.gathering_ttl_s * SECOND, body.attendees,
            body.client_id, duration,
        )  # fmt: skip
        asked = Asked(_caller(asker), asker.key, None)
        return await self._meetings.move(asked, wanted, hold, command, row.parts, start)

    async def _asked(self, asker: "Asker", wanted: Wanted) -> tuple[Asked, Wanted]:
        """Raises `Refused(forbidden)` where none of the calendars is the caller's to book."""
        principal = asker.principal
        reachable = await self._reachable(principal, wanted.team)
        if reachable is not None:
            if wanted.professional_ids and not reachable.intersection(wanted.professional_ids):
                raise Refused("forbidden", "none of these calendars is yours to book")
            own = principal.professional_id
            if not wanted.professional_ids and wanted.team.needed > 1 and own is not None and own in reachable:
                wanted = msgspec.structs.replace(wanted, professional_ids=(own,))
        return Asked(_caller(asker), asker.key, reachable), wanted

    async def _reachable(self, principal: Principal, team: Team) -> frozenset[str] | None:
        """The professionals whom the caller may book; `None` for everybody."""
        if permissions.reach(principal, _MAKE) is Reach.ANY or principal.role in ("client", "public"):
            return None
        found: set[str] = set()
        for professional_id in team.professional_ids[: limits.professionals_per_service_max]:
            try:
                await self._desk.may_touch(principal, _MAKE, professional_id)
            except Refused:
                continue
            found.add(professional_id)
        if not found:
            raise Refused("forbidden", "none of these calendars is yours to book")
        return frozenset(found)


def who_takes_part(leader: str, others: Sequence[tuple[str, bool]]) -> dict[str, Any]:
    """`others` with whether they are resources."""
    resources = sorted(c for c, resource in others if resource)
    return {
        "professional_ids": sorted([leader, *(c for c, resource in others if not resource)]),
        "resource_ids": resources or None,
    }


def _caller(asker: "Asker") -> Caller:
    principal = asker.principal
    return Caller(principal.business_id, principal.label, asker.request_id)

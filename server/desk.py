"""The desk: takes requests of REST and live in their common types, authorises them, asks the calendar and answers.

An answer is made from the request, the row as far as it does not change, and the calendar's `Outcome`; so the same
key, which stores the outcome, gives the same answer again.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Final

import msgspec
from aiohttp import web

from actors.calendar import commands as cmd
from actors.ports import NO_DETAILS, Caller, Details, Guest, IdempotencyKey, Outcome, Work
from actors.runtime import Runtime
from actors.switchboard import Switchboard
from protocol import bodies, limits
from protocol import events as ev
from protocol.errors import Refused, invalid
from protocol.ids import booking_code, is_uuid, new_id
from protocol.languages import Language
from protocol.series import SeriesCreate
from protocol.times import MINUTE, SECOND, bounded_us, format_us
from server import audit, permissions
from server.answers import answered, wrong_answer
from server.auth import Auth
from server.businesses import Businesses
from server.identity import contact_keys
from server.offered import Meant, Offerings
from server.outcomes import changed_by, changes_of, made_by, refused_by_calendar
from server.places import Places
from server.principal import Principal
from server.rules import Rules
from server.together import Together
from storage import bookings, catalogue, people
from storage.businesses import Business
from storage.postgres import Database

_CLIENTS_KNOWN_MAX: Final = 200_000
DOUBLE: Final = "bookings.double"
"""What putting a booking over others needs, beside what booking does."""
_CODE: Final = re.compile(r"BK-[0-9A-Z]{8}\Z")


class Asker(msgspec.Struct, frozen=True):
    """Who asks, under which request id and key. `request` tells the audit log from where, `language` is what a
    visitor's accepts.
    """

    principal: Principal
    request_id: str
    key: IdempotencyKey | None = None
    request: web.BaseRequest | None = None
    language: Language | None = None


class Desk:
    def __init__(
        self,
        runtime: Runtime,
        switchboard: Switchboard,
        database: Database,
        auth: Auth,
        businesses: Businesses,
        places: Places,
    ) -> None:
        self._runtime = runtime
        self._switchboard = switchboard
        self._database = database
        self._auth = auth
        self._businesses = businesses
        self._places = places
        self._rules = Rules(database, businesses)
        self.offerings = Offerings(database, auth)
        self.together = Together(self, runtime, switchboard, database, businesses, auth, places)
        self._loop = asyncio.get_running_loop()
        # Clients are never moved between businesses, so what was seen once stays true until they go.
        self._clients_known: dict[str, str] = {}
        self._clients_gone = 0

    async def ask(self, asker: Asker, calendar_id: str, command: cmd.Command, details: Details = NO_DETAILS) -> Outcome:
        """The outcome of a command that was carried out. Raises `Refused` for one that was not."""
        principal = asker.principal
        outcome = await self._switchboard.ask(
            Work(
                calendar_id,
                command,
                Caller(principal.business_id, principal.label, asker.request_id),
                self._loop.create_future(),
                self._loop.time() + limits.request_deadline_s,
                asker.key,
                details,
            )
        )
        if outcome.refusal is not None:
            raise refused_by_calendar(outcome.refusal, outcome.version)
        return outcome

    async def may_make(self, asker: Asker, calendar_id: str) -> Business | None:
        """The business. Raises `Refused` for callers who may not book there, and where no bookings are taken now. For a
        calendar that is still to be found that is asked when it is.
        """
        principal = asker.principal
        if calendar_id:
            await self.may_touch(principal, "bookings.make", calendar_id)
        known = self._businesses.known(principal.business_id)
        business = known or await self._businesses.get(principal.business_id)
        closed = self._businesses.closed(business)
        if closed is not None:
            await self._unless_done(asker, closed)
        return business

    async def _unless_done(self, asker: Asker, refused: Refused | None) -> None:
        """Raises it, but for a request that was carried out when it was allowed: that has its answer."""
        if refused is not None and (asker.key is None or await self._runtime.stored(asker.key) is None):
            raise refused

    async def may_touch(self, principal: Principal, permission: str, calendar_id: str) -> None:
        """As `permissions.may_touch_calendar`, wherever the calendar is."""
        place = None if principal.locations is None else await self._places.of(principal, calendar_id)
        try:
            permissions.may_touch_calendar(principal, permission, calendar_id, place)
        except Refused:
            # What is not in the business is not found, whoever asks.
            await people.professional_by_id(self._database, principal.business_id, calendar_id)
            raise

    # Holds

    async def hold(self, asker: Asker, body: bodies.HoldCreate) -> bodies.Hold:
        principal = asker.principal
        meant = await self._meant(asker, body)
        business = await self.may_make(asker, meant.professional_id)
        client_id = await self.client_of(principal, body.client_id, required=False)
        await self.unless_banned(asker, business, client_id, None)
        ttl_s = body.ttl_seconds or (business.hold_ttl_seconds if business else limits.hold_ttl_default_s)
        hold_id = new_id()
        # One login of staff or of an integration holds for many people; only clients and visitors are bounded.
        holder = client_id or (hold_id if principal.staff else principal.subject)
        command = cmd.Hold(
            hold_id,
            meant.service_id,
            meant.start,
            holder,
            ttl_s * SECOND,
            body.attendees,
            client_id,
            (body.duration_minutes or 0) * MINUTE,
            await self.offerings.marks(meant.offered, client_id, None, body.device_token),
        )
        met = await self.together.hold(asker, meant, command)
        held, outcome = met.held, met.outcome
        assert held is not None
        return bodies.Hold(
            id=held.id,
            professional_id=met.calendar_id,
            service_id=held.service_id,
            start=format_us(held.start),
            end=format_us(held.start + held.duration),
            attendees=held.places,
            expires_at=format_us(held.expires_at),
            calendar_version=outcome.version,
            **await self.together.people(asker, met, held.service_id),
        )

    async def release(self, asker: Asker, hold_id: str) -> None:
        """A visitor has nothing but the hold's id, which is told to its holder alone."""
        row = await bookings.find_hold(self._database, hold_id)
        if row is None and await self._answered_before(asker):
            return
        if row is None or row.business_id != asker.principal.business_id:
            raise Refused("not_found", "there is no such hold")
        if asker.principal.role != "public":
            place = await self._places.of(asker.principal, row.calendar_id)
            permissions.may_touch_booking(
                asker.principal, "bookings.make", row.calendar_id, row.client_id, place, what="hold"
            )
        await self.together.release(asker, row, hold_id)

    async def _answered_before(self, asker: Asker) -> bool:
        """Whether this very request has released the hold already. Raises the refusal that it has met instead."""
        stored = await self._runtime.stored(asker.key) if asker.key is not None else None
        if stored is not None and stored.refusal is not None:
            raise refused_by_calendar(stored.refusal, stored.version)
        return stored is not None

    # Bookings

    async def book(self, asker: Asker, body: bodies.BookingCreate) -> bodies.Booking:
        principal = asker.principal
        meant = await self._meant(asker, body)
        business = await self.may_make(asker, meant.professional_id)
        if body.double_booking:
            await self.may_touch(principal, DOUBLE, meant.professional_id)
        booking_id = new_id()
        client_id, details = await self.for_whom(asker, business, body, meant.service_id, [body.hold_id or booking_id])
        command = cmd.Book(
            booking_id,
            booking_code(),
            meant.service_id,
            meant.start,
            body.attendees,
            client_id,
            body.hold_id,
            body.if_version,
            (body.duration_minutes or 0) * MINUTE,
            await self.offerings.marks(meant.offered, client_id, details.guest, body.device_token)
            if meant.offered is not None
            else (),
            answered(body.answers) if body.answers else (),
            body.double_booking,
        )
        met = await self.together.book(asker, meant, command, details)
        outcome = met.outcome
        event = outcome.event
        assert isinstance(event, ev.Booked)
        booking = made_by(
            event,
            met.calendar_id,
            outcome.booking_version,
            outcome.at,
            notes=body.notes,
            answers=body.answers or None,
            calendar_version=outcome.version,
            manage_token=self._auth.manage_token(event.id) if body.guest is not None else None,
            **await self.together.people(asker, met, event.service_id),
        )
        if event.doubled:
            await audit.tell(self._database, asker, "booking.doubled", "booking", event.id, event, outcome)
        return booking

    async def for_whom(
        self,
        asker: Asker,
        business: Business | None,
        body: bodies.BookingCreate | SeriesCreate,
        service_id: str,
        booking_ids: Sequence[str],
    ) -> tuple[str | None, Details]:
        """The client, who is a new one for a guest, and what the bookings' rows get beside what is decided."""
        principal = asker.principal
        if (body.client_id is not None) + (body.guest is not None) > 1:
            raise invalid("guest", "name a client or a guest, not both")
        if body.guest is not None:
            client_id: str | None = new_id()
            hashes = {id_: self._auth.manage_hash(self._auth.manage_token(id_)) for id_ in booking_ids}
            details = Details(
                body.notes,
                guest=await self.guest(principal.business_id, body.guest, asker.language),
                manage_hash=hashes[booking_ids[0]],
                manage_hashes=hashes if len(hashes) > 1 else None,
            )
        else:
            client_id = await self.client_of(principal, body.client_id, required=True)
            details = Details(body.notes) if body.notes is not None or body.answers else NO_DETAILS
        if body.answers:
            found = await catalogue.questions_of(self._database, principal.business_id, service_id)
            await self._unless_done(asker, wrong_answer(found, body.answers))
            details = msgspec.structs.replace(details, answers=body.answers)
        if business is not None and business.has_bans:
            await self.unless_banned(asker, business, client_id, details.guest)
        return client_id, details

    async def unless_banned(
        self, asker: Asker, business: Business | None, client_id: str | None, guest: Guest | None
    ) -> None:
        """Raises `Refused(banned)`."""
        if business is not None and business.has_bans:
            await self._unless_done(asker, await self._rules.banned(business.id, client_id, guest))

    async def _meant(self, asker: Asker, body: bodies.BookingCreate | bodies.HoldCreate) -> Meant:
        if body.offering_code is not None:
            return await self.offerings.meant(body.offering_code, body, asker.principal.business_id)
        if body.service_id is None or body.start is None:
            missing = "service_id" if body.service_id is None else "start"
            raise invalid(missing, "is needed, unless an offering_code says it")
        start = bounded_us("start", body.start)
        calendar_id, business_id = body.professional_id or "", asker.principal.business_id
        if self.together.is_of_one(business_id, body):
            return Meant(calendar_id, body.service_id, start)
        meeting = await self.together.meeting(business_id, body, start)
        return Meant("" if meeting is not None else body.professional_id or "", body.service_id, start, meeting=meeting)

    async def guest(self, business_id: str, given: bodies.GuestBody, language: Language | None) -> Guest:
        locale = given.locale or language
        if given.email is None and given.phone is None:
            return Guest(given.name, locale=locale)
        keys = contact_keys(given.email, given.phone, await self._businesses.region(business_id))
        return Guest(given.name, given.email, given.phone, *keys, locale)

    async def find(
        self, principal: Principal | None, id_or_code: str, permission: str, manage_token: str | None = None
    ) -> bookings.BookingRow:
        """A booking the caller may see. `principal` may be absent for a guest with a manage token."""
        row = None
        if is_uuid(id_or_code.lower()):
            row = await bookings.find(self._database, id=id_or_code.lower())
        elif _CODE.match(id_or_code.upper()):
            row = await bookings.find(self._database, code=id_or_code.upper())
        if row is None:
            raise Refused("not_found", "there is no such booking")
        shown = manage_token is not None and self._auth.manage_hash(manage_token) == row.manage_hash
        if principal is None or principal.role == "public":
            if not shown:
                raise Refused("not_found", "there is no such booking")
            permissions.reach(permissions.GUEST, permission)
            return row
        if principal.business_id != row.business_id:
            raise Refused("not_found", "there is no such booking")
        await self.together.may_touch(principal, permission, row, holds_token=shown)
        return row

    async def change(
        self, asker: Asker, row: bookings.BookingRow, command: cmd.Command, reason: str = ""
    ) -> bodies.Booking:
        """Asks for a change of a booking that `find` has returned; the booking as it is then.

        `reason` is people's text: it stands in the row, not in the event.
        """
        details = Details(reason=reason) if reason else NO_DETAILS
        if isinstance(command, cmd.Cancel | cmd.Reschedule):
            notice = await self._rules.notice(asker.principal, row.business_id)
            command = msgspec.structs.replace(command, notice=notice)
        if isinstance(command, cmd.Reschedule):
            if command.double:
                await self.may_touch(asker.principal, DOUBLE, row.body.professional_id)
            if not asker.principal.staff:
                await self._unless_done(asker, await self._rules.against_moving(row))
        outcome = await self.together.change(asker, row, command, details)
        if isinstance(outcome.event, ev.Rescheduled) and outcome.event.doubled:
            await audit.tell(self._database, asker, "booking.doubled", "booking", row.body.id, outcome.event, outcome)
        changed = changed_by(await self._as_of(row.body, outcome), outcome)
        return msgspec.structs.replace(changed, reason=reason) if reason else changed

    async def amend(
        self, asker: Asker, row: bookings.BookingRow, notes: str | None, if_version: int | None
    ) -> bodies.Booking:
        outcome = await self.ask(asker, row.body.professional_id, cmd.Amend(row.body.id, if_version), Details(notes))
        return msgspec.structs.replace(changed_by(await self._as_of(row.body, outcome), outcome), notes=notes)

    async def _as_of(self, body: bodies.Booking, outcome: Outcome) -> bodies.Booking:
        """The booking as it was when that outcome was decided.

        That is `body`, unless somebody else changed it in between, or the outcome is an earlier one that an
        Idempotency-Key brought back. Then the journal tells; notes, which it does not hold, are those of now.
        """
        if outcome.booking_version - body.version in (0, 1):
            return body
        fresh = await bookings.find(self._database, id=body.id)
        body = msgspec.structs.replace(fresh.body if fresh else body, cancelled_by=None, reason=None)
        for event in await bookings.events_of(self._database, body.professional_id, body.id, outcome.version):
            body = msgspec.structs.replace(body, **changes_of(event))
        return body

    # Who it is for

    async def client_of(self, principal: Principal, given: str | None, *, required: bool) -> str | None:
        """The client a request is for: their own for a client's login, else one of the business."""
        if principal.role == "client":
            if given is not None and given != principal.client_id:
                raise Refused("forbidden", "a client books for themselves")
            return principal.client_id
        if given is None:
            if required:
                raise invalid("client_id", "name a client or a guest")
            return None
        if principal.role == "public":
            raise Refused("forbidden", "without login only a guest can be named")
        if self._clients_known.get(given) != principal.business_id:
            gone = self._clients_gone
            try:
                await people.client_by_id(self._database, principal.business_id, given)
            except Refused as refused:
                raise (invalid("client_id", refused.detail) if refused.code == "not_found" else refused) from None
            if len(self._clients_known) >= _CLIENTS_KNOWN_MAX:
                self._clients_known.clear()
            if gone == self._clients_gone:
                self._clients_known[given] = principal.business_id
        return given

    def forget_clients(self, client_ids: Sequence[str]) -> None:
        """They were removed, or erased."""
        self._clients_gone += 1
        for client_id in client_ids:
            self._clients_known.pop(client_id, None)

    def forget_all_clients(self) -> None:
        self._clients_gone += 1
        self._clients_known.clear()

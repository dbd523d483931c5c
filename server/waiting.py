"""Joining the waitlist: what is waited for, by whom, and what they are told."""

from contextlib import suppress
from datetime import datetime

from actors.inquiries import HeldUntil
from actors.ports import Clock
from actors.switchboard import Switchboard
from protocol import limits
from protocol import waitlist as said
from protocol.errors import Refused, invalid
from protocol.ids import new_id
from protocol.times import DAY, MINUTE, bounded_us, format_us, to_us
from server import permissions
from server.auth import Auth
from server.desk import Asker, Desk
from server.notices import Notices
from storage import catalogue, people, waitlist
from storage.businesses import Business
from storage.postgres import Transaction
from storage.waitlist import EntryRow


class WaitingRoom:
    def __init__(self, desk: Desk, switchboard: Switchboard, auth: Auth, notices: Notices, clock: Clock) -> None:
        self._desk = desk
        self._switchboard = switchboard
        self._auth = auth
        self._notices = notices
        self._clock = clock

    async def join(self, tx: Transaction, asker: Asker, b: said.WaitlistJoin) -> said.WaitlistEntry:
        """As part of a transaction. Raises `Refused` for what cannot be waited for, and for who may not."""
        business_id = asker.principal.business_id
        from_us, until_us = self._range(b)
        service_id, professional_id = await self._what(tx, asker, b)
        permissions.reach(asker.principal, "bookings.make")
        business = await self._desk.may_make(asker, professional_id or "")
        client_id = await self._who(tx, asker, b, business)
        entry_id = new_id()
        token = self._auth.manage_token(entry_id) if b.guest is not None else None
        new = waitlist.New(
            id=entry_id,
            service_id=service_id,
            professional_id=professional_id,
            client_id=client_id,
            from_us=from_us,
            to_us=until_us,
            attendees=b.attendees,
            duration_minutes=b.duration_minutes,
            notes=b.notes,
            manage_hash=self._auth.manage_hash(token) if token else None,
        )
        await waitlist.join(tx, business_id, new, limits.waits_per_client_max)
        calendars = [professional_id] if professional_id else await catalogue.offering(tx, business_id, service_id)
        await self._notices.post(tx, "waitlist", calendars)
        made = await waitlist.by_id(tx, entry_id)
        assert made is not None
        made.body.manage_token = token
        return await self.told(made)

    def _range(self, b: said.WaitlistJoin) -> tuple[int, int]:
        from_us, until_us = bounded_us("from", b.from_), bounded_us("to", b.to)
        if until_us <= max(from_us, self._clock.now_us()):
            raise invalid("to", "must be after from, and not over yet")
        if until_us - from_us > limits.range_days_max * DAY:
            raise invalid("to", f"at most {limits.range_days_max} days after from")
        return from_us, until_us

    async def _what(self, tx: Transaction, asker: Asker, b: said.WaitlistJoin) -> tuple[str, str | None]:
        business_id = asker.principal.business_id
        if b.offering_code is not None:
            offered = await self._desk.offerings.named(b.offering_code, business_id, b.professional_id, b.service_id)
            if offered.guarded:
                raise invalid("offering_code", "takes one booking per person, which cannot be kept for who waits")
            if b.attendees > offered.places:
                raise Refused("too_many_attendees", f"a session takes {offered.places}")
            if b.duration_minutes is not None:
                raise Refused("duration_not_offered")
            return offered.id, offered.professional_id
        if b.service_id is None:
            raise invalid("service_id", "name a service, or an offering by its code")
        service = await catalogue.service_by_id(tx, business_id, b.service_id)
        if await self._desk.together.several(business_id, service.id):
            raise invalid("service_id", "its meetings take several calendars, which are not kept for who waits")
        if b.attendees > service.capacity:
            raise Refused("too_many_attendees", f"a session takes {service.capacity}")
        if b.duration_minutes not in (None, service.duration_minutes, *service.durations_minutes):
            raise Refused("duration_not_offered")
        if b.professional_id is not None:
            professional = await people.professional_by_id(tx, business_id, b.professional_id)
            if professional.id not in await catalogue.offering(tx, business_id, service.id):
                raise Refused("service_not_offered")
        return service.id, b.professional_id

    async def _who(self, tx: Transaction, asker: Asker, b: said.WaitlistJoin, business: Business | None) -> str:
        """The client, who is a new one for a guest. Who could not book does not wait either."""
        principal = asker.principal
        if b.guest is None:
            client_id = await self._desk.client_of(principal, b.client_id, required=True)
            assert client_id is not None
            await self._desk.unless_banned(asker, business, client_id, None)
            return client_id
        if b.client_id is not None:
            raise invalid("guest", "name a client or a guest, not both")
        if principal.role == "client":
            raise Refused("forbidden", "a client waits for themselves")
        guest = await self._desk.guest(principal.business_id, b.guest, asker.language)
        await self._desk.unless_banned(asker, business, None, guest)
        return await waitlist.add_guest(tx, principal.business_id, guest)

    async def told(self, row: EntryRow) -> said.WaitlistEntry:
        """With when a hold on it ends, for who waits for that, as far as it can be told now."""
        e = row.body
        if e.status == "waiting" and e.professional_id is not None:
            from_us, until_us = (to_us(datetime.fromisoformat(text)) for text in (e.from_, e.to))
            question = HeldUntil(e.service_id, from_us, until_us, (e.duration_minutes or 0) * MINUTE)
            with suppress(Refused):
                until = int(await self._switchboard.read(e.professional_id, row.business_id, question))
                e.held_until = format_us(until) if until else None
        return e

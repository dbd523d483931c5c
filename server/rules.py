"""What a business's own rules say about a booking: whom it refuses, and until when clients may change their minds."""

from actors.ports import Guest
from protocol.errors import Refused
from server.businesses import Businesses
from server.principal import Principal
from storage import records
from storage.bookings import BookingRow
from storage.postgres import Database


class Rules:
    def __init__(self, database: Database, businesses: Businesses) -> None:
        self._database = database
        self._businesses = businesses

    async def banned(self, business_id: str, client_id: str | None, guest: Guest | None) -> Refused | None:
        """Whether the business refuses that guest or client. Whoever gave neither e-mail nor telephone number cannot
        be known again.
        """
        if guest is not None:
            emails, phones = [guest.email_normal], [guest.phone_normal]
        elif client_id is not None:
            emails, phones = await records.contacts_of_client(self._database, business_id, client_id)
        else:
            return None
        if not any(emails) and not any(phones):
            return None
        found = await records.bans_among(self._database, business_id, emails, phones)
        return Refused("banned") if found else None

    async def notice(self, principal: Principal, business_id: str) -> int:
        """How long before the start the business lets this caller cancel or move, where the service does not say;
        -1 for staff, who are not bound.
        """
        if principal.staff:
            return -1
        business = await self._businesses.get(business_id)
        return business.cancellation_notice_us if business is not None else 0

    async def against_moving(self, row: BookingRow) -> Refused | None:
        """Whoever the business refuses by now keeps what is booked, and moves nothing."""
        business = await self._businesses.get(row.business_id)
        if business is None or not business.has_bans or row.body.status not in ("pending", "confirmed"):
            return None
        return await self.banned(business.id, row.body.client_id, None)

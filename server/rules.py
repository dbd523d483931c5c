"""What a business's own rules say about a booking: whom it refuses, and until when clients may change their minds."""

from datetime import datetime

from actors.ports import Guest
from protocol.errors import Refused
from protocol.times import MINUTE, to_us
from server.businesses import Businesses
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

    async def against(self, row: BookingRow, *, moves: bool) -> Refused | None:
        """Whether it is too late for a client or guest to cancel or move that booking; who is refused may not move
        one either.
        """
        business = await self._businesses.get(row.business_id)
        if business is None or row.body.status not in ("pending", "confirmed"):
            return None
        notice_us, start_us = business.cancellation_notice_us, to_us(datetime.fromisoformat(row.body.start))
        if notice_us and start_us - notice_us < self._businesses.now_us():
            minutes = notice_us // MINUTE
            return Refused("too_late_to_cancel", f"possible until {minutes} minutes before the start; ask the business")
        if moves and business.has_bans:
            return await self.banned(business.id, row.body.client_id, None)
        return None

"""Businesses as the edge needs them on every visit, remembered for a few seconds or until they change."""

import time
from collections.abc import Sequence
from typing import Final

from actors.ports import Clock
from protocol.errors import Refused
from storage.businesses import Business, business_by_id
from storage.postgres import Database

_TTL_S: Final = 5.0
"""For changes that nobody has told of: made in the database itself."""
_ASKING_S: Final = 1.0
_REMEMBERED_MAX: Final = 10_000


class Businesses:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._found: dict[str, tuple[float, Business | None]] = {}
        self._forgotten = 0

    async def get(self, business_id: str) -> Business | None:
        now = time.monotonic()
        until, business = self._found.get(business_id, (0.0, None))
        if until < now:
            if business is not None:
                # Whoever else comes meanwhile goes on with what was known: one asks for all.
                self._found[business_id] = (now + _ASKING_S, business)
            forgotten = self._forgotten
            business = await business_by_id(self._database, business_id)
            if forgotten != self._forgotten:
                # It may have been read before what the notice told of.
                return business
            if len(self._found) >= _REMEMBERED_MAX:
                self._found.clear()
            self._found[business_id] = (now + _TTL_S, business)
        return business

    def forget(self, business_ids: Sequence[str]) -> None:
        self._forgotten += 1
        for business_id in business_ids:
            self._found.pop(business_id, None)

    def known_to_book(self, business_id: str) -> bool:
        """Whether it is known, without asking, that the business takes bookings."""
        until, business = self._found.get(business_id, (0.0, None))
        return until >= time.monotonic() and business is not None and self.closed(business) is None

    async def closed_because(self, business_id: str) -> Refused | None:
        """Why the business takes no new bookings; `None` when it does."""
        business = await self.get(business_id)
        return Refused("not_found", "there is no such business") if business is None else self.closed(business)

    def closed(self, business: Business) -> Refused | None:
        if business.status == "pending":
            return Refused("business_pending")
        if business.status != "active":
            return Refused("business_suspended")
        if business.trial_ends_us is not None and business.trial_ends_us <= self._clock.now_us():
            return Refused("trial_over")
        return None

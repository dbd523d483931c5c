"""Businesses as the edge needs them on every visit, remembered for a few seconds or until they change."""

import re
import time
from collections.abc import Sequence
from typing import Final

from actors.ports import Clock
from protocol.errors import Refused
from storage.businesses import Business, business_by_id, business_by_slug
from storage.postgres import Database

_TTL_S: Final = 5.0
"""For changes that nobody has told of: made in the database itself."""
_ASKING_S: Final = 1.0
_REMEMBERED_MAX: Final = 10_000
_SLUG: Final = re.compile(r"[a-z0-9-]{1,63}\Z")


class Businesses:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._found: dict[str, tuple[float, Business | None]] = {}
        self._slugs: dict[str, str] = {}
        """A slug is its business's for ever, so this is never untrue."""
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

    async def existing(self, business_id: str) -> Business:
        """Raises `Refused(not_found)`."""
        business = await self.get(business_id)
        if business is None:
            raise Refused("not_found", "there is no such business")
        return business

    async def region(self, business_id: str) -> str | None:
        """The country of telephone numbers that are written without one."""
        business = await self.get(business_id)
        return business.region if business is not None else None

    def forget(self, business_ids: Sequence[str]) -> None:
        self._forgotten += 1
        for business_id in business_ids:
            self._found.pop(business_id, None)

    def known(self, business_id: str) -> Business | None:
        """The business as far as it is known without asking."""
        until, business = self._found.get(business_id, (0.0, None))
        return business if until >= time.monotonic() else None

    async def public(self, slug: str) -> Business | None:
        """The business of that name that visitors may see: not one that was never approved, or is no more."""
        business_id = self._slugs.get(slug)
        if business_id is None and _SLUG.match(slug) is None:
            return None
        if business_id is None:
            found = await business_by_slug(self._database, slug)
            if found is None:
                return None
            if len(self._slugs) >= _REMEMBERED_MAX:
                self._slugs.clear()
            self._slugs[slug] = business_id = found.id
        business = await self.get(business_id)
        return business if self.is_public(business) else None

    def is_public(self, business: Business | None) -> bool:
        """Whether visitors may see what it publishes, even if they cannot book it now."""
        return business is not None and business.status in ("active", "suspended")

    def now_us(self) -> int:
        return self._clock.now_us()

    def closed(self, business: Business | None) -> Refused | None:
        """Why the business takes no new bookings; `None` when it does."""
        if business is None:
            return Refused("not_found", "there is no such business")
        if business.status == "pending":
            return Refused("business_pending")
        if business.status != "active":
            return Refused("business_suspended")
        if business.trial_ends_us is not None and business.trial_ends_us <= self._clock.now_us():
            return Refused("trial_over")
        return None

"""Businesses as the edge needs them on every visit, remembered for a few seconds."""

import time
from typing import Final

from storage.people import Business, business_by_id
from storage.postgres import Database

_TTL_S: Final = 5.0
_REMEMBERED_MAX: Final = 10_000


class Businesses:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._found: dict[str, tuple[float, Business | None]] = {}

    async def get(self, business_id: str) -> Business | None:
        now = time.monotonic()
        until, business = self._found.get(business_id, (0.0, None))
        if until < now:
            business = await business_by_id(self._database, business_id)
            if len(self._found) >= _REMEMBERED_MAX:
                self._found.clear()
            self._found[business_id] = (now + _TTL_S, business)
        return business

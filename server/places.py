"""Where professionals work, as managers of some locations are judged by; remembered until told otherwise."""

import time
from collections.abc import Sequence
from typing import Final

from server.principal import Principal
from storage.postgres import Database

_TTL_S: Final = 5.0
_REMEMBERED_MAX: Final = 50_000


class Places:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._found: dict[tuple[str, str], tuple[float, str | None]] = {}

    async def of(self, principal: Principal, professional_id: str) -> str | None:
        """The location of a professional in the caller's business, where the caller is limited to some; else `None`,
        without a look.
        """
        if principal.locations is None:
            return None
        key, now = (principal.business_id, professional_id), time.monotonic()
        until, place = self._found.get(key, (0.0, None))
        if until < now:
            place = await self._database.value("place_of", *key)
            if len(self._found) >= _REMEMBERED_MAX:
                self._found.clear()
            self._found[key] = (now + _TTL_S, place)
        return place

    def forget(self, professional_ids: Sequence[str]) -> None:
        gone = set(professional_ids)
        for key in [key for key in self._found if key[1] in gone]:
            del self._found[key]

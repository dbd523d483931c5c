"""What services need, remembered for some seconds or until terms change."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from storage.meetings import Team, team_of
from storage.postgres import Database

_TTL_S: Final = 5.0
_REMEMBERED_MAX: Final = 20_000


class Teams:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._found: dict[tuple[str, str], tuple[float, Team | None]] = {}
        self._asking: dict[tuple[str, str], asyncio.Event] = {}
        """What somebody asks for at this moment, and when they have done so."""
        self._forgotten = 0

    async def of(self, business_id: str, service_id: str) -> Team | None:
        """`None` for what is no service of the business."""
        key, now = (business_id, service_id), time.monotonic()
        until, team = self._found.get(key, (0.0, None))
        if until >= now:
            return team
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.Event()
            try:
                return await self._ask(key)
            finally:
                del self._asking[key]
                asking.set()
        if team is not None and until > now - _TTL_S:
            # One asks for all; the others go on with what was known.
            return team
        await asking.wait()
        until, team = self._found.get(key, (0.0, None))
        # It may have failed, or been overtaken by a notice.
        return team if until >= time.monotonic() else await self._ask(key)

    async def _ask(self, key: tuple[str, str]) -> Team | None:
        forgotten = self._forgotten
        team = await team_of(self._database, *key)
        # Else it may have been read before what the notice told of.
        if forgotten == self._forgotten:
            if len(self._found) >= _REMEMBERED_MAX:
                self._found.clear()
            self._found[key] = (time.monotonic() + _TTL_S, team)
        return team

    def takes_one(self, business_id: str, service_id: str) -> bool:
        """Whether it is known without asking that the service takes one professional and nothing else."""
        until, team = self._found.get((business_id, service_id), (0.0, None))
        return team is not None and not team.several and until >= time.monotonic()

    def forget(self, _calendar_ids: Sequence[str] = ()) -> None:
        """Notices name calendars, not services; there are few."""
        self._forgotten += 1
        self._found.clear()

"""What services need, remembered for some seconds or until terms change."""

import time
from collections.abc import Sequence
from typing import Final

from storage.meetings import Team, team_of
from storage.postgres import Database

_TTL_S: Final = 5.0
_ASKING_S: Final = 1.0
_REMEMBERED_MAX: Final = 20_000


class Teams:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._found: dict[tuple[str, str], tuple[float, Team | None]] = {}
        self._forgotten = 0

    async def of(self, business_id: str, service_id: str) -> Team | None:
        """`None` for what is no service of the business."""
        key, now = (business_id, service_id), time.monotonic()
        until, team = self._found.get(key, (0.0, None))
        if until < now:
            if team is not None:
                # Whoever else comes meanwhile goes on with what was known: one asks for all.
                self._found[key] = (now + _ASKING_S, team)
            forgotten = self._forgotten
            team = await team_of(self._database, business_id, service_id)
            if forgotten != self._forgotten:
                # It may have been read before what the notice told of.
                return team
            if len(self._found) >= _REMEMBERED_MAX:
                self._found.clear()
            self._found[key] = (now + _TTL_S, team)
        return team

    def takes_one(self, business_id: str, service_id: str) -> bool:
        """Whether it is known without asking that the service takes one professional and nothing else."""
        until, team = self._found.get((business_id, service_id), (0.0, None))
        return team is not None and not team.several and until >= time.monotonic()

    def forget(self, _calendar_ids: Sequence[str] = ()) -> None:
        """Notices name calendars, not services; there are few."""
        self._forgotten += 1
        self._found.clear()

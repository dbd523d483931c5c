"""Timed upkeep of the database: old keys, sessions long over, and what time has ended in calendars nobody has asked
for.

Every node does it, each for the shards it owns.
"""

import asyncio
import logging
from collections.abc import Sequence
from itertools import count
from typing import Any, Final, Protocol

from actors.runtime import Runtime
from jobs.job_queue import JobQueue
from protocol import limits
from protocol.errors import Refused

log = logging.getLogger("slotcast.upkeep")

_EVERY_S: Final = 5.0
_TIDY_EVERY: Final = 6
"""Of every so many rounds one also forgets what is old."""
_KEYS_AT_ONCE_MAX: Final = 5_000
_SESSIONS_AT_ONCE_MAX: Final = 1_000
_PROTECTION_AT_ONCE_MAX: Final = 20_000
_CALENDARS_AT_ONCE_MAX: Final = 200
_SHARD_OF_KEYS: Final = 0
"""Keys are of no shard; whoever owns this one forgets them for all nodes."""


class Queries(Protocol):
    async def fetch(self, query: str, *args: object) -> Sequence[Any]: ...


class Upkeep:
    def __init__(self, database: Queries, runtime: Runtime, queue: JobQueue) -> None:
        self._queue = queue
        self._database = database
        self._runtime = runtime

    async def run(self) -> None:
        """Works every few seconds until cancelled; a database that is away is met again next time."""
        for round_ in count():
            try:
                if round_ % _TIDY_EVERY == 0:
                    await self.tidy()
                await self.once()
            except Refused as refused:
                log.warning("upkeep put off: %s", refused.code)
            except Exception:
                log.exception("upkeep failed")
            await asyncio.sleep(_EVERY_S)

    async def tidy(self) -> None:
        if _SHARD_OF_KEYS in self._runtime.owned:
            await self._forget_old_keys()
            await self._database.fetch("forget_old_sessions", _SESSIONS_AT_ONCE_MAX)
            for query in ("forget_used_tickets", "forget_old_codes", "forget_old_devices", "forget_old_messages"):
                await self._database.fetch(query, _PROTECTION_AT_ONCE_MAX)
            while await self._queue.forget_ended() == limits.jobs_forgotten_at_once_max:
                pass

    async def once(self) -> None:
        """Ends what time has ended: holds, bookings left pending, and meetings that are over."""
        owned = self._runtime.owned
        loop = asyncio.get_running_loop()
        for row in await self._database.fetch("calendars_due", list(owned), _CALENDARS_AT_ONCE_MAX):
            # Loading it sets its timers; the sweep that follows is an ordinary event.
            try:
                await self._runtime.roster.activate(row["calendar_id"], row["business_id"], loop.time() + _EVERY_S)
            except Refused as refused:
                log.warning("cannot end what is over in calendar %s: %s", row["calendar_id"], refused.code)
                continue
            self._runtime.timers.sweep(row["calendar_id"])

    async def _forget_old_keys(self) -> None:
        while len(await self._database.fetch("forget_old_keys", _KEYS_AT_ONCE_MAX)) == _KEYS_AT_ONCE_MAX:
            pass

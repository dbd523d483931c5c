"""The tender of meetings: brings the parts of a meeting to what the calendar that leads it has decided.

Whoever makes, moves or ends a meeting tells its parts at once; this is for what was cut short, and for what time ends.
Every node does it for the shards it owns. See docs/meetings.md.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final, Protocol

from actors.calendar.commands import Settle
from actors.ports import Caller, Outcome, Work
from actors.runtime import Runtime
from protocol import limits
from protocol.errors import Refused
from protocol.ids import booking_code, new_id
from storage.meetings import Became, astray

log = logging.getLogger("slotcast.meetings")

_EVERY_S: Final = 2.0
_AT_ONCE_MAX: Final = 500
_LATELY_S: Final = 120
"""How long after a leader's change its parts are looked at every time: longer than commits and clocks are late."""
_WHOLE_EVERY: Final = 150
"""Every so many times all of them are looked at."""
_EVER_S: Final = 50 * 365 * 24 * 3600


class Queries(Protocol):
    async def fetch(self, query: str, *args: object) -> Sequence[Any]: ...
    async def row(self, query: str, *args: object) -> Any: ...
    async def value(self, query: str, *args: object) -> Any: ...


class Tender:
    def __init__(self, database: Queries, runtime: Runtime) -> None:
        self._database = database
        self._runtime = runtime
        self._rounds = 0

    async def run(self) -> None:
        """Works until cancelled; a database that is away is met again next time."""
        while True:
            try:
                await self.once()
            except Refused as refused:
                log.warning("parts of meetings put off: %s", refused.code)
            except Exception:
                log.exception("parts of meetings could not be settled")
            await asyncio.sleep(_EVERY_S)

    async def once(self) -> None:
        since_s = _LATELY_S if self._rounds % _WHOLE_EVERY else _EVER_S
        self._rounds += 1
        found = await astray(self._database, list(self._runtime.owned), since_s, _AT_ONCE_MAX)
        await asyncio.gather(*(self._settle(*part) for part in found))

    async def _settle(self, calendar_id: str, business_id: str, part_id: str, became: Became) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        caller = Caller(business_id, "system:meetings", new_id())
        command = Settle(part_id, booking_code(), became)
        try:
            await self._runtime.ask(Work(calendar_id, command, caller, future, loop.time() + limits.request_deadline_s))
        except Refused as refused:
            # It is still astray the next time.
            log.warning("part %s could not be settled: %s", part_id, refused.code)

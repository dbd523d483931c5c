"""Forgets events older than the journal is to be kept, a bounded number at a time.

Events go one by one, not a partition at a time: docs/decisions tells why.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

from actors.ports import Clock
from jobs.database import Database
from protocol.times import DAY

log = logging.getLogger("slotcast.retention")

_EVENTS_AT_ONCE_MAX: Final = 1_000
_SHARDS_AT_ONCE_MAX: Final = 8


class Retention:
    """A round of `jobs.rounds`. What one of `followers`, by name, has not read stays."""

    name = "retention"
    every_s = 30.0

    def __init__(self, database: Database, clock: Clock, keep_days: int, followers: Sequence[str]) -> None:
        self._database = database
        self._clock = clock
        self._keep_us = keep_days * DAY
        self._followers = list(followers)
        self.forgotten = 0

    async def once(self, shards: Sequence[int]) -> bool:
        now = self._clock.now_us()
        due = await self._database.fetch("shards_to_trim", shards, self._followers, now)
        for row in due[:_SHARDS_AT_ONCE_MAX]:
            await self._trim(row, now)
        return bool(due)

    async def _trim(self, row: Any, now: int) -> None:
        found: Any = await self._database.row(
            "trim_journal", row["shard"], row["seq"], row["read"], _EVENTS_AT_ONCE_MAX, now - self._keep_us
        )
        self.forgotten += found["gone"]
        if found["seq"] is not None and found["seen"] == _EVENTS_AT_ONCE_MAX:
            await self._database.row("trimmed_to", row["shard"], found["seq"], None)
        else:
            await self._database.row("trimmed_to", row["shard"], 0, now)

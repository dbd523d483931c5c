"""Tells owners that their trial ends: a week before, a day before, and when it has ended.

That it ends needs no work: whoever asks for a booking after that moment is refused.
"""

from collections.abc import Sequence
from typing import Final

from actors.ports import Clock
from jobs.database import Database
from jobs.job_queue import JobQueue
from jobs.outgoing import to_owners
from protocol.times import format_us

NOTICES_DAYS: Final = (7, 1, 0)
"""So many days before the end, the longest first; 0 is when it has ended."""
_AT_ONCE_MAX: Final = 500
_SHARD: Final = 0
"""Businesses are of no shard; whoever owns this one tells for all nodes."""


class Trials:
    """A round of `jobs.rounds`."""

    name = "trials"
    every_s = 60.0

    def __init__(self, database: Database, queue: JobQueue, clock: Clock) -> None:
        self._database = database
        self._queue = queue
        self._clock = clock

    async def once(self, shards: Sequence[int]) -> bool:
        """Whether there is more of it."""
        if _SHARD not in shards:
            return False
        found = await self._database.fetch(
            "trials_to_tell", self._clock.now_us(), list(NOTICES_DAYS), NOTICES_DAYS[0], _AT_ONCE_MAX
        )
        for row in found:
            await self._tell(row["id"], row["ends_us"], row["days"])
        return len(found) == _AT_ONCE_MAX

    async def _tell(self, business_id: str, ends_us: int, days: int) -> None:
        async with self._database.transaction() as tx:
            if await tx.value("tell_of_trial", business_id, ends_us, days) is None:
                return
            key = f"{business_id}:{ends_us}:{days}"
            fields = {"days": str(days), "ends_at": format_us(ends_us)}
            await self._queue.put([to_owners("trial_ending", business_id, key, fields)], tx)

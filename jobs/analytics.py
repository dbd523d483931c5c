"""Counts the days of calendars that are over, so that analytics need not count them at every look.

A day is marked when it is over, and again when something of it changes; marked days are counted, here or by whoever
asks in the meantime. So what is shown is right whether or not this has run.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Final

from actors.ports import Clock
from jobs.database import Database
from jobs.open_time import hours_kept, open_seconds, spans_kept
from jobs.queue import Digest, JournalEvent
from protocol.errors import Refused
from protocol.times import DAY, local_us

log = logging.getLogger("slotcast.analytics")

_CALENDARS_AT_ONCE_MAX: Final = 50
_DAYS_AT_ONCE_MAX: Final = 31
_MOVED: Final = "booking.rescheduled"


class DaysOver:
    """A round of `jobs.rounds`: marks the days that have passed."""

    name = "analytics"
    every_s = 300.0

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def once(self, shards: Sequence[int]) -> bool:
        now = self._clock.now_us()
        found = await self._database.fetch("calendars_with_days_over", shards, now, _CALENDARS_AT_ONCE_MAX)
        for row in found:
            until: date = row["until"]
            to = min(row["today"], until + timedelta(days=_DAYS_AT_ONCE_MAX))
            await self._database.fetch("days_are_over", row["id"], row["business_id"], until, to, row["time_zone"])
        behind = any((row["today"] - row["until"]).days > _DAYS_AT_ONCE_MAX for row in found)
        return behind or len(found) == _CALENDARS_AT_ONCE_MAX


class CountedDays:
    """A round of `jobs.rounds`: counts the days that are marked."""

    name = "analytics"
    every_s = 30.0

    def __init__(self, database: Database) -> None:
        self._database = database

    async def once(self, shards: Sequence[int]) -> bool:
        found = await self._database.fetch("calendars_to_count", shards, _CALENDARS_AT_ONCE_MAX)
        more = len(found) == _CALENDARS_AT_ONCE_MAX
        for row in found:
            try:
                more |= await self._count(row)
            except Refused:
                raise
            except Exception:
                # What one calendar has wrong must not keep the others from being counted.
                log.exception("days of calendar %s cannot be counted", row["id"])
        return more

    async def _count(self, row: Any) -> bool:
        """Whether there may be more days of that calendar."""
        calendar_id, business_id, zone_name = row["id"], row["business_id"], row["time_zone"]
        async with self._database.transaction() as tx:
            taken = await tx.fetch("take_stale_days", calendar_id, _DAYS_AT_ONCE_MAX)
            days = sorted(r["day"] for r in taken)
            if not days:
                return False
            await tx.fetch("forget_counted_days", calendar_id, days)
            await tx.fetch("count_days", calendar_id, business_id, zone_name, days)
            if fresh := sorted(r["day"] for r in taken if r["without_hours"]):
                seconds = await self._open_seconds(tx, row, fresh)
                await tx.fetch("keep_open_hours", calendar_id, business_id, fresh, seconds)
        return len(days) == _DAYS_AT_ONCE_MAX

    async def _open_seconds(self, tx: Any, row: Any, days: Sequence[date]) -> list[int]:
        """None on days before the professional came or after they left."""
        hours = hours_kept(row["schedule"], row["time_zone"])
        first, last = local_us(days[0], 0, hours.tz), local_us(days[-1], 24 * 60, hours.tz)
        blocks = spans_kept(await tx.value("time_off_spans", row["id"], first - DAY, last + DAY))
        await asyncio.sleep(0)
        born, gone = row["born"], row["gone"] or date.max
        found = open_seconds(hours, days, blocks)
        return [s if born <= day <= gone else 0 for day, s in zip(days, found, strict=True)]


class AnalyticsFollower:
    """Marks counted days of which something has changed since. Bookings ahead of their day are of none."""

    name = "analytics"

    async def digest(self, events: Sequence[JournalEvent], transaction: Any) -> Digest:
        changed = [e for e in events if e.type.startswith("booking.") and not _is_ahead(e)]
        moved = [e for e in changed if e.type == _MOVED]
        if changed:
            await transaction.fetch(
                "mark_stale_days",
                [e.data["id"] for e in changed],
                [e.calendar_id for e in moved],
                [e.version for e in moved],
                [e.data["id"] for e in moved],
            )
        if zones := [e.calendar_id for e in events if e.type == "schedule.changed"]:
            await transaction.fetch("mark_moved_zones", zones)
        return Digest()


def _is_ahead(event: JournalEvent) -> bool:
    """Made two days before its start or more: in no zone has that day been counted yet."""
    return event.type == "booking.created" and event.data["start"] > event.at + 2 * DAY

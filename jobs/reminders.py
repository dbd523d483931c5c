"""Reminds of bookings: plans it when a booking is confirmed, plans anew when it moves, takes it back when it ends.

How long before the start is said by the service. That is elapsed time: where clocks change between reminder and start,
the hour on the wall differs, and the start is still that long ahead.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from actors.ports import Clock
from jobs.database import Queries
from jobs.job_queue import JobQueue
from jobs.outgoing import reminder
from jobs.queue import Digest, Job, JournalEvent, NewJob
from protocol.times import MINUTE, to_us

REMINDER: Final = "reminder"
_MOVES: Final = frozenset(
    {
        "booking.created", "booking.confirmed", "booking.rescheduled", "booking.cancelled", "booking.rejected",
        "booking.completed", "booking.no_show", "booking.expired",
    }
)  # fmt: skip


class Due(msgspec.Struct, frozen=True):
    """What a job of this kind carries. `until` is when it is too late: the start, or when the next reminder is due."""

    booking_id: str
    start: int
    minutes: int
    until: int


class Reminders:
    """Looks at the bookings as they are now, not as the events found them: what comes later is looked at again."""

    name = "reminders"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def digest(self, events: Sequence[JournalEvent], transaction: Any) -> Digest:
        ids = list(dict.fromkeys(e.data["id"] for e in events if e.type in _MOVES))
        if not ids:
            return Digest()
        made = {e.data["id"] for e in events if e.type == "booking.created"}
        before = [id_ for id_ in ids if id_ not in made]
        withdrawn = await transaction.fetch("reminders_planned", before) if before else []
        rows = await transaction.fetch("bookings_to_remind", ids)
        jobs = [job for row in rows for job in self._planned(row)]
        return Digest(jobs=jobs, withdrawn=[r["key"] for r in withdrawn])

    def _planned(self, row: Any) -> list[NewJob]:
        """Those whose moment had not passed when the booking was made or moved."""
        if row["status"] != "confirmed":
            return []
        start, changed, now = to_us(row["start_at"]), to_us(row["updated_at"]), self._clock.now_us()
        jobs: list[NewJob] = []
        until = start
        for minutes in sorted(set(row["reminder_minutes"])):
            moment = start - minutes * MINUTE
            if moment <= changed:
                break
            if until > now:
                jobs.append(_job(row["id"], row["business_id"], start, minutes, moment, until))
            until = moment
        return jobs


def _job(booking_id: str, business_id: str, start: int, minutes: int, moment: int, until: int) -> NewJob:
    return NewJob(
        kind=REMINDER,
        payload=msgspec.to_builtins(Due(booking_id, start, minutes, until)),
        business_id=business_id,
        run_at=moment,
        # By the start, not by a version: a booking that moves away and back is reminded of once.
        key=f"{REMINDER}:{booking_id}:{start}:{minutes}",
    )


class Announcer(Protocol):
    """Tells others than the client; the same `occasion` once."""

    async def of_booking(
        self, kind: str, business_id: str, booking_id: str, occasion: str, more: Mapping[str, Any] | None = None
    ) -> None: ...


class Reminding:
    """Does a job when its moment has come: the message to the client, and what is announced to others."""

    def __init__(self, database: Queries, queue: JobQueue, clock: Clock, announcer: Announcer) -> None:
        self._database = database
        self._queue = queue
        self._clock = clock
        self._announcer = announcer

    async def handle(self, job: Job) -> None:
        due = msgspec.convert(job.payload, Due)
        rows = await self._database.fetch("bookings_to_remind", [due.booking_id])
        if not rows or rows[0]["status"] != "confirmed" or to_us(rows[0]["start_at"]) != due.start:
            return
        if self._clock.now_us() >= due.until:
            return
        business_id, occasion = rows[0]["business_id"], f"{REMINDER}:{due.start}:{due.minutes}"
        more = {"minutes_before": due.minutes}
        await self._announcer.of_booking("booking.reminder", business_id, due.booking_id, occasion, more)
        await self._queue.put_alone(reminder(business_id, due.booking_id, due.start, due.minutes))

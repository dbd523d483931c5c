"""What must hold in the tables after bookings, asked in SQL that shares nothing with the server."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import asyncpg

from bench.report import Refused

# If any two ranges of a calendar overlap, then so do two that are neighbours in order of their start.
OVERLAPS = """
SELECT count(*) FROM (
    SELECT {start} AS starts, lag({end}) OVER (PARTITION BY {calendar} ORDER BY {start}) AS before
    FROM bookings WHERE status IN ('held', 'pending', 'confirmed')
) AS neighbours WHERE starts < before
"""

MISSING = """
SELECT count(*) FROM unnest($1::uuid[]) AS acknowledged (id)
WHERE NOT EXISTS (SELECT FROM bookings WHERE bookings.id = acknowledged.id)
"""

SLOTCAST = {"calendar": "calendar_id", "start": "lower(blocked)", "end": "upper(blocked)"}
ROW_LOCK = {"calendar": "professional_id", "start": "starts_at", "end": "ends_at"}


async def check(name: str, dsn: str, columns: dict[str, str], acknowledged: Sequence[str]) -> None:
    """Refuse the run on an overlap, or on an acknowledged booking that is not there or was told twice."""
    connection = await asyncpg.connect(dsn)
    try:
        overlaps = await connection.fetchval(OVERLAPS.format(**columns))
        missing = await connection.fetchval(MISSING, acknowledged)
    finally:
        await connection.close()
    if overlaps:
        raise Refused(f"{name}: {overlaps} active bookings overlap another on their calendar")
    if missing:
        raise Refused(f"{name}: {missing} acknowledged bookings are not in the database")
    if len(set(acknowledged)) != len(acknowledged):
        raise Refused(f"{name}: one booking id was acknowledged more than once")


class Story(NamedTuple):
    """What a generator was told: ids of bookings acknowledged, and of those whose cancelling was."""

    booked: list[str]
    cancelled: list[str]

    @property
    def standing(self) -> list[str]:
        gone = set(self.cancelled)
        return [id_ for id_ in self.booked if id_ not in gone]


def read_story(path: Path) -> Story:
    """The lines a generator wrote: `b ID` for a booking, `c ID` for a cancelling."""
    story = Story([], [])
    with path.open() as lines:
        for line in lines:
            what, id_ = line.split()
            (story.booked if what == "b" else story.cancelled).append(id_)
    return story


OTHER_STATUS = """
SELECT count(*) FROM unnest($1::uuid[]) AS told (id) JOIN bookings b USING (id) WHERE b.status <> $2
"""

UNTOLD = (
    "SELECT count(*) - $2 FROM bookings WHERE calendar_id = ANY ($1::uuid[]) AND status IN ('pending', 'confirmed')"
)

# A hold's timer may be late; a minute late it has been forgotten.
FORGOTTEN_HOLDS = """
SELECT count(*) FROM bookings
WHERE calendar_id = ANY ($1::uuid[]) AND status = 'held' AND expires_at < now() - interval '1 minute'
"""

GAPS = """
SELECT count(*) FROM (
    SELECT calendar_id FROM events WHERE calendar_id = ANY ($1::uuid[])
    GROUP BY calendar_id HAVING min(version) <> 1 OR max(version) <> count(*)
) AS broken
"""


async def check_story(name: str, dsn: str, calendars: Sequence[str], story: Story) -> None:
    """Refuse the run unless the tables tell exactly the story: nothing lost, nothing undone, nothing untold."""
    await check(name, dsn, SLOTCAST, story.booked)
    standing = story.standing
    connection = await asyncpg.connect(dsn)
    try:
        faults = {
            "acknowledged bookings are not confirmed": await connection.fetchval(OTHER_STATUS, standing, "confirmed"),
            "cancelled bookings are not cancelled": await connection.fetchval(
                OTHER_STATUS, story.cancelled, "cancelled"
            ),
            "bookings stand that nobody was told of": await connection.fetchval(UNTOLD, list(calendars), len(standing)),
            "holds stand over a minute after their end": await connection.fetchval(FORGOTTEN_HOLDS, list(calendars)),
            "calendars have a gap in their journal": await connection.fetchval(GAPS, list(calendars)),
        }
    finally:
        await connection.close()
    for what, count in faults.items():
        if count:
            raise Refused(f"{name}: {count} {what}")
    if len(set(story.cancelled)) != len(story.cancelled) or not set(story.cancelled) <= set(story.booked):
        raise Refused(f"{name}: a booking was cancelled twice, or without having been made")

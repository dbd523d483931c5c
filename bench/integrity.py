"""What must hold in the tables after bookings, asked in SQL that shares nothing with the server."""

from collections.abc import Sequence

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

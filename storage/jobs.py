"""The queue of jobs as operators see it."""

from typing import Any

from protocol.errors import Refused
from protocol.jobs import JobSeen
from storage.people import Queries, stamp


async def list_jobs(q: Queries, state: str | None, kind: str | None, after: str | None, limit: int) -> list[JobSeen]:
    """The oldest first."""
    return [_job(r) for r in await q.fetch("list_jobs", state, kind, after, limit)]


async def job_to_change(q: Queries, job_id: str) -> JobSeen:
    """Locked, so that no worker takes it meanwhile; before it its lane, as everybody does."""
    lane = await q.value("lane_of_job", job_id)
    if lane is not None:
        await q.value("lock_lanes", [lane])
    row = await q.row("job_by_id", job_id)
    if row is None:
        raise Refused("not_found", "there is no such job")
    return _job(row)


def _job(row: Any) -> JobSeen:
    return JobSeen(
        id=row["id"],
        kind=row["kind"],
        business_id=row["business_id"],
        state=row["state"],
        key=row["key"],
        lane=row["lane"],
        run_at=stamp(row["run_at"]),
        attempts=row["attempts"],
        attempts_max=row["attempts_max"],
        reason=row["reason"],
        created_at=stamp(row["created_at"]),
        updated_at=stamp(row["updated_at"]),
    )

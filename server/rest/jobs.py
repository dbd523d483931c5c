"""What a super admin sees of the queue of jobs, and does about those that died."""

from typing import Annotated, Any

from msgspec import Meta

from protocol import bodies
from protocol.errors import Refused
from protocol.jobs import JobSeen, JobState
from server import audit
from server.edge import Call, Endpoint
from server.paging import PageQuery, decode_cursor, page
from storage.jobs import job_to_change, list_jobs

Kind = Annotated[str, Meta(max_length=40, pattern=r"^[a-z][a-z0-9_.-]*$")]


class JobsQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    state: JobState | None = None
    kind: Kind | None = None


async def read_jobs(call: Call[Any, JobsQuery]) -> dict[str, Any]:
    auth, q = call.node.auth, call.query
    position = decode_cursor(auth, "jobs", q.cursor)
    items = await list_jobs(call.node.database, q.state, q.kind, position[0] if position else None, q.limit + 1)
    return page(auth, "jobs", items, q.limit)


async def retry_job(call: Call[bodies.Empty, Any]) -> JobSeen:
    """From its first try on; one that waits need not wait longer."""
    found = await job_to_change(call.tx, call.id("id"))
    if found.state not in ("dead", "waiting"):
        raise Refused("conflict", f"the job is {found.state}")
    await call.node.queue.retry(found.id, found.lane, call.tx)
    after = await job_to_change(call.tx, found.id)
    await audit.record(call, "job.retried", "job", found.id, before=found, after=after, business_id=found.business_id)
    return after


async def drop_job(call: Call[Any, Any]) -> None:
    """What it was to do is not done."""
    found = await job_to_change(call.tx, call.id("id"))
    if found.state == "working":
        raise Refused("conflict", "the job is being done")
    await call.node.queue.drop(found.id, found.lane, call.tx)
    await audit.record(call, "job.dropped", "job", found.id, before=found, business_id=found.business_id)


def routes(node: Any) -> list[Endpoint]:
    p = "/api/v1/admin/jobs"
    return [
        Endpoint(node, "GET", p, read_jobs, needs="platform.read", summary="What waits to be done, and what has died",
                 answer=list[JobSeen], query=JobsQuery, area="platform"),
        Endpoint(node, "POST", p + "/{id}/retry", retry_job, needs="platform.write", tx=True,
                 summary="Do a job now, from its first try on", answer=JobSeen, body=bodies.Empty,
                 errors=("conflict",), area="platform"),
        Endpoint(node, "DELETE", p + "/{id}", drop_job, needs="platform.write", status=204, tx=True, keyed=False,
                 summary="Take a job out of the queue", errors=("conflict",), area="platform"),
    ]  # fmt: skip

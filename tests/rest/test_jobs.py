"""The queue as super admins see it, what they do about it, and its figures."""

import uuid
from typing import Any

import asyncpg
import pytest

from tests.rest.helpers import all_pages, book, problem
from tests.rest.people import super_admin
from tests.support.server import Api, Place, eventually


@pytest.fixture
async def admin(api: Api, db: asyncpg.Connection) -> Api:
    return await super_admin(api, db)


async def put(db: asyncpg.Connection, state: str, kind: str = "nobodys") -> str:
    """A job that no worker knows how to do."""
    job_id = str(uuid.uuid4())
    working = state == "working"
    await db.execute(
        """INSERT INTO jobs (id, kind, payload, state, run_at, attempts, attempts_max, reason, holder, leased_until)
           VALUES ($1, $3, '{"secret": 1}', $2, now() + interval '1 hour', 3, 3, 'nobody there',
                   CASE WHEN $4 THEN $1::uuid END, CASE WHEN $4 THEN now() + interval '1 hour' END)""",
        job_id, state, kind, working,
    )  # fmt: skip
    return job_id


async def test_jobs_are_listed_by_state_and_kind(admin: Api, db: asyncpg.Connection) -> None:
    """With why they died, and without what they hold."""
    kind = f"k{uuid.uuid4().hex}"
    dead = sorted([await put(db, "dead", kind) for _ in range(5)])
    waiting = await put(db, "waiting", kind)
    listed = [j for page in await all_pages(admin, "admin/jobs", 2, kind=kind, state="dead") for j in page]
    assert [j["id"] for j in listed] == dead
    assert listed[0]["reason"] == "nobody there"
    assert (listed[0]["attempts"], listed[0]["attempts_max"]) == (3, 3)
    assert "secret" not in str(listed)
    assert len((await admin.get("admin/jobs", kind=kind)).json["items"]) == 6
    assert [j["id"] for j in (await admin.get("admin/jobs", kind=kind, state="waiting")).json["items"]] == [waiting]
    for bad in ({"state": "lost"}, {"kind": "a b"}, {"kind": ""}, {"lane": "x"}):
        problem(await admin.get("admin/jobs", **bad), "validation_failed")


@pytest.mark.parity("C11")
async def test_a_dead_job_is_retried(admin: Api, db: asyncpg.Connection) -> None:
    """Once more from the first try on, at once; not one that is being done, or was done."""
    job_id = await put(db, "dead")
    answer = await admin.post(f"admin/jobs/{job_id}/retry")
    assert answer.status == 200, answer
    assert (answer.json["state"], answer.json["attempts"]) == ("waiting", 0)
    assert await db.fetchval("SELECT run_at <= now() FROM jobs WHERE id = $1", job_id)
    assert (await admin.post(f"admin/jobs/{await put(db, 'waiting')}/retry")).status == 200
    for state in ("working", "done"):
        problem(await admin.post(f"admin/jobs/{await put(db, state)}/retry"), "conflict")
    for nobody in (uuid.uuid4(), "x"):
        problem(await admin.post(f"admin/jobs/{nobody}/retry"), "not_found")


async def test_a_job_is_dropped(admin: Api, db: asyncpg.Connection) -> None:
    job_id = await put(db, "waiting")
    assert (await admin.request("DELETE", f"admin/jobs/{job_id}")).status == 204
    problem(await admin.request("DELETE", f"admin/jobs/{job_id}"), "not_found")
    problem(await admin.request("DELETE", f"admin/jobs/{await put(db, 'working')}"), "conflict")


async def test_what_is_done_about_jobs_is_written_down(admin: Api, db: asyncpg.Connection) -> None:
    job_id = await put(db, "dead")
    await admin.post(f"admin/jobs/{job_id}/retry")
    await admin.request("DELETE", f"admin/jobs/{job_id}")
    rows = await db.fetch("SELECT action FROM audit_log WHERE what_id = $1 ORDER BY id", job_id)
    assert [r["action"] for r in rows] == ["job.retried", "job.dropped"]


async def test_only_super_admins_see_jobs(place: Place, db: asyncpg.Connection) -> None:
    job_id = await put(db, "dead")
    problem(await place.api.get("admin/jobs"), "forbidden")
    problem(await place.api.post(f"admin/jobs/{job_id}/retry"), "forbidden")
    problem(await place.api.request("DELETE", f"admin/jobs/{job_id}"), "forbidden")


@pytest.mark.parity("C10")
async def test_a_booking_is_followed(place: Place, db: asyncpg.Connection) -> None:
    """By everybody who follows, without being asked; and the figures of it are exported."""
    await book(place, place.at(9))
    shard = await db.fetchval("SELECT shard FROM calendars WHERE id = $1", place.professional_id)

    async def read() -> Any:
        rows = await db.fetch(
            "SELECT f.seq >= s.seq AS read FROM followers f JOIN shards s ON s.id = f.shard WHERE shard = $1", shard
        )
        return rows and all(r["read"] for r in rows)

    assert await eventually(read)
    text = (await place.api.get("/metrics")).body.decode()
    for name in ("follower_lag_events", "follower_lag_seconds", "follower_events_total", "jobs_overdue_seconds",
                 "jobs_in_hand"):  # fmt: skip
        assert f"slotcast_{name}" in text

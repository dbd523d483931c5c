"""`slotcast jobs`."""

import asyncio
import os
import signal
import subprocess
import sys
import uuid

import asyncpg
import orjson
import pytest

from tests.cli.conftest import Cli, one_line
from tests.support.server import ROOT, SECRET, eventually


async def put(dsn: str, kind: str, state: str = "dead", payload: str = "{}") -> str:
    job_id = str(uuid.uuid4())
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            "INSERT INTO jobs (id, kind, payload, state, run_at, attempts_max, reason) "
            "VALUES ($1, $2, $3, $4, now(), 1, 'nobody there')", job_id, kind, payload, state,
        )  # fmt: skip
    finally:
        await connection.close()
    return job_id


@pytest.fixture
def migrated(cli: Cli, database: dict[str, str]) -> dict[str, str]:
    assert cli("migrate", "up", **database).code == 0
    return database


def test_dead_jobs_are_listed_retried_and_dropped(cli: Cli, migrated: dict[str, str]) -> None:
    dsn = migrated["DATABASE_URL"]
    ids = sorted(asyncio.run(put(dsn, "nobodys")) for _ in range(2))
    listed = cli("jobs", "list", "--state", "dead", "--json", **migrated)
    assert [orjson.loads(line)["id"] for line in listed.out.splitlines()] == ids
    shown = cli("jobs", "list", **migrated)
    assert ids[0] in shown.out
    assert "nobody there" in shown.out
    assert cli("jobs", "retry", ids[0], **migrated).code == 0
    assert cli("jobs", "drop", ids[1], **migrated).code == 0
    [left] = cli("jobs", "list", "--json", **migrated).out.splitlines()
    assert (orjson.loads(left)["id"], orjson.loads(left)["state"]) == (ids[0], "waiting")
    one_line(cli("jobs", "drop", ids[1], **migrated), "no such job")
    one_line(cli("jobs", "retry", "x", **migrated), "no id of a job")
    one_line(cli("jobs", "list", "--state", "lost", **migrated), "lost")
    done = asyncio.run(put(dsn, "nobodys", "done"))
    one_line(cli("jobs", "retry", done, **migrated), "the job is done")


def test_a_process_does_nothing_but_jobs(cli: Cli, migrated: dict[str, str]) -> None:
    """Until SIGTERM; here one that cannot be done any more."""
    dsn = migrated["DATABASE_URL"]
    payload = '{"follower": "nobody", "shard": 0, "seq": 1}'
    asyncio.run(put(dsn, "digest", "waiting", payload))
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SLOTCAST_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "server", "jobs", "work", "--slots", "2"],
        cwd=ROOT, env={**kept, "DATABASE_URL": dsn, "SLOTCAST_JWT_SECRET": SECRET}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:

        async def reason() -> str | None:
            connection = await asyncpg.connect(dsn)
            try:
                return await connection.fetchval("SELECT reason FROM jobs WHERE state = 'dead' AND attempts = 1")
            finally:
                await connection.close()

        assert asyncio.run(eventually(reason, 30)) == "nobody follows as nobody any more"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()


def test_a_database_that_is_away_is_said_in_a_line(cli: Cli) -> None:
    environment = {"DATABASE_URL": "postgresql://127.0.0.1:1/x", "SLOTCAST_JWT_SECRET": SECRET}
    one_line(cli("jobs", "list", **environment), "cannot reach the database")

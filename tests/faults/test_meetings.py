"""Meetings of several calendars on three nodes: whatever breaks, all of a meeting stands or none of it.

By default some faults strike; with `SLOTCAST_PROVE` they go on for longer, several at once.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import pytest_asyncio

from tests.faults import strikes
from tests.faults.cluster import Cluster
from tests.faults.conftest import LONG, QUICK
from tests.faults.gatherers import Gatherers, Team
from tests.support.postgres import TestPostgres
from tests.support.redis import TestRedis
from tests.support.server import Api, eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600 if LONG or QUICK else 120)]

_FOR_S: Final = 120.0 if LONG else 30.0 if QUICK else 0.0
_USERS: Final = 16
_FIRST: Final = (strikes.kill_briefly, strikes.snap_commit, strikes.swallow_commit, strikes.cut_redis)
_THEN: Final = (strikes.pause_briefly, strikes.cut_postgres, strikes.kill_redis, strikes.kill_backends)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(postgres: TestPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    redis = TestRedis()
    made = Cluster(await postgres.new_database(), redis, tmp_path_factory.mktemp("meetings"))
    try:
        yield await made.open()
    finally:
        await made.close()
        redis.stop()


async def _calendar(api: Api, kind: str) -> str:
    made = await api.made("professionals", {"display_name": kind, "time_zone": "UTC", "kind": kind})
    weekly = [{"weekday": d, "start": "00:00", "end": "24:00"} for d in range(7)]
    body: dict[str, Any] = {"time_zone": "UTC", "weekly": weekly}
    put = await api.request("PUT", f"professionals/{made['id']}/schedule", body)
    assert put.status == 200, put
    return made["id"]


async def _teams(api: Api) -> list[Team]:
    """Two services that need some of the same people and rooms."""
    people = [await _calendar(api, "person") for _ in range(6)]
    rooms = [await _calendar(api, "resource") for _ in range(3)]
    client = await api.made("clients", {"first_name": "Cleo"})
    day = (datetime.now(UTC) + timedelta(days=7)).strftime("%Y-%m-%d")
    teams: list[Team] = []
    for needed, who, groups in ((2, people[:4], [rooms[:2]]), (3, people[2:], [rooms[1:2], rooms[2:]])):
        body = {
            "name": "Panel", "duration_minutes": 30, "horizon_days": 365, "professional_ids": who,
            "professionals_needed": needed, "resources": groups,
        }  # fmt: skip
        made = await api.made("services", body)
        teams.append(Team(made["id"], client["id"], day, needed + len(groups)))
    return teams


async def test_all_of_a_meeting_or_none(cluster: Cluster, seed: int, request: pytest.FixtureRequest) -> None:
    print(f"seed {seed}; replay: SLOTCAST_TEST_SEED={seed} pytest '{request.node.nodeid}'")  # noqa: T201
    rng = random.Random(seed)
    users: Any = Gatherers(cluster.dsn, seed, cluster.apis, await _teams(cluster.apis[0]))
    cluster.crew = users
    await users.start(_USERS)
    try:
        await users.some_more(60)
        until = time.monotonic() + _FOR_S
        for strike in (rng.choice(_FIRST), rng.choice(_THEN)):
            await strike(cluster, rng)
            await users.some_more(20)
        while time.monotonic() < until:
            await (strikes.several if rng.random() < 0.3 else rng.choice(strikes.ALL))(cluster, rng)
            await asyncio.sleep(rng.uniform(0, 1.5))
        await cluster.calm()
        await users.some_more(40)
        await users.settle()
        struck = [s.name for s in users.history.strikes]
        print(f"{users.answered} answers, {len(users.booked)} meetings stand; {struck}")  # noqa: T201

        async def whole() -> bool:
            return not await users.astray()

        assert await eventually(whole, 20), (await users.astray())[:5]
        assert users.unequal == []
        assert await users.differences() == []
    finally:
        await users.dismiss()
        print(cluster.logged())  # noqa: T201

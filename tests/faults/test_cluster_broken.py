"""The checker notices what it is there for: nodes without a fence, and nodes that promise what is not yet written."""

import asyncio
import copy
import random
import time
from pathlib import Path
from typing import Final

import pytest

from tests.faults.checker import wrongs
from tests.faults.cluster import Cluster
from tests.faults.crew import Crew
from tests.faults.strikes import Strike, pause
from tests.faults.tables import read_tables
from tests.support.postgres import TestPostgres
from tests.support.redis import TestRedis

_FEW_SHARDS: Final = "6"
"""So that calendars share them, and the events of two owners stand in one order."""
_UNTIL_CAUGHT_S: Final = 80.0


async def _kill_while_hasty(cluster: Cluster, rng: random.Random) -> None:
    """Between what is said and what is written lies a way to Postgres on which nothing moves."""
    node = rng.choice(cluster.nodes)
    with cluster.striking(f"kill {node.name}"):
        node.postgres.freeze()
        await asyncio.sleep(0.5)
        node.kill()
        node.postgres.cut()
        node.postgres.heal()
        await node.start()


@pytest.mark.parametrize(
    ("how", "strike", "kinds"),
    [
        ("--no-fence", pause, ("epoch went back", "overlap", "illegal event", "out of order")),
        ("--hasty", _kill_while_hasty, ("lost",)),
    ],
)
async def test_a_broken_build_is_caught(
    postgres: TestPostgres, tmp_path: Path, seed: int, how: str, strike: Strike, kinds: tuple[str, ...]
) -> None:
    print(f"seed {seed}")  # noqa: T201
    rng = random.Random(seed)
    redis = TestRedis()
    cluster = Cluster(await postgres.new_database(), redis, tmp_path)
    try:
        await cluster.open(("-m", "tests.faults.broken_node", how), SLOTCAST_SHARD_COUNT=_FEW_SHARDS)
        crew = await cluster.begin(seed)
        until = time.monotonic() + _UNTIL_CAUGHT_S
        found: list[str] = []
        while not found and time.monotonic() < until:
            await strike(cluster, rng)
            await crew.some_more(40)
            found = [w for w in await _wrongs(crew) if w.startswith(kinds)]
        assert found, "nothing was noticed"
        print(found[:5])  # noqa: T201
    finally:
        await cluster.crew.dismiss()
        await cluster.close()
        redis.stop()


async def _wrongs(crew: Crew) -> list[str]:
    """Of a load that goes on, as far as it had come before the tables were read."""
    history = copy.copy(crew.history)
    history.requests, history.frames = copy.deepcopy(history.requests), []
    return await asyncio.to_thread(wrongs, await read_tables(crew.db), history)

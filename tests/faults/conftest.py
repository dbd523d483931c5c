"""A server of the test's own under load, with a proxy before its database where the test needs one.

Everything random comes from one seed, which a failing test prints. `SLOTCAST_PROVE=long` runs every fault from several
seeds and with more load; `SLOTCAST_TEST_SEED=…` replays one.
"""

import asyncio
import os
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import aiohttp
import asyncpg
import pytest

from tests.conftest import business_of
from tests.faults.checker import differences, wrongs
from tests.faults.history import History, Load, Watcher
from tests.faults.proxy import Proxy
from tests.support.postgres import TestPostgres
from tests.support.server import Answer, Api, Place, RunningServer, eventually, new_place, token_for

LONG: Final = os.environ.get("SLOTCAST_PROVE") == "long"
_SEEDS_LONG: Final = 5
_DAYS: Final = 10
_GROUP: Final = 3


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.faults)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" not in metafunc.fixturenames:
        return
    given = os.environ.get("SLOTCAST_TEST_SEED")
    if given is not None:
        seeds = [int(given)]
    else:
        seeds = [random.randrange(10**6) for _ in range(_SEEDS_LONG if LONG else 1)]
    # The ids stay the same from run to run, so that a test can be named.
    metafunc.parametrize("seed", seeds, ids=[f"run{i}" for i in range(len(seeds))])


class Site:
    """A server, what stands before and behind it, and who uses it."""

    def __init__(self, dsn: str, directory: Path, session: aiohttp.ClientSession, seed: int) -> None:
        self.dsn = dsn
        self.directory = directory
        self.session = session
        self.seed = seed
        self.server: RunningServer
        self.proxy: Proxy | None = None
        self.api: Api
        self.places: list[Place]
        self.load: Load
        self.watchers: list[Watcher] = []
        self.db: asyncpg.Connection

    async def open(self, *, proxied: bool = False, **environment: str) -> "Site":
        """Starts everything, and the load with it."""
        dsn = self.dsn
        if proxied:
            socket_dir = re.search(r"host=([^&]+)", dsn)
            name = re.search(r"/(\w+)\?", dsn)
            assert socket_dir is not None
            assert name is not None
            self.proxy = await Proxy(f"{socket_dir[1]}/.s.PGSQL.5432").start()
            dsn = f"postgresql://postgres@127.0.0.1:{self.proxy.port}/{name[1]}"
        self.server = RunningServer(dsn, self.directory, SLOTCAST_ACCESS_LOG="false", **environment)
        await self.start()
        self.db = await asyncpg.connect(self.dsn)
        self.api = Api(self.server, self.session, token_for(await business_of(self.dsn)))
        self.places = [await new_place(self.api), await new_place(self.api), await new_place(self.api, capacity=_GROUP)]
        self.load = Load(self.places, self.seed, bookers=40 if LONG else 24, days=_DAYS)
        self.load.start()
        self.watchers = [Watcher(p, _DAYS) for p in self.places for _ in range(2)]
        for watcher in self.watchers:
            watcher.start()
        await self.load.until_acknowledged(60)
        return self

    async def start(self) -> None:
        """In a thread, because the proxy lives on this loop."""
        await asyncio.to_thread(self.server.start)

    @property
    def history(self) -> History:
        return self.load.history

    async def some_more(self, count: int = 60) -> None:
        await self.load.until_acknowledged(count * 5 if LONG else count)

    async def check(self, *, killed: bool = False) -> None:
        """Fails unless every promise was kept: settles the load, and asks tables, history and replicas.

        Unless the server was `killed`, every request must have been answered, if only by a 503.
        """
        await self.load.settle()
        assert killed or not any(r.silences for r in self.history.requests), "a request was never answered"
        assert await wrongs(self.db, self.history) == []
        await self.converged()

    async def converged(self) -> None:
        """Fails unless every watcher comes to see what the rows say."""
        for watcher in self.watchers:
            capacity = _GROUP if watcher.place is self.places[2] else 1

            async def converged(watcher: Watcher = watcher, capacity: int = capacity) -> bool:
                return await differences(self.db, watcher, capacity) == []

            if not await eventually(converged, 20):
                found = await differences(self.db, watcher, capacity)
                raise AssertionError(f"a watcher at version {watcher.version} sees something else: {found[:5]}")

    async def ready(self) -> Answer:
        return await self.api.get("/readyz")

    async def metric(self, name: str) -> float:
        text = (await self.api.get("/metrics")).body.decode()
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    async def close(self) -> None:
        if hasattr(self, "load"):
            self.load.abandon()
        for watcher in self.watchers:
            await watcher.stop()
        if hasattr(self, "db"):
            await self.db.close(timeout=5)
        if hasattr(self, "server") and self.server.process is not None and self.server.process.poll() is None:
            self.server.kill()
        if self.proxy is not None:
            await self.proxy.stop()


@pytest.fixture
async def site(
    postgres: TestPostgres, tmp_path: Path, http: aiohttp.ClientSession, seed: int, request: pytest.FixtureRequest
) -> AsyncIterator[Site]:
    """Not open yet."""
    # Only a failing test shows what it printed.
    print(f"seed {seed}; replay: SLOTCAST_TEST_SEED={seed} pytest '{request.node.nodeid}'")  # noqa: T201
    made = Site(await postgres.new_database(), tmp_path / "server", http, seed)
    yield made
    await made.close()
    if hasattr(made, "server"):
        print(made.server.logged()[-3000:])  # noqa: T201

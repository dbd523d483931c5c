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
import pytest

from tests.conftest import business_of
from tests.faults import once
from tests.faults.crew import Crew
from tests.faults.proxy import Proxy
from tests.support.postgres import TestPostgres
from tests.support.server import Answer, Api, RunningServer, token_for

LONG: Final = os.environ.get("SLOTCAST_PROVE") == "long"
QUICK: Final = os.environ.get("SLOTCAST_PROVE") == "quick"
_SEEDS_LONG: Final = 5
_SEED_SHORT: Final = 20261121
_SERVICES: Final = ({}, {"buffer_after_minutes": 30}, {"capacity": 3})


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
        # One that is drawn anew belongs to the long form: a change is judged by itself.
        seeds = [random.randrange(10**6) for _ in range(_SEEDS_LONG)] if LONG else [_SEED_SHORT]
    # The ids stay the same from run to run, so that a test can be named.
    metafunc.parametrize("seed", seeds, ids=[f"run{i}" for i in range(len(seeds))])


def proxied(dsn: str) -> tuple[str, str]:
    """The Unix socket of a DSN, and what the DSN is with a port of a proxy in place of `{port}`."""
    socket_dir = re.search(r"host=([^&]+)", dsn)
    name = re.search(r"/(\w+)\?", dsn)
    assert socket_dir is not None
    assert name is not None
    return f"{socket_dir[1]}/.s.PGSQL.5432", f"postgresql://postgres@127.0.0.1:{{port}}/{name[1]}"


class Site(Crew):
    """A server, what stands before and behind it, and who uses it."""

    def __init__(self, dsn: str, directory: Path, session: aiohttp.ClientSession, seed: int) -> None:
        super().__init__(dsn, directory, seed)
        self.session = session
        self.server: RunningServer
        self.proxy: Proxy | None = None
        self.api: Api

    async def open(self, *, proxied_database: bool = False, **environment: str) -> "Site":
        """Starts everything, and the load with it."""
        dsn = self.dsn
        if proxied_database:
            socket_path, proxied_dsn = proxied(dsn)
            self.proxy = await Proxy(socket_path).start()
            dsn = proxied_dsn.format(port=self.proxy.port)
        self.server = RunningServer(dsn, self.directory, SLOTCAST_ACCESS_LOG="false", **environment)
        await self.start()
        self.api = Api(self.server, self.session, token_for(await business_of(self.dsn)))
        await self.begin([self.api], _SERVICES, bookers=40 if LONG else 24, watchers=2)
        return self

    async def start(self) -> None:
        """In a thread, because the proxy lives on this loop."""
        await asyncio.to_thread(self.server.start)

    async def some_more(self, count: int = 60) -> None:
        await super().some_more(count * 5 if LONG else count)

    async def ready(self) -> Answer:
        return await self.api.get("/readyz")

    async def metric(self, name: str) -> float:
        text = (await self.api.get("/metrics")).body.decode()
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    async def close(self) -> None:
        await self.dismiss()
        if hasattr(self, "server") and self.server.process is not None and self.server.process.poll() is None:
            self.server.kill()
        if self.proxy is not None:
            await self.proxy.stop()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with once.session() as session:
        yield session


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

"""Fixtures for all tests: a database server, a Slotcast server, and REST access to it."""

import atexit
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from tests.support.postgres import TestPostgres
from tests.support.server import Api, Place, RunningServer, new_place, token_for

# A busy machine must not turn a test red: nothing here asserts how long something takes. What is drawn at random is
# drawn anew by `make prove`; `make test` draws the same each time, so that a change is judged by itself.
settings.register_profile(
    "slotcast",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("SLOTCAST_PROVE") != "long",
)
settings.load_profile("slotcast")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Where nothing may be skipped, a skip is a failure."""
    report = yield
    if report.skipped and os.environ.get("SLOTCAST_TEST_NO_SKIP") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but nothing may be: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def postgres() -> TestPostgres:
    # Not below pytest's own directory: as root, Postgres runs as another user, and each pytest that starts closes
    # that directory to others again. Removed after the server has stopped, which happens at exit as well.
    directory = Path(tempfile.mkdtemp(prefix="slotcast-tests-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return TestPostgres(directory)


@pytest.fixture(scope="session")
def server(postgres: TestPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests that do not hurt it. Each makes its own `place` in it."""
    running = RunningServer(postgres.new_database_sync(), tmp_path_factory.mktemp("server")).start()
    yield running
    assert running.stop() == 0, running.logged()[-4000:]


@pytest.fixture
def fresh_server(postgres: TestPostgres, tmp_path: Path) -> Iterator[RunningServer]:
    """A server and database of the test's own, not yet started, to be killed and starved at will."""
    running = RunningServer(postgres.new_database_sync(), tmp_path / "server")
    yield running
    if running.process is not None and running.process.poll() is None:
        running.kill()


async def business_of(dsn: str, slug: str = "demo") -> str:
    connection = await asyncpg.connect(dsn)
    try:
        return str(await connection.fetchval("SELECT id FROM businesses WHERE slug = $1", slug))
    finally:
        await connection.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(30)) as session:
        yield session


@pytest.fixture
async def api(server: RunningServer, http: aiohttp.ClientSession) -> Api:
    """The owner of the demo business."""
    return Api(server, http, token_for(await business_of(server.dsn)))


@pytest.fixture
async def place(api: Api) -> Place:
    return await new_place(api)


@pytest.fixture
async def db(server: RunningServer) -> AsyncIterator[asyncpg.Connection]:
    """Straight to the shared server's database."""
    connection = await asyncpg.connect(server.dsn)
    yield connection
    await connection.close()

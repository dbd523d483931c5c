"""Each test here runs twice: on Postgres and on the twin in memory."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from actors.ports import CalendarStore
from tests.contract.cluster_nodes import nodes  # noqa: F401 - a fixture
from tests.contract.cluster_world import cluster, own_redis, redis_cluster, shared_redis  # noqa: F401 - fixtures
from tests.contract.world import SHARDS, FixedClock, House, MemoryWorld, PostgresWorld, World
from tests.support.postgres import TestPostgres


@pytest.fixture(scope="session")
def contract_dsn(postgres: TestPostgres) -> str:
    """One database; every test makes calendars of its own in it."""
    return postgres.new_database_sync()


@pytest.fixture(params=["postgres", "memory"])
def database_of_world(request: pytest.FixtureRequest) -> str | None:
    """The DSN, or `None` for the world in memory, which needs no server."""
    return request.getfixturevalue("contract_dsn") if request.param == "postgres" else None


@pytest.fixture
async def world(database_of_world: str | None) -> AsyncIterator[World]:
    if database_of_world is None:
        yield MemoryWorld()
        return
    found = await PostgresWorld.open(database_of_world)
    yield found
    await found.close()


@pytest.fixture
async def idle_journals(world: World) -> AsyncIterator[Callable[..., Any]]:
    """Starts journals without any shard; they stop with the test."""
    started: list[Any] = []

    async def start(listener: Any) -> Any:
        journal = world.journal()
        started.append(journal)
        await journal.start(listener)
        return journal

    yield start
    for journal in started:
        await journal.stop()


@pytest.fixture
def journals(idle_journals: Callable[..., Any]) -> Callable[..., Any]:
    """Starts journals, each taking all shards."""

    async def start(listener: Any) -> Any:
        journal = await idle_journals(listener)
        await journal.take(range(SHARDS))
        return journal

    return start


@pytest.fixture
async def houses(world: World) -> AsyncIterator[Callable[..., Any]]:
    """Opens runtimes on the world; `journal`, `store` and `clock` may be given."""
    opened: list[House] = []

    async def open_house(journal: Any = None, store: CalendarStore | None = None, clock: Any = None) -> House:
        house = House(world, journal or world.journal(), clock or FixedClock(), store)
        opened.append(house)
        return await house.start()

    yield open_house
    for house in opened:
        await house.journal.stop()

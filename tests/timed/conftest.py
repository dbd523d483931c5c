"""A migrated database for all tests of timed work, emptied before each."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from storage.meter import NullMeter
from storage.postgres import Database
from tests.support.postgres import TestPostgres
from tests.timed.ground import SHARDS

_TABLES = """businesses, events, bookings, calendars, professionals, jobs, followers, trial_notices, journal_trims,
    journal_floors, shards"""


@pytest.fixture(scope="session")
def migrated(postgres: TestPostgres) -> str:
    return postgres.new_database_sync()


@pytest.fixture
async def direct(migrated: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(migrated)
    await connection.execute(f"TRUNCATE {_TABLES} CASCADE")
    await connection.execute("INSERT INTO shards (id) SELECT unnest($1::int[])", SHARDS)
    yield connection
    await connection.close()


@pytest.fixture
async def base(migrated: str, direct: asyncpg.Connection) -> AsyncIterator[Database]:
    database = await Database.open(migrated, 5, NullMeter())
    yield database
    await database.close()

"""A server for scenarios: what they check is a whole database, and other tests leave things there."""

from collections.abc import Iterator

import pytest

from tests.support.postgres import TestPostgres
from tests.support.server import RunningServer


@pytest.fixture(scope="session")
def server(postgres: TestPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """With a database of its own: elsewhere there are shared sessions, whose bookings overlap."""
    running = RunningServer(postgres.new_database_sync(), tmp_path_factory.mktemp("bench-server")).start()
    yield running
    assert running.stop() == 0, running.logged()[-4000:]

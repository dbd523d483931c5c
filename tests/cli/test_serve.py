"""Starting and stopping, and what is said when it cannot be started."""

import socket

import pytest

from tests.cli.conftest import Cli, one_line
from tests.support.server import SECRET, RunningServer


def test_a_port_in_use_is_told(cli: Cli, database: dict[str, str]) -> None:
    """One line that names the port, exit code 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = cli("serve", SLOTCAST_PORT=port, SLOTCAST_LOG_LEVEL="error", **database)
    one_line(done, port)


@pytest.mark.parametrize("dsn", ["postgresql://nobody@127.0.0.1:1/none", "garbage"])
def test_a_database_that_is_away_is_told(cli: Cli, dsn: str) -> None:
    """In one line, at once, with exit code 2; and by the commands that only read it."""
    one_line(cli("serve", DATABASE_URL=dsn, SLOTCAST_JWT_SECRET=SECRET, SLOTCAST_PORT="0"), "cannot start")
    if dsn == "garbage":
        done = cli("migrate", "status", DATABASE_URL=dsn, SLOTCAST_JWT_SECRET=SECRET)
        one_line(done, "cannot reach the database")


def test_a_second_server_on_the_same_database_is_refused(cli: Cli, server: RunningServer) -> None:
    """While the first is alive; it goes on."""
    done = cli(
        "serve", DATABASE_URL=server.dsn, SLOTCAST_JWT_SECRET=SECRET, SLOTCAST_PORT="0", SLOTCAST_LOG_LEVEL="error"
    )
    one_line(done)
    assert server.process is not None
    assert server.process.poll() is None


def test_it_stops_when_it_is_told_to(fresh_server: RunningServer, database: dict[str, str]) -> None:
    """On an empty database; SIGTERM ends it with exit code 0, on the port it was given; a second start finds
    everything.
    """
    fresh_server.dsn = database["DATABASE_URL"]
    fresh_server.cold = True
    fresh_server.start()
    port = fresh_server.port
    assert fresh_server.stop() == 0
    fresh_server.start()
    assert fresh_server.port == port
    assert fresh_server.stop() == 0
    assert "Traceback" not in fresh_server.logged()

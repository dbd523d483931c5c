"""`serve --workers`: several nodes on one port, and what becomes of them when one or all of them end."""

import asyncio
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from server.config import Settings
from server.workers import Workers, listen
from tests.cli.conftest import Cli, one_line
from tests.conftest import business_of
from tests.support.postgres import TestPostgres
from tests.support.redis import TestRedis
from tests.support.server import SECRET, Api, RunningServer, eventually, new_place, token_for

LEASE_S = 2.5


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody uses, below those that outgoing connections are given: until a
    worker listens seconds later, and again after it was killed, nothing else shall have taken its port.
    """
    while True:
        first = 16_000 + secrets.randbelow(16_000)
        with suppress(OSError):
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first


class Pair(RunningServer):
    """A parent with two workers."""

    cold = True  # it starts them as it was started itself

    def __init__(self, dsn: str, directory: Path, redis_url: str) -> None:
        self.probes = free_ports(2)
        super().__init__(
            dsn, directory,
            SLOTCAST_WORKERS="2", SLOTCAST_REDIS_URL=redis_url, SLOTCAST_NODE_NAME="w",
            SLOTCAST_METRICS_PORT=str(self.probes), SLOTCAST_LEASE_TTL_S=str(LEASE_S), SLOTCAST_ACCESS_LOG="false",
        )  # fmt: skip

    @property
    def workers(self) -> list[int]:
        """The living processes, in the order of their names."""
        assert self.process is not None
        with suppress(psutil.NoSuchProcess):
            found = [c for c in psutil.Process(self.process.pid).children() if c.status() != psutil.STATUS_ZOMBIE]
            return [c.pid for c in sorted(found, key=lambda c: c.environ()["SLOTCAST_NODE_NAME"])]
        return []

    async def all_ready(self, http: aiohttp.ClientSession) -> bool:
        """Whether both are, and know of each other."""
        for port in (self.probes, self.probes + 1):
            with suppress(aiohttp.ClientError):
                async with http.get(f"http://127.0.0.1:{port}/metrics") as metrics:
                    if "\nslotcast_cluster_members 2.0" not in await metrics.text():
                        return False
                async with http.get(f"http://127.0.0.1:{port}/readyz") as ready:
                    if ready.status == 200:
                        continue
            return False
        return True


@pytest.fixture(scope="module")
def redis() -> Iterator[TestRedis]:
    running = TestRedis()
    yield running
    running.stop()


@contextmanager
def running_pair(dsn: str, directory: Path, redis: TestRedis) -> Iterator[Pair]:
    """What is left of it is killed afterwards."""
    running = Pair(dsn, directory, redis.url)
    try:
        running.start()
        yield running
    finally:
        left = running.workers
        running.kill()
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def lasting_pair(postgres: TestPostgres, redis: TestRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with running_pair(postgres.new_database_sync(), tmp_path_factory.mktemp("pair"), redis) as running:
        yield running


@pytest.fixture
async def pair(lasting_pair: Pair, http: aiohttp.ClientSession) -> Pair:
    """Two workers that are ready, shared with tests that hurt one of them at a time."""
    assert await eventually(lambda: lasting_pair.all_ready(http), 30), lasting_pair.logged()[-4000:]
    return lasting_pair


@pytest.fixture
async def own_pair(
    postgres: TestPostgres, redis: TestRedis, tmp_path: Path, http: aiohttp.ClientSession
) -> AsyncIterator[Pair]:
    """Two workers that are ready, and may end."""
    with running_pair(await postgres.new_database(), tmp_path / "pair", redis) as running:
        assert await eventually(lambda: running.all_ready(http), 30), running.logged()[-4000:]
        yield running


async def node_of(pair: Pair, path: str = "/healthz") -> str:
    """Who answers on a fresh connection."""
    async with aiohttp.ClientSession() as session, session.get(pair.url + path) as answer:
        return answer.headers["X-Slotcast-Node"].split(",")[0] if answer.status == 200 else ""


async def gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) for pid in pids)


async def test_two_workers_answer_on_one_port(pair: Pair, http: aiohttp.ClientSession) -> None:
    """Each is a node of its own: in the directory, in the answers, and on its own port for scrapes."""
    seen: set[str] = set()

    async def both() -> bool:
        seen.update(await asyncio.gather(*(node_of(pair) for _ in range(20))))
        return seen == {"w-1", "w-2"}

    assert await eventually(both), seen
    for number in (0, 1):
        async with http.get(f"http://127.0.0.1:{pair.probes + number}/healthz") as answer:
            assert answer.headers["X-Slotcast-Node"] == f"w-{number + 1}"
        async with http.get(f"http://127.0.0.1:{pair.probes + number}/api/v1/clients") as answer:
            assert answer.status == 404, "that port is for probes alone"
    assert pair.logged().count("  login ") == 1, "one demo business is made, by one of them"


async def test_a_worker_that_dies_is_replaced(pair: Pair, http: aiohttp.ClientSession) -> None:
    """The other answers on; the new one has the same name, and nothing is left of the old one."""
    killed, other = pair.workers
    os.kill(killed, signal.SIGKILL)
    assert await eventually(lambda: gone([killed])), "no zombie is left"
    assert await node_of(pair, "/readyz") == "w-2"
    assert await eventually(lambda: pair.all_ready(http), 30), pair.logged()[-4000:]
    assert len(pair.workers) == 2
    assert other in pair.workers
    assert killed not in pair.workers
    assert '"worker":"w-1","code":137' in pair.logged()


class Load:
    """Requests one after the other. What fails is what a careful client cannot mend: any status that was not meant,
    or a connection that broke twice for the same key or read. One break is what HTTP allows a server to do to an idle
    connection."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.stop = False
        self.done = 0
        self.failed: list[Any] = []

    async def run(self, number: int) -> None:
        round_ = 0
        while not self.stop:
            round_ += 1
            body = {"first_name": "Cleo", "last_name": f"{number}-{round_}"}
            for tried in (1, 2):
                try:
                    if number % 2:
                        answer = await self.api.post("clients", body, key=f"client-{number}-{round_}")
                    else:
                        answer = await self.api.get("professionals")
                except aiohttp.ClientError as error:
                    if tried == 2:
                        self.failed.append(error)
                    continue
                if answer.status not in (200, 201):
                    self.failed.append(answer)
                break
            self.done += 1
            await asyncio.sleep(0.002 * number)


async def test_a_hang_up_renews_them_while_all_requests_succeed(pair: Pair, http: aiohttp.ClientSession) -> None:
    """One after the other, under load."""
    api = Api(pair, http, token_for(await business_of(pair.dsn)))
    place = await new_place(api)
    before = pair.workers
    load = Load(api)
    running = [asyncio.create_task(load.run(number)) for number in range(12)]
    assert pair.process is not None
    pair.process.send_signal(signal.SIGHUP)

    async def renewed() -> bool:
        return "all workers were renewed" in pair.logged()

    assert await eventually(renewed, 60), pair.logged()[-4000:]
    load.stop = True
    await asyncio.gather(*running)
    assert load.failed == []
    assert load.done > 100
    assert len(pair.workers) == 2
    assert not set(pair.workers) & set(before)
    assert (await api.post("bookings", place.booking(place.at(9)))).status == 201


async def test_all_end_when_the_parent_is_told_to(own_pair: Pair) -> None:
    """With exit code 0, and nobody listens any more."""
    workers = own_pair.workers
    assert await asyncio.to_thread(own_pair.stop) == 0, own_pair.logged()[-4000:]
    assert await gone(workers)
    with pytest.raises(aiohttp.ClientConnectorError):
        await node_of(own_pair)
    assert "Traceback" not in own_pair.logged()


async def test_workers_whose_parent_was_killed_drain_and_end(own_pair: Pair) -> None:
    """Or the port would stay taken, with nobody to tell them to stop."""
    workers = own_pair.workers
    own_pair.kill()
    assert await eventually(lambda: gone(workers), 30)
    assert own_pair.logged().count('"event":"stopped"') == 2, "they ended in order"


# What is refused


def test_workers_without_redis_are_refused(cli: Cli, database: dict[str, str]) -> None:
    """Two nodes on one database have to find each other. By option and by setting."""
    one_line(cli("serve", "--workers", "2", **database), "--workers", "SLOTCAST_REDIS_URL")
    one_line(cli("serve", SLOTCAST_WORKERS="3", **database), "3", "SLOTCAST_REDIS_URL")


@pytest.mark.parametrize(("port", "probes"), [("8080", "8079"), ("8080", "65535"), ("8080", "8080")])
def test_ports_that_do_not_fit_are_refused(cli: Cli, database: dict[str, str], port: str, probes: str) -> None:
    environment = {"SLOTCAST_PORT": port, "SLOTCAST_METRICS_PORT": probes, "REDIS_URL": "redis://127.0.0.1:1/0"}
    one_line(cli("serve", "--workers", "2", **environment, **database), "SLOTCAST_METRICS_PORT")


def test_a_start_that_cannot_be_is_told_once(cli: Cli) -> None:
    """The first worker shows it; its code is the parent's."""
    done = cli(
        "serve", "--workers", "3", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none", SLOTCAST_JWT_SECRET=SECRET,
        REDIS_URL="redis://127.0.0.1:1/0", SLOTCAST_PORT="0", SLOTCAST_LOG_LEVEL="error",
    )  # fmt: skip
    one_line(done, "cannot start", "127.0.0.1:1")


def test_a_port_in_use_is_told_by_the_parent(cli: Cli, database: dict[str, str]) -> None:
    """Also when another group of workers listens there."""
    for sock in listen("127.0.0.1", 0):
        port = str(sock.getsockname()[1])
        done = cli("serve", "--workers", "2", SLOTCAST_PORT=port, REDIS_URL="redis://127.0.0.1:1/0", **database)
        sock.close()
        one_line(done, port)


# Workers that behave badly, played by a script

SCRIPT = """
import os, signal, socket, sys, time
line = socket.socket(fileno=int(sys.argv[sys.argv.index("--worker") + 1].split(",")[0]))
first = os.environ["SLOTCAST_NODE_NAME"].endswith("-1")
"""


async def play(script: str, *, until: Path | None = None, count: int = 2) -> int:
    """The exit code of a parent whose workers run the script; it is told to stop when that file is there."""
    sockets = listen("127.0.0.1", 0)
    command = [sys.executable, "-c", SCRIPT + script]
    parent = Workers(Settings(drain_timeout_s=0.2), "", sockets, count, command, pauses_s=(0.01, 0.01))
    running = asyncio.create_task(parent.run())
    async with asyncio.timeout(60):
        while until is not None and not until.exists():
            await asyncio.sleep(0.02)
        if until is not None:
            os.kill(os.getpid(), signal.SIGTERM)
        return await running


async def test_a_worker_that_dies_again_and_again_ends_everything() -> None:
    """With its exit code; the others are told to stop."""
    code = await play("""
line.send(b"sr")
if not first:
    sys.exit(7)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
time.sleep(60)
""")
    assert code == 7


async def test_a_worker_that_never_begins_is_not_tried_again(tmp_path: Path) -> None:
    """It has said why, and the next one would say the same."""
    starts = tmp_path / "starts"
    code = await play(f"""
with open({str(starts)!r}, "a") as file:
    file.write("x")
sys.exit(2)
""")
    assert (code, starts.read_text()) == (2, "x")


async def test_a_worker_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    """After the drain's time and some; the exit code tells."""
    deaf = tmp_path / "deaf"
    code = await play(
        f"""
signal.signal(signal.SIGTERM, signal.SIG_IGN)
line.send(b"s")
open({str(deaf)!r}, "w").close()
time.sleep(600)
""",
        until=deaf,
        count=1,
    )
    assert code == 1

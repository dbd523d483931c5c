"""Several nodes on one database and one Redis: started, killed, ended one by one, and told apart by their names."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence

import aiohttp
import asyncpg

from actors.cluster.ports import Member
from actors.placement import preferred, shard_of
from bench.children import run_once
from bench.cluster_redis import Redis
from bench.report import Refused
from bench.runner import Bench
from bench.slotcast import Slotcast

SETTLE_SECONDS = 60.0
LOOK_EVERY_S = 0.05


class Node(Slotcast):
    """One of them: always the same port and name, as a process that comes and goes."""

    def __init__(self, bench: Bench, dsn: str, name: str, shared: Mapping[str, str]) -> None:
        super().__init__(bench, dsn)
        self.name = name
        self.drained = False
        """Whether it was asked to hand over its shards since it began."""
        self._environment |= {**shared, "SLOTCAST_NODE_NAME": name}

    @property
    def alive(self) -> bool:
        return self._listener is not None and self._listener.process.returncode is None

    async def begin(self) -> None:
        """Returns when it is ready to serve; shards may still be on their way to it."""
        self.drained = False
        await self._listen()

    async def issue_token(self) -> str:
        return await run_once(
            ["server", "token", "--business", "demo", "--role", "owner", "--ttl", "1d"], self._environment
        )

    def log_in(self, token: str) -> None:
        self.token = token
        self._session = aiohttp.ClientSession(
            f"http://127.0.0.1:{self.port}", headers={"Authorization": f"Bearer {token}"}
        )

    async def drain(self) -> None:
        """As an operator would: it hands its shards over, and goes on passing requests on."""
        self.drained = True
        await run_once(["server", "cluster", "drain", self.name], self._environment)

    async def end(self) -> None:
        """SIGTERM: it hands over whatever it has, and exits."""
        await self.server.stop()

    async def kill(self) -> None:
        self.server.process.kill()
        await self.server.process.wait()


class Nodes:
    """All nodes of a database. The first one is there from the beginning."""

    def __init__(self, bench: Bench, redis: Redis, members: Sequence[Node], lease_s: float) -> None:
        self._bench = bench
        self.redis = redis
        self.members = list(members)
        self.lease_s = lease_s
        self.shards = 0

    @classmethod
    async def start(cls, bench: Bench, redis: Redis, names: Sequence[str], lease_s: float) -> "Nodes":
        dsn = await bench.postgres.create("cluster")
        shared = {
            "SLOTCAST_REDIS_URL": redis.url,
            "SLOTCAST_LEASE_TTL_S": str(lease_s),
            "SLOTCAST_JWT_SECRET": secrets.token_hex(32),
        }
        nodes = cls(bench, redis, [Node(bench, dsn, name, shared) for name in names], lease_s)
        await nodes.first.begin()
        token = await nodes.first.issue_token()
        for node in nodes.members:
            node.log_in(token)
        connection = await asyncpg.connect(dsn)
        try:
            nodes.shards = await connection.fetchval("SELECT count(*) FROM shards")
        finally:
            await connection.close()
        return nodes

    @property
    def first(self) -> Node:
        return self.members[0]

    @property
    def alive(self) -> list[Node]:
        return [node for node in self.members if node.alive]

    @property
    def ports(self) -> list[int]:
        """Of all, also of those that are away."""
        return [node.port for node in self.members]

    def watch(self) -> dict[str, int]:
        """Whose CPU belongs to the measurement."""
        nodes = {f"node {node.name}": node.server.pid for node in self.alive}
        return {**nodes, "redis": self.redis.pid, "postgres": self._bench.postgres.pid}

    async def resize(self, count: int) -> None:
        """As many of them as wanted, the first ones, each with its share of the shards."""
        await asyncio.gather(*(node.begin() for node in self.members[:count] if not node.alive))
        for node in self.members[count:]:
            if node.alive:
                await node.end()
        await self.settled()

    def owner_of(self, calendar: str) -> Node:
        """Who decides for a calendar once every shard is where it belongs."""
        return self._owner(shard_of(calendar, self.shards))

    def owners(self, calendars: Sequence[str], names: Sequence[str]) -> dict[str, str]:
        """The name of each calendar's owner if the nodes of these names were all there are."""
        members = [Member(id=name, name=name) for name in names]
        return {id_: preferred(shard_of(id_, self.shards), members) or "" for id_ in calendars}

    def owned_by(self, node: Node, calendars: Sequence[str]) -> list[str]:
        return [id_ for id_ in calendars if self.owner_of(id_) is node]

    async def settled(self) -> None:
        """Waits until each living node has just the shards that it is to have."""
        wanted = dict.fromkeys((node.name for node in self.alive), 0)
        for shard in range(self.shards):
            wanted[self._owner(shard).name] += 1
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SETTLE_SECONDS
        while (found := await self._owned()) != wanted:
            if loop.time() > deadline:
                raise Refused(f"cluster: shards are {found} after {SETTLE_SECONDS:.0f} s, and should be {wanted}")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _owned(self) -> dict[str, int]:
        counts = await asyncio.gather(*(node.counter("slotcast_shards_owned") for node in self.alive))
        return {node.name: int(count) for node, count in zip(self.alive, counts, strict=True)}

    def _owner(self, shard: int) -> Node:
        by_name = {node.name: node for node in self.alive if not node.drained}
        name = preferred(shard, [Member(id=name, name=name) for name in by_name])
        assert name is not None, "no node takes shards"
        return by_name[name]

    async def stop(self) -> None:
        """Not one after the other, which would move every shard around once more."""
        await asyncio.gather(*(node.kill() for node in self.alive))
        for node in self.members:
            await node.stop()

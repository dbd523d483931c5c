"""The faults that strike a cluster: each begins, lasts as long as it takes to hurt, and ends."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Final

import redis

from tests.faults.cluster import Cluster

Strike = Callable[[Cluster, random.Random], Awaitable[None]]

_WRITERS: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE application_name LIKE 'slotcast%' AND datname = current_database() AND pid <> pg_backend_pid()"
)


async def kill(cluster: Cluster, rng: random.Random) -> None:
    """SIGKILL, and back after the others have taken over."""
    node = rng.choice(cluster.nodes)
    with cluster.striking(f"kill {node.name}"):
        node.kill()
        await asyncio.sleep(cluster.lease_ttl_s + rng.uniform(0.3, 0.8))
        await node.start()


async def kill_briefly(cluster: Cluster, rng: random.Random) -> None:
    """SIGKILL, and back at once: before anybody has noticed."""
    node = rng.choice(cluster.nodes)
    with cluster.striking(f"kill {node.name} briefly"):
        node.kill()
        await node.start()


async def pause(cluster: Cluster, rng: random.Random) -> None:
    """SIGSTOP for longer than the lease, then SIGCONT, under load."""
    node = rng.choice(cluster.nodes)
    with cluster.striking(f"pause {node.name}"):
        node.pause()
        try:
            await asyncio.sleep(cluster.lease_ttl_s + rng.uniform(0.3, 0.8))
        finally:
            node.resume()


async def pause_briefly(cluster: Cluster, rng: random.Random) -> None:
    """About as long as the lease: whether it is lost is a matter of luck."""
    node = rng.choice(cluster.nodes)
    with cluster.striking(f"pause {node.name} briefly"):
        node.pause()
        try:
            await asyncio.sleep(cluster.lease_ttl_s * rng.uniform(0.6, 1.1))
        finally:
            node.resume()


async def cut_postgres(cluster: Cluster, rng: random.Random) -> None:
    node = rng.choice(cluster.nodes)
    with cluster.striking(f"cut {node.name} from Postgres"):
        node.postgres.cut()
        await asyncio.sleep(rng.uniform(1, cluster.lease_ttl_s))
        node.postgres.heal()


async def freeze_postgres(cluster: Cluster, rng: random.Random) -> None:
    node = rng.choice(cluster.nodes)
    with cluster.striking(f"freeze Postgres of {node.name}"):
        node.postgres.freeze()
        await asyncio.sleep(rng.uniform(1, cluster.lease_ttl_s))
        node.postgres.heal()


async def deafen_postgres(cluster: Cluster, rng: random.Random) -> None:
    """One way: statements arrive, answers do not."""
    node = rng.choice(cluster.nodes)
    with cluster.striking(f"answers of Postgres do not reach {node.name}"):
        node.postgres.deafen()
        await asyncio.sleep(rng.uniform(1, cluster.lease_ttl_s))
        node.postgres.heal()


async def cut_redis(cluster: Cluster, rng: random.Random) -> None:
    """From Redis only: the others take over, and the fence keeps the node from writing."""
    node = rng.choice(cluster.nodes)
    with cluster.striking(f"cut {node.name} from Redis"):
        node.redis.cut()
        await asyncio.sleep(cluster.lease_ttl_s + rng.uniform(0.3, 0.8))
        node.redis.heal()


async def deafen_redis(cluster: Cluster, rng: random.Random) -> None:
    """One way: the node's heartbeats arrive, and it hears nothing."""
    node = rng.choice(cluster.nodes)
    with cluster.striking(f"answers of Redis do not reach {node.name}"):
        node.redis.deafen()
        await asyncio.sleep(cluster.lease_ttl_s + rng.uniform(0.3, 0.8))
        node.redis.heal()


async def mute_redis(cluster: Cluster, rng: random.Random) -> None:
    """The other way: what others publish arrives, nothing that the node says does."""
    node = rng.choice(cluster.nodes)
    with cluster.striking(f"{node.name} does not reach Redis"):
        node.redis.mute()
        await asyncio.sleep(cluster.lease_ttl_s + rng.uniform(0.3, 0.8))
        node.redis.heal()


async def kill_redis(cluster: Cluster, rng: random.Random) -> None:
    """Killed, and back with nothing in it."""
    with cluster.striking("kill Redis"):
        await asyncio.to_thread(cluster.redis.kill)
        await asyncio.sleep(rng.uniform(0.5, cluster.lease_ttl_s))
        await asyncio.to_thread(cluster.redis.start)


def _unless_gone(act: Callable[[], None]) -> None:
    """Another fault may have taken Redis away."""
    with contextlib.suppress(redis.RedisError):
        act()


async def flush_redis(cluster: Cluster, rng: random.Random) -> None:
    with cluster.striking("FLUSHALL"):
        await asyncio.to_thread(_unless_gone, cluster.redis.flush)
        await asyncio.sleep(rng.uniform(0, 1))


async def freeze_redis(cluster: Cluster, rng: random.Random) -> None:
    with cluster.striking("freeze Redis"):
        cluster.redis.pause()
        await asyncio.sleep(cluster.lease_ttl_s + rng.uniform(0, 0.5))
        cluster.redis.resume()


async def slow_redis(cluster: Cluster, rng: random.Random) -> None:
    """A tenth of a second for each question and answer."""
    with cluster.striking("slow Redis"):
        for node in cluster.nodes:
            node.redis.delay_s = 0.05
        await asyncio.sleep(rng.uniform(1, 2))
        for node in cluster.nodes:
            node.redis.delay_s = 0.0


async def kill_subscriptions(cluster: Cluster, rng: random.Random) -> None:
    """Redis ends every pub/sub connection."""
    with cluster.striking("kill pub/sub connections"):
        for _ in range(3):
            await asyncio.to_thread(_unless_gone, lambda: _kill_subscriptions(cluster))
            await asyncio.sleep(rng.uniform(0.1, 0.5))


def _kill_subscriptions(cluster: Cluster) -> None:
    with cluster.redis.admin as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")


async def kill_backends(cluster: Cluster, rng: random.Random) -> None:
    """Postgres ends every connection of every node."""
    with cluster.striking("kill backends"):
        await cluster.crew.db.fetch(_WRITERS)
        await asyncio.sleep(rng.uniform(0, 0.5))


async def swallow_commit(cluster: Cluster, rng: random.Random) -> None:
    """A batch is committed, and the connection reset before the answer."""
    node = rng.choice(cluster.nodes)
    with cluster.striking(f"a commit's answer does not reach {node.name}"):
        node.postgres.swallow()
        await _within(node.postgres.swallowed, 3)


async def snap_commit(cluster: Cluster, rng: random.Random) -> None:
    """A connection is reset right after a batch was sent."""
    node = rng.choice(cluster.nodes)
    with cluster.striking(f"{node.name} is reset after sending a batch"):
        node.postgres.snap()
        await _within(node.postgres.swallowed, 3)


async def _within(event: asyncio.Event, seconds: float) -> None:
    """A node that owns no calendar of this run writes nothing that could be struck."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


async def roll(cluster: Cluster, rng: random.Random) -> None:
    """SIGTERM to each in turn, and its start."""
    for node in rng.sample(cluster.nodes, len(cluster.nodes)):
        with cluster.striking(f"roll {node.name}"):
            await node.end()
            await node.start()


GROUPS: Final[dict[str, tuple[Strike, ...]]] = {
    "processes": (pause,),
    "postgres": (cut_postgres, kill_backends, swallow_commit, snap_commit),
    "ways to Redis": (cut_redis, slow_redis),
    "redis": (kill_redis, flush_redis, freeze_redis, kill_subscriptions),
}
VARIANTS: Final[dict[str, tuple[Strike, ...]]] = {
    "processes": (kill, kill_briefly, pause_briefly),
    "postgres": (freeze_postgres, deafen_postgres),
    "ways to Redis": (deafen_redis, mute_redis),
}
ALL: Final = (*(strike for groups in (GROUPS, VARIANTS) for group in groups.values() for strike in group), roll)

_DISTURBING: Final = (
    cut_postgres, deafen_postgres, cut_redis, deafen_redis, mute_redis, flush_redis, slow_redis, kill_subscriptions,
    kill_backends, swallow_commit, snap_commit,
)  # fmt: skip


async def several(cluster: Cluster, rng: random.Random) -> None:
    """One that takes a node or Redis away, and up to two others at the same time."""
    heavy = rng.choice((kill, pause, kill_redis, freeze_redis))
    others = rng.sample(_DISTURBING, rng.randint(1, 2))
    seeds = [rng.randrange(2**32) for _ in range(1 + len(others))]
    await asyncio.gather(
        *(strike(cluster, random.Random(seed)) for strike, seed in zip((heavy, *others), seeds, strict=True))
    )

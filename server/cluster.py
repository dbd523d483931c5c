"""A node as one of several: its member, its directory and bus on Redis, and what it tells of that."""

import logging
import os
import socket
from collections.abc import Callable, Iterable
from importlib.metadata import version

from actors.cluster.cluster import Cluster, Spawn
from actors.cluster.plan import Times
from actors.cluster.ports import Member, Shards
from actors.ports import CalendarStore
from actors.runtime import Runtime
from protocol.errors import Refused
from protocol.ids import new_id
from server.config import ConfigError, Settings
from server.metrics import Reading
from server.readings import counter, gauge
from storage.redis_bus import RedisBus
from storage.redis_client import RedisServer, RedisUnusable, key_prefix
from storage.redis_directory import RedisDirectory

log = logging.getLogger("slotcast.cluster")


def member_of(settings: Settings, now_us: int) -> Member:
    host = socket.gethostname()
    return Member(
        id=new_id(),
        name=settings.node_name or f"{host}-{os.getpid()}",
        weight=settings.node_weight,
        address=f"{host}:{settings.port}",
        version=version("slotcast"),
        started_at=now_us,
    )


async def reach_redis(url: str) -> RedisServer:
    """Raises `ConfigError` for one that will never do. One that is away is waited for in the background."""
    try:
        redis = RedisServer(url)
        try:
            await redis.check()
        except Refused as refused:
            log.warning("starting without Redis: %s", refused.detail)
    except RedisUnusable as error:
        raise ConfigError(f"SLOTCAST_REDIS_URL: {error}") from None
    return redis


def cluster_over_redis(
    redis: RedisServer,
    settings: Settings,
    database_id: str,
    runtime: Runtime,
    store: CalendarStore,
    shards: Shards,
    shard_count: int,
    now_us: int,
    lag_ms: Callable[[], float],
    spawn: Spawn,
) -> Cluster:
    prefix, times = key_prefix(database_id), Times(settings.lease_ttl_s)
    return Cluster(
        member_of(settings, now_us),
        times,
        RedisDirectory(redis, prefix, times.heartbeat_s, 2 * times.beat_s),
        RedisBus(redis, prefix),
        runtime,
        store,
        shards,
        shard_count,
        lag_ms,
        spawn,
    )


def readings(cluster: Cluster) -> Iterable[Reading]:
    keeper, board, relays, host, bus = (
        cluster.keeper, cluster.switchboard, cluster.relays, cluster.host, cluster.post,
    )  # fmt: skip
    counts = keeper.counts
    yield gauge("slotcast_cluster_members", "Nodes alive in the directory", cluster.members)
    yield gauge("slotcast_shards_moving", "Shards this node is handing over", len(keeper.moving))
    yield gauge("slotcast_ownership_doubtful", "1 while others may have taken shards unnoticed", float(keeper.doubtful))
    yield gauge("slotcast_directory_age_seconds", "Since the directory last answered", keeper.beat_age_s)
    yield counter("slotcast_directory_beats", "Heartbeats that were answered", counts.beats)
    yield counter("slotcast_directory_failures", "Heartbeats that were not", counts.failures)
    yield counter("slotcast_shards_taken", "Shards taken", counts.taken)
    yield counter("slotcast_shards_taken_over", "Shards taken of nodes that were gone", counts.takeovers)
    yield counter("slotcast_shards_handed_over", "Shards given to other nodes", counts.moves_out)
    yield counter("slotcast_shards_lost", "Shards that another node took", counts.lost)
    yield gauge("slotcast_bus_connected", "1 while messages reach the bus", float(bus.connected))
    yield gauge("slotcast_bus_lag_seconds", "A message's way over the bus and back to this node", bus.lag_s)
    yield counter("slotcast_bus_messages_lost", "Messages of which nobody knows the fate", bus.lost)
    yield gauge("slotcast_forwarded_waiting", "Requests waiting for other nodes", bus.waiting)
    yield gauge("slotcast_rerouting", "Requests waiting for a calendar to have an owner", board.rerouting)
    yield "counter", "slotcast_forwarded", "Requests passed on to other nodes, by outcome", {
        k: float(v) for k, v in board.forwarded.items()}, ("kind", "outcome")  # fmt: skip
    yield counter("slotcast_served_for_others", "Requests of other nodes", host.served)
    yield gauge("slotcast_replicas", "Views followed on other nodes", len(relays))
    yield gauge("slotcast_replicas_unfed", "Of these, those without an owner", relays.unfed)
    yield gauge("slotcast_relays", "Views told to other nodes", host.relays)
    yield counter("slotcast_relay_gaps", "Messages of views that were missed", relays.gaps)

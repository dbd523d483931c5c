"""What the directory and the database say about the cluster, side by side."""

from collections import Counter
from collections.abc import Mapping

from actors.cluster.ports import Directory, Sight
from protocol.cluster import ClusterStatus, NodeStatus, ShardStatus
from protocol.times import format_us
from storage.postgres import Database


async def cluster_status(directory: Directory, database: Database) -> ClusterStatus:
    """Raises `Refused(unavailable)` when one of them does not answer."""
    sight = await directory.look()
    rows = await database.fetch("all_shards")
    return describe(sight, {row["id"]: row["epoch"] for row in rows})


def describe(sight: Sight, epochs: Mapping[int, int]) -> ClusterStatus:
    shards = [_shard(sight, shard, epoch) for shard, epoch in sorted(epochs.items())]
    owned = Counter(lease.node for shard, lease in sight.leases.items() if shard in epochs)
    nodes = [
        NodeStatus(
            id=member.id,
            name=member.name,
            address=member.address,
            version=member.version,
            started_at=format_us(member.started_at),
            weight=member.weight,
            draining=member.draining,
            lag_ms=round(member.lag_ms, 1),
            shards=owned[member.id],
        )
        for member in sorted(sight.members.values(), key=lambda m: (m.name, m.id))
    ]
    return ClusterStatus(
        nodes=nodes,
        shards=shards,
        unowned=sum(s.node is None for s in shards),
        moving=sum(s.heir is not None for s in shards),
        behind=sum(s.epoch < s.database_epoch for s in shards),
    )


def _shard(sight: Sight, shard: int, epoch: int) -> ShardStatus:
    lease = sight.leases.get(shard)
    owner = sight.members.get(lease.node) if lease else None
    heir = sight.members.get(lease.heir) if lease else None
    return ShardStatus(
        shard=shard,
        node=owner.name if owner else None,
        epoch=lease.epoch if lease else 0,
        database_epoch=epoch,
        heir=heir.name if heir else None,
    )


def as_text(status: ClusterStatus) -> str:
    """A table for terminals."""
    lines = [f"{'node':<24} {'address':<28} {'version':<10} {'shards':>6} {'weight':>6} {'lag ms':>7}  state"]
    for node in status.nodes:
        state = "draining" if node.draining else "serving"
        lines.append(
            f"{node.name:<24} {node.address:<28} {node.version:<10} {node.shards:>6} {node.weight:>6g} "
            f"{node.lag_ms:>7.1f}  {state}"
        )
    lines += ["", f"{len(status.shards)} shards, {status.unowned} without a living owner, {status.moving} moving"]
    for shard in status.shards:
        if shard.node is None or shard.heir is not None:
            heir = f" → {shard.heir}" if shard.heir else ""
            lines.append(f"  shard {shard.shard}: {shard.node or 'nobody'}{heir}, epoch {shard.database_epoch}")
    return "\n".join(lines)

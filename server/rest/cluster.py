"""What a super admin sees of the nodes and their shards."""

from typing import Any

from actors.cluster.ports import Lease, Sight
from protocol.cluster import ClusterStatus
from server.cluster import member_of
from server.cluster_status import cluster_status, describe
from server.edge import Call, Endpoint


async def read_cluster(call: Call[Any, Any]) -> ClusterStatus:
    """A node without Redis is a cluster of one."""
    node = call.node
    if node.cluster is not None:
        return await cluster_status(node.cluster.directory, node.database)
    me = member_of(node.settings, node.clock.now_us())
    leases = {shard: Lease(me.id, epoch) for shard, epoch in node.runtime.owned.items()}
    return describe(Sight({me.id: me}, leases, ""), node.runtime.owned)


def routes(node: Any) -> list[Endpoint]:
    return [
        Endpoint(node, "GET", "/api/v1/admin/cluster", read_cluster, needs="platform.read", area="platform",
                 summary="Nodes, shards, epochs and moves", answer=ClusterStatus),
    ]  # fmt: skip

"""What a super admin sees of the nodes and their shards."""

from typing import Any

from protocol.cluster import ClusterStatus
from protocol.errors import Refused
from server.cluster_status import cluster_status
from server.edge import Call, Endpoint


async def read_cluster(call: Call[Any, Any]) -> ClusterStatus:
    cluster = call.node.cluster
    if cluster is None:
        raise Refused("not_found", "this node is alone on its database: SLOTCAST_REDIS_URL is not set")
    return await cluster_status(cluster.directory, call.node.database)


def routes(node: Any) -> list[Endpoint]:
    return [
        Endpoint(node, "GET", "/api/v1/admin/cluster", read_cluster, needs="platform.read", area="operations",
                 summary="Nodes, shards, epochs and moves", answer=ClusterStatus),
    ]  # fmt: skip

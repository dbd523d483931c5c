"""What operators are told of a cluster."""

import msgspec


class NodeStatus(msgspec.Struct, kw_only=True):
    """`lag_ms` is how late the node's event loop was of late; `shards` how many it owns on record."""

    id: str
    name: str
    address: str
    version: str
    started_at: str
    weight: float
    draining: bool
    lag_ms: float
    shards: int


class ShardStatus(msgspec.Struct, kw_only=True):
    """`epoch` is the one on record in the directory, `database_epoch` the one that counts.

    `heir` is the name of the node that the shard is on its way to. A `node` of `null` has none at the moment.
    """

    shard: int
    node: str | None
    epoch: int
    database_epoch: int
    heir: str | None = None


class ClusterStatus(msgspec.Struct, kw_only=True):
    """`unowned` shards have no living owner, `moving` ones an heir; `behind` ones have a newer epoch than on record,
    which lasts for a moment after each change of owner.
    """

    nodes: list[NodeStatus]
    shards: list[ShardStatus]
    unowned: int
    moving: int
    behind: int

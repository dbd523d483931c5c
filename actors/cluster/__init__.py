"""Several nodes, one owner for each shard: who owns what, and how commands and views reach the owner."""

"""Tickets that were used, remembered until they would have expired anyway."""

from collections.abc import Sequence

from storage.people import Queries


async def use_tickets(q: Queries, ids: Sequence[str], ttl_s: float) -> set[str]:
    """Those of them that nobody had used before; from now on somebody has."""
    return {row["id"] for row in await q.fetch("use_tickets", sorted(ids), ttl_s)}

"""Which shard a calendar belongs to, and which member should have a shard. Pure: the same everywhere and for ever."""

import zlib
from collections.abc import Iterable
from hashlib import blake2b
from math import log

from actors.cluster.ports import Member


def shard_of(calendar_id: str, shard_count: int) -> int:
    """The shard of a calendar: CRC-32 of its id, because every language has it."""
    return zlib.crc32(calendar_id.encode()) % shard_count


def preferred(shard: int, members: Iterable[Member]) -> str | None:
    """The id of the member that should have the shard, or `None` when nobody may take any.

    Each member draws a lot for each shard, and the best one wins: a member that goes leaves the other shards where they
    are, one that comes takes only what it wins, and it wins in proportion to its weight. The lots hang on the name, so
    that a node that was restarted gets its shards back; namesakes share theirs by id.
    """
    best = max(
        ((_score(shard, member), _lot(shard, member.id), member.id) for member in members if may_take(member)),
        default=None,
    )
    return best[2] if best else None


def may_take(member: Member) -> bool:
    """A weight of zero says that the node lives but cannot decide anything now."""
    return member.weight > 0 and not member.draining


def _score(shard: int, member: Member) -> float:
    # An exponential race: -ln of a uniform lot, divided by the weight, is least for each with a chance of its weight.
    return member.weight / -log(_lot(shard, member.name))


def _lot(shard: int, text: str) -> float:
    """Between 0 and 1, and neither of them."""
    digest = blake2b(f"{shard} {text}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest[:6], "big") + 0.5) / 2**48

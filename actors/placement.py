"""Which shard a calendar belongs to. Pure: the same everywhere and for ever."""

import zlib


def shard_of(calendar_id: str, shard_count: int) -> int:
    """The shard of a calendar: CRC-32 of its id, because every language has it."""
    return zlib.crc32(calendar_id.encode()) % shard_count

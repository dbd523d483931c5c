"""Identifiers: UUIDv7 for things, short codes for people."""

import hashlib
import os
import secrets
import time
import zlib

_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ" + "47"
"""Thirty letters and digits that are not mistaken for each other; two repeat so that a byte maps evenly."""

_last_ms = 0
_counter = 0


def new_id() -> str:
    """A UUIDv7 (RFC 9562, section 5.7) in lower-case text form, rising within this process.

    The 12 bits after the milliseconds are a counter, so that ids made in one millisecond keep their order.
    """
    global _last_ms, _counter  # noqa: PLW0603 - the counter is the point of this function
    ms = time.time_ns() // 1_000_000
    if ms <= _last_ms:
        _counter += 1
        if _counter > 0xFFF:
            _last_ms += 1
            _counter = 0
        ms = _last_ms
    else:
        _last_ms = ms
        _counter = 0
    rand = os.urandom(8).hex()
    head = f"{ms:012x}"
    variant = "89ab"[int(rand[0], 16) & 3]
    return f"{head[:8]}-{head[8:]}-7{_counter:03x}-{variant}{rand[1:4]}-{rand[4:16]}"


def _code(length: int) -> str:
    return "".join([_ALPHABET[b & 31] for b in secrets.token_bytes(length)])


def booking_code() -> str:
    """`BK-` and eight symbols: about 39 bits, so that a guess opens nothing and collisions are rare."""
    return "BK-" + _code(8)


def session_id(calendar_id: str, service_id: str, start_us: int, version: int) -> str:
    """The id of a shared session: a UUIDv8 that follows from its arguments."""
    h = hashlib.blake2b(f"{calendar_id}{service_id}{start_us}.{version}".encode(), digest_size=16).hexdigest()
    return f"{h[:8]}-{h[8:12]}-8{h[13:16]}-{'89ab'[int(h[16], 16) & 3]}{h[17:20]}-{h[20:]}"


def view_id(*parts: object) -> str:
    """The public name of a view: the same parts give the same name on every node."""
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=9).hexdigest()


def shard_of(calendar_id: str, shard_count: int) -> int:
    """The shard a calendar belongs to for ever: CRC-32 of its id, because every language has it."""
    return zlib.crc32(calendar_id.encode()) % shard_count

"""Identifiers: UUIDv7 for things, short codes for people."""

import os
import re
import time

_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ" + "47"
"""Thirty letters and digits that are not mistaken for each other; two repeat so that a byte maps evenly."""

_POOL_BYTES = 4_096
_pool = b""
_pool_at = 0

_VARIANTS = "89ab"
_last_ms = 0
_counter = 0
_head = ""


def _random(count: int) -> bytes:
    """Bytes of the system's generator, drawn in large pieces: a system call per id would cost more than the id."""
    global _pool, _pool_at  # noqa: PLW0603 - one pool for the process
    end = _pool_at + count
    if end > len(_pool):
        _pool, _pool_at, end = os.urandom(_POOL_BYTES), 0, count
    drawn = _pool[_pool_at:end]
    _pool_at = end
    return drawn


def _forget_pool() -> None:
    global _pool, _pool_at
    _pool, _pool_at = b"", 0


# A forked child must not draw the bytes its parent will draw.
os.register_at_fork(after_in_child=_forget_pool)


def new_id() -> str:
    """A UUIDv7 (RFC 9562, section 5.7) in lower-case text form, rising within this process.

    The 12 bits after the milliseconds are a counter, so that ids made in one millisecond keep their order.
    """
    global _last_ms, _counter, _head  # noqa: PLW0603 - the counter is the point of this function
    ms = time.time_ns() // 1_000_000
    if ms <= _last_ms and _counter < 0xFFF:
        _counter += 1
    else:
        _last_ms = max(ms, _last_ms + 1)
        _counter = 0
        _head = f"{_last_ms >> 16:08x}-{_last_ms & 0xFFFF:04x}-7"
    drawn = _random(8)
    rand = drawn.hex()
    return f"{_head}{_counter:03x}-{_VARIANTS[drawn[0] >> 6]}{rand[1:4]}-{rand[4:]}"


def _code(length: int) -> str:
    return "".join([_ALPHABET[b & 31] for b in _random(length)])


def booking_code() -> str:
    """`BK-` and eight symbols: about 39 bits, so that a guess opens nothing and collisions are rare."""
    return "BK-" + _code(8)


def offering_code() -> str:
    """`AP-` and five symbols. It opens nothing that is not public; the database refuses one that is taken."""
    return "AP-" + _code(5)


_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")


def is_uuid(text: str) -> bool:
    """Whether it has the one form in which ids are written: lower case, with hyphens."""
    return _UUID.match(text) is not None

"""Sliding windows: how often something was done of late, counted on this node or in Redis for all of them.

A window counts in two halves, the present one and the one before, which counts less the further the present one goes.
So a key costs two numbers however often it is hit.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from math import floor
from typing import Any, Final, NamedTuple, Protocol

import redis.asyncio
from limits.aio.storage import RedisStorage
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

log = logging.getLogger("slotcast.windows")

_KEYS_MAX: Final = 50_000
"""Counted on this node at once; beyond it the key that was hit longest ago is forgotten."""
_PATIENCE_S: Final = 0.25
"""Longest wait for Redis. A request must not be slow because it is counted."""
_PAUSE_S: Final = 5.0
"""How long Redis is left alone after it did not answer."""
_CONNECTIONS_MAX: Final = 20


class Quota(NamedTuple):
    amount: int
    window_s: int


class Count(NamedTuple):
    """`reset_s`: until there is room for more than `remaining`."""

    allowed: bool
    remaining: int
    reset_s: float


class Windows(Protocol):
    async def hit(self, key: str, quota: Quota) -> Count:
        """Counts one, unless the quota is used up."""
        ...

    async def forget(self, key: str, quota: Quota) -> None:
        """As if the key had never been hit."""
        ...

    async def close(self) -> None: ...


def _count(quota: Quota, allowed: bool, before: int, now: int, left_s: float) -> Count:
    """What is left, with `left_s` until the present half ends."""
    weighed = floor(before * left_s / quota.window_s) + now
    remaining = max(0, quota.amount - weighed)
    if not remaining and now < quota.amount:
        # Room comes when what is left of the half before weighs less.
        return Count(allowed, 0, max(0.0, left_s - (quota.amount - now) / before * quota.window_s))
    return Count(allowed, remaining, left_s)


class _Halves:
    __slots__ = ("before", "began", "now")

    def __init__(self, began: float) -> None:
        self.began = began
        self.before = 0
        self.now = 0


class MemoryWindows:
    """Counts on this node alone."""

    def __init__(self, keys_max: int = _KEYS_MAX) -> None:
        self._halves: OrderedDict[tuple[str, Quota], _Halves] = OrderedDict()
        self._keys_max = keys_max

    def __len__(self) -> int:
        return len(self._halves)

    async def hit(self, key: str, quota: Quota) -> Count:
        now = time.monotonic()
        halves = self._found((key, quota), now)
        left = quota.window_s - (now - halves.began)
        allowed = floor(halves.before * left / quota.window_s) + halves.now < quota.amount
        if allowed:
            halves.now += 1
        return _count(quota, allowed, halves.before, halves.now, left)

    def _found(self, key: tuple[str, Quota], now: float) -> _Halves:
        window = key[1].window_s
        halves = self._halves.get(key)
        if halves is None or now - halves.began >= 2 * window:
            halves = self._halves[key] = _Halves(now)
            if len(self._halves) > self._keys_max:
                self._halves.popitem(last=False)
        elif now - halves.began >= window:
            halves.began += window
            halves.before, halves.now = halves.now, 0
        self._halves.move_to_end(key)
        return halves

    async def forget(self, key: str, quota: Quota) -> None:
        self._halves.pop((key, quota), None)

    async def close(self) -> None:
        self._halves.clear()


class RedisWindows:
    """Counts for all nodes. While Redis does not answer, each node counts on its own."""

    def __init__(self, url: str) -> None:
        # Redis is asked again by the next request, never by a retry that this one would wait for.
        self._pool: Any = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS_MAX,
            timeout=_PATIENCE_S,
            socket_timeout=_PATIENCE_S,
            socket_connect_timeout=_PATIENCE_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._storage = RedisStorage(
            "async+redis://", implementation="redispy", key_prefix="slotcast:limits", connection_pool=self._pool
        )
        self._own = MemoryWindows()
        self._away_since: float | None = None
        self.leave_alone_s = _PAUSE_S

    async def hit(self, key: str, quota: Quota) -> Count:
        if self._asks():
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    return await self._hit(key, quota)
            except (RedisError, OSError, TimeoutError) as error:
                self._lost(error)
        return await self._own.hit(key, quota)

    def _asks(self) -> bool:
        """Whether Redis is asked: not for a while after it did not answer, and then by one request first."""
        if self._away_since is None:
            return True
        now = time.monotonic()
        if now < self._away_since + self.leave_alone_s:
            return False
        self._away_since = now
        return True

    async def _hit(self, key: str, quota: Quota) -> Count:
        allowed = await self._storage.acquire_sliding_window_entry(key, quota.amount, quota.window_s)
        before, _, now, left = await self._storage.get_sliding_window(key, quota.window_s)
        if self._away_since is not None:
            self._away_since = None
            log.warning("Redis answers again: requests are counted for all nodes together")
        # Its second half is kept for the length of the next one too.
        return _count(quota, allowed, before, now, max(0.0, left - quota.window_s))

    def _lost(self, error: Exception) -> None:
        told, self._away_since = self._away_since is not None, time.monotonic()
        if not told:
            log.warning("Redis does not answer (%s): this node counts requests on its own", type(error).__name__)

    async def forget(self, key: str, quota: Quota) -> None:
        await self._own.forget(key, quota)
        if self._asks():
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await self._storage.clear_sliding_window(key, quota.window_s)
            except (RedisError, OSError, TimeoutError) as error:
                self._lost(error)

    async def close(self) -> None:
        await self._pool.disconnect()


def windows(redis_url: str) -> Windows:
    return RedisWindows(redis_url) if redis_url else MemoryWindows()

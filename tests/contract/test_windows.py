"""Sliding windows: the same in memory and in Redis, and what happens while Redis is away."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from storage.windows import MemoryWindows, Quota, RedisWindows, Windows, windows
from tests.support.redis import TestRedis


@pytest.fixture(scope="module")
def redis() -> Iterator[TestRedis]:
    server = TestRedis()
    yield server
    server.stop()


@pytest.fixture(params=["memory", "redis"])
async def counted(request: pytest.FixtureRequest) -> AsyncIterator[Windows]:
    if request.param == "memory":
        found: Windows = MemoryWindows()
    else:
        server: TestRedis = request.getfixturevalue("redis")
        server.flush()
        found = RedisWindows(server.url)
    yield found
    await found.close()


async def test_no_more_than_the_quota_at_once(counted: Windows) -> None:
    """What is left counts down; what is refused costs nothing and says how long to wait."""
    quota = Quota(3, 60)
    found = [await counted.hit("a", quota) for _ in range(5)]
    assert [c.allowed for c in found] == [True, True, True, False, False]
    assert [c.remaining for c in found] == [2, 1, 0, 0, 0]
    assert all(0 < c.reset_s <= 60 for c in found)


async def test_of_many_at_once_the_quota_gets_in(counted: Windows) -> None:
    found = await asyncio.gather(*(counted.hit("a", Quota(10, 60)) for _ in range(50)))
    assert sum(c.allowed for c in found) == 10


async def test_keys_and_quotas_count_for_themselves(counted: Windows) -> None:
    """Also two quotas of one key, as long as their windows differ."""
    assert (await counted.hit("a", Quota(1, 60))).allowed
    assert not (await counted.hit("a", Quota(1, 60))).allowed
    assert (await counted.hit("b", Quota(1, 60))).allowed
    assert (await counted.hit("a/3600", Quota(1, 3600))).allowed


async def test_what_was_counted_can_be_forgotten(counted: Windows) -> None:
    quota = Quota(1, 60)
    await counted.hit("a", quota)
    await counted.hit("b", quota)
    await counted.forget("a", quota)
    assert (await counted.hit("a", quota)).allowed
    assert not (await counted.hit("b", quota)).allowed


async def test_there_is_room_again_when_it_was_said(counted: Windows) -> None:
    """Waiting as long as told is enough, and over two windows no more get in than twice the quota."""
    quota = Quota(4, 1)
    began = time.monotonic()
    taken = 0
    while taken < 8:
        count = await counted.hit("a", quota)
        taken += count.allowed
        if not count.allowed:
            await asyncio.sleep(count.reset_s + 0.05)
            assert (await counted.hit("a", quota)).allowed
            taken += 1
    # At most one quota in the first window, and the rest no sooner than the sliding half lets them.
    assert time.monotonic() - began >= 1.0


async def test_memory_is_bounded() -> None:
    """A flood of addresses forgets the oldest ones, not the one that was hit just now."""
    found = MemoryWindows(keys_max=100)
    for n in range(1_000):
        await found.hit(f"address-{n}", Quota(1, 3600))
    assert len(found) == 100
    assert not (await found.hit("address-999", Quota(1, 3600))).allowed
    assert (await found.hit("address-0", Quota(1, 3600))).allowed


async def test_nodes_count_together_in_redis(redis: TestRedis) -> None:
    redis.flush()
    one, two = windows(redis.url), windows(redis.url)
    found = [(await node.hit("a", Quota(4, 60))).allowed for node in (one, two, one, two, one, two)]
    assert found == [True] * 4 + [False] * 2
    with redis.admin as client:
        assert all(client.ttl(key) > 0 for key in client.scan_iter()), "nothing stays for ever"
    await one.close()
    await two.close()


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_without_redis_a_node_counts_on_its_own(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """No request fails or waits long for it, it is said once, and Redis is used again when it is back."""
    server = TestRedis()
    counted = RedisWindows(server.url)
    quota = Quota(3, 600)
    try:
        with caplog.at_level(logging.WARNING):
            assert (await counted.hit("a", quota)).remaining == 2
            _ = server.kill() if how == "killed" else server.pause()
            found = [await counted.hit("a", quota) for _ in range(5)]
            assert [c.allowed for c in found] == [True] * 3 + [False] * 2
            await counted.forget("a", quota)
            assert (await counted.hit("a", quota)).allowed
            _ = server.start() if how == "killed" else server.resume()
            counted.leave_alone_s = 0.0

            async def back() -> bool:
                await counted.hit("b", quota)
                return "answers again" in caplog.text

            async with asyncio.timeout(20):
                while not await back():
                    await asyncio.sleep(0.05)
        assert caplog.text.count("does not answer") == 1
    finally:
        await counted.close()
        server.stop()

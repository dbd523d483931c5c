"""Redis that is killed, frozen, slow, flushed or cut off: nobody waits long, nothing is told wrong, all comes back."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random

import pytest

from actors.cluster.ports import Lease
from protocol import limits
from protocol.errors import Refused
from storage.redis_bus import RedisBus
from storage.redis_client import RedisServer, key_prefix
from storage.redis_directory import RedisDirectory
from tests.contract.cluster_world import LONG_S, End, RedisCluster, member, until
from tests.support.redis import TestRedis

SOON_S = 3 * limits.directory_timeout_s
"""Far more than a call may take, far less than for ever."""


class Relay:
    """Between clients and a server; what the server says to chosen clients can be swallowed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._said: dict[asyncio.StreamWriter, bytes] = {}
        self._muted: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.server: asyncio.Server

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def start(self) -> "Relay":
        self.server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        return self

    def mute(self, said: bytes) -> int:
        """Those that are connected now and have said this hear nothing more; their connections stay."""
        chosen = {w for w, text in self._said.items() if said in text}
        self._muted |= chosen
        return len(chosen)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._said[writer] = b""

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                if source is reader:
                    self._said[writer] += data
                if sink not in self._muted:
                    sink.write(data)
            sink.close()

        for ends in ((reader, server_writer), (server_reader, writer)):
            task = asyncio.create_task(pump(*ends))
            self._tasks.add(task)

    async def stop(self) -> None:
        self.server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def relay(own_redis: TestRedis) -> AsyncIterator[Relay]:
    made = await Relay(own_redis.port).start()
    yield made
    await made.stop()


async def refused(asked: Awaitable[object]) -> None:
    async with asyncio.timeout(SOON_S):
        with pytest.raises(Refused) as caught:
            await asked
    assert caught.value.code == "unavailable"


def calls(directory: RedisDirectory) -> list[Callable[[], Awaitable[object]]]:
    return [
        lambda: directory.beat(member("a"), {1: 1}),
        directory.look,
        lambda: directory.claim("a", [2]),
        lambda: directory.hand_over("a", {1: "b"}),
        lambda: directory.release("a", [1]),
        lambda: directory.request_drain("a"),
        lambda: directory.leave("a"),
    ]


async def test_a_killed_redis_is_told_and_a_new_one_is_used(redis_cluster: RedisCluster) -> None:
    directory = await redis_cluster.directory()
    before = await directory.beat(member("a"), {1: 1})
    redis_cluster.redis.kill()
    for call in calls(directory):
        await refused(call())
    redis_cluster.redis.start()
    after = await directory.beat(member("a"), {1: 1})
    assert after.incarnation != before.incarnation
    assert after.leases == {1: Lease("a", 1)}


async def test_a_frozen_redis_keeps_nobody_waiting(redis_cluster: RedisCluster) -> None:
    directory, fresh = await redis_cluster.directory(), await redis_cluster.directory()
    before = await directory.beat(member("a"), {1: 1})
    redis_cluster.redis.pause()
    for call in calls(directory)[:3]:
        await refused(call())
    await asyncio.gather(*(refused(call()) for call in calls(fresh)))
    await refused(RedisServer(redis_cluster.redis.url).check())
    async with asyncio.timeout(SOON_S):
        await fresh.stop()
    redis_cluster.redis.resume()
    after = await directory.beat(member("a"), {1: 1})
    assert (after.incarnation, after.leases[1]) == (before.incarnation, Lease("a", 1))


async def test_one_call_that_is_cut_off_gives_no_answer_to_the_next(redis_cluster: RedisCluster) -> None:
    directory = await redis_cluster.directory()
    await directory.beat(member("a"), {1: 1})
    redis_cluster.redis.pause()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await directory.claim("a", [7])
    redis_cluster.redis.resume()
    for _ in range(20):
        assert (await directory.look()).leases.get(1) == Lease("a", 1)


async def test_a_slow_redis_is_waited_for(redis_cluster: RedisCluster) -> None:
    directory = await redis_cluster.directory()
    a, b = await redis_cluster.end("a"), await redis_cluster.end("b")
    with redis_cluster.redis.admin as admin:
        for i in range(3):
            admin.client_pause(300)
            a.bus.send("b", b"%d" % i)
            assert set((await directory.beat(member("a"), {1: 1})).members) == {"a"}
    await until(lambda: len(b.heard) == 3)
    assert (a.returned, a.bus.connected, b.bus.connected) == ([], True, True)


async def test_scripts_that_the_server_forgot_are_brought_again(redis_cluster: RedisCluster) -> None:
    directory = await redis_cluster.directory()
    await directory.beat(member("a"), {1: 1})
    with redis_cluster.redis.admin as admin:
        admin.script_flush()
    assert (await directory.beat(member("a"), {1: 1})).leases == {1: Lease("a", 1)}


async def test_nothing_of_the_directory_stays_for_ever(redis_cluster: RedisCluster) -> None:
    directory = await redis_cluster.directory()
    await directory.beat(member("a"), {1: 1})
    with redis_cluster.redis.admin as admin:
        keys = admin.keys()
        assert sorted(keys) == [redis_cluster.prefix + "leases", redis_cluster.prefix + "members"]
        assert all(0 < admin.pttl(key) <= 3600 * 1000 for key in keys)


@pytest.mark.parametrize("key", ["leases", "members"])
async def test_half_a_memory_counts_as_none(redis_cluster: RedisCluster, key: str) -> None:
    """One of the two keys may be evicted alone."""
    directory = await redis_cluster.directory()
    before = await directory.beat(member("a"), {1: 1})
    with redis_cluster.redis.admin as admin:
        admin.delete(redis_cluster.prefix + key)
    after = await directory.beat(member("b"), {})
    assert after.incarnation != before.incarnation
    assert (await directory.beat(member("b"), {})).incarnation == after.incarnation


async def test_what_cannot_be_read_stops_nobody_else(redis_cluster: RedisCluster) -> None:
    """A member is as good as not there; leases that make no sense are no ground to act on."""
    directory = await redis_cluster.directory()
    await directory.beat(member("a"), {1: 1})
    with redis_cluster.redis.admin as admin:
        admin.hset(redis_cluster.prefix + "members", "b", "9999999999999-nonsense")
    assert (await directory.look()).members.keys() == {"a"}
    with redis_cluster.redis.admin as admin:
        admin.hset(redis_cluster.prefix + "leases", "2", "nonsense")
    await refused((await redis_cluster.directory()).look())


async def test_notices_come_again_after_everything(redis_cluster: RedisCluster) -> None:
    mine, other = await redis_cluster.directory(), await redis_cluster.directory()
    told: list[str] = []
    other.on_notice(lambda: told.append("told"))

    async def notices_come() -> None:
        await mine.beat(member("a"), {})
        async with asyncio.timeout(10):
            # The first is of a new subscription itself.
            while len(told) < 2:
                await mine.request_drain("a")
                await asyncio.sleep(0.01)

    await notices_come()
    with redis_cluster.redis.admin as admin:
        told.clear()
        admin.client_kill_filter(_type="pubsub")
        await notices_come()
    redis_cluster.redis.kill()
    redis_cluster.redis.start()
    told.clear()
    await notices_come()


# The bus


async def test_after_a_kill_nothing_hangs_and_the_bus_comes_back(redis_cluster: RedisCluster) -> None:
    a, b = await redis_cluster.end("a"), await redis_cluster.end("b")
    redis_cluster.redis.kill()
    await until(lambda: not a.bus.connected and not b.bus.connected)
    a.bus.send("b", b"nobody is there")
    await until(lambda: a.returned == [("b", b"nobody is there")])
    redis_cluster.redis.start()
    await until(lambda: a.bus.connected and b.bus.connected)
    a.bus.send("b", b"again")
    await until(lambda: b.heard == [("a", b"again")])


async def test_a_kill_in_the_middle_loses_or_returns_but_never_repeats(redis_cluster: RedisCluster) -> None:
    a, b = await redis_cluster.end("a"), await redis_cluster.end("b")
    sent = 0
    for round_ in range(60):
        for _ in range(50):
            a.bus.send("b", b"%06d" % sent)
            sent += 1
        await asyncio.sleep(0.002)
        if round_ == 20:
            redis_cluster.redis.kill()
        if round_ == 25:
            redis_cluster.redis.start()
    await until(lambda: a.bus.connected and b.bus.connected)
    a.bus.send("b", b"last")
    await until(lambda: ("a", b"last") in b.heard)
    arrived, returned = b.messages("a"), [m for _, m in a.returned]
    assert arrived == sorted(arrived)
    assert len(set(arrived)) == len(arrived)
    assert not set(arrived) & set(returned), "what came back was not delivered"
    assert a.returned, "some were sent while it was gone"


async def test_a_frozen_redis_returns_what_was_not_written_and_guesses_nothing(redis_cluster: RedisCluster) -> None:
    a, b = await redis_cluster.end("a"), await redis_cluster.end("b")
    redis_cluster.redis.pause()
    a.bus.send("b", b"in flight")
    await asyncio.sleep(0.05)
    a.bus.send("b", b"waiting")
    await until(lambda: not a.bus.connected)
    await until(lambda: a.returned)
    assert a.returned == [("b", b"waiting")]
    assert a.bus.lost == 1
    a.bus.send("b", b"too late")
    await until(lambda: len(a.returned) == 2)
    await until(lambda: not b.bus.connected)
    redis_cluster.redis.resume()
    await until(lambda: a.bus.connected and b.bus.connected)
    a.bus.send("b", b"after")
    await until(lambda: ("a", b"after") in b.heard)
    assert b.messages("a") == [b"after"], "the receiver had left that connection"


async def test_the_bus_stops_soon_on_a_frozen_redis(redis_cluster: RedisCluster) -> None:
    a = await redis_cluster.end("a")
    redis_cluster.redis.pause()
    a.bus.send("b", b"x")
    async with asyncio.timeout(SOON_S):
        await a.bus.stop()
    assert a.bus.lost == 1 or a.returned == [("b", b"x")]


async def test_a_killed_subscription_is_made_again(redis_cluster: RedisCluster) -> None:
    a, b = await redis_cluster.end("a"), await redis_cluster.end("b")
    with redis_cluster.redis.admin as admin:
        assert admin.client_kill_filter(_type="pubsub") == 2
    await until(lambda: not b.bus.connected)
    await until(lambda: a.bus.connected and b.bus.connected)
    a.bus.send("b", b"again")
    await until(lambda: b.heard == [("a", b"again")])


async def test_a_flush_does_not_touch_the_bus(redis_cluster: RedisCluster) -> None:
    a, b = await redis_cluster.end("a"), await redis_cluster.end("b")
    redis_cluster.flush()
    a.bus.send("b", b"still")
    await until(lambda: b.heard == [("a", b"still")])
    assert a.bus.connected


@pytest.mark.parametrize("said", [b"SUBSCRIBE", b"PUBLISH"])
async def test_a_bus_that_works_in_one_direction_only_is_made_anew(
    redis_cluster: RedisCluster, relay: Relay, said: bytes
) -> None:
    """Both connections stay open, but one of them hears nothing more."""
    redis_cluster.server = RedisServer(relay.url)
    a = await redis_cluster.end("a")
    assert relay.mute(said) == 1
    await until(lambda: not a.bus.connected)
    await until(lambda: a.bus.connected)
    a.bus.send("a", b"again")
    await until(lambda: a.heard == [("a", b"again")])


async def test_what_cannot_be_read_is_dropped(redis_cluster: RedisCluster, caplog: pytest.LogCaptureFixture) -> None:
    a = await redis_cluster.end("a")
    with redis_cluster.redis.admin as admin, caplog.at_level(logging.WARNING):
        for junk in (b"", b"\xc1", b"\x93\x01\x02\x03", b"hello"):
            assert admin.publish(redis_cluster.prefix + "bus:a", junk) == 1
        a.bus.send("a", b"fine")
        await until(lambda: a.heard == [("a", b"fine")])
    assert caplog.text.count("cannot be read") == 4
    assert a.bus.connected


async def test_a_bus_may_start_before_redis_does(redis_cluster: RedisCluster) -> None:
    redis_cluster.redis.kill()
    starting = asyncio.create_task(redis_cluster.end("a"))
    await asyncio.sleep(0.2)
    redis_cluster.redis.start()
    a = await starting
    a.bus.send("a", b"there")
    await until(lambda: a.heard == [("a", b"there")])


# Both


async def test_stopping_never_hangs_whenever_it_comes(redis_cluster: RedisCluster) -> None:
    """While connecting, subscribing, writing or hearing."""
    random = Random(4)
    for i in range(60):
        directory = RedisDirectory(redis_cluster.server, redis_cluster.prefix, LONG_S)
        end = End(f"n{i}", RedisBus(redis_cluster.server, redis_cluster.prefix))
        await directory.start()
        starting = asyncio.create_task(end.bus.start(end.node, end.receive, end.undelivered))
        await asyncio.sleep(random.uniform(0, 0.005))
        end.bus.send(end.node, b"x")
        async with asyncio.timeout(SOON_S):
            await asyncio.gather(directory.stop(), end.bus.stop())
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
    with redis_cluster.redis.admin as admin:
        await until(lambda: len(admin.client_list()) == 1)


async def test_a_unix_socket_does_as_well(own_redis: TestRedis) -> None:
    await RedisServer(f"unix://{own_redis.socket_path}?db=1").check()
    directory = RedisDirectory(RedisServer(f"unix://{own_redis.socket_path}"), key_prefix("x"), LONG_S)
    assert set((await directory.beat(member("a"), {})).members) == {"a"}
    await directory.stop()

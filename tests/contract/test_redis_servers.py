"""Which Redis is taken, and what is said of those that are not."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from protocol.errors import Refused
from storage.redis_client import RedisServer, RedisUnusable
from tests.contract.cluster_world import RedisCluster, member, until
from tests.support.redis import TestRedis, free_port

Started = Callable[..., TestRedis]


@pytest.fixture
def started() -> Iterator[Started]:
    """Starts servers with options; they end with the test."""
    servers: list[TestRedis] = []

    def start(*options: str) -> TestRedis:
        servers.append(TestRedis("", *options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
async def impostor() -> AsyncIterator[Callable[[str], str]]:
    """A server that says it is of another version: nobody needs that one installed."""
    says: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            for _ in range(data.upper().count(b"CLIENT")):
                writer.write(b"+OK\r\n")
            for _ in range(data.count(b"INFO")):
                writer.write(b"$%d\r\n%s\r\n" % (len(says[0]), says[0]))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    def url_of(info: str) -> str:
        says.append(info.encode())
        return f"redis://127.0.0.1:{port}"

    yield url_of
    server.close()


async def why_not(url: str) -> str:
    with pytest.raises(RedisUnusable) as caught:
        await RedisServer(url).check()
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+sentinel://a:26379/primary", "not supported"),
        ("redis-sentinel://a:26379/primary", "not supported"),
        ("redis+cluster://a:7000", "not supported"),
        ("rediss+cluster://a:7000", "not supported"),
        ("http://a", "must begin with"),
        ("localhost:6379", "must begin with"),
        ("", "must begin with"),
        ("redis://a:port", "cannot be read"),
        ("redis://a:99999", "cannot be read"),
        ("redis://:s3/cret@a", "cannot be read"),
        ("redis://a/name", "number of a database"),
        ("redis://a?db=x", "cannot be read"),
        ("redis://a?unheard_of=1", "unheard_of"),
        ("redis://a?max_connections=5", "max_connections"),
        ("unix://", "names no socket"),
    ],
)
def test_urls_that_cannot_work_are_refused_in_one_line(url: str, said: str) -> None:
    with pytest.raises(RedisUnusable, match=said) as caught:
        RedisServer(url)
    assert "\n" not in str(caught.value)
    assert "s3" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://a",
        "redis://a/3",
        "REDIS://a",
        "rediss://u:p@a:6380/0",
        "redis://[::1]:6379",
        "unix:///x?db=2",
    ],
)
def test_urls_that_may_work_are_taken(url: str) -> None:
    RedisServer(url)


async def test_options_of_the_url_bring_back_neither_retries_nor_long_waits(started: Started) -> None:
    server = started()
    slack = RedisServer(server.url + "?socket_timeout=60&retry_on_timeout=yes&protocol=3&health_check_interval=1")
    await slack.check()
    server.pause()
    async with asyncio.timeout(3):
        with pytest.raises(Refused):
            await slack.check()


async def test_nobody_there_is_no_reason_to_give_up_for_good() -> None:
    with pytest.raises(Refused) as caught:
        await RedisServer(f"redis://127.0.0.1:{free_port()}").check()
    assert caught.value.code == "unavailable"


async def test_cluster_mode_is_refused(started: Started) -> None:
    assert "cluster mode" in await why_not(started("--cluster-enabled", "yes").url)


async def test_a_replica_is_refused(started: Started) -> None:
    assert "replica" in await why_not(started("--replicaof", "127.0.0.1", str(free_port())).url)


@pytest.mark.parametrize(("version", "fine"), [("5.0.14", False), ("6.0.20", False), ("6.2.0", True), ("10.1", True)])
async def test_versions_before_6_2_are_refused(impostor: Callable[[str], str], version: str, fine: bool) -> None:
    url = impostor(f"redis_version:{version}\r\ncluster_enabled:0\r\nrole:master\r\n")
    if fine:
        await RedisServer(url).check()
    else:
        assert version in await why_not(url)


async def test_a_password_is_used_and_never_shown(started: Started) -> None:
    server = started("--requirepass", "right/one")
    for url in (server.url, server.url.replace("//", "//:wrong-one@")):
        line = await why_not(url)
        assert "does not let us in" in line
        assert "one@" not in line
    server_url = server.url.replace("//", "//:right%2Fone@")
    await RedisServer(server_url).check()
    cluster = RedisCluster(server)
    cluster.server = RedisServer(server_url)
    directory, end = await cluster.directory(), await cluster.end("a")
    assert set((await directory.beat(member("a"), {})).members) == {"a"}
    end.bus.send("a", b"x")
    await until(lambda: end.heard)
    await cluster.close()

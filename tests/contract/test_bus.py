"""What every bus promises: on Redis 7, on Redis 6.2 and in memory."""

import asyncio
import logging

import pytest

from protocol import limits
from tests.contract.cluster_world import ClusterWorld, until


async def test_messages_arrive_with_their_sender_in_order(cluster: ClusterWorld) -> None:
    a, b, c = [await cluster.end(n) for n in "abc"]
    for i in range(500):
        a.bus.send("c", b"a%d" % i)
        b.bus.send("c", b"b%d" % i)
        if i % 50 == 0:
            await asyncio.sleep(0)
    await until(lambda: len(c.heard) >= 1000)
    assert c.messages("a") == [b"a%d" % i for i in range(500)]
    assert c.messages("b") == [b"b%d" % i for i in range(500)]
    assert (a.heard, b.heard, a.returned, b.returned) == ([], [], [], [])


async def test_messages_to_several_receivers_go_to_each(cluster: ClusterWorld) -> None:
    a, b, c = [await cluster.end(n) for n in "abc"]
    for i in range(100):
        a.bus.send("b", b"b%d" % i)
        a.bus.send("c", b"c%d" % i)
    await until(lambda: len(b.heard) + len(c.heard) >= 200)
    assert b.messages("a") == [b"b%d" % i for i in range(100)]
    assert c.messages("a") == [b"c%d" % i for i in range(100)]


async def test_a_node_may_write_to_itself(cluster: ClusterWorld) -> None:
    a = await cluster.end("a")
    a.bus.send("a", b"note")
    await until(lambda: a.heard)
    assert a.heard == [("a", b"note")]


async def test_sending_calls_nobody_back_before_it_returns(cluster: ClusterWorld) -> None:
    a, b = await cluster.end("a"), await cluster.end("b")
    a.bus.send("b", b"1")
    a.bus.send("nobody", b"2")
    a.bus.send("b", b"x" * (limits.bus_message_bytes_max + 1))
    assert (b.heard, a.returned) == ([], [])
    await until(lambda: b.heard and len(a.returned) == 2)


async def test_what_nobody_receives_comes_back(cluster: ClusterWorld) -> None:
    a, b = await cluster.end("a"), await cluster.end("b")
    for i in range(10):
        a.bus.send("nobody", b"%d" % i)
        a.bus.send("b", b"%d" % i)
    await until(lambda: len(a.returned) == 10 and len(b.heard) == 10)
    assert a.returned == [("nobody", b"%d" % i) for i in range(10)]


async def test_a_receiver_that_appears_later_gets_what_is_sent_later(cluster: ClusterWorld) -> None:
    a = await cluster.end("a")
    a.bus.send("b", b"early")
    await until(lambda: a.returned)
    b = await cluster.end("b")
    a.bus.send("b", b"late")
    await until(lambda: b.heard)
    assert b.heard == [("a", b"late")]
    await b.bus.stop()
    assert not b.bus.connected
    a.bus.send("b", b"too late")
    await until(lambda: len(a.returned) == 2)
    assert a.returned == [("b", b"early"), ("b", b"too late")]
    assert b.heard == [("a", b"late")]


async def test_any_bytes_of_any_allowed_size_arrive_whole(cluster: ClusterWorld) -> None:
    a, b = await cluster.end("a"), await cluster.end("b")
    sent = [b"", bytes(range(256)) * 300, b"\r\n$5\r\n", b"y" * limits.bus_message_bytes_max, b"", b"after"]
    for message in sent:
        a.bus.send("b", message)
    await until(lambda: len(b.heard) >= len(sent))
    assert b.messages("a") == sent
    assert a.returned == []


async def test_beyond_the_bound_messages_come_back_and_those_within_arrive(cluster: ClusterWorld) -> None:
    a, b = await cluster.end("a"), await cluster.end("b")
    count, size = 2 * limits.bus_outbox_bytes_max // 100_000, 100_000
    for i in range(count):
        a.bus.send("b", b"%05d" % i + bytes(size - 5))
    await until(lambda: len(b.heard) + len(a.returned) >= count)
    arrived = [int(m[:5]) for m in b.messages("a")]
    came_back = [int(m[:5]) for _, m in a.returned]
    assert sorted(arrived + came_back) == list(range(count))
    assert arrived == sorted(arrived)
    assert limits.bus_outbox_bytes_max * 0.9 < len(arrived) * size <= limits.bus_outbox_bytes_max
    a.bus.send("b", b"room again")
    await until(lambda: b.heard[-1] == ("a", b"room again"))


async def test_too_many_empty_messages_are_too_much_as_well(cluster: ClusterWorld) -> None:
    a, _ = await cluster.end("a"), await cluster.end("b")
    for _ in range(limits.bus_outbox_bytes_max // 64 + 10):
        a.bus.send("b", b"")
    await until(lambda: len(a.returned) >= 10)


async def test_a_handler_that_fails_hurts_no_later_message(
    cluster: ClusterWorld, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = await cluster.end("a"), await cluster.end("b")
    taken = b.heard.append

    class Failing(list[tuple[str, bytes]]):
        def append(self, item: tuple[str, bytes]) -> None:
            if item[1] == b"bad":
                raise ValueError("cannot take it")
            taken(item)

    good = b.heard
    b.heard = Failing()
    with caplog.at_level(logging.ERROR):
        for message in (b"1", b"bad", b"2"):
            a.bus.send("b", message)
        await until(lambda: len(good) == 2)
    assert [m for _, m in good] == [b"1", b"2"]
    assert "cannot take it" in caplog.text
    assert b.bus.connected


async def test_what_was_sent_just_before_the_end_still_leaves(cluster: ClusterWorld) -> None:
    a, b = await cluster.end("a"), await cluster.end("b")
    for i in range(100):
        a.bus.send("b", b"%d" % i)
    await a.bus.stop()
    await until(lambda: len(b.heard) == 100)
    a.bus.send("b", b"after the end")
    await until(lambda: a.returned)
    assert a.returned == [("b", b"after the end")]


async def test_answers_cross_questions(cluster: ClusterWorld) -> None:
    a, b = await cluster.end("a"), await cluster.end("b")

    class Answering(list[tuple[str, bytes]]):
        def append(self, item: tuple[str, bytes]) -> None:
            b.bus.send(item[0], b"re: " + item[1])

    b.heard = Answering()
    for i in range(200):
        a.bus.send("b", b"%d" % i)
    await until(lambda: len(a.heard) == 200)
    assert [m for _, m in a.heard] == [b"re: %d" % i for i in range(200)]

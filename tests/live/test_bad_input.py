"""Whatever comes in over a socket, the server says what is wrong and goes on."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest

from protocol import limits
from tests.live.conftest import Connect
from tests.live.test_fanout import gauge
from tests.support.live import RawSocket
from tests.support.server import Api, Place, RunningServer

NOBODY = "0198c0de-0000-7000-8000-000000000000"
PING = {"type": "ping", "id": "p"}


@pytest.fixture
async def raw(server: RunningServer) -> AsyncIterator[RawSocket]:
    """A visitor's socket, past its welcome. The server must be well afterwards."""
    sock = await RawSocket.open(server.url)
    assert orjson.loads((await sock.receive())[1])["type"] == "welcome"
    yield sock
    sock.socket.close()
    another = await RawSocket.open(server.url)
    await another.say(PING)
    assert (await another.reply("p"))["ok"]
    another.socket.close()


async def _lives(raw: RawSocket) -> None:
    await raw.say({"type": "ping", "id": "still-here"})
    assert (await raw.reply("still-here"))["ok"]


# Frames


async def test_a_binary_frame_ends_it(raw: RawSocket) -> None:
    await raw.send(raw.frame(raw.BINARY, orjson.dumps(PING)))
    assert await raw.close_code() == 1003


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b'{"type":"ping","id":"\xf0\x28\x8c\x28"}'])
async def test_bad_utf8_ends_it(raw: RawSocket, bad: bytes) -> None:
    await raw.say(bad)
    assert await raw.close_code() == 1007


async def test_a_message_that_is_too_big_ends_it_before_it_is_read(raw: RawSocket) -> None:
    await raw.send(raw.frame(raw.TEXT, b"", length=limits.message_bytes_max + 1))
    assert await raw.close_code() == 1009


@pytest.mark.parametrize("claim", [2**31, 2**63, 2**64 - 1])
async def test_an_absurd_length_ends_it_at_once(raw: RawSocket, claim: int) -> None:
    await raw.send(raw.frame(raw.TEXT, b"", length=claim))
    assert await raw.close_code() == 1009


async def test_fragments_are_one_message_and_count_together(raw: RawSocket) -> None:
    data = orjson.dumps(PING)
    await raw.send(raw.frame(raw.TEXT, data[:5], final=False))
    await raw.send(raw.frame(raw.PING, b"between"))
    assert await raw.receive() == (raw.PONG, b"between")
    await raw.send(raw.frame(0, data[5:9], final=False) + raw.frame(0, data[9:]))
    assert (await raw.reply("p"))["ok"]
    piece = b"x" * (limits.message_bytes_max // 2)
    await raw.send(raw.frame(raw.TEXT, piece, final=False) + raw.frame(0, piece, final=False) + raw.frame(0, piece))
    assert await raw.close_code() == 1009


async def test_a_message_may_come_byte_by_byte(raw: RawSocket) -> None:
    for byte in raw.frame(raw.TEXT, orjson.dumps(PING)):
        await raw.send(bytes((byte,)))
        await asyncio.sleep(0.001)
    assert (await raw.reply("p"))["ok"]


@pytest.mark.parametrize(
    "frames",
    [
        RawSocket.frame(0, b"continues nothing"),
        RawSocket.frame(RawSocket.TEXT, b"a", final=False) + RawSocket.frame(RawSocket.TEXT, b"b"),
        RawSocket.frame(0x3, b"reserved opcode"),
        RawSocket.frame(0xB, b"reserved control"),
        RawSocket.frame(0x41, b"reserved bit"),
        RawSocket.frame(RawSocket.PING, b"x" * 126),
        RawSocket.frame(RawSocket.PING, b"split", final=False),
        RawSocket.frame(RawSocket.CLOSE, b"\x03"),
        RawSocket.frame(RawSocket.CLOSE, (5).to_bytes(2, "big")),
    ],
)
async def test_broken_framing_ends_it(raw: RawSocket, frames: bytes) -> None:
    await raw.send(frames)
    assert await raw.close_code() == 1002


async def test_an_unmasked_frame_does_no_harm(raw: RawSocket) -> None:
    """RFC 6455 wants it refused for the sake of proxies with caches; the server itself needs no protection from it."""
    await raw.say(PING, mask=False)
    opcode, payload = await raw.receive()
    assert (opcode, payload[:2]) == (raw.CLOSE, b"\x03\xea") or orjson.loads(payload)["ok"]


async def test_a_peer_that_hangs_up_mid_frame_is_forgotten(raw: RawSocket) -> None:
    await raw.send(raw.frame(raw.TEXT, b"half", length=100))
    raw.reset()


async def test_close_is_answered_with_close(raw: RawSocket) -> None:
    await raw.send(raw.frame(raw.CLOSE, (1000).to_bytes(2, "big") + b"bye"))
    assert await raw.close_code() == 1000
    with pytest.raises(ConnectionError):
        await raw.receive()


# Messages


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "malformed_body"),
        (b"nonsense", "malformed_body"),
        (b'{"type":"ping","id":"x"', "malformed_body"),
        (b"[" * 8_000, None),
        (b'{"type":"sing","id":"x","a":' + b"[" * 4_000 + b"]" * 4_000 + b"}", None),
        (b'{"type":"sing","id":"x"}', "unknown_message"),
        (b'{"type":"welcome","id":"x"}', "unknown_message"),
        (b'{"type":"ping"}', "validation_failed"),
        (b'{"type":"ping","id":null}', "validation_failed"),
        (b'{"type":"ping","id":"x","more":1}', "validation_failed"),
        (b'{"type":"book","id":"x","professional_id":"%00"}', "validation_failed"),
        (b'{"type":"cancel","id":"x","booking_id":"\\u0000"}', "not_found"),
        (b'{"type":"cancel","id":"x","booking_id":"\\ufdd0","manage_token":"\\u0000"}', "not_found"),
        (b'{"type":"release","id":"x","hold_id":"' + NOBODY.encode() + b'"}', "not_found"),
        (b'{"type":"unsubscribe","id":"x","subscription":"s"}', "not_subscribed"),
    ],
)
async def test_what_makes_no_sense_is_answered_with_a_problem(raw: RawSocket, text: bytes, code: str | None) -> None:
    await raw.say(text)
    opcode, payload = await raw.receive()
    assert opcode == raw.TEXT, payload
    reply = orjson.loads(payload)
    assert (reply["type"], reply["ok"]) == ("reply", False)
    problem = reply["problem"]
    assert 400 <= problem["status"] < 500
    assert {"type", "title", "status", "detail", "code", "request_id"} <= set(problem)
    assert code is None or problem["code"] == code
    assert b'"id":"x"' not in text or text.count(b"x") > 2 or reply["id"] in ("x", "")
    await _lives(raw)


async def test_the_twenty_first_senseless_message_ends_it(raw: RawSocket) -> None:
    await raw.send(b"".join(raw.frame(raw.TEXT, b'{"type":"sing","id":"x"}') for _ in range(25)))
    replies = [m async for m in raw.messages()]
    assert [m["problem"]["code"] for m in replies] == ["unknown_message"] * 20


async def test_its_close_code_says_not_to_come_back_as_it_is(raw: RawSocket) -> None:
    await raw.send(b"".join(raw.frame(raw.TEXT, b"nonsense") for _ in range(25)))
    assert await raw.close_code() == 4103


async def test_ten_thousand_subscriptions(connect: Connect, place: Place, server: RunningServer) -> None:
    client = await connect()
    what = {"professional_id": place.professional_id, "from": place.day, "to": place.day}

    async def subscribe(i: int) -> str:
        message_id = await client.send("subscribe", id=f"s{i}", **what)
        found = await client.next(lambda m: m.get("id") == message_id)
        return found["type"] if found["type"] == "subscribed" else found["problem"]["code"]

    for i in range(limits.subscriptions_per_socket_max):
        assert await subscribe(i) == "subscribed"
    for i in range(100, 10_000):
        await client.send("subscribe", id=f"s{i}", **what)
    await client.done("ping")
    refused = [m["problem"]["code"] for m in client.messages if m["type"] == "reply" and not m["ok"]]
    assert refused == ["too_many_subscriptions"] * 9_900
    other = await connect()
    replica = await other.watch(place)
    await place.api.made("bookings", place.booking(place.at(9)))
    await other.until(lambda: replica.state(place.at(9)) == "booked")
    await client.done("unsubscribe", subscription="s7")
    assert await subscribe(10_001) == "subscribed"


async def test_different_views_of_one_calendar_are_bounded(connect: Connect, place: Place) -> None:
    """Nobody can make the server keep a view for every range there is."""
    found: list[str] = []
    for n in range(3):
        client = await connect()
        for i in range(100):
            day = n * 100 + i
            message_id = await client.send(
                "subscribe",
                professional_id=place.professional_id,
                from_=place.at(0),
                to=place.at(1 + day % 20, day // 20),
            )
            answer = await client.next(lambda m, i=message_id: m.get("id") == i)
            found.append("ok" if answer["type"] == "subscribed" else answer["problem"]["code"])
    assert found == ["ok"] * limits.views_per_calendar_max + ["limit_reached"] * 100
    assert (await place.api.made("bookings", place.booking(place.at(9))))["status"] == "confirmed"


async def test_a_flood_of_pings_is_answered_and_delays_nobody(raw: RawSocket, connect: Connect, place: Place) -> None:
    other = await connect()
    replica = await other.watch(place)
    n = 20_000
    flood = b"".join(raw.frame(raw.PING, b"%d" % i) for i in range(n))
    sending = asyncio.create_task(raw.send(flood))
    await place.api.made("bookings", place.booking(place.at(9)))
    await other.until(lambda: replica.state(place.at(9)) == "booked", 5)
    for i in range(n):
        assert await raw.receive() == (raw.PONG, b"%d" % i)
    await sending
    await _lives(raw)


async def test_a_key_no_database_can_store_is_refused_at_the_door(
    server: RunningServer, http: aiohttp.ClientSession, api: Api, place: Place
) -> None:
    """It would poison the batch it joins, and everybody's bookings beside it."""
    before = await gauge(api, "slotcast_guard_violations_total")
    async with http.ws_connect(server.url + "/api/v1/live", headers={"Origin": server.url}, compress=0) as ws:
        await ws.receive_json()
        for i, key in enumerate(("x\u0000y", "x\ny", "x y", "", "k" * 129)):
            hold = {
                "type": "hold", "id": str(i), "idempotency_key": key, "professional_id": place.professional_id,
                "service_id": place.service_id, "start": place.at(9),
            }  # fmt: skip
            await ws.send_json(hold)
            assert (await ws.receive_json())["problem"]["code"] == "validation_failed"
    assert await gauge(api, "slotcast_guard_violations_total") == before

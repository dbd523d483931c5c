"""A connection that reads slowly, or not at all, costs a bounded amount and delays nobody."""

import asyncio
import contextlib
import time

import aiohttp
import orjson
import psutil
import pytest

from protocol import limits
from tests.live.conftest import InnerServer
from tests.live.test_fanout import gauge
from tests.support.live import LiveClient, RawSocket, Replica
from tests.support.server import Api, Place, RunningServer, eventually, new_place

DAYS = 17


async def _wide(api: Api) -> Place:
    """A place whose view of seventeen days has 4,896 slots, so that changing all of them is a frame of some 450 KB."""
    return await new_place(api, duration_minutes=5)


async def _toggle(place: Place, times: int) -> None:
    """Each time two events that change every slot of the seventeen days."""
    path = f"professionals/{place.professional_id}/time-off"
    for _ in range(times):
        off = await place.api.made(path, {"start": place.at(0), "end": place.at(0, day=DAYS)})
        assert (await place.api.request("DELETE", f"{path}/{off['id']}")).status == 204


async def _deaf(url: str, place: Place) -> tuple[RawSocket, Replica]:
    """A viewer of the place that has read its first snapshot and reads no further."""
    raw = await RawSocket.open(url, receive_buffer=32 * 1024)
    await raw.say(
        {
            "type": "subscribe", "id": "s", "professional_id": place.professional_id, "service_id": place.service_id,
            "from": place.day, "to": place.at(0, day=DAYS - 1)[:10],
        }
    )  # fmt: skip
    replica = Replica("", place.professional_id)
    async for message in raw.messages():
        if message["type"] == "snapshot":
            replica.take(message)
            break
    return raw, replica


async def test_who_stops_reading_gets_one_fresh_snapshot_and_delays_nobody(
    server: RunningServer, http: aiohttp.ClientSession, api: Api
) -> None:
    place = await _wide(api)
    fast = await LiveClient(http, server.url, origin=server.url).connect()
    twin = await fast.watch(place, days=DAYS)
    behind = await gauge(api, 'slotcast_slow_sockets_total{what="behind"}')
    cut = await gauge(api, 'slotcast_slow_sockets_total{what="cut"}')
    deaf = [await _deaf(server.url, place) for _ in range(20)]
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    rss = process.memory_info().rss
    await _toggle(place, 10)
    final = await api.made("bookings", place.booking(place.at(9)))
    await fast.until(lambda: twin.version == final["calendar_version"], 5)
    grown = process.memory_info().rss - rss

    assert [d["version"] - d["from_version"] for d in twin.deltas] == [1] * 21, "each change came as it was made"
    assert (twin.snapshots, twin.gaps) == (1, [])
    assert await gauge(api, 'slotcast_slow_sockets_total{what="behind"}') >= behind + 20
    assert await gauge(api, 'slotcast_slow_sockets_total{what="cut"}') == cut
    # Twenty sockets missed some 16 MB each.
    assert grown < 20 * limits.socket_cut_bytes + 20e6, f"{grown / 1e6:.0f} MB"

    async def drain(raw: RawSocket, replica: Replica) -> None:
        async for message in raw.messages():
            replica.take(message)
            if replica.version == final["calendar_version"]:
                return

    await asyncio.gather(*(drain(*d) for d in deaf))
    for _, replica in deaf:
        assert replica.slots == twin.slots
        assert replica.snapshots == 2, "one fresh snapshot for all that was missed"
        assert len(replica.deltas) < 12
        assert replica.gaps == []
    # Those who caught up are viewers like all others again.
    await api.made("bookings", place.booking(place.at(10)))
    for raw, replica in deaf:
        async for message in raw.messages():
            replica.take(message)
            if replica.state(place.at(10)) == "booked":
                break
        assert replica.snapshots == 2
        raw.socket.close()
    await fast.close()


async def test_who_does_not_read_for_too_long_is_cut(
    inner: InnerServer, inner_api: Api, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "socket_cut_s", 0.5)
    place = await _wide(inner_api)
    fast = await LiveClient(http, inner.url, origin=inner.url).connect()
    twin = await fast.watch(place, days=DAYS)
    raw, _ = await _deaf(inner.url, place)
    assert len(inner.node.live) == 2
    began = time.monotonic()
    await _toggle(place, 12)

    async def cut() -> bool:
        return len(inner.node.live) == 1

    assert await eventually(cut, 5)
    assert time.monotonic() - began >= 0.5, "it was given its time"
    assert await gauge(inner_api, 'slotcast_slow_sockets_total{what="cut"}') == 1
    await fast.until(lambda: len(twin.deltas) == 24)
    assert await raw.close_code() is None, "there is no use in a goodbye to who does not listen"
    await fast.close()


async def test_who_lets_a_megabyte_gather_is_cut_at_once(server: RunningServer, api: Api) -> None:
    """Replies are not left out as deltas are, so a client that asks and never listens is cut."""
    cut = await gauge(api, 'slotcast_slow_sockets_total{what="cut"}')
    raw = await RawSocket.open(server.url, receive_buffer=4 * 1024)
    message = orjson.dumps({"type": "unsubscribe", "id": "x" * 64, "subscription": "none"})
    chunk = raw.frame(raw.TEXT, message) * 1_000

    async def ask_on() -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await raw.send(chunk)

    async def is_cut() -> bool:
        return await gauge(api, 'slotcast_slow_sockets_total{what="cut"}') == cut + 1

    asking = asyncio.create_task(ask_on())
    assert await eventually(is_cut, 8), "well before ten seconds"
    asking.cancel()
    raw.socket.close()


async def test_a_peer_that_answers_no_pings_is_dropped(
    inner: InnerServer, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that vanished sends no FIN; only its silence tells."""
    monkeypatch.setattr(limits, "heartbeat_s", 0.6)
    monkeypatch.setattr(inner.node.live, "_next_ping", 0.0)
    silent = await RawSocket.open(inner.url)
    alive = await LiveClient(http, inner.url, origin=inner.url).connect()
    opcodes = []
    while True:
        opcode, payload = await silent.receive()
        opcodes.append(opcode)
        if opcode == silent.CLOSE:
            break
    assert int.from_bytes(payload[:2], "big") == 4002
    assert silent.PING in opcodes
    await alive.done("ping")
    assert alive.close_code is None, "answering pings is enough"
    await alive.close()

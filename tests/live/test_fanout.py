"""Many viewers of one calendar."""

import asyncio

import aiohttp

from tests.live.conftest import Connect
from tests.support.live import LiveClient, RawSocket
from tests.support.server import Api, Place, RunningServer, eventually

VIEWERS = 200
BOOKINGS = 200


async def gauge(api: Api, name: str) -> float:
    text = (await api.get("/metrics")).body.decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


async def test_two_hundred_viewers_converge_after_two_hundred_bookings(
    server: RunningServer, http: aiohttp.ClientSession, place: Place
) -> None:
    clients = [LiveClient(http, server.url, origin=server.url) for _ in range(VIEWERS)]
    await asyncio.gather(*(c.connect() for c in clients))
    replicas = await asyncio.gather(*(c.watch(place, days=5) for c in clients))
    assert len({r.view for r in replicas}) == 1
    starts = [place.at(h, m, day=d) for d in range(5) for h in range(20) for m in (0, 30)]
    assert len(starts) == BOOKINGS
    answers = await asyncio.gather(*(place.api.post("bookings", place.booking(s)) for s in starts))
    assert {a.status for a in answers} == {201}
    last = max(a.json["calendar_version"] for a in answers)
    await asyncio.gather(*(c.until(lambda r=r: r.version == last) for c, r in zip(clients, replicas, strict=True)))
    first = replicas[0]
    assert first.starts("booked") == sorted(starts)
    for replica in replicas:
        assert replica.deltas == first.deltas, "everybody gets the same frames in the same order"
        assert replica.slots == first.slots
        assert (replica.snapshots, replica.gaps) == (1, [])
    assert len(first.deltas) < BOOKINGS, "deltas merge under load"
    await asyncio.gather(*(c.close() for c in clients))


async def test_connections_that_die_without_a_word_are_cleaned_up(
    server: RunningServer, api: Api, place: Place, connect: Connect
) -> None:
    witness = await connect()
    replica = await witness.watch(place)
    before = await gauge(api, 'slotcast_live_connections{carrier="websocket"}')
    dead = await asyncio.gather(*(RawSocket.open(server.url) for _ in range(300)))
    subscribe = {
        "type": "subscribe", "id": "s", "professional_id": place.professional_id, "from": place.day, "to": place.day,
    }  # fmt: skip
    for raw in dead:
        await raw.say(subscribe)
    for raw in dead:
        assert (await raw.receive())[0] == RawSocket.TEXT

    async def connections(expected: float) -> bool:
        return await gauge(api, 'slotcast_live_connections{carrier="websocket"}') == expected

    assert await eventually(lambda: connections(before + 300))
    for raw in dead:
        raw.reset()
    await place.api.made("bookings", place.booking(place.at(9)))
    await witness.until(lambda: replica.state(place.at(9)) == "booked")
    assert await eventually(lambda: connections(before))

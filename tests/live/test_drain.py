"""SIGTERM: everybody is told, everything under way is answered, and the process ends in time."""

import asyncio
import time

import aiohttp
import asyncpg
import orjson

from tests.conftest import business_of
from tests.live.test_sse import stream
from tests.support.live import Contract, LiveClient, RawSocket
from tests.support.server import Api, RunningServer, new_place, token_for

DRAIN_S = 10.0


async def _exit_code(server: RunningServer) -> tuple[int, float]:
    began = time.monotonic()
    code = await asyncio.to_thread(server.stop)
    return code, time.monotonic() - began


async def test_everybody_is_told_and_what_is_under_way_is_answered(
    fresh_server: RunningServer, http: aiohttp.ClientSession
) -> None:
    fresh_server.start()
    api = Api(fresh_server, http, token_for(await business_of(fresh_server.dsn)))
    place = await new_place(api)
    contract = Contract((await api.get("/asyncapi.json")).json)
    watchers = [
        await LiveClient(http, fresh_server.url, contract, origin=fresh_server.url).connect() for _ in range(20)
    ]
    for watcher in watchers:
        await watcher.watch(place)
    booker = await LiveClient(http, fresh_server.url, contract).connect()
    await booker.done("auth", token=api.token)

    async with stream(http, fresh_server.url, place, headers={"Origin": fresh_server.url}) as source:
        assert (await source.next())[1]["type"] == "subscribed"
        assert (await source.next())[1]["type"] == "snapshot"
        # The calendar's rows are locked, so that commands are on their way when the signal comes.
        blocker = await asyncpg.connect(fresh_server.dsn)
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute("LOCK TABLE bookings IN EXCLUSIVE MODE")
        over_live = asyncio.create_task(booker.ask("book", **place.booking(place.at(9))))
        over_rest = asyncio.create_task(api.post("bookings", place.booking(place.at(10))))
        await asyncio.sleep(0.3)
        ending = asyncio.create_task(_exit_code(fresh_server))
        goodbyes = [await w.next(lambda m: m["type"] == "goodbye") for w in watchers]
        await asyncio.sleep(0.3)
        assert not over_live.done()
        assert not over_rest.done()
        await transaction.rollback()
        assert (await over_live)["ok"]
        assert (await over_rest).status == 201
        while (told := (await source.next())[1])["type"] != "goodbye":
            pass
        assert source.retry == told["reconnect_after_ms"]
    await blocker.close()
    waits = [g["reconnect_after_ms"] for g in goodbyes]
    assert all(500 <= w <= 5_000 for w in waits)
    assert len(set(waits)) > 10, "they are not all sent back at the same moment"
    assert {await c.closed() for c in [*watchers, booker]} == {1001}
    code, took = await ending
    assert code == 0, fresh_server.logged()[-3000:]
    assert took < DRAIN_S
    assert [v for c in [*watchers, booker] for v in c.violations] == []
    kept = await asyncpg.connect(fresh_server.dsn)
    assert await kept.fetchval("SELECT count(*) FROM bookings WHERE calendar_id = $1", place.professional_id) == 2
    await kept.close()


async def test_sockets_that_do_not_listen_do_not_hold_it_up(
    fresh_server: RunningServer, http: aiohttp.ClientSession
) -> None:
    fresh_server.start()
    api = Api(fresh_server, http, token_for(await business_of(fresh_server.dsn)))
    place = await new_place(api, duration_minutes=5)
    subscribe = {
        "type": "subscribe", "id": "s", "professional_id": place.professional_id, "service_id": place.service_id,
        "from": place.day, "to": place.at(0, day=29)[:10],
    }  # fmt: skip
    deaf = [await RawSocket.open(fresh_server.url, receive_buffer=4 * 1024) for _ in range(30)]
    for raw in deaf:
        await raw.send(raw.frame(raw.TEXT, orjson.dumps(subscribe)))
    idle = await LiveClient(http, fresh_server.url).connect()
    code, took = await _exit_code(fresh_server)
    assert code == 0, fresh_server.logged()[-3000:]
    assert took < DRAIN_S
    assert await idle.closed() == 1001
    for raw in deaf:
        raw.socket.close()


async def test_nobody_new_is_let_in_while_it_drains(fresh_server: RunningServer, http: aiohttp.ClientSession) -> None:
    fresh_server.start()
    api = Api(fresh_server, http, token_for(await business_of(fresh_server.dsn)))
    place = await new_place(api)
    client = await LiveClient(http, fresh_server.url).connect()
    await client.done("auth", token=api.token)
    assert (await api.get("/healthz")).status == 200  # leaves a connection open
    blocker = await asyncpg.connect(fresh_server.dsn)
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("LOCK TABLE bookings IN EXCLUSIVE MODE")
    under_way = asyncio.create_task(client.ask("book", **place.booking(place.at(9))))
    await asyncio.sleep(0.2)
    ending = asyncio.create_task(_exit_code(fresh_server))
    await client.next(lambda m: m["type"] == "goodbye")
    # A connection that was open before is told so; a new one finds no one listening.
    answer = await api.post("bookings", place.booking(place.at(10)))
    assert (answer.status, answer.json["code"]) == (503, "draining")
    try:
        await LiveClient(http, fresh_server.url, origin=fresh_server.url).connect()
        raise AssertionError("a new connection was let in")
    except (aiohttp.ClientConnectorError, aiohttp.WSServerHandshakeError):
        pass
    await transaction.rollback()
    await blocker.close()
    assert (await under_way)["ok"]
    assert (await ending)[0] == 0

"""Server-sent events: the same frames, for those who cannot open a WebSocket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest

from protocol.frames import Frame
from server.live.sse import Stream
from server.live.viewing import Visitor
from tests.conftest import business_of
from tests.live.conftest import Connect, InnerServer
from tests.live.test_fanout import gauge
from tests.rest.helpers import new_business
from tests.support.live import Contract, LiveClient, Replica
from tests.support.server import Api, Place, RunningServer, eventually, new_place, token_for

PATH = "/api/v1/live/sse"


class EventSource:
    """One stream. `next` is the next event as `(id, message)`; `retry` is what the server last asked for."""

    def __init__(self, response: aiohttp.ClientResponse, contract: Contract | None) -> None:
        self.response = response
        self.retry: int | None = None
        self.comments = 0
        self._contract = contract

    async def next(self, timeout_s: float = 10.0) -> tuple[str | None, dict[str, Any]]:
        event_id, data = None, []
        async with asyncio.timeout(timeout_s):
            while True:
                line = (await self.response.content.readline(max_line_length=1 << 22)).decode()
                if not line:
                    raise EOFError
                name, _, value = line.rstrip("\n").partition(": ")
                if line == "\n":
                    if data:
                        break
                elif name == "data":
                    data.append(value)
                elif name == "id":
                    event_id = value
                elif name == "retry":
                    self.retry = int(value)
                else:
                    assert line.startswith(":"), line
                    self.comments += 1
        message = orjson.loads("\n".join(data))
        if self._contract is not None:
            self._contract.check(message)
        return event_id, message

    async def fill(self, replica: Replica, start: str, state: str) -> None:
        while replica.state(start) != state:
            replica.take((await self.next())[1])


@asynccontextmanager
async def stream(
    http: aiohttp.ClientSession,
    url: str,
    place: Place,
    *,
    contract: Contract | None = None,
    headers: dict[str, str] | None = None,
    **query: Any,
) -> AsyncIterator[EventSource]:
    what = {"professional_id": place.professional_id, "service_id": place.service_id}
    params = {**what, "from": place.day, "to": place.day, **{k: str(v) for k, v in query.items()}}
    async with http.get(
        url + PATH, params=params, headers=headers, timeout=aiohttp.ClientTimeout(total=None)
    ) as response:
        yield EventSource(response, contract)


async def _begin(source: EventSource) -> tuple[dict[str, Any], Replica]:
    assert source.response.status == 200, await source.response.text()
    assert source.response.content_type == "text/event-stream"
    event_id, told = await source.next()
    assert event_id is None
    assert told["type"] == "subscribed"
    return told, Replica(told["view"], told["professional_id"])


async def test_the_frames_are_those_of_the_websocket(
    server: RunningServer, http: aiohttp.ClientSession, place: Place, connect: Connect, contract: Contract
) -> None:
    live = await connect()
    twin = await live.watch(place)
    async with stream(http, server.url, place, contract=contract, headers={"Origin": server.url}) as source:
        told, replica = await _begin(source)
        assert told["view"] == twin.view
        event_id, snapshot = await source.next()
        assert snapshot["type"] == "snapshot"
        assert event_id == str(snapshot["version"])
        replica.take(snapshot)
        assert replica.slots == twin.slots
        await place.api.made("bookings", place.booking(place.at(9)))
        event_id, delta = await source.next()
        await live.until(lambda: twin.deltas)
        assert delta == twin.deltas[0]
        assert event_id == str(delta["version"])


async def test_last_event_id_brings_what_was_missed(
    server: RunningServer, http: aiohttp.ClientSession, place: Place, connect: Connect
) -> None:
    live = await connect()
    twin = await live.watch(place)
    origin = {"Origin": server.url}
    async with stream(http, server.url, place, headers=origin) as source:
        _, replica = await _begin(source)
        await place.api.made("bookings", place.booking(place.at(9)))
        await source.fill(replica, place.at(9), "booked")
    for hour in (10, 11):
        await place.api.made("bookings", place.booking(place.at(hour)))
    await live.until(lambda: twin.state(place.at(11)) == "booked")
    last = str(replica.version)
    async with stream(http, server.url, place, headers={**origin, "Last-Event-ID": last}) as source:
        told, _ = await _begin(source)
        assert told["recovered"]
        await source.fill(replica, place.at(11), "booked")
        assert (replica.snapshots, replica.gaps, replica.slots) == (1, [], twin.slots)
    # A first connection may say `since`; the browser's own header goes before it.
    async with stream(http, server.url, place, headers=origin, since=last) as source:
        assert (await _begin(source))[0]["recovered"]
    async with stream(http, server.url, place, headers={**origin, "Last-Event-ID": "0"}, since=last) as source:
        assert not (await _begin(source))[0]["recovered"]


@pytest.mark.parametrize("last", ["", "x", "-1", "1e3", "²", "9" * 18, "9" * 6_000])
async def test_a_last_event_id_that_is_none_brings_a_snapshot(
    server: RunningServer, http: aiohttp.ClientSession, place: Place, last: str
) -> None:
    async with stream(http, server.url, place, headers={"Origin": server.url, "Last-Event-ID": last}) as source:
        assert not (await _begin(source))[0]["recovered"]
        assert (await source.next())[1]["type"] == "snapshot"


async def test_it_needs_a_ticket_or_an_origin(
    server: RunningServer, http: aiohttp.ClientSession, place: Place, api: Api, db: asyncpg.Connection
) -> None:
    async def status(headers: dict[str, str] | None = None, **query: Any) -> tuple[int, str | None]:
        async with stream(http, server.url, place, headers=headers, **query) as source:
            if source.response.status == 200:
                return 200, source.response.headers.get("Access-Control-Allow-Origin")
            return source.response.status, (await source.response.json(content_type=None))["code"]

    assert await status() == (401, "unauthorized")
    assert await status({"Sec-Fetch-Site": "cross-site"}) == (401, "unauthorized")
    assert await status({"Sec-Fetch-Site": "same-origin"}) == (200, None)
    assert await status({"Origin": server.url}) == (200, None)
    assert await status({"Origin": "https://evil.example"}) == (403, "forbidden")
    assert await status(ticket="garbage") == (401, "unauthorized")
    ticket = (await api.made("auth/ticket", {}))["ticket"]
    assert await status(ticket=ticket) == (200, None)
    assert await status(ticket=ticket) == (401, "unauthorized")
    stranger = api.with_token(token_for(await new_business(server.dsn)))
    ticket = (await stranger.made("auth/ticket", {}))["ticket"]
    assert await status(ticket=ticket) == (404, "not_found")
    business = await new_business(server.dsn)
    await db.execute("UPDATE businesses SET allowed_origins = '{https://shop.example}' WHERE id = $1", business)
    place = await new_place(api.with_token(token_for(business)))
    assert await status({"Origin": "https://shop.example"}) == (200, "https://shop.example")


async def test_a_query_that_makes_no_sense_names_the_field(
    server: RunningServer, http: aiohttp.ClientSession, place: Place
) -> None:
    for field, query in (
        ("since", {"since": "x"}),
        ("extra", {"extra": "1"}),
        ("professional_id", {"professional_id": "x"}),
    ):
        async with stream(http, server.url, place, headers={"Origin": server.url}, **query) as source:
            assert source.response.status == 422
            problem = await source.response.json(content_type=None)
            assert [e["field"] for e in problem["errors"]] == [field]


async def test_a_stream_ends_with_its_token(
    server: RunningServer, http: aiohttp.ClientSession, place: Place, api: Api
) -> None:
    made = await api.made("service-tokens", {"name": "stream"})
    revoked = (await api.with_token(made["token"]).made("auth/ticket", {}))["ticket"]
    brief = api.with_token(token_for(await business_of(server.dsn), ttl_s=3))
    expiring = (await brief.made("auth/ticket", {}))["ticket"]
    async with (
        stream(http, server.url, place, ticket=revoked) as first,
        stream(http, server.url, place, ticket=expiring) as second,
    ):
        for source in (first, second):
            await _begin(source)
            await source.next()
        assert (await api.request("DELETE", f"service-tokens/{made['id']}")).status == 204
        for source in (first, second):
            with pytest.raises(EOFError):
                await source.next(6)


async def test_closed_streams_are_forgotten(
    server: RunningServer, http: aiohttp.ClientSession, place: Place, api: Api
) -> None:
    before = await gauge(api, 'slotcast_live_connections{carrier="sse"}')
    async with stream(http, server.url, place, headers={"Origin": server.url}) as source:
        await _begin(source)
        assert await gauge(api, 'slotcast_live_connections{carrier="sse"}') == before + 1

    async def gone() -> bool:
        # A stream is found dead when something is written to it.
        booked = await place.api.made("bookings", place.booking(place.at(9)))
        await place.api.post(f"bookings/{booked['id']}/cancel")
        return await gauge(api, 'slotcast_live_connections{carrier="sse"}') == before

    assert await eventually(gone)


async def test_a_stream_that_stops_reading_gets_one_snapshot_and_no_gap(
    inner: InnerServer, inner_api: Api, http: aiohttp.ClientSession
) -> None:
    place = await new_place(inner_api, duration_minutes=5)
    fast = await LiveClient(http, inner.url, origin=inner.url).connect()
    twin = await fast.watch(place, days=17)
    last = place.at(0, day=16)[:10]
    async with stream(http, inner.url, place, headers={"Origin": inner.url}, to=last) as source:
        _, replica = await _begin(source)
        replica.take((await source.next())[1])
        path = f"professionals/{place.professional_id}/time-off"
        span = {"start": place.at(0), "end": place.at(0, day=17)}
        for _ in range(24):
            off = await inner_api.made(path, span)
            await inner_api.request("DELETE", f"{path}/{off['id']}")
        final = await inner_api.made("bookings", place.booking(place.at(9)))
        await fast.until(lambda: twin.version == final["calendar_version"])
        assert len(twin.deltas) == 49
        while replica.version < final["calendar_version"]:
            replica.take((await source.next())[1])
        assert replica.slots == twin.slots
        assert replica.snapshots == 2
        assert len(replica.deltas) < 40
        # What was left out is before the second snapshot, never after it.
        assert replica.gaps == []
    await fast.close()


async def test_nothing_is_queued_between_falling_behind_and_the_snapshot() -> None:
    """A frame that slipped in there would be a gap for the viewer, who can do nothing about it."""
    frames = [Frame(b"%d" % i + b"x" * 40_000, i) for i in range(5)]
    snapshot = Frame(b"snapshot", 9)

    class OnlySnapshots:
        def snapshot(self) -> Frame:
            return snapshot

    class Slow:
        """While it writes the second frame, another comes."""

        def __init__(self) -> None:
            self.written: list[bytes] = []

        async def write(self, data: bytes) -> None:
            self.written.append(data)
            if len(self.written) == 2:
                sink.deliver(view, frames[3])
            if data == snapshot.sse:
                sink.close()

    view, response = OnlySnapshots(), Slow()
    nobody: Any = None
    sink = Stream(nobody, Visitor("v", None, True), view)  # type: ignore[arg-type]
    for frame in frames[:3]:
        sink.deliver(view, frame)  # type: ignore[arg-type]
    await asyncio.wait_for(sink.send(response), 5)  # type: ignore[arg-type]
    assert response.written == [frames[0].sse, frames[1].sse, snapshot.sse]

"""Visitors without login: how many connections, views and commands one address has."""

import aiohttp
import pytest

from protocol import limits
from server.throttle import Throttle, quotas
from storage.windows import MemoryWindows
from tests.conftest import business_of
from tests.live.conftest import InnerServer
from tests.support.live import PATH, LiveClient
from tests.support.server import Api, Place, eventually, new_place, token_for


@pytest.fixture
async def place(inner_api: Api) -> Place:
    return await new_place(inner_api)


def limited(inner: InnerServer, text: str) -> None:
    inner.node.throttle = Throttle(MemoryWindows(), quotas(f"anonymous=off,{text}"))


async def visiting(inner: InnerServer, http: aiohttp.ClientSession) -> LiveClient:
    return await LiveClient(http, inner.url, origin=inner.url).connect()


async def test_connections_of_one_address_are_bounded_until_they_log_in(
    inner: InnerServer, inner_api: Api, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One too many is refused; a login, or an end, makes room; whoever comes with a ticket is not counted."""
    monkeypatch.setattr(limits, "visitors_per_address_max", 3)
    visitors = [await visiting(inner, http) for _ in range(3)]

    async def refused() -> int:
        try:
            visitors.append(await visiting(inner, http))
        except aiohttp.WSServerHandshakeError as error:
            return error.status
        return 101

    assert await refused() == 429
    ticket = (await inner_api.made("auth/ticket", {}))["ticket"]
    holder = await LiveClient(http, inner.url).connect(ticket)
    await holder.done("ping")
    await visitors[0].done("auth", token=inner_api.token)
    visitors.append(await visiting(inner, http))
    assert await refused() == 429
    await visitors[1].close()

    async def room() -> bool:
        return await refused() == 101

    assert await eventually(room)
    for client in (*visitors, holder):
        await client.close()

    async def forgotten() -> bool:
        return not inner.node.live._visitors

    assert await eventually(forgotten), "nothing is remembered of addresses that have gone"


async def test_streams_count_as_connections(
    inner: InnerServer, http: aiohttp.ClientSession, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "visitors_per_address_max", 1)
    query = {"professional_id": place.professional_id, "from": place.day, "to": place.day}
    url, headers = f"{inner.url}{PATH}/sse", {"Origin": inner.url}
    async with http.get(url, params=query, headers=headers) as first:
        assert first.status == 200
        await first.content.readline()
        async with http.get(url, params=query, headers=headers) as second:
            assert second.status == 429
            assert (await second.json())["code"] == "rate_limited"


async def test_a_visitor_watches_only_so_much(
    inner: InnerServer, http: aiohttp.ClientSession, place: Place, inner_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever logs in may watch more."""
    monkeypatch.setattr(limits, "subscriptions_per_visitor_max", 2)
    client = await visiting(inner, http)
    watched = {"professional_id": place.professional_id, "from": place.day, "to": place.day}
    for _ in range(2):
        await client.watch(place)
    assert (await client.problem("subscribe", **watched))["code"] == "too_many_subscriptions"
    await client.done("auth", token=inner_api.token)
    await client.watch(place)
    await client.close()


async def test_a_visitors_commands_are_counted_by_address(
    inner: InnerServer, http: aiohttp.ClientSession, place: Place, inner_api: Api
) -> None:
    """Another connection does not help; people at work are not counted."""
    limited(inner, "bookings=2/minute,holds=1/minute,views=3/minute")
    clients = [await visiting(inner, http) for _ in range(2)]
    guest = {"name": "Anna"}
    for hour, client in enumerate(clients):
        await client.done("book", **place.booking(place.at(hour), guest=guest))
    third = place.booking(place.at(3), guest=guest)
    found = await clients[0].problem("book", **third)
    assert (found["code"], found["quota"], found["status"]) == ("rate_limited", "bookings", 429)
    assert 1 <= found["retry_after_s"] <= 60
    hold = {"professional_id": place.professional_id, "service_id": place.service_id}
    await clients[0].done("hold", **hold, start=place.at(4))
    assert (await clients[1].problem("hold", **hold, start=place.at(5)))["quota"] == "holds"
    watched = {"professional_id": place.professional_id, "from": place.day, "to": place.day}
    for _ in range(3):
        await clients[0].watch(place)
    assert (await clients[1].problem("subscribe", **watched))["quota"] == "views"
    await clients[1].done("auth", token=inner_api.token)
    for hour in range(6, 16):
        await clients[1].done("book", **place.booking(place.at(hour)))
    for client in clients:
        await client.close()


async def test_a_client_is_counted_by_login(
    inner: InnerServer, http: aiohttp.ClientSession, place: Place, inner_api: Api
) -> None:
    """Over live and REST together."""
    limited(inner, "bookings=2/minute")
    token = token_for(await business_of(inner.dsn), "client", subject="a-client", client_id=place.client_id)
    client = await LiveClient(http, inner.url).connect()
    await client.done("auth", token=token)
    await client.done("book", **place.booking(place.at(1)))
    assert (await inner_api.with_token(token).post("bookings", place.booking(place.at(2)))).status == 201
    assert (await client.problem("book", **place.booking(place.at(3))))["quota"] == "bookings"
    assert (await inner_api.with_token(token).post("bookings", place.booking(place.at(4)))).status == 429
    await client.close()

"""Who gets in, how, and for how long."""

import asyncio
import time

import aiohttp
import asyncpg
import pytest

from protocol import limits
from tests.conftest import business_of
from tests.live.conftest import Connect, InnerServer
from tests.rest.helpers import new_business
from tests.support.live import PATH, LiveClient
from tests.support.server import Api, Place, RunningServer, eventually, new_place, tell, token_for

ELSEWHERE = "https://elsewhere.example"


def _watching(place: Place) -> dict[str, str]:
    return {"professional_id": place.professional_id, "from": place.day, "to": place.day}


async def test_welcome_comes_first_and_names_the_terms(
    server: RunningServer, http: aiohttp.ClientSession, connect: Connect
) -> None:
    anonymous = await LiveClient(http, server.url).connect()
    welcome = await anonymous.next(lambda m: True)
    assert welcome == {
        "type": "welcome",
        "session": welcome["session"],
        "protocol": "slotcast.v1",
        "heartbeat_s": limits.heartbeat_s,
        "login_required_within_s": limits.login_timeout_s,
    }
    assert anonymous.ws.protocol == "slotcast.v1"
    await anonymous.close()
    owner = await connect()
    assert (await owner.next(lambda m: True))["login_required_within_s"] == 0
    page = await connect(origin=server.url)
    assert (await page.next(lambda m: True))["login_required_within_s"] == 0


async def test_nothing_is_compressed_even_when_the_client_offers_it(
    server: RunningServer, http: aiohttp.ClientSession
) -> None:
    async with http.ws_connect(server.url + PATH, compress=15) as ws:
        assert ws.compress == 0


async def test_a_plain_request_is_told_to_upgrade(api: Api) -> None:
    answer = await api.get("live")
    assert answer.status == 400
    assert answer.json["code"] == "malformed_request"


# Tickets


async def _status(http: aiohttp.ClientSession, server: RunningServer, ticket: str) -> int:
    try:
        async with http.ws_connect(server.url + PATH, params={"ticket": ticket}):
            return 101
    except aiohttp.WSServerHandshakeError as error:
        return error.status


async def test_a_ticket_opens_one_connection_once(server: RunningServer, http: aiohttp.ClientSession, api: Api) -> None:
    ticket = (await api.made("auth/ticket", {}))["ticket"]
    assert [await _status(http, server, ticket) for _ in range(2)] == [101, 401]


async def test_of_many_who_share_a_ticket_one_gets_in(
    server: RunningServer, http: aiohttp.ClientSession, api: Api
) -> None:
    ticket = (await api.made("auth/ticket", {}))["ticket"]
    found = await asyncio.gather(*(_status(http, server, ticket) for _ in range(20)))
    assert sorted(found) == [101] + [401] * 19


@pytest.mark.parametrize("ticket", ["", "garbage", "é" * 30, "x" * 3_000])
async def test_a_ticket_that_never_was_is_refused(
    server: RunningServer, http: aiohttp.ClientSession, ticket: str
) -> None:
    assert await _status(http, server, ticket) == 401


async def test_an_expired_ticket_is_refused(
    inner: InnerServer, inner_api: Api, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ticket_ttl_s", 0.05)
    ticket = (await inner_api.made("auth/ticket", {}))["ticket"]
    await asyncio.sleep(0.1)
    assert await _status(http, inner, ticket) == 401  # type: ignore[arg-type]


# The first message


async def test_auth_as_first_message_opens_the_session(
    server: RunningServer, http: aiohttp.ClientSession, api: Api, place: Place
) -> None:
    client = await LiveClient(http, server.url).connect()
    assert (await client.problem("subscribe", **_watching(place)))["code"] == "unauthorized"
    await client.done("auth", token=api.token)
    replica = await client.watch(place)
    assert len(replica.slots) == 48
    await client.close()


async def test_a_bad_token_is_told_and_ends_the_connection(server: RunningServer, http: aiohttp.ClientSession) -> None:
    business = await business_of(server.dsn)
    for token in ("garbage", "", token_for(business, ttl_s=-10), token_for(business, secret="x" * 40)):
        client = await LiveClient(http, server.url).connect()
        problem = await client.problem("auth", token=token)
        assert (problem["code"], problem["status"]) == ("unauthorized", 401)
        assert await client.closed() == 4101


async def test_without_login_the_connection_ends_in_time(
    inner: InnerServer, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "login_timeout_s", 0.3)
    silent = await LiveClient(http, inner.url).connect()
    chatty = await LiveClient(http, inner.url).connect()
    page = await LiveClient(http, inner.url, origin=inner.url).connect()
    for _ in range(5):
        await chatty.done("ping")
        await asyncio.sleep(0.05)
    assert await silent.closed() == 4100
    assert await chatty.closed() == 4100
    await page.done("ping")
    await page.close()


async def test_the_session_ends_with_its_token(connect: Connect, server: RunningServer, place: Place) -> None:
    business = await business_of(server.dsn)
    brief = await connect(token_for(business, ttl_s=3, subject="brief"))
    longer = await connect(token_for(business, ttl_s=3, subject="longer"))
    await brief.watch(place)
    await longer.done("auth", token=place.api.token)
    began = time.monotonic()
    assert await brief.closed() == 4001
    assert time.monotonic() - began < 5
    await longer.done("ping")
    assert longer.close_code is None


async def test_a_login_of_another_business_needs_another_connection(
    connect: Connect, server: RunningServer, place: Place
) -> None:
    client = await connect()
    replica = await client.watch(place)
    stranger = token_for(await new_business(server.dsn))
    assert (await client.problem("auth", token=stranger))["code"] == "conflict"
    # The first login's rights are as they were.
    booking = await client.done("book", **place.booking(place.at(9)))
    assert booking["status"] == "confirmed"
    await client.until(lambda: replica.state(place.at(9)) == "booked")


async def test_a_revoked_service_token_ends_its_connections(
    server: RunningServer, http: aiohttp.ClientSession, connect: Connect, api: Api
) -> None:
    made = await api.made("service-tokens", {"name": "widget"})
    by_ticket = await connect(made["token"])
    by_message = await LiveClient(http, server.url).connect()
    await by_message.done("auth", token=made["token"])
    unused = (await api.with_token(made["token"]).made("auth/ticket", {}))["ticket"]
    other = await connect()
    answer = await api.request("DELETE", f"service-tokens/{made['id']}")
    assert answer.status == 204
    assert await by_ticket.closed() == 4101
    assert await by_message.closed() == 4101
    await other.done("ping")
    assert await _status(http, server, unused) == 401


# Origins


async def test_a_page_of_the_same_origin_needs_no_login(connect: Connect, server: RunningServer, place: Place) -> None:
    page = await connect(origin=server.url)
    replica = await page.watch(place)
    assert replica.state(place.at(9)) == "open"


async def test_a_page_on_the_businesss_list_needs_no_login(
    connect: Connect, server: RunningServer, db: asyncpg.Connection, api: Api
) -> None:
    business = await new_business(server.dsn)
    theirs = await new_place(api.with_token(token_for(business)))
    page = await connect(origin=ELSEWHERE)
    assert (await page.problem("subscribe", **_watching(theirs)))["code"] == "forbidden"
    await db.execute("UPDATE businesses SET allowed_origins = $2 WHERE id = $1", business, [ELSEWHERE])
    await tell(db, "businesses", business)

    async def allowed() -> bool:
        message_id = await page.send("subscribe", **_watching(theirs))
        answer = await page.next(lambda m: m["type"] in ("reply", "subscribed") and m["id"] == message_id)
        return answer["type"] == "subscribed"

    assert await eventually(allowed)
    other = await connect(origin="https://evil.example")
    assert (await other.problem("subscribe", **_watching(theirs)))["code"] == "forbidden"
    for near in (ELSEWHERE + ".evil.example", ELSEWHERE.replace("https", "http"), ELSEWHERE + ":8443", "null"):
        other = await connect(origin=near)
        assert (await other.problem("subscribe", **_watching(theirs)))["code"] == "forbidden", near


async def test_another_origin_may_not_command_either(connect: Connect, place: Place) -> None:
    page = await connect(origin=ELSEWHERE)
    hold = {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(9)}
    assert (await page.problem("hold", **hold))["code"] == "forbidden"
    guest = {"name": "Anna"}
    assert (await page.problem("book", **place.booking(place.at(9), guest=guest)))["code"] == "forbidden"


async def test_a_visitor_may_book_as_a_guest_and_nothing_more(
    connect: Connect, server: RunningServer, place: Place
) -> None:
    page = await connect(origin=server.url)
    booking = await page.done("book", **place.booking(place.at(9), guest={"name": "Anna"}))
    token = booking["manage_token"]
    assert (await page.problem("confirm", booking_id=booking["id"]))["code"] in ("forbidden", "not_found")
    assert (await page.problem("cancel", booking_id=booking["id"]))["code"] == "not_found"
    assert (await page.problem("cancel", booking_id=booking["id"], manage_token="0" * 64))["code"] == "not_found"
    moved = await page.done("reschedule", booking_id=booking["code"], start=place.at(11), manage_token=token)
    assert moved["start"] == place.at(11)
    done = await page.done("cancel", booking_id=booking["id"], manage_token=token)
    assert (done["status"], done["cancelled_by"]) == ("cancelled", "guest")
    with_client = place.booking(place.at(12))
    assert (await page.problem("book", **with_client))["code"] == "forbidden"
    service = {"service_id": place.service_id, "from": place.day, "to": place.day}
    assert (await page.problem("subscribe", **service))["code"] == "validation_failed"


# Other businesses


async def test_another_businesss_calendar_is_not_found(connect: Connect, server: RunningServer, place: Place) -> None:
    stranger = await connect(token_for(await new_business(server.dsn)))
    booking = await place.api.made("bookings", place.booking(place.at(9)))
    hold = await place.api.made(
        "holds", {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(10)}
    )
    tries = [
        ("subscribe", _watching(place)),
        ("subscribe", {**_watching(place), "service_id": place.service_id}),
        ("subscribe", {"service_id": place.service_id, "from": place.day, "to": place.day}),
        ("hold", {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(11)}),
        ("book", place.booking(place.at(11), guest={"name": "Eve"})),
        ("release", {"hold_id": hold["id"]}),
        ("confirm", {"booking_id": booking["id"]}),
        ("cancel", {"booking_id": booking["code"]}),
        ("reschedule", {"booking_id": booking["id"], "start": place.at(12)}),
    ]
    for kind, fields in tries:
        assert (await stranger.problem(kind, **fields))["code"] == "not_found", kind
    assert stranger.views == {}
    assert (await place.api.get(f"bookings/{booking['id']}")).json["status"] == "confirmed"


@pytest.mark.parametrize("path", ["/api/v1/live", "/api/v1/live/sse"])
async def test_an_origin_that_is_none_is_no_failure(
    server: RunningServer, http: aiohttp.ClientSession, path: str
) -> None:
    """It may be refused, but it is not the server's trouble."""
    async with http.get(server.url + path, headers={"Origin": "http://["}) as response:
        assert 400 <= response.status < 500


async def test_a_host_that_is_not_the_servers_makes_no_page_its_own(
    server: RunningServer, http: aiohttp.ClientSession, place: Place
) -> None:
    """Origin and Host are both the caller's word: a name pointed at this server from outside opens nothing."""
    headers = {"Origin": "http://evil.example", "Host": "evil.example"}
    async with http.ws_connect(server.url + "/api/v1/live", headers=headers, compress=0) as ws:
        await ws.receive_json()
        await ws.send_json(
            {
                "type": "subscribe",
                "id": "s",
                "professional_id": place.professional_id,
                "from": place.day,
                "to": place.day,
            }
        )
        answer = await ws.receive_json()
        assert answer["problem"]["code"] == "forbidden", answer


async def test_without_login_a_view_is_of_whole_days(
    server: RunningServer, http: aiohttp.ClientSession, place: Place
) -> None:
    """Each different range is a view of its own, and one visitor must not use up those a calendar has."""
    async with http.ws_connect(server.url + "/api/v1/live", headers={"Origin": server.url}, compress=0) as ws:
        await ws.receive_json()
        span = {"from": f"{place.day}T00:00:01Z", "to": f"{place.day}T10:00:00Z"}
        await ws.send_json({"type": "subscribe", "id": "s", "professional_id": place.professional_id, **span})
        assert (await ws.receive_json())["problem"]["code"] == "validation_failed"

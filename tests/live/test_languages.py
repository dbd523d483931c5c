"""Problems of live connections in the language of whoever connected, or has logged in since."""

from typing import Any

import aiohttp
import orjson
import pytest

from tests.conftest import business_of
from tests.support.live import PATH, PROTOCOL
from tests.support.server import Api, Place, RunningServer, token_for

NOBODY = {"type": "unsubscribe", "id": "1", "subscription": "none"}


class Speaker:
    """A socket opened by a page of the server itself, without login."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws

    async def ask(self, **message: Any) -> Any:
        await self._ws.send_json(message)
        while (answer := orjson.loads((await self._ws.receive()).data))["type"] != "reply":
            pass
        return answer


@pytest.fixture
def speak(server: RunningServer, http: aiohttp.ClientSession) -> Any:
    def speak(accepts: str = "", query: str = "") -> Any:
        headers = {"Origin": server.url, **({"Accept-Language": accepts} if accepts else {})}
        return http.ws_connect(server.url + PATH + query, protocols=[PROTOCOL], headers=headers)

    return speak


@pytest.mark.parametrize(
    ("accepts", "query", "title"),
    [
        ("", "", "There is no such subscription"),
        ("ru", "", "Такой подписки нет"),
        ("ru", "?lang=kk", "Мұндай жазылым жоқ"),
        ("de", "?lang=en", "There is no such subscription"),
    ],
)
async def test_a_reply_is_in_the_language_of_the_upgrade(speak: Any, accepts: str, query: str, title: str) -> None:
    async with speak(accepts, query) as ws:
        told = (await Speaker(ws).ask(**NOBODY))["problem"]
    assert (told["code"], told["title"]) == ("not_subscribed", title)


async def test_a_command_is_refused_in_that_language(speak: Any, place: Place) -> None:
    await place.api.made("bookings", place.booking(place.at(9)))
    ids = {"professional_id": place.professional_id, "service_id": place.service_id}
    async with speak("kk") as ws:
        told = (await Speaker(ws).ask(type="hold", id="1", start=place.at(9), **ids))["problem"]
    assert (told["code"], told["title"]) == ("slot_unavailable", "Бұл уақыт бос емес")
    assert told["alternatives"]


async def test_who_logs_in_is_spoken_to_in_their_own_language(
    speak: Any, server: RunningServer, http: aiohttp.ClientSession
) -> None:
    business_id = await business_of(server.dsn)
    async with speak("ru") as ws:
        speaker = Speaker(ws)
        assert (await speaker.ask(**NOBODY))["problem"]["title"] == "Такой подписки нет"
        mute = token_for(business_id)
        assert (await speaker.ask(type="auth", id="2", token=mute))["ok"]
        assert (await speaker.ask(**NOBODY))["problem"]["title"] == "Такой подписки нет"
        assert (await speaker.ask(type="auth", id="3", token=token_for(business_id, locale="kk")))["ok"]
        assert (await speaker.ask(**NOBODY))["problem"]["title"] == "Мұндай жазылым жоқ"


async def test_a_ticket_brings_the_users_language(speak: Any, api: Api, server: RunningServer) -> None:
    caller = api.with_token(token_for(await business_of(server.dsn), locale="kk-KZ"))
    ticket = (await caller.made("auth/ticket", {}))["ticket"]
    async with speak("ru", f"?lang=ru&ticket={ticket}") as ws:
        assert (await Speaker(ws).ask(**NOBODY))["problem"]["title"] == "Мұндай жазылым жоқ"


async def test_a_guest_who_books_live_is_kept_with_their_language(speak: Any, place: Place) -> None:
    ids = {"professional_id": place.professional_id, "service_id": place.service_id}
    async with speak("de", "?lang=kk") as ws:
        booked = await Speaker(ws).ask(type="book", id="1", start=place.at(9), guest={"name": "G"}, **ids)
    client = await place.api.get(f"clients/{booked['result']['client_id']}")
    assert client.json["locale"] == "kk"


@pytest.mark.parametrize("path", ["live", "live/sse"])
async def test_a_language_there_is_not_is_refused_before_anything_opens(api: Api, place: Place, path: str) -> None:
    query = (
        {"professional_id": place.professional_id, "from_": place.day, "to": place.day} if path.endswith("sse") else {}
    )
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} if path == "live" else {}  # fmt: skip
    answer = await api.get(path, lang="de", headers={**headers, "Accept-Language": "ru"}, **query)
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "lang")
    assert answer.headers["Content-Language"] == "ru"

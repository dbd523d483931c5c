"""Problems in three languages, chosen by the user, the request, or the business; and what is kept of the choice."""

import uuid

import aiohttp
import asyncpg
import pytest

from tests.rest.helpers import acting, problem
from tests.rest.people import PASSWORD, new_user, signed_in
from tests.rest.test_public import business_with
from tests.support.server import Answer, Api, Place, RunningServer, new_place

RU, KK = {"Accept-Language": "ru-RU,ru;q=0.9,en;q=0.5"}, {"Accept-Language": "kk"}


def spoken(answer: Answer) -> str:
    """The language of a problem, by its header; caches are told."""
    assert "Accept-Language" in answer.headers.getall("Vary")
    assert "Origin" in answer.headers.getall("Vary")
    return answer.headers["Content-Language"]


@pytest.mark.parity("C12")
@pytest.mark.parametrize(
    ("headers", "language", "title", "detail"),
    [
        (RU, "ru", "Здесь такого нет", "такой записи нет"),
        (KK, "kk", "Мұнда ондай жоқ", "мұндай жазылу жоқ"),
        ({"Accept-Language": "de"}, "en", "There is no such thing here", "there is no such booking"),
        ({}, "en", "There is no such thing here", "there is no such booking"),
    ],
)
async def test_a_problem_is_told_as_the_request_asks(
    api: Api, headers: dict[str, str], language: str, title: str, detail: str
) -> None:
    answer = await api.get("bookings/BK-ZZZZZZZZ", headers=headers)
    told = problem(answer, "not_found")
    assert (spoken(answer), told["title"], told["detail"]) == (language, title, detail)


async def test_fields_keep_their_names_and_values_their_form(api: Api) -> None:
    answer = await api.post("clients", {"first_name": "", "colour": 1}, headers=RU)
    told = problem(answer, "validation_failed", "first_name")
    assert told["detail"] == "first_name: нужна строка не короче 1 знаков"
    told = problem(
        await api.post("clients", {"first_name": "A", "colour": 1}, headers=KK), "validation_failed", "colour"
    )
    assert told["errors"] == [{"field": "colour", "message": "`colour` деген белгісіз өріс бар"}]


@pytest.mark.parity("C12")
async def test_a_calendars_refusal_is_told_and_carries_the_same(place: Place) -> None:
    await place.api.made("bookings", place.booking(place.at(9)))
    answers = [await place.api.post("bookings", place.booking(place.at(9)), headers=h) for h in ({}, RU, KK)]
    english, russian, kazakh = (problem(answer, "slot_unavailable") for answer in answers)
    assert russian["detail"] == f"на {place.at(9)} уже есть запись"
    assert kazakh["detail"] == f"{place.at(9)} уақытына жазылып қойған"
    assert english["alternatives"] == russian["alternatives"] == kazakh["alternatives"]


async def test_a_path_that_is_none_and_a_method_that_is_none_are_told_too(api: Api) -> None:
    answer = await api.get("nowhere", headers=RU)
    assert (spoken(answer), problem(answer, "not_found")["title"]) == ("ru", "Здесь такого нет")
    answer = await api.request("PUT", "bookings", headers=RU)
    assert problem(answer, "method_not_allowed")["detail"] == "здесь разрешены: GET, HEAD, POST"


async def test_broken_json_is_told(api: Api) -> None:
    answer = await api.request("POST", "clients", raw=b"{", headers={**RU, "Content-Type": "application/json"})
    assert problem(answer, "malformed_body")["detail"] == "данные обрываются"


# Users


async def test_a_users_own_language_goes_first(api: Api, db: asyncpg.Connection) -> None:
    user = await new_user(db, locale="kk-KZ")
    caller, session = await signed_in(api, user)
    answer = await caller.get("bookings/BK-ZZZZZZZZ", headers=RU)
    assert (answer.status, spoken(answer)) == (403, "kk")
    changed = await caller.request("PATCH", "users/me", {"locale": "en"})
    assert changed.json["locale"] == "en"
    fresh = await api.with_token(None).post("auth/refresh", {"refresh_token": session["refresh_token"]})
    answer = await api.with_token(fresh.json["access_token"]).get("bookings/BK-ZZZZZZZZ", headers=RU)
    assert spoken(answer) == "en", "from the next access token on"


@pytest.mark.parametrize("locale", ["de", "xx", "ru_RU", "RU", "russian", "", "ru-ru", "en\n"])
async def test_a_language_that_is_not_spoken_cannot_be_chosen(
    api: Api, db: asyncpg.Connection, place: Place, locale: str
) -> None:
    caller, _ = await signed_in(api, await new_user(db))
    problem(await caller.request("PATCH", "users/me", {"locale": locale}, headers=RU), "validation_failed", "locale")
    guest = place.booking(place.at(9), guest={"name": "G", "locale": locale})
    problem(await api.post("bookings", guest), "validation_failed", "guest.locale")
    problem(await api.post("clients", {"first_name": "A", "locale": locale}), "validation_failed", "locale")


@pytest.mark.parametrize(
    ("headers", "given", "kept"), [(RU, {}, "ru"), (KK, {"locale": "ru-KZ"}, "ru-KZ"), ({}, {}, "en")]
)
async def test_who_signs_up_is_spoken_to_as_they_came(
    api: Api, headers: dict[str, str], given: dict[str, str], kept: str
) -> None:
    body = {"name": "Neu", "password": PASSWORD, "username": uuid.uuid4().hex, **given}
    made = await api.with_token(None).made("auth/register", body, headers=headers)
    assert (await api.with_token(made["access_token"]).get("users/me")).json["locale"] == kept


async def test_a_business_and_its_owner_speak_the_language_they_registered_in(api: Api) -> None:
    body = {
        "slug": f"b-{uuid.uuid4().hex[:12]}", "name": "Салон", "time_zone": "Asia/Almaty",
        "owner": {"name": "Айгүл", "password": PASSWORD, "username": uuid.uuid4().hex},
    }  # fmt: skip
    made = await api.with_token(None).made("businesses", body, headers=KK)
    assert (made["business"]["locale"], made["business"]["languages"]) == ("kk", ["kk"])
    owner = api.with_token(made["access"]["access_token"])
    assert (await owner.get("users/me")).json["locale"] == "kk"


# Businesses, and the guests of a visit


async def test_where_nobody_says_anything_the_business_is_asked(api: Api, db: asyncpg.Connection) -> None:
    business_id, slug = await business_with(db, locale="ru")
    place = await new_place(acting(api, business_id, "service"))
    answer = await place.api.post("holds", {**place.booking(place.at(9)), "client_id": "x"})
    assert (answer.status, spoken(answer)) == (422, "ru")
    guest = {**place.booking(place.at(9), guest={"name": "G"}), "colour": 1}
    answer = await api.with_token(None).post(f"public/{slug}/bookings", guest)
    assert (answer.status, spoken(answer)) == (422, "ru")
    answer = await api.with_token(None).post(f"public/{slug}/bookings", guest, headers=KK)
    assert spoken(answer) == "kk"
    assert spoken(await api.with_token(None).get("public/nobody-at-all/services")) == "en"


async def test_a_guest_is_kept_with_the_language_they_booked_in(api: Api, db: asyncpg.Connection) -> None:
    business_id, slug = await business_with(db, locale="ru")
    place = await new_place(acting(api, business_id, "owner"))

    async def kept(booking: dict[str, str]) -> str | None:
        return (await place.api.get(f"clients/{booking['client_id']}")).json["locale"]

    visit = f"public/{slug}/bookings"
    anyone, guest = api.with_token(None), {"guest": {"name": "G"}}
    assert await kept(await anyone.made(visit, place.booking(place.at(9), **guest), headers=KK)) == "kk"
    assert await kept(await anyone.made(visit, place.booking(place.at(10), **guest))) is None
    said = {"guest": {"name": "G", "email": "g@example.org", "locale": "en-GB"}}
    assert await kept(await anyone.made(visit, place.booking(place.at(11), **said), headers=KK)) == "en-GB"
    # The language of whoever sits at the desk is not the guest's.
    assert await kept(await place.api.made("bookings", place.booking(place.at(12), **guest), headers=KK)) is None


async def test_a_clients_language_is_the_business_to_set(place: Place) -> None:
    made = await place.api.made("clients", {"first_name": "Данияр", "locale": "kk"})
    assert made["locale"] == "kk"
    for wanted in ("ru", None):
        changed = await place.api.request("PATCH", f"clients/{made['id']}", {"locale": wanted})
        assert changed.json["locale"] == wanted
    kept = await place.api.request("PATCH", f"clients/{made['id']}", {"last_name": "А", "email": "d@example.org"})
    assert (kept.json["locale"], kept.json["email"], kept.json["first_name"]) == (None, "d@example.org", "Данияр")


# Pages


@pytest.mark.parametrize(("query", "headers", "language"), [("", RU, "ru"), ("?lang=kk", RU, "kk"), ("", {}, "en")])
async def test_the_page_is_served_in_the_readers_language(
    server: RunningServer, http: aiohttp.ClientSession, query: str, headers: dict[str, str], language: str
) -> None:
    async with http.get(f"{server.url}/{query}", headers=headers) as response:
        text = await response.text()
        assert response.headers["Content-Language"] == language
        assert "Accept-Language" in response.headers.getall("Vary")
    assert f'<html lang="{language}">' in text
    assert "{%" not in text
    assert "{{" not in text


async def test_a_page_in_a_language_there_is_not_is_refused(api: Api) -> None:
    answer = await api.get("/", lang="de", headers=RU)
    assert problem(answer, "validation_failed", "lang")["detail"] == "lang: значения 'de' в списке допустимых нет"

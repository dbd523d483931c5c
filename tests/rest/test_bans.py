"""Whom a business does not serve: refused everywhere, whoever books for them, however they spell themselves."""

import aiohttp
import asyncpg
import pytest

from tests.rest.helpers import NOBODY, acting, all_pages, book, new_business, problem
from tests.rest.people import audited, new_user, signed_in
from tests.support.server import Api, Place, RunningServer, new_place


@pytest.fixture
async def place(server: RunningServer, api: Api) -> Place:
    """In a business of its own, in Germany."""
    owner = acting(api, business := await new_business(server.dsn), "owner")
    await owner.request("PATCH", f"businesses/{business}", {"region": "DE"})
    return await new_place(owner)


BANNED = [
    ({"email": "Nina@Example.org"}, {"email": "nina@example.org"}),
    ({"email": "nina@example.org"}, {"email": "NINA@EXAMPLE.ORG"}),
    ({"email": "nina@bücher.example"}, {"email": "nina@xn--bcher-kva.example"}),
    ({"phone": "+49 30 1234567"}, {"phone": "030 1234567"}),
    ({"phone": "030/123 45 67"}, {"phone": "+49301234567"}),
    ({"phone": "+49 (30) 123-4567"}, {"phone": "+4930 1234567"}),
]


@pytest.mark.parity("B13")
@pytest.mark.parametrize(("ban", "guest"), BANNED)
async def test_a_banned_guest_is_refused_in_any_spelling(
    place: Place, ban: dict[str, str], guest: dict[str, str]
) -> None:
    """At once; also when staff book for them; and served again once the ban is lifted."""
    api = place.api
    body = place.booking(place.at(9), guest={"name": "Nina", **guest})
    other = {"email": "other@example.org", "phone": "+49 30 7654321"}
    made = await api.made("ban-list", ban | {"reason": "never comes"})
    problem(await api.post("bookings", body), "banned")
    assert (await api.post("bookings", place.booking(place.at(10), guest={"name": "Nina", **other}))).status == 201
    assert (await api.post("bookings", place.booking(place.at(11), guest={"name": "No address"}))).status == 201
    assert (await api.request("DELETE", f"ban-list/{made['id']}")).status == 204
    assert (await api.post("bookings", body)).status == 201


@pytest.mark.parity("B13")
async def test_a_banned_client_neither_holds_nor_books_nor_moves(
    place: Place, api: Api, db: asyncpg.Connection
) -> None:
    """By what the business knows of them, and by what their own account says; staff may move what they have."""
    owner = place.api
    client = await owner.made(
        "clients", {"first_name": "Nina", "email": "NINA@example.org", "phone_number": "030 1234567"}
    )
    business_id = str(await db.fetchval("SELECT business_id FROM clients WHERE id = $1", client["id"]))
    user = await new_user(db)
    account, _ = await signed_in(api, user, business=business_id)
    booked = [
        (owner, await book(place, place.at(9), client_id=client["id"])),
        (account, await account.made("bookings", place.booking(place.at(10)) | {"client_id": None})),
    ]
    await owner.made("ban-list", {"email": "nina@EXAMPLE.org"})
    await owner.made("ban-list", {"phone": user["phone"]})
    hold = {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(11)}
    for asker, named in ((owner, {"client_id": client["id"]}), (account, {})):
        problem(await asker.post("holds", hold | named), "banned")
        problem(await asker.post("bookings", place.booking(place.at(12)) | {"client_id": None} | named), "banned")
    mine = f"bookings/{booked[1][1]['id']}"
    problem(await account.post(f"{mine}/reschedule", {"start": place.at(13)}), "banned")
    assert (await account.get(mine)).status == 200
    assert (await owner.post(f"{mine}/reschedule", {"start": place.at(14)})).status == 200
    assert (await account.post(f"{mine}/cancel")).status == 200
    await owner.request("PATCH", f"clients/{client['id']}", {"email": "new@example.org"})
    assert (await owner.post("bookings", place.booking(place.at(15)) | {"client_id": client["id"]})).status == 201


async def test_what_was_booked_before_the_ban_is_still_the_answer_to_its_key(place: Place) -> None:
    body = place.booking(place.at(9), guest={"name": "Nina", "email": "nina@example.org"})
    first = await place.api.post("bookings", body, key="before")
    await place.api.made("ban-list", {"email": "nina@example.org"})
    again = await place.api.post("bookings", body, key="before")
    assert (again.status, again.json) == (201, first.json)
    problem(await place.api.post("bookings", body, key="after"), "banned")


async def test_the_ban_holds_over_live_too(server: RunningServer, place: Place, http: aiohttp.ClientSession) -> None:
    """The same desk, the same refusal."""
    await place.api.made("ban-list", {"email": "nina@example.org"})
    async with http.ws_connect(f"{server.url}/api/v1/live", protocols=["slotcast.v1"]) as live:
        await live.receive_json()
        await live.send_json({"type": "auth", "id": "1", "token": place.api.token})
        await live.receive_json()
        body = place.booking(place.at(9), guest={"name": "Nina", "email": "nina@example.org"})
        await live.send_json({"type": "book", "id": "2", **body})
        assert (await live.receive_json())["problem"]["code"] == "banned"


async def test_a_ban_is_one_businesss_own(place: Place, stranger: Api) -> None:
    made = await stranger.made("ban-list", {"email": "nina@example.org"})
    assert (await place.api.get("ban-list")).json["items"] == []
    problem(await place.api.request("DELETE", f"ban-list/{made['id']}"), "not_found")
    guest = {"name": "Nina", "email": "nina@example.org"}
    assert (await place.api.post("bookings", place.booking(place.at(9), guest=guest))).status == 201


async def test_the_list_is_read_found_and_logged(place: Place) -> None:
    """One entry a person; found by any spelling; the log knows them again and does not name them."""
    api = place.api
    made = [await api.made("ban-list", {"email": f"p{n}@example.org", "reason": "x"}) for n in range(3)]
    problem(await api.post("ban-list", {"email": "P1@example.org"}), "conflict")
    assert [b["id"] for p in await all_pages(api, "ban-list", 2) for b in p] == [b["id"] for b in made]
    assert [b["id"] for b in (await api.get("ban-list", email="P2@EXAMPLE.ORG")).json["items"]] == [made[2]["id"]]
    assert (await api.get("ban-list", phone="030 7654321")).json["items"] == []
    entry = (await audited(api, action="ban.made"))[0]
    assert entry["after"] == {"email": "p…@example.org", "phone": None, "reason": "x"}


@pytest.mark.parametrize(
    "bad", [{}, {"email": "x"}, {"phone": "12"}, {"email": "a@example.org", "phone": "+49301234567"}, {"name": "x"},
            {"email": None}, {"phone": "+49 30 1234567 ext 5"}, {"email": "a@example.org", "business_id": NOBODY}],
)  # fmt: skip
async def test_a_ban_names_one_address_or_number(place: Place, bad: dict[str, str]) -> None:
    problem(await place.api.post("ban-list", bad), "validation_failed")


async def test_the_list_is_for_the_office(place: Place, db: asyncpg.Connection) -> None:
    """Not for professionals, clients, or managers of some locations."""
    query = "SELECT business_id FROM professionals WHERE id = $1"
    business_id = str(await db.fetchval(query, place.professional_id))
    for role, more in (("professional", {}), ("client", {}), ("manager", {"locations": frozenset({NOBODY})})):
        caller = acting(place.api, business_id, role, **more)
        problem(await caller.get("ban-list"), "forbidden")
        problem(await caller.post("ban-list", {"email": "a@example.org"}), "forbidden")
    assert (await acting(place.api, business_id, "manager").get("ban-list")).status == 200

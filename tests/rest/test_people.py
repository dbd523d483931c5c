"""Clients and professionals."""

import asyncio
import random
import uuid
from typing import Any

import asyncpg
import pytest

from tests.rest.helpers import NOBODY, all_pages, problem, send
from tests.support.server import Api, Place

NAMES = {
    "emoji": "Zoë 👩🏽‍⚕️ Müller",
    "right to left": "فاطمة بنت محمد",
    "han": "王小明",
    "combining": "Ame\u0301lie",
    "quotes": """O'Brien "Bob" \\ <script>alert(1)</script> & Söhne""",
    "sql": "Robert'); DROP TABLE clients; --",
    "format": "%s {0} ${HOME} %00 \\u0000",
    "spaces inside": "a  b",
}


@pytest.mark.parity("A3")
async def test_the_same_chat_id_is_the_same_client(api: Api) -> None:
    """First 201, then 200 with the client there was; another chat id is another client."""
    chat_id = random.getrandbits(62)
    body = {"first_name": "Ivan", "last_name": "Petrov", "chat_id": chat_id, "phone_number": "+7 701 123 45 67"}
    first = await api.post("clients", body)
    assert first.status == 201, first
    assert first.headers["Location"] == f"/api/v1/clients/{first.json['id']}"
    assert {k: first.json[k] for k in body} == body
    again = await api.post("clients", {**body, "first_name": "Somebody else"})
    assert again.status == 200, again
    assert again.json == first.json
    other = await api.post("clients", {**body, "chat_id": chat_id - 1})
    assert other.status == 201
    assert other.json["id"] != first.json["id"]


@pytest.mark.parity("A3")
async def test_one_client_however_often_a_chat_registers_at_once(api: Api) -> None:
    """Twenty registrations of one chat id at the same moment make one client."""
    body = {"first_name": "Twenty", "chat_id": random.getrandbits(62)}
    answers = await asyncio.gather(*(api.post("clients", body) for _ in range(20)))
    assert sorted(a.status for a in answers) == [200] * 19 + [201]
    assert len({a.json["id"] for a in answers}) == 1


async def test_a_chat_id_of_another_business_is_another_client(api: Api, stranger: Api) -> None:
    """Chat ids are unique within a business, not over all of them."""
    body = {"first_name": "Same", "chat_id": random.getrandbits(62)}
    mine = await api.made("clients", body)
    theirs = await stranger.made("clients", body)
    assert mine["id"] != theirs["id"]


async def test_clients_without_a_chat_id_are_never_merged(api: Api) -> None:
    """Two people may have the same name."""
    a, b = await api.made("clients", {"first_name": "Ann"}), await api.made("clients", {"first_name": "Ann"})
    assert a["id"] != b["id"]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_a_name_is_kept_as_it_was_given(api: Api, name: str) -> None:
    """Stored and returned unchanged, in whatever script; never run, never cut."""
    made = await api.made("clients", {"first_name": name, "last_name": name})
    read = await api.get(f"clients/{made['id']}")
    assert (read.json["first_name"], read.json["last_name"]) == (name, name)
    professional = await api.made("professionals", {"display_name": name, "bio": f"{name}\n{name}\tend"})
    read = await api.get(f"professionals/{professional['id']}")
    assert (read.json["display_name"], read.json["bio"]) == (name, f"{name}\n{name}\tend")


async def test_a_client_is_changed_field_by_field(api: Api) -> None:
    """A patch changes what it names; null takes away what may be absent."""
    made = await api.made(
        "clients", {"first_name": "A", "last_name": "B", "email": "a@example.org", "phone_number": "+49 30 1"}
    )
    path = f"clients/{made['id']}"
    changed = await api.request("PATCH", path, {"last_name": "C"})
    assert changed.status == 200, changed
    assert {**changed.json, "updated_at": ""} == {**made, "last_name": "C", "updated_at": ""}
    changed = await api.request("PATCH", path, {"email": None})
    assert (changed.json["email"], changed.json["phone_number"]) == (None, "+49 30 1")
    assert (await api.get(path)).json == changed.json
    assert (await api.request("PATCH", path, {})).status == 200
    problem(await api.request("PATCH", path, {"first_name": None}), "validation_failed", "first_name")
    problem(await api.request("PATCH", path, {"chat_id": 1}), "validation_failed", "chat_id")
    problem(await api.request("PATCH", f"clients/{NOBODY}", {"last_name": "C"}), "not_found")


BAD_CLIENTS: list[tuple[Any, str]] = [
    ({}, "first_name"),
    ({"first_name": ""}, "first_name"),
    ({"first_name": None}, "first_name"),
    ({"first_name": 7}, "first_name"),
    ({"first_name": "x" * 201}, "first_name"),
    ({"first_name": "a\r\nSet-Cookie: b=c"}, "first_name"),
    ({"first_name": "a\n"}, "first_name"),
    ({"first_name": "nul\u0000nul"}, "first_name"),
    ({"first_name": "esc\u001b[31m"}, "first_name"),
    ({"first_name": "line\u2028line"}, "first_name"),
    ({"first_name": "x", "last_name": "\u0000"}, "last_name"),
    ({"first_name": "x", "email": "no address"}, "email"),
    ({"first_name": "x", "email": "a@b\r\nBcc: c@d"}, "email"),
    ({"first_name": "x", "email": "a" * 250 + "@b.org"}, "email"),
    ({"first_name": "x", "phone_number": "call me"}, "phone_number"),
    ({"first_name": "x", "phone_number": 49301234567}, "phone_number"),
    ({"first_name": "x", "chat_id": "12"}, "chat_id"),
    ({"first_name": "x", "chat_id": 1.5}, "chat_id"),
    ({"first_name": "x", "chat_id": True}, "chat_id"),
    ({"first_name": "x", "chat_id": 2**63}, "chat_id"),
    ({"first_name": "x", "chat_id": -(2**63) - 1}, "chat_id"),
    ({"first_name": "x", "business_id": NOBODY}, "business_id"),
    ({"first_name": "x", "guest": True}, "guest"),
]


@pytest.mark.parametrize(("body", "field"), BAD_CLIENTS)
async def test_a_client_of_another_form_is_invalid(api: Api, body: Any, field: str) -> None:
    """422 that names the field."""
    problem(await send(api, "POST", "clients", body), "validation_failed", field)


@pytest.mark.parametrize("chat_id", [2**63 - 1, -(2**63), 0])
async def test_chat_ids_reach_to_their_bounds(api: Api, db: asyncpg.Connection, chat_id: int) -> None:
    """64 bits with sign, as chat systems use them, without losing the last digits."""
    await db.execute("UPDATE clients SET chat_id = NULL WHERE chat_id = $1", chat_id)
    made = await api.made("clients", {"first_name": "Edge", "chat_id": chat_id})
    assert made["chat_id"] == chat_id


@pytest.mark.parity("A6")
@pytest.mark.parity("D2")
async def test_professionals_are_made_listed_read_and_changed(stranger: Api) -> None:
    """With specialisation, bio and time zone; the business's zone where none is named."""
    body = {
        "display_name": "Dr Aigul", "time_zone": "Asia/Almaty", "specialisation": "Cardiology", "bio": "Two\nlines",
        "username": "aigul", "phone_number": "+7 701 1",
    }  # fmt: skip
    made = await stranger.post("professionals", body)
    assert made.status == 201, made
    path = f"professionals/{made.json['id']}"
    assert made.headers["Location"] == f"/api/v1/{path}"
    assert {k: made.json[k] for k in body} == body
    second = await stranger.made("professionals", {"display_name": "Dr Berg"})
    assert second["time_zone"] == "Europe/Berlin"

    listed = (await stranger.get("professionals")).json
    assert [p["id"] for p in listed["items"]] == [made.json["id"], second["id"]]
    assert listed["items"][0] == made.json
    assert (await stranger.get(path)).json == made.json

    changed = await stranger.request("PATCH", path, {"bio": None, "specialisation": "Surgery"})
    assert changed.json == {**made.json, "bio": None, "specialisation": "Surgery"}
    assert (await stranger.get(path)).json == changed.json


async def test_a_username_is_taken_once_in_a_business(api: Api, stranger: Api) -> None:
    """409 within the business; another business may use it."""
    body = {"display_name": "A", "username": uuid.uuid4().hex}
    await api.made("professionals", body)
    problem(await api.post("professionals", body), "conflict")
    await stranger.made("professionals", body)


ZONES = [
    "Europe/Nowhere",
    "../../etc/passwd",
    "/etc/passwd",
    "",
    "Z" * 2_000,
    "Europe",
    "UTC\u0000",
    "UTC\n",
    "Europe/Berlin/",
    "europe/berlin ",
    "+02:00",
    "zone.tab",
    "leapseconds",
    "tzdata.zi",
    "C:\\Windows",
    ".",
]


@pytest.mark.parametrize("name", ZONES, ids=range(len(ZONES)))
async def test_a_zone_that_is_none_is_refused(place: Place, name: str) -> None:
    """Wherever a zone can be named; and no file is opened for it."""
    answers = [
        await place.api.post("professionals", {"display_name": "x", "time_zone": name}),
        await place.api.request(
            "PUT", f"professionals/{place.professional_id}/schedule", {"time_zone": name, "weekly": []}
        ),
        await place.api.get("bookings", time_zone=name),
    ]
    slots = f"professionals/{place.professional_id}/slots"
    answers.append(await place.api.get(slots, from_=place.day, to=place.day, time_zone=name))
    for answer in answers:
        problem(answer, "validation_failed", "time_zone")
        assert len(answer.body) < 1000, "what was sent is not sent back at length"


BAD_PROFESSIONALS: list[tuple[Any, str]] = [
    ({}, "display_name"),
    ({"display_name": ""}, "display_name"),
    ({"display_name": "x\u0000"}, "display_name"),
    ({"display_name": "x" * 201}, "display_name"),
    ({"display_name": "x", "bio": "x" * 2001}, "bio"),
    ({"display_name": "x", "bio": "\u0000"}, "bio"),
    ({"display_name": "x", "time_zone": 2}, "time_zone"),
    ({"display_name": "x", "id": NOBODY}, "id"),
]


@pytest.mark.parametrize(("body", "field"), BAD_PROFESSIONALS)
async def test_a_professional_of_another_form_is_invalid(api: Api, body: Any, field: str) -> None:
    """422 that names the field."""
    problem(await api.post("professionals", body), "validation_failed", field)


async def test_texts_reach_to_their_bounds(api: Api) -> None:
    """The longest that is allowed is stored whole, counted in characters and not in bytes."""
    body = {"display_name": "ü" * 200, "bio": "👩" * 2000, "specialisation": "x" * 200}
    made = await api.made("professionals", body)
    assert {k: made[k] for k in body} == body


async def test_a_professional_changes_their_own_page_only(api: Api, as_professional: Api, place: Place) -> None:
    """Their own display name, not a colleague's; and hires nobody."""
    assert (
        await as_professional.request("PATCH", f"professionals/{place.professional_id}", {"bio": "mine"})
    ).status == 200
    other = await api.made("professionals", {"display_name": "Colleague"})
    problem(await as_professional.request("PATCH", f"professionals/{other['id']}", {"bio": "x"}), "forbidden")
    problem(await as_professional.post("professionals", {"display_name": "x"}), "forbidden")


async def test_a_client_login_sees_its_own_person_only(api: Api, as_client: Api, place: Place) -> None:
    """Others are not there for it, and it registers and lists nobody."""
    other = await api.made("clients", {"first_name": "Other"})
    assert (await as_client.get(f"clients/{place.client_id}")).status == 200
    assert (await as_client.request("PATCH", f"clients/{place.client_id}", {"last_name": "New"})).status == 200
    problem(await as_client.get(f"clients/{other['id']}"), "not_found")
    problem(await as_client.request("PATCH", f"clients/{other['id']}", {"last_name": "x"}), "not_found")
    problem(await as_client.get("clients"), "forbidden")
    problem(await as_client.post("clients", {"first_name": "x"}), "forbidden")


async def test_guests_of_bookings_are_listed_as_guests(place: Place) -> None:
    """A guest becomes a client of the business, marked so."""
    booked = await place.api.made("bookings", place.booking(place.at(9), guest={"name": "Gala", "email": "g@b.org"}))
    client = await place.api.get(f"clients/{booked['client_id']}")
    assert client.status == 200, client
    assert (client.json["guest"], client.json["first_name"], client.json["email"]) == (True, "Gala", "g@b.org")


async def test_people_are_listed_in_a_stable_order(stranger: Api) -> None:
    """By when they came, page by page, nobody twice."""
    made = [(await stranger.made("clients", {"first_name": str(i)}))["id"] for i in range(7)]
    pages = await all_pages(stranger, "clients", 3)
    assert [len(p) for p in pages] == [3, 3, 1]
    assert [c["id"] for p in pages for c in p] == made

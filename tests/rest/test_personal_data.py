"""What a business holds about a client: handed out, removed, restored, erased."""

import asyncio
from typing import Any

import asyncpg
import pytest

from tests.rest.helpers import NOBODY, acting, all_pages, book, problem
from tests.rest.people import audited, new_user, signed_in
from tests.support.server import Api, Place


@pytest.fixture
async def nina(api: Api) -> dict[str, Any]:
    body = {
        "first_name": "Nina",
        "last_name": "Nowak",
        "email": "nina.nowak@example.org",
        "phone_number": "+49 30 1234567",
    }
    return await api.made("clients", body | {"chat_id": int(NOBODY[-12:]) + id(body) % 10**9})


async def test_an_export_has_everything(api: Api, place: Place, nina: dict[str, Any], business_id: str) -> None:
    """Person, bookings with notes, and bans; for the owner and for themselves; and it is logged."""
    booking = await book(place, place.at(9), client_id=nina["id"], notes="allergic to lavender")
    cancelled = await book(place, place.at(10), client_id=nina["id"])
    await api.post(f"bookings/{cancelled['id']}/cancel", {"reason": "fell ill"})
    ban = await api.made("ban-list", {"email": nina["email"], "reason": "rude"})
    path = f"clients/{nina['id']}/export"
    themselves = acting(api, business_id, "client", subject="n", client_id=nina["id"])
    for caller in (api, themselves):
        found = await caller.get(path)
        assert found.status == 200, found
        assert found.json["client"] == nina
        assert [b["id"] for b in found.json["bookings"]] == [booking["id"], cancelled["id"]]
        assert [found.json["bookings"][0]["notes"], found.json["bookings"][1]["reason"]] == [
            "allergic to lavender", "fell ill",
        ]  # fmt: skip
        assert [b["reason"] for b in found.json["bans"]] == ["rude"]
    assert [e["by"] for e in await audited(api, action="client.exported", what_id=nina["id"])] == [
        "client:n", "user:test-owner",
    ]  # fmt: skip
    await api.request("DELETE", f"ban-list/{ban['id']}")


async def test_nobody_else_takes_or_erases_it(api: Api, stranger: Api, nina: dict[str, Any], business_id: str) -> None:
    path = f"clients/{nina['id']}"
    other = acting(api, business_id, "client", subject="o", client_id=NOBODY)
    for caller in (stranger, other):
        problem(await caller.get(f"{path}/export"), "not_found")
        problem(await caller.post(f"{path}/erase"), "not_found")
    for role in ("manager", "professional", "service"):
        caller = acting(api, business_id, role)
        problem(await caller.get(f"{path}/export"), "forbidden")
        problem(await caller.post(f"{path}/erase"), "forbidden")
    assert (await api.get(path)).json == nina


async def rows_about(db: asyncpg.Connection, text: str) -> list[str]:
    """Every table with a row in which the text stands, however deep."""
    tables = await db.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE '%pogo%'"
    )
    return [
        t["tablename"]
        for t in tables
        if await db.fetchval(f"SELECT EXISTS (SELECT FROM {t['tablename']} x WHERE strpos(x::text, $1) > 0)", text)
    ]


async def test_erasing_leaves_no_trace_of_the_person_and_the_calendar_true(
    api: Api, place: Place, db: asyncpg.Connection, business_id: str
) -> None:
    """Names, addresses and notes are gone from every table; bookings, events and slots are as before; and again is no
    error.
    """
    word = f"Quillfeather{NOBODY[-4:]}{place.professional_id[-6:]}"
    body = {"first_name": word, "last_name": word, "email": f"{word}@example.org", "phone_number": "+49 30 5550123"}
    person = await api.made("clients", body | {"chat_id": 10**12 + int(place.professional_id[-6:], 16)})
    booking = await book(place, place.at(9), client_id=person["id"], notes=f"{word} likes tea")
    past = await book(place, place.at(10), client_id=person["id"])
    await api.post(f"bookings/{past['id']}/cancel", {"reason": f"{word} is ill"})
    assert {"bookings", "clients"} <= set(await rows_about(db, word))
    slots = {"from_": place.day, "to": place.day, "service_id": place.service_id}
    before = [
        (await api.get(f"professionals/{place.professional_id}/{w}", **q)).json
        for w, q in (("slots", slots), ("events", {}))
    ]
    assert (await api.post(f"clients/{person['id']}/erase")).status == 204
    await db.execute("DELETE FROM idempotency_keys")
    assert await rows_about(db, word) == []
    after = [
        (await api.get(f"professionals/{place.professional_id}/{w}", **q)).json
        for w, q in (("slots", slots), ("events", {}))
    ]
    assert after == before
    read = (await api.get(f"bookings/{booking['id']}")).json
    assert (read["status"], read["client_id"], read.get("notes")) == ("confirmed", person["id"], None)
    problem(await api.get(f"clients/{person['id']}"), "not_found")
    problem(await api.post(f"clients/{person['id']}/restore"), "not_found")
    problem(await api.post("bookings", place.booking(place.at(11)) | {"client_id": person["id"]}), "validation_failed")
    assert (await api.post(f"clients/{person['id']}/erase")).status == 204
    assert len(await audited(api, action="client.erased", what_id=person["id"])) == 1
    assert (await api.post(f"bookings/{booking['id']}/complete")).status == 409, "not begun, but there"
    assert (await api.post(f"bookings/{booking['id']}/cancel")).status == 200


async def test_an_erased_guests_manage_token_opens_nothing(api: Api, place: Place) -> None:
    booked = await api.made("bookings", place.booking(place.at(9), guest={"name": "G", "email": "g@example.org"}))
    anyone, shown = api.with_token(None), {"X-Manage-Token": booked["manage_token"]}
    assert (await anyone.get(f"bookings/{booked['id']}", headers=shown)).status == 200
    assert (await api.post(f"clients/{booked['client_id']}/erase")).status == 204
    problem(await anyone.get(f"bookings/{booked['id']}", headers=shown), "not_found")


async def test_a_client_erases_themselves_and_may_begin_anew(
    api: Api, place: Place, db: asyncpg.Connection, business_id: str
) -> None:
    """Their sessions there end; the account stays, because it may be used elsewhere."""
    user = await new_user(db)
    caller, _ = await signed_in(api, user, business=business_id)
    booking = await caller.made("bookings", place.booking(place.at(9)) | {"client_id": None})
    assert (await caller.post(f"clients/{booking['client_id']}/erase")).status == 204
    problem(await caller.get("users/me"), "unauthorized")
    again, _ = await signed_in(api, user, business=business_id)
    assert (await again.get("bookings")).json["items"] == []


async def test_erasing_while_the_calendar_is_busy_loses_neither(api: Api, place: Place) -> None:
    """Batches write the same rows; neither side waits for the other for ever."""
    person = await api.made("clients", {"first_name": "Busy"})
    starts = [place.at(h, m, d) for d in range(2) for h in range(24) for m in (0, 30)]
    made = [await book(place, s, client_id=person["id"], notes="x") for s in starts[:40]]
    answers = await asyncio.gather(
        api.post(f"clients/{person['id']}/erase"),
        *[api.post(f"bookings/{b['id']}/cancel", {"reason": "y"}) for b in made[:20]],
        *[api.request("PATCH", f"bookings/{b['id']}", {"notes": "z"}) for b in made[20:]],
    )
    assert [a.status for a in answers] == [204] + [200] * 40
    assert (await api.post(f"clients/{person['id']}/erase")).status == 204
    for b in made:
        read = (await api.get(f"bookings/{b['id']}")).json
        assert (read.get("notes"), read.get("reason")) == (None, None)


# Removed and restored


@pytest.mark.parity("B15")
async def test_a_client_is_removed_and_restored(api: Api, place: Place, nina: dict[str, Any], business_id: str) -> None:
    """Out of sight for lists, reading, changing and booking; what is booked stays."""
    path = f"clients/{nina['id']}"
    booking = await book(place, place.at(9), client_id=nina["id"])
    assert (await api.request("DELETE", path)).status == 204
    for answer in (
        await api.get(path),
        await api.get(f"{path}/export"),
        await api.get(f"{path}/bookings"),
        await api.request("PATCH", path, {"last_name": "x"}),
        await api.request("DELETE", path),
    ):
        problem(answer, "not_found")
    refused = await api.post("bookings", place.booking(place.at(10)) | {"client_id": nina["id"]})
    problem(refused, "validation_failed", "client_id")
    assert nina["id"] not in [c["id"] for p in await all_pages(api, "clients", 200) for c in p]
    assert nina["id"] in [c["id"] for p in await all_pages(api, "clients", 200, deleted="true") for c in p]
    assert (await api.get(f"bookings/{booking['id']}")).json["client_id"] == nina["id"]
    problem(await acting(api, business_id, "professional").get("clients", deleted="true"), "forbidden")
    problem(await acting(api, business_id, "professional").request("DELETE", path), "forbidden")
    assert (await api.post(f"{path}/restore")).json["email"] == nina["email"]
    assert (await api.post("bookings", place.booking(place.at(10)) | {"client_id": nina["id"]})).status == 201


async def test_registering_again_brings_a_removed_client_back(api: Api, nina: dict[str, Any]) -> None:
    await api.request("DELETE", f"clients/{nina['id']}")
    again = await api.post("clients", {"first_name": "Nina", "chat_id": nina["chat_id"]})
    assert (again.status, again.json["id"]) == (200, nina["id"])
    assert (await api.get(f"clients/{nina['id']}")).status == 200


async def test_a_removed_clients_login_is_no_clients(api: Api, db: asyncpg.Connection, business_id: str) -> None:
    """Their sessions there end; signing in again brings the client back."""
    user = await new_user(db)
    caller, _ = await signed_in(api, user, business=business_id)
    client_id = await db.fetchval("SELECT id FROM clients WHERE user_id = $1", user["id"])
    assert (await api.request("DELETE", f"clients/{client_id}")).status == 204
    problem(await caller.get("users/me"), "unauthorized")
    await signed_in(api, user, business=business_id)
    assert (await api.get(f"clients/{client_id}")).status == 200

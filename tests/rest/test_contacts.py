"""One spelling for addresses: of users, by which they are one, and of clients, by which they are compared."""

from typing import Any

import asyncpg
import pytest

from server.identity import contact_keys
from tests.rest.helpers import NOBODY, acting, new_business, problem
from tests.rest.people import PASSWORD
from tests.support.server import Api, Place, RunningServer, new_place, token_for


async def keys_of(db: asyncpg.Connection, client_id: str) -> tuple[Any, ...]:
    return tuple(await db.fetchrow("SELECT email, phone, email_normal, phone_normal FROM clients WHERE id = $1",
                                   client_id))  # fmt: skip


@pytest.fixture
async def german(server: RunningServer, api: Api, db: asyncpg.Connection) -> Api:
    """The owner of a business in Germany."""
    business = await new_business(server.dsn)
    await db.execute("UPDATE businesses SET region = 'DE' WHERE id = $1", business)
    return acting(api, business, "owner")


async def test_a_clients_addresses_are_kept_as_typed_and_as_compared(german: Api, db: asyncpg.Connection) -> None:
    """With the business's country where a number has none."""
    body = {"first_name": "A", "email": "Ann.Lee@BÜCHER.example", "phone_number": "(030) 123-4567"}
    client = await german.made("clients", body)
    assert (client["email"], client["phone_number"]) == (body["email"], body["phone_number"])
    assert await keys_of(db, client["id"]) == (
        body["email"], body["phone_number"], "ann.lee@xn--bcher-kva.example", "+49301234567",
    )  # fmt: skip
    patched = await german.request("PATCH", f"clients/{client['id']}", {"phone_number": "+44 20 7946 0000"})
    assert patched.json["phone_number"] == "+44 20 7946 0000"
    assert (await keys_of(db, client["id"]))[2:] == ("ann.lee@xn--bcher-kva.example", "+442079460000")
    await german.request("PATCH", f"clients/{client['id']}", {"email": None, "last_name": "B"})
    assert (await keys_of(db, client["id"]))[2:] == (None, "+442079460000")


async def test_a_guests_addresses_too(german: Api, db: asyncpg.Connection) -> None:
    """They are written with the booking."""
    place = await new_place(german)
    guest = {"name": "G", "email": "G@Example.ORG", "phone": "030 1234567"}
    booked = await german.made("bookings", place.booking(place.at(9), guest=guest))
    assert await keys_of(db, booked["client_id"]) == ("G@Example.ORG", "030 1234567", "g@example.org", "+49301234567")
    booked = await german.made("bookings", place.booking(place.at(10), guest={"name": "G"}))
    assert await keys_of(db, booked["client_id"]) == (None, None, None, None)


async def test_and_those_of_users_who_become_clients(
    german: Api, db: asyncpg.Connection, server: RunningServer
) -> None:
    business = await db.fetchrow("SELECT id, slug FROM businesses WHERE region = 'DE' ORDER BY created_at DESC LIMIT 1")
    body = {"name": "New", "password": PASSWORD, "email": f"X{NOBODY[:4]}-{business['id']}@Example.org",
            "phone": f"0176 {int(str(business['id'])[:7], 16) % 10**8:08}", "business": str(business["id"]),
            }  # fmt: skip
    access = await german.with_token(None).made("auth/register", body)
    row = await db.fetchrow("SELECT email_normal, phone_normal FROM clients WHERE user_id = $1", access["user_id"])
    assert row["email_normal"] == body["email"].lower()
    assert row["phone_normal"].startswith("+49176")


@pytest.mark.parametrize(
    ("email", "phone", "region", "expected"),
    [
        ("A@B.example", "+49 (0)30 123-4567", None, ("a@b.example", "+49301234567")),
        (" a@b.example ", "0049 30 1234567", "DE", ("a@b.example", "+49301234567")),
        ("a@b.example", "030/1234567", "DE", ("a@b.example", "+49301234567")),
        ("a@b.example", "(020) 7946 0000", "GB", ("a@b.example", "+442079460000")),
        # Which country's it is nobody said: digits are all there is to compare.
        ("a@b.example", "030/123-4567", None, ("a@b.example", "0301234567")),
        ("straße@straße.example", None, "DE", ("straße@xn--strae-oqa.example", None)),
        ("strasse@strasse.example", None, "DE", ("strasse@strasse.example", None)),
        ("no address@ALL", "+1 2", None, ("no address@all", "+12")),
        (None, None, None, (None, None)),
        ("", "", "DE", (None, None)),
    ],
)
def test_spellings_of_one_address_have_one_key(
    email: str | None, phone: str | None, region: str | None, expected: tuple[str | None, str | None]
) -> None:
    """Nothing that anybody typed is an error here."""
    assert contact_keys(email, phone, region) == expected


# Mass assignment


@pytest.mark.parametrize(
    "field",
    ["role", "super_admin", "business_id", "membership_id", "email_verified", "phone_verified", "password_hash", "id",
     "user_id", "disabled", "grants", "locations", "professional_id", "created_at"],
)  # fmt: skip
async def test_nobody_gives_themselves_what_they_were_not_given(
    api: Api, place: Place, business_id: str, field: str
) -> None:
    """A field that is not the caller's to set is refused by name, on every body that makes or changes a person."""
    anyone = api.with_token(None)
    new = {"name": "A", "password": PASSWORD, "username": f"u-{field}"}
    problem(await anyone.post("auth/register", {**new, field: "x"}), "validation_failed", field)
    assert (await anyone.post("auth/login", {"username": f"u-{field}", "password": PASSWORD})).status == 401
    login = {"email": "a@example.org", "password": "x"}
    problem(await anyone.post("auth/login", {**login, field: "x"}), "validation_failed", field)
    access = await anyone.made("auth/register", new)
    user = api.with_token(access["access_token"])
    problem(await user.request("PATCH", "users/me", {field: "x"}), "validation_failed", field)
    me = (await user.get("users/me")).json
    assert (me["super_admin"], me["role"], me["business_id"], me["disabled"]) == (False, "user", None, False)
    client = api.with_token(token_for(business_id, "client", subject="c", client_id=place.client_id))
    for caller in (api, client):
        answer = await caller.request("PATCH", f"clients/{place.client_id}", {field: "x"})
        problem(answer, "validation_failed", field)
    problem(await api.post("clients", {"first_name": "A", field: "x"}), "validation_failed", field)


async def test_a_business_in_the_body_opens_no_door(api: Api, stranger: Api, business_id: str) -> None:
    """Naming one when signing up makes a client there, never a member."""
    anyone = api.with_token(None)
    body = {"name": "A", "password": PASSWORD, "username": f"client-{business_id}", "business": business_id}
    access = await anyone.made("auth/register", body)
    assert (access["role"], access["business_id"]) == ("client", business_id)
    for path in ("service-tokens", "users", "clients"):
        problem(await api.with_token(access["access_token"]).get(path), "forbidden")

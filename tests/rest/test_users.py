"""Signing up, one's own account, and lists of users."""

import uuid
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from tests.rest.helpers import NOBODY, all_pages, new_business, problem, send
from tests.rest.people import PASSWORD, join, new_user, sign_in, signed_in
from tests.support.server import Api, RunningServer


def fresh_email() -> str:
    return f"{uuid.uuid4().hex}@example.org"


def fresh_phone() -> str:
    return f"+4930{10**8 + uuid.uuid4().int % 10**8}"


async def sign_up(api: Api, **body: Any) -> Any:
    return await api.with_token(None).post("auth/register", {"name": "Nora Neu", "password": PASSWORD, **body})


@pytest.mark.parity("B1")
@pytest.mark.parity("D1")
@pytest.mark.parity("E1")
@pytest.mark.parametrize("by", ["email", "username", "phone"])
async def test_a_user_signs_up_and_is_signed_in(api: Api, by: str) -> None:
    """By any one of the names; the account is theirs to read, and they can sign in again."""
    name = {"email": fresh_email(), "username": uuid.uuid4().hex, "phone": fresh_phone()}[by]
    answer = await sign_up(api, **{by: name})
    assert answer.status == 201, answer
    assert (answer.json["role"], answer.json["business_id"]) == ("user", None)
    me = (await api.with_token(answer.json["access_token"]).get("users/me")).json
    assert (me[by], me["name"], me["locale"], me["super_admin"]) == (name, "Nora Neu", "en", False)
    assert (me["email_verified"], me["phone_verified"]) == (False, False)
    again = await api.with_token(None).post("auth/login", {by: name, "password": PASSWORD})
    assert (again.status, again.json["user_id"]) == (200, me["id"])


@pytest.mark.parity("B1")
async def test_one_address_in_any_spelling_is_one_user(api: Api) -> None:
    """E-mail in capitals or with its domain in ASCII, usernames in capitals, numbers as people write them."""
    word = uuid.uuid4().hex
    number = fresh_phone()
    first = await sign_up(api, email=f"{word}@bücher.example", username=f"u.{word}", phone=number)
    assert first.status == 201, first
    local = f"0{number[3:5]}/{number[5:8]} {number[8:]}"
    same: list[dict[str, str]] = [
        {"email": f"{word.upper()}@BÜCHER.example"},
        {"email": f"{word}@xn--bcher-kva.example"},
        {"email": f"{word}@bu\u0308cher.example"},
        {"username": f"U.{word.upper()}"},
        {"phone": f"+49 (0){number[3:5]} {number[5:]}"},
        {"phone": f"{number[:3]}-{number[3:5]}-{number[5:]}"},
    ]
    for names in same:
        found = await api.with_token(None).post("auth/login", {**names, "password": PASSWORD})
        assert found.status == 200, (names, found)
        assert found.json["user_id"] == first.json["user_id"]
        problem(await sign_up(api, **names), "conflict")
    problem(await sign_up(api, phone=local), "validation_failed", "phone")


async def test_two_mailboxes_are_two_users(api: Api) -> None:
    """Letters that only look alike, or fold into one another, are different addresses."""
    word = uuid.uuid4().hex
    ids = [
        (await sign_up(api, email=e)).json["user_id"]
        for e in (f"straße{word}@example.org", f"strasse{word}@example.org")
    ]
    assert len(set(ids)) == 2


async def test_a_taken_name_is_not_told_from_another(api: Api) -> None:
    """The refusal is the same, whichever of the names is taken, and nothing is left of the attempt."""
    names = {"email": fresh_email(), "username": uuid.uuid4().hex, "phone": fresh_phone()}
    assert (await sign_up(api, **names)).status == 201
    said = set()
    for which, taken in names.items():
        body = {"email": fresh_email(), "username": uuid.uuid4().hex, "phone": fresh_phone(), which: taken}
        found = problem(await sign_up(api, **body), "conflict")
        said.add((found["detail"], tuple(sorted(found))))
        free = next(n for n in names if n != which)
        answer = await api.with_token(None).post("auth/login", {free: body[free], "password": PASSWORD})
        problem(answer, "unauthorized")
    assert len(said) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "email"),
        ({"email": "nobody"}, "email"),
        ({"email": "a@b"}, "email"),
        ({"email": "a@x.test"}, "email"),
        ({"email": "a@example.org\n"}, "email"),
        ({"email": '"a b"@example.org'}, "email"),
        ({"email": "a" * 65 + "@example.org"}, "email"),
        ({"email": "a@-x-.org"}, "email"),
        ({"phone": "12345"}, "phone"),
        ({"phone": "+49"}, "phone"),
        ({"phone": "+999 123456"}, "phone"),
        ({"phone": "+49 30"}, "phone"),
        ({"username": "ab"}, "username"),
        ({"username": ".abc"}, "username"),
        ({"username": "\u0430" * 5}, "username"),
        ({"username": "x" * 65}, "username"),
        ({"username": "a b c"}, "username"),
        ({"email": "a@example.org", "password": "short"}, "password"),
        ({"email": "a@example.org", "password": "x" * 10_240}, "password"),
        ({"email": "a@example.org", "password": None}, "password"),
        ({"email": "a@example.org", "name": ""}, "name"),
        ({"email": "a@example.org", "name": "a\nb"}, "name"),
        ({"email": "a@example.org", "locale": "english"}, "locale"),
        ({"email": "a@example.org", "chat_id": 2**63}, "chat_id"),
        ({"email": "a@example.org", "role": "owner"}, "role"),
        ({"email": "a@example.org", "super_admin": True}, "super_admin"),
        ({"email": "a@example.org", "business_id": NOBODY}, "business_id"),
        ({"email": "a@example.org", "email_verified": True}, "email_verified"),
        ({"email": "a@example.org", "business": "Not A Slug"}, "business"),
    ],
)  # fmt: skip
async def test_a_sign_up_that_cannot_be_is_refused_by_field(api: Api, body: Any, field: str) -> None:
    """Rights and states are no fields: nobody makes themselves more than a user."""
    answer = await send(api.with_token(None), "POST", "auth/register", {"name": "N", "password": PASSWORD, **body})
    problem(answer, "validation_failed", field)


async def test_signing_up_at_a_business_makes_a_client(api: Api, business_id: str, db: asyncpg.Connection) -> None:
    """By slug or id; the client is linked, can be seen by the business, and is one and the same at every sign-in."""
    number = fresh_phone()
    answer = await sign_up(api, email=fresh_email(), phone=number, business="demo")
    assert (answer.status, answer.json["role"], answer.json["business_id"]) == (201, "client", business_id)
    row = await db.fetchrow("SELECT * FROM clients WHERE user_id = $1", answer.json["user_id"])
    assert (row["first_name"], row["last_name"], row["phone"]) == ("Nora", "Neu", number)
    mine = api.with_token(answer.json["access_token"])
    assert (await mine.get(f"clients/{row['id']}")).json["first_name"] == "Nora"
    problem(await mine.get("clients"), "forbidden")
    assert (await api.get(f"clients/{row['id']}")).status == 200
    for business in ("demo", business_id):
        body = {"phone": number, "password": PASSWORD, "business": business}
        again = await api.with_token(None).post("auth/login", body)
        assert (again.status, again.json["role"]) == (200, "client")
    assert await db.fetchval("SELECT count(*) FROM clients WHERE user_id = $1", answer.json["user_id"]) == 1
    problem(await sign_up(api, email=fresh_email(), business="nowhere"), "not_found")
    problem(await sign_up(api, email=fresh_email(), business=NOBODY), "not_found")


async def test_a_members_business_is_chosen_when_there_are_several(
    server: RunningServer, api: Api, business_id: str, db: asyncpg.Connection
) -> None:
    """Without a choice the answer names them; with one, the token belongs to it and to nothing else."""
    other = await new_business(server.dsn)
    user = await new_user(db)
    await join(db, business_id, user, "professional")
    assert (await sign_in(api, user)).json["role"] == "professional", "one business needs no choice"
    await join(db, other, user, "owner")
    found = problem(await sign_in(api, user), "business_required")
    assert {(b["id"], b["role"]) for b in found["businesses"]} == {(business_id, "professional"), (other, "owner")}
    for business, role in ((business_id, "professional"), ("demo", "professional"), (other, "owner")):
        caller, access = await signed_in(api, user, business=business)
        assert access["role"] == role
        assert ((await caller.get("service-tokens")).status == 200) == (role == "owner")
    wrong = await api.with_token(None).post("auth/login", {"email": user["email"], "password": "wrong"})
    assert "businesses" not in problem(wrong, "unauthorized")


@pytest.mark.parity("A7")
async def test_a_professional_signs_in_and_binds_a_chat(api: Api, business_id: str, db: asyncpg.Connection) -> None:
    """By username; the chat id is theirs from then on and can be taken away again."""
    professional = await api.made("professionals", {"display_name": "Dr Chat", "time_zone": "UTC"})
    user = await new_user(db)
    await join(db, business_id, user, "professional", professional_id=professional["id"])
    body = {"username": user["username"].upper(), "password": PASSWORD, "chat_id": -1001234567890}
    answer = await api.with_token(None).post("auth/login", body)
    assert (answer.status, answer.json["role"]) == (200, "professional"), answer
    caller = api.with_token(answer.json["access_token"])
    assert (await caller.get("users/me")).json["chat_id"] == -1001234567890
    assert (await caller.get(f"professionals/{professional['id']}/bookings")).status == 200
    assert (await caller.request("PATCH", "users/me", {"chat_id": None})).json["chat_id"] is None


async def test_a_disabled_user_is_told_only_with_the_right_password(api: Api, db: asyncpg.Connection) -> None:
    """Otherwise it looks like any wrong login."""
    user = await new_user(db, disabled_at=datetime.now(UTC))
    problem(await sign_in(api, user), "forbidden")
    problem(await sign_in(api, {**user, "email": user["email"]}, password="wrong"), "unauthorized")


# One's own account


async def test_a_user_changes_their_account(api: Api, db: asyncpg.Connection) -> None:
    """Names and language at will; a new address is not verified yet and needs the password."""
    user = await new_user(db)
    await db.execute("UPDATE users SET email_verified_at = now(), phone_verified_at = now() WHERE id = $1", user["id"])
    caller, _ = await signed_in(api, user)
    changed = await caller.request("PATCH", "users/me", {"name": "Other", "locale": "ru"})
    assert (changed.json["name"], changed.json["locale"], changed.json["email_verified"]) == ("Other", "ru", True)
    email = fresh_email()
    problem(await caller.request("PATCH", "users/me", {"email": email}), "validation_failed", "current_password")
    problem(
        await caller.request("PATCH", "users/me", {"email": email, "current_password": "wrong"}),
        "validation_failed",
        "current_password",
    )
    same = await caller.request("PATCH", "users/me", {"email": user["email"].upper()})
    assert (same.status, same.json["email_verified"]) == (200, True), "the same address in capitals is no change"
    moved = await caller.request("PATCH", "users/me", {"email": email.upper(), "current_password": PASSWORD})
    assert (moved.json["email"], moved.json["email_verified"], moved.json["phone_verified"]) == (email, False, True)
    assert (await sign_in(api, {"email": email})).status == 200
    problem(await sign_in(api, user), "unauthorized")


async def test_a_user_keeps_a_name_to_sign_in_with(api: Api, db: asyncpg.Connection) -> None:
    """The last one cannot be taken away, nor can anybody else's be taken."""
    user, other = await new_user(db), await new_user(db)
    caller, _ = await signed_in(api, user)
    sure = {"current_password": PASSWORD}
    for which in ("email", "username", "phone"):
        problem(await caller.request("PATCH", "users/me", {which: other[which].upper(), **sure}), "conflict")
    assert (await caller.request("PATCH", "users/me", {"email": None, "phone": None, **sure})).json["email"] is None
    problem(await caller.request("PATCH", "users/me", {"username": None, **sure}), "validation_failed", "email")
    for body in (
        {"super_admin": True},
        {"role": "owner"},
        {"id": NOBODY},
        {"disabled": False},
        {"email_verified": True},
    ):
        problem(await caller.request("PATCH", "users/me", body), "validation_failed", next(iter(body)))


async def test_a_new_password_ends_all_other_sessions(api: Api, db: asyncpg.Connection) -> None:
    """The one it was changed in goes on; the old password is nothing any more."""
    user = await new_user(db)
    caller, _ = await signed_in(api, user)
    other, _ = await signed_in(api, user)
    body = {"password": "another horse battery", "current_password": PASSWORD}
    assert (await caller.request("PATCH", "users/me", body)).status == 200
    assert (await caller.get("users/me")).status == 200
    problem(await other.get("users/me"), "unauthorized")
    problem(await sign_in(api, user), "unauthorized")
    assert (await sign_in(api, user, password="another horse battery")).status == 200


# Lists


@pytest.mark.parity("E1")
async def test_an_owner_lists_the_members_of_the_business(
    server: RunningServer, api: Api, db: asyncpg.Connection
) -> None:
    """With their roles, by pages, with filters; nobody of another business, and no password."""
    business = await new_business(server.dsn)
    owner, manager, other = [await new_user(db) for _ in range(3)]
    await join(db, business, owner, "owner")
    await join(db, business, manager, "manager")
    caller, _ = await signed_in(api, owner)
    listed = [u for page in await all_pages(caller, "users", 1) for u in page]
    assert {(u["id"], u["role"]) for u in listed} == {(owner["id"], "owner"), (manager["id"], "manager")}
    assert all(u["business_id"] == business and u["membership_id"] for u in listed)
    assert "argon2" not in str(listed)
    for query in (
        {"role": "manager"}, {"email": manager["email"].upper()}, {"phone": manager["phone"]},
        {"username": manager["username"], "disabled": "false"},
    ):  # fmt: skip
        assert [u["id"] for u in (await caller.get("users", **query)).json["items"]] == [manager["id"]], query
    for query in ({"email": other["email"]}, {"disabled": "true"}):
        assert (await caller.get("users", **query)).json["items"] == []
    problem(await caller.get("users", business_id=NOBODY), "not_found")
    problem(await caller.get("users", role="king"), "validation_failed", "role")
    problem((await (await signed_in(api, manager))[0].get("users")), "forbidden")


@pytest.mark.parity("C4")
async def test_a_super_admin_belongs_to_no_business(server: RunningServer, api: Api, db: asyncpg.Connection) -> None:
    """They list everybody, and the members of any business; what businesses own is not theirs to see."""
    admin = await new_user(db, super_admin=True)
    caller, access = await signed_in(api, admin)
    assert (access["role"], access["business_id"]) == ("super_admin", None)
    business = await new_business(server.dsn)
    owner = await new_user(db)
    await join(db, business, owner, "owner")
    assert [u["id"] for u in (await caller.get("users", email=owner["email"])).json["items"]] == [owner["id"]]
    assert [u["role"] for u in (await caller.get("users", business_id=business)).json["items"]] == ["owner"]
    problem(await caller.get("users", role="owner"), "validation_failed", "role")
    for path in ("clients", "bookings", "professionals", "services", "service-tokens", f"clients/{NOBODY}"):
        problem(await caller.get(path), "forbidden")

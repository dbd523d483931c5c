"""Signing in with a password."""

import uuid
from typing import Any

import asyncpg
import psutil
import pytest

from server.passwords import hash_password
from tests.conftest import business_of
from tests.rest.helpers import problem
from tests.support.server import Api, RunningServer


@pytest.fixture
async def user(server: RunningServer, db: asyncpg.Connection, business_id: str) -> dict[str, Any]:
    """A manager with a password, known by e-mail, username and phone."""
    found = {
        "id": str(uuid.uuid4()), "email": f"{uuid.uuid4().hex}@example.org", "username": uuid.uuid4().hex,
        "phone": f"+4930{10**8 + uuid.uuid4().int % 10**8}", "password": "correct horse battery",
    }  # fmt: skip
    await db.execute(
        "INSERT INTO users (id, email, username, phone, name, password_hash) VALUES ($1, $2, $3, $4, 'A user', $5)",
        found["id"], found["email"], found["username"], found["phone"], hash_password(found["password"]),
    )  # fmt: skip
    await db.execute(
        "INSERT INTO memberships (business_id, user_id, role) VALUES ($1, $2, 'manager')", business_id, found["id"]
    )
    return found


@pytest.mark.parametrize("by", ["email", "username", "phone"])
async def test_a_user_signs_in_by_any_of_their_names(api: Api, user: dict[str, Any], by: str) -> None:
    """The token has the role of the membership."""
    answer = await api.with_token(None).post("auth/login", {by: user[by], "password": user["password"]})
    assert answer.status == 200, answer
    assert answer.json["token_type"] == "Bearer"
    assert answer.json["expires_in"] > 0
    caller = api.with_token(answer.json["access_token"])
    assert (await caller.get("clients", limit=1)).status == 200
    problem(await caller.get("service-tokens"), "forbidden")


async def test_an_email_is_the_same_in_any_case(api: Api, user: dict[str, Any]) -> None:
    """People type their address as they like."""
    body = {"email": user["email"].upper(), "password": user["password"]}
    assert (await api.with_token(None).post("auth/login", body)).status == 200


@pytest.mark.parity("A22")
async def test_wrong_password_and_unknown_name_look_the_same(
    server: RunningServer, api: Api, user: dict[str, Any]
) -> None:
    """The same body but for the request id, and about the same work behind it, so that names cannot be found out."""
    anyone = api.with_token(None)
    process = psutil.Process(server.process.pid if server.process else None)
    spent: dict[str, float] = {}
    seen = set()
    for which in ("wrong", "unknown"):
        before = sum(process.cpu_times()[:2])
        for _ in range(10):
            email = user["email"] if which == "wrong" else f"{uuid.uuid4().hex}@example.org"
            body = problem(await anyone.post("auth/login", {"email": email, "password": "wrong"}), "unauthorized")
            seen.add((body["detail"], body["title"]))
        spent[which] = sum(process.cpu_times()[:2]) - before
    assert len(seen) == 1
    # An answer without hashing would take a tenth of the processor's time.
    assert spent["unknown"] > 0.4 * spent["wrong"]


@pytest.mark.parity("A22")
async def test_passwords_are_kept_as_argon2id(db: asyncpg.Connection) -> None:
    """The stored hash names its algorithm and parameters, and holds no password."""
    stored = await db.fetchval("SELECT password_hash FROM users WHERE email = 'owner@demo.example'")
    kind, version, parameters, salt, digest = stored.split("$")[1:]
    assert (kind, version) == ("argon2id", "v=19")
    costs = dict(p.split("=") for p in parameters.split(","))
    assert int(costs["m"]) >= 19 * 1024, "OWASP's least memory for argon2id, in KiB"
    assert int(costs["t"]) >= 2
    assert len(salt) >= 22
    assert len(digest) >= 43


async def test_the_demo_password_signs_in(server: RunningServer, api: Api) -> None:
    """What `--demo` wrote down is the demo owner's password; the file is nobody else's to read."""
    path = server.directory / "demo-password"
    assert path.stat().st_mode & 0o077 == 0
    body = {"email": "owner@demo.example", "password": path.read_text().strip()}
    answer = await api.with_token(None).post("auth/login", body)
    assert answer.status == 200, answer
    mine = await api.with_token(answer.json["access_token"]).get("service-tokens")
    assert mine.status == 200
    assert await business_of(server.dsn)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"password": "x"},
        {"email": "a@example.org"},
        {"email": "a@example.org", "username": "a", "password": "x"},
        {"email": "no address", "password": "x"},
        {"email": "a@example.org", "password": ""},
        {"email": "a@example.org", "password": "x" * 1025},
        {"email": "a@example.org\n", "password": "x"},
        {"username": "a\r\nb", "password": "x"},
        {"phone": "call me", "password": "x"},
        {"email": ["a@example.org"], "password": "x"},
        {"email": "a@example.org", "password": "x", "admin": True},
    ],
)
async def test_a_login_of_another_form_is_invalid(api: Api, body: Any) -> None:
    """Before any password is hashed."""
    problem(await api.with_token(None).post("auth/login", body), "validation_failed")


async def test_a_user_of_no_business_has_only_their_account(
    api: Api, db: asyncpg.Connection, user: dict[str, Any]
) -> None:
    """The password is right; what they may see is themselves."""
    await db.execute("DELETE FROM memberships WHERE user_id = $1", user["id"])
    answer = await api.with_token(None).post("auth/login", {"email": user["email"], "password": user["password"]})
    assert (answer.status, answer.json["role"], answer.json["business_id"]) == (200, "user", None)
    caller = api.with_token(answer.json["access_token"])
    assert (await caller.get("users/me")).json["id"] == user["id"]
    for path in ("clients", "professionals", "services", "bookings", "service-tokens", "users"):
        problem(await caller.get(path), "forbidden")


async def test_sql_in_a_name_is_only_a_name(api: Api) -> None:
    """No login by a condition that is always true."""
    body = {"username": "x' OR '1'='1' --", "password": "x' OR '1'='1"}
    problem(await api.with_token(None).post("auth/login", body), "unauthorized")

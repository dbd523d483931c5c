"""Who may call: service tokens, and what makes a token good."""

import time
from typing import Any

import asyncpg
import jwt
import pytest

from server.keyring import AUDIENCE, ISSUER, TYPE
from tests.rest.helpers import NOBODY, all_pages, problem
from tests.support.server import SECRET, Answer, Api, token_for


@pytest.mark.parity("A1")
async def test_a_service_token_is_issued_used_listed_and_revoked(api: Api) -> None:
    """It is shown once, works until it is revoked, and is refused from then on."""
    made = await api.post("service-tokens", {"name": "Chat bot", "ttl_days": 30})
    assert made.status == 201, made
    token_id = made.json["id"]
    assert made.headers["Location"] == f"/api/v1/service-tokens/{token_id}"
    assert (made.json["role"], made.json["revoked_at"]) == ("service", None)
    claims = jwt.decode(made.json["token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == pytest.approx(30 * 86400, abs=5)

    bot = api.with_token(made.json["token"])
    assert (await bot.get("clients", limit=1)).status == 200

    listed = {t["id"]: t for page in await all_pages(api, "service-tokens", 200) for t in page}
    assert listed[token_id]["name"] == "Chat bot"
    assert listed[token_id]["token"] is None, "a token is shown once"

    assert (await api.request("DELETE", f"service-tokens/{token_id}")).status == 204
    problem(await bot.get("clients", limit=1), "unauthorized")
    listed = {t["id"]: t for page in await all_pages(api, "service-tokens", 200) for t in page}
    assert listed[token_id]["revoked_at"] is not None
    # Twice is no error: it is revoked, which is what was asked for.
    assert (await api.request("DELETE", f"service-tokens/{token_id}")).status == 204


@pytest.mark.parity("A1")
async def test_a_service_token_sees_only_its_own_business(api: Api, stranger: Api) -> None:
    """A token is bound to the business that issued it."""
    client = await api.made("clients", {"first_name": "Hidden"})
    theirs = stranger.with_token((await stranger.made("service-tokens", {"name": "bot"}))["token"])
    problem(await theirs.get(f"clients/{client['id']}"), "not_found")
    assert (await theirs.get("clients")).json["items"] == []


@pytest.mark.parity("A1")
@pytest.mark.parametrize("path", ["clients", "professionals", "services", "bookings", "service-tokens"])
async def test_every_endpoint_but_health_needs_a_token(api: Api, path: str) -> None:
    """Without one: 401, and how to send one."""
    answer = await api.with_token(None).get(path)
    problem(answer, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("role", "allowed"),
    [("owner", True), ("manager", False), ("service", False), ("professional", False), ("client", False)],
)
async def test_only_owners_manage_tokens(api: Api, business_id: str, role: str, allowed: bool) -> None:
    """Neither reading, nor issuing, nor revoking is open to others."""
    caller = api.with_token(token_for(business_id, role))
    answers = [
        await caller.get("service-tokens"),
        await caller.post("service-tokens", {"name": "x"}),
        await caller.request("DELETE", f"service-tokens/{NOBODY}"),
    ]
    if allowed:
        assert [a.status for a in answers] == [200, 201, 404]
    else:
        for answer in answers:
            problem(answer, "forbidden")


@pytest.mark.parametrize(("role", "manages"), [("service", False), ("manager", False), ("owner", True)])
async def test_an_issued_token_has_the_role_it_was_issued_with(api: Api, role: str, manages: bool) -> None:
    """All of them run the catalogue; only an owner's token issues more."""
    caller = api.with_token((await api.made("service-tokens", {"name": role, "role": role}))["token"])
    assert (await caller.post("services", {"name": "Any", "duration_minutes": 5})).status == 201
    assert (await caller.get("service-tokens")).status == (200 if manages else 403)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x", "role": "super_admin"}, "role"),
        ({"name": "x", "role": "client"}, "role"),
        ({"name": "x", "ttl_days": 0}, "ttl_days"),
        ({"name": "x", "ttl_days": 3651}, "ttl_days"),
        ({"name": "x", "ttl_days": 1.5}, "ttl_days"),
        ({"name": "x", "scope": "all"}, "scope"),
    ],
)
async def test_a_token_is_not_issued_for_a_bad_request(api: Api, body: Any, field: str) -> None:
    """Each wrong field is named."""
    problem(await api.post("service-tokens", body), "validation_failed", field)


def forged(secret: str = SECRET, algorithm: str = "HS256", headers: Any = None, **claims: Any) -> str:
    """A token as the server would issue it, but for what the caller changes; `None` leaves a claim out."""
    kid = jwt.get_unverified_header(token_for(NOBODY))["kid"]
    now = int(time.time())
    all_claims = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "forged", "jti": "forged", "iat": now, "exp": now + 600,
        "business": NOBODY, "role": "owner", **claims,
    }  # fmt: skip
    return jwt.encode(
        {k: v for k, v in all_claims.items() if v is not None},
        secret if algorithm != "none" else None,
        algorithm,
        headers={"typ": TYPE, "kid": kid, **(headers or {})},
    )


async def test_the_forge_makes_good_tokens(api: Api, business_id: str) -> None:
    """Otherwise the refusals below would prove nothing."""
    assert (await api.with_token(forged(business=business_id)).get("clients", limit=1)).status == 200


GOOD = token_for(NOBODY)
BAD_TOKENS = {
    "garbage": "garbage",
    "two parts": "a.b",
    "three empty parts": "..",
    "very long": "x" * 6000,
    "signature cut off": GOOD.rsplit(".", 1)[0] + ".",
    "signature altered": GOOD[:-4] + ("AAAA" if GOOD[-4:] != "AAAA" else "BBBB"),
    "payload swapped": ".".join(
        [GOOD.split(".")[0], token_for(NOBODY, "manager").split(".")[1], GOOD.split(".")[2]]
    ),
    "alg none": forged(algorithm="none"),
    "alg none with a signature": forged(algorithm="none") + "abc",
    "another algorithm": forged(secret=SECRET * 2, algorithm="HS512"),
    "wrong key": forged(secret="another-secret-that-is-long-enough-0123456789"),
    "wrong audience": forged(aud="another-api"),
    "wrong issuer": forged(iss="somebody"),
    "plain JWT type": forged(headers={"typ": "JWT"}),
    "no type": forged(headers={"typ": None}),
    "tampered kid": forged(headers={"kid": "00000000"}),
    "kid as a path": forged(headers={"kid": "../../etc/passwd"}),
    "no exp": forged(exp=None),
    "no iat": forged(iat=None),
    "no jti": forged(jti=None),
    "no sub": forged(sub=None),
    "no aud": forged(aud=None),
    "no iss": forged(iss=None),
    "no business": forged(business=None),
    "no role": forged(role=None),
    "unknown role": forged(role="root"),
    "role of visitors": forged(role="public"),
    "role as a list": forged(role=["owner"]),
    "business as a number": forged(business=7),
    "expired": forged(exp=int(time.time()) - 1),
    "expired long ago": forged(iat=1, exp=2),
    "issued in the future": forged(iat=int(time.time()) + 3600, exp=int(time.time()) + 7200),
    "not valid yet": forged(nbf=int(time.time()) + 3600),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_TOKENS)
async def test_a_bad_token_is_refused(api: Api, name: str) -> None:
    """401 with a problem that says no more than it must."""
    answer = await api.with_token(BAD_TOKENS[name]).get("clients", limit=1)
    body = problem(answer, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert SECRET not in answer.body.decode()
    assert len(body["detail"]) < 100


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", f"Basic {GOOD}", f"Token {GOOD}", GOOD, f"Bearer {GOOD} {GOOD}", "Bearer\t"]
)
async def test_an_authorization_header_of_another_form_is_refused(api: Api, header: str) -> None:
    """Only `Bearer` and one token is a login."""
    problem(await api.with_token(None).get("clients", headers={"Authorization": header}), "unauthorized")


async def test_the_scheme_is_case_insensitive(api: Api) -> None:
    """RFC 9110, section 11.1."""
    answer = await api.with_token(None).get("clients", headers={"Authorization": f"bEARER {api.token}"}, limit=1)
    assert answer.status == 200


async def test_a_token_ends_when_it_expires(api: Api, business_id: str) -> None:
    """Also one that was accepted, and so remembered, before."""
    caller = api.with_token(token_for(business_id, ttl_s=2))
    assert (await caller.get("clients", limit=1)).status == 200
    deadline = time.monotonic() + 5
    answer: Answer | None = None
    while time.monotonic() < deadline:
        answer = await caller.get("clients", limit=1)
        if answer.status != 200:
            break
    assert answer is not None
    assert "expired" in problem(answer, "unauthorized")["detail"]


async def test_a_ticket_is_made_for_whoever_has_a_token(api: Api) -> None:
    """It is short-lived, never the same, and no bearer token itself."""
    first, second = await api.made("auth/ticket", {}), await api.made("auth/ticket", {})
    assert first["ticket"] != second["ticket"]
    assert 0 < first["expires_in"] <= 60
    problem(await api.with_token(first["ticket"]).get("clients"), "unauthorized")
    problem(await api.with_token(None).post("auth/ticket"), "unauthorized")


async def test_a_token_lies_nowhere_in_clear(api: Api, db: asyncpg.Connection) -> None:
    """Issuing takes no Idempotency-Key, because a stored answer would hold the token; two requests are two tokens."""
    first = await api.made("service-tokens", {"name": "A"}, key="once")
    second = await api.made("service-tokens", {"name": "A"}, key="once")
    assert first["id"] != second["id"]
    for token in (first["token"], second["token"]):
        found = await db.fetchval(
            "SELECT count(*) FROM idempotency_keys WHERE position($1 in body) > 0", token.encode()
        )
        assert found == 0

"""Sessions: refreshed, listed, ended, and gone from that moment on."""

import asyncio
import base64
import uuid
from typing import Any

import aiohttp
import asyncpg
import jwt
import pytest

from protocol import limits
from tests.rest.helpers import NOBODY, acting, all_pages, problem
from tests.rest.people import PASSWORD, join, new_user, refreshed, sign_in, signed_in
from tests.support.server import Api, RunningServer


@pytest.fixture
async def manager(db: asyncpg.Connection, business_id: str) -> dict[str, Any]:
    user = await new_user(db)
    await join(db, business_id, user, "manager")
    return user


async def later(db: asyncpg.Connection, session_id: str, seconds: int = limits.refresh_grace_s + 5) -> None:
    """As if the session had last been refreshed that long ago."""
    await db.execute(
        "UPDATE user_sessions SET used_at = used_at - $2 * interval '1 second' WHERE id = $1", session_id, seconds
    )


@pytest.mark.parity("B2")
@pytest.mark.parity("C9")
async def test_a_session_goes_on_with_its_refresh_token(
    api: Api, db: asyncpg.Connection, manager: dict[str, Any]
) -> None:
    """Both tokens are new each time, the session and the rights are the same, and the time begins anew."""
    _, access = await signed_in(api, manager)
    assert (access["expires_in"], access["refresh_expires_in"]) == (900, 30 * 86400)
    for _ in range(3):
        await db.execute(
            "UPDATE user_sessions SET expires_at = now() + interval '1 hour' WHERE id = $1", access["session_id"]
        )
        answer = await refreshed(api, access["refresh_token"])
        assert answer.status == 200, answer
        assert answer.json["session_id"] == access["session_id"]
        assert answer.json["role"] == "manager"
        assert answer.json["refresh_token"] != access["refresh_token"]
        assert answer.json["access_token"] != access["access_token"]
        assert (await api.with_token(answer.json["access_token"]).get("clients", limit=1)).status == 200
        left = await db.fetchval("SELECT expires_at - now() FROM user_sessions WHERE id = $1", access["session_id"])
        assert left.days >= 29
        access = answer.json


@pytest.mark.parity("C9")
async def test_a_refresh_token_used_twice_ends_the_session(
    api: Api, db: asyncpg.Connection, manager: dict[str, Any]
) -> None:
    """Whoever has the stolen one, both lose: access and refresh tokens of the session, and no other session."""
    caller, access = await signed_in(api, manager)
    other, _ = await signed_in(api, manager)
    fresh = (await refreshed(api, access["refresh_token"])).json
    await later(db, access["session_id"])
    problem(await refreshed(api, access["refresh_token"]), "unauthorized")
    problem(await refreshed(api, fresh["refresh_token"]), "unauthorized")
    problem(await caller.get("users/me"), "unauthorized")
    problem(await api.with_token(fresh["access_token"]).get("users/me"), "unauthorized")
    assert (await other.get("users/me")).status == 200
    why = await db.fetchval("SELECT ended_why FROM user_sessions WHERE id = $1", access["session_id"])
    assert why == "a refresh token was used twice"


async def test_an_answer_that_got_lost_is_given_again(
    api: Api, db: asyncpg.Connection, manager: dict[str, Any]
) -> None:
    """Within seconds, the same refresh token again gives the same next one; two tabs at once keep their session."""
    _, access = await signed_in(api, manager)
    answers = await asyncio.gather(*(refreshed(api, access["refresh_token"]) for _ in range(5)))
    assert [a.status for a in answers] == [200] * 5
    assert len({a.json["refresh_token"] for a in answers}) == 1
    following = (await refreshed(api, answers[0].json["refresh_token"])).json
    # Two uses later it is no lost answer any more.
    problem(await refreshed(api, access["refresh_token"]), "unauthorized")
    problem(await refreshed(api, following["refresh_token"]), "unauthorized")


async def test_a_refresh_token_that_was_never_given_out_ends_nothing(api: Api, manager: dict[str, Any]) -> None:
    """Knowing a session's id is not enough to end it."""
    caller, access = await signed_in(api, manager)
    token = access["refresh_token"]
    raw = base64.urlsafe_b64decode(token + "==")
    bad = [
        "", "x", "x" * 512, "ü" * 70, token[:-1], token[:-2] + ("AA" if token[-2:] != "AA" else "BB"), token + "A",
        token + "==", access["access_token"][:500], raw[:52].hex(),
        base64.urlsafe_b64encode(raw[:16] + bytes(36)).decode().rstrip("="),
        base64.urlsafe_b64encode(raw[:16] + b"\xff\xff\xff\xff" + raw[20:]).decode().rstrip("="),
        base64.urlsafe_b64encode(uuid.UUID(NOBODY).bytes + raw[16:]).decode().rstrip("="),
    ]  # fmt: skip
    for wrong in bad:
        answer = await refreshed(api, wrong)
        problem(answer, "validation_failed" if not wrong else "unauthorized")
    problem(await refreshed(api, "x" * 513), "validation_failed")
    problem(await api.with_token(None).post("auth/refresh", {"refresh_token": None}), "validation_failed")
    assert (await caller.get("users/me")).status == 200
    assert (await refreshed(api, token)).status == 200


async def test_no_token_of_a_session_lies_in_the_database(
    api: Api, db: asyncpg.Connection, manager: dict[str, Any]
) -> None:
    """Neither token nor password, in any column of the session or of the kept answers."""
    _, access = await signed_in(api, manager)
    row = await db.fetchrow("SELECT * FROM user_sessions WHERE id = $1", access["session_id"])
    raw = base64.urlsafe_b64decode(access["refresh_token"] + "==")
    secret = raw[20:]
    for value in row.values():
        text = value if isinstance(value, bytes) else str(value).encode()
        assert secret not in text
        assert access["refresh_token"].encode() not in text
    for word in (access["refresh_token"], access["access_token"], PASSWORD):
        found = await db.fetchval("SELECT count(*) FROM idempotency_keys WHERE position($1 in body) > 0", word.encode())
        assert found == 0


@pytest.mark.parity("B2")
async def test_signing_out_ends_the_session_at_once(api: Api, manager: dict[str, Any]) -> None:
    """Its tokens and tickets are good no more, other sessions are; with `all` those end too."""
    first, one = await signed_in(api, manager)
    second, two = await signed_in(api, manager)
    third, _ = await signed_in(api, manager)
    ticket = (await first.made("auth/ticket", {}))["ticket"]
    assert (await first.post("auth/logout")).status == 204
    problem(await first.get("users/me"), "unauthorized")
    problem(await first.post("auth/logout"), "unauthorized")
    problem(await refreshed(api, one["refresh_token"]), "unauthorized")
    problem(
        await api.with_token(None).get(
            "live/sse", ticket=ticket, professional_id=NOBODY, from_="2026-01-01", to="2026-01-02"
        ),
        "unauthorized",
    )
    assert (await second.get("users/me")).status == 200
    assert (await second.post("auth/logout", {"all": True})).status == 204
    problem(await third.get("users/me"), "unauthorized")
    problem(await refreshed(api, two["refresh_token"]), "unauthorized")
    assert (await sign_in(api, manager)).status == 200


async def test_a_live_connection_ends_with_its_session(
    server: RunningServer, http: aiohttp.ClientSession, api: Api, manager: dict[str, Any]
) -> None:
    """Signing out closes the sockets that the session opened."""
    caller, access = await signed_in(api, manager)
    async with http.ws_connect(f"{server.url}/api/v1/live", protocols=["slotcast.v1"]) as live:
        await live.receive_json()
        await live.send_json({"type": "auth", "id": "1", "token": access["access_token"]})
        assert (await live.receive_json())["ok"] is True
        await caller.post("auth/logout")
        message = await live.receive(timeout=10)
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert message.data == 4101


async def test_a_user_sees_and_ends_their_sessions(api: Api, db: asyncpg.Connection, manager: dict[str, Any]) -> None:
    """Where from and since when; one by one, or all but the present one."""
    caller, access = await signed_in(api, manager)
    others = [await signed_in(api, manager) for _ in range(3)]
    listed = [s for page in await all_pages(caller, "users/me/sessions", 2) for s in page]
    assert [s["id"] for s in listed] == [access["session_id"], *(o[1]["session_id"] for o in others)]
    assert [s["current"] for s in listed] == [True, False, False, False]
    assert all(s["address"] == "127.0.0.1" and "aiohttp" in s["user_agent"] for s in listed)
    assert (await caller.request("DELETE", f"users/me/sessions/{listed[1]['id'].upper()}")).status == 204
    problem(await others[0][0].get("users/me"), "unauthorized")
    problem(await caller.request("DELETE", f"users/me/sessions/{listed[1]['id']}"), "not_found")
    assert (await others[1][0].get("users/me")).status == 200
    assert (await caller.request("DELETE", "users/me/sessions")).status == 204
    problem(await others[1][0].get("users/me"), "unauthorized")
    assert [s["id"] for s in (await caller.get("users/me/sessions")).json["items"]] == [access["session_id"]]


async def test_nobody_ends_anothers_session(
    api: Api, db: asyncpg.Connection, business_id: str, manager: dict[str, Any]
) -> None:
    """Not even an owner of the same business; what is no id is not there either."""
    caller, access = await signed_in(api, manager)
    owner = await new_user(db)
    await join(db, business_id, owner, "owner")
    nosy, _ = await signed_in(api, owner)
    for other in (access["session_id"], NOBODY, "x", "%00", "all"):
        problem(await nosy.request("DELETE", f"users/me/sessions/{other}"), "not_found")
    assert access["session_id"] not in str((await nosy.get("users/me/sessions")).json)
    assert (await caller.get("users/me")).status == 200


async def test_the_oldest_session_ends_when_there_are_too_many(
    api: Api, db: asyncpg.Connection, manager: dict[str, Any]
) -> None:
    """Sign-ins of one user are bounded; the one used longest ago goes."""
    first, access = await signed_in(api, manager)
    await db.execute(
        "INSERT INTO user_sessions (id, user_id, seed, used_at, expires_at) SELECT gen_random_uuid(), $1, '\\x00',"
        " now() + interval '1 second', now() + interval '1 day' FROM generate_series(2, $2)",
        manager["id"], limits.sessions_per_user_max,
    )  # fmt: skip
    assert (await first.get("users/me")).status == 200
    await db.execute("UPDATE user_sessions SET used_at = now() - interval '1 hour' WHERE id = $1", access["session_id"])
    last, _ = await signed_in(api, manager)
    problem(await first.get("users/me"), "unauthorized")
    assert (await last.get("users/me")).status == 200
    count = await db.fetchval(
        "SELECT count(*) FROM user_sessions WHERE user_id = $1 AND ended_at IS NULL", manager["id"]
    )
    assert count == limits.sessions_per_user_max


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE users SET disabled_at = now() WHERE id = $1",
        "UPDATE memberships SET deleted_at = now() WHERE user_id = $1",
        "UPDATE user_sessions SET expires_at = now() - interval '1 second' WHERE user_id = $1",
    ],
)
async def test_a_session_ends_for_who_is_let_in_no_more(
    api: Api, db: asyncpg.Connection, manager: dict[str, Any], change: str
) -> None:
    """A disabled user, a former member, and a session nobody has used for long get no further tokens."""
    _, access = await signed_in(api, manager)
    await db.execute(change, manager["id"])
    problem(await refreshed(api, access["refresh_token"]), "unauthorized")
    problem(await refreshed(api, access["refresh_token"]), "unauthorized")


async def test_a_refresh_brings_the_rights_of_now(api: Api, db: asyncpg.Connection, manager: dict[str, Any]) -> None:
    """Who has become owner meanwhile is one from the next refresh on."""
    caller, access = await signed_in(api, manager)
    problem(await caller.get("service-tokens"), "forbidden")
    await db.execute("UPDATE memberships SET role = 'owner' WHERE user_id = $1", manager["id"])
    answer = await refreshed(api, access["refresh_token"])
    assert answer.json["role"] == "owner"
    assert (await api.with_token(answer.json["access_token"]).get("service-tokens")).status == 200


async def test_what_is_no_users_token_has_no_sessions(api: Api, business_id: str) -> None:
    """A service token has no account; a token from the command line has no session to end."""
    service = api.with_token((await api.made("service-tokens", {"name": "bot"}))["token"])
    for path in ("users/me", "users/me/sessions"):
        problem(await service.get(path), "forbidden")
        problem(await api.get(path), "forbidden")
    problem(await service.post("auth/logout"), "forbidden")
    problem(await api.post("auth/logout"), "forbidden")
    ghost = acting(api, business_id, "owner", subject=NOBODY)
    problem(await ghost.get("users/me"), "forbidden")
    problem(await ghost.request("PATCH", "users/me", {"name": "x"}), "forbidden")


async def test_a_revoked_session_stays_revoked_across_a_restart(
    fresh_server: RunningServer, http: aiohttp.ClientSession
) -> None:
    """A node that starts knows the sessions whose access tokens are still running."""
    fresh_server.start()
    db = await asyncpg.connect(fresh_server.dsn)
    user = await new_user(db)
    await db.close()
    api = Api(fresh_server, http, None)
    caller, access = await signed_in(api, user)
    stays, _ = await signed_in(api, user)
    assert (await caller.post("auth/logout")).status == 204
    fresh_server.kill()
    fresh_server.start()
    problem(await caller.get("users/me"), "unauthorized")
    assert (await stays.get("users/me")).status == 200
    assert jwt.decode(access["access_token"], options={"verify_signature": False})["sid"] == access["session_id"]

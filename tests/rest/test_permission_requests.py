"""Permissions beyond one's role: asked for, granted or denied by somebody else."""

import asyncpg
import pytest

from tests.rest.helpers import acting, all_pages, new_business, problem
from tests.rest.people import audited, member, sign_in
from tests.support.server import Api, RunningServer


@pytest.fixture
async def business(server: RunningServer) -> str:
    return await new_business(server.dsn)


@pytest.fixture
async def owner(api: Api, db: asyncpg.Connection, business: str) -> Api:
    return (await member(api, db, business, "owner"))[0]


ASKED = {"permission": "catalogue.write", "reason": "I keep the price list"}
SERVICE = {"name": "x", "duration_minutes": 5}


@pytest.mark.parity("C5")
async def test_a_professional_asks_and_the_owner_grants(
    api: Api, owner: Api, db: asyncpg.Connection, business: str
) -> None:
    """The permission holds from the next sign-in, which is due at once; the request keeps who decided and why."""
    asker, user_id, _ = await member(api, db, business, "professional")
    made = await asker.made("permission-requests", ASKED)
    assert (made["status"], made["reason"], made["user_id"]) == ("pending", ASKED["reason"], user_id)
    problem(await asker.post("permission-requests", ASKED), "conflict")
    listed = (await owner.get("permission-requests", status="pending")).json["items"]
    assert [r["id"] for r in listed] == [made["id"]]
    path = f"permission-requests/{made['id']}"
    approved = await owner.post(f"{path}/approve", {"answer": "welcome"})
    assert (approved.status, approved.json["status"], approved.json["answer"]) == (200, "approved", "welcome")
    assert approved.json["decided_by"] == (await owner.get("users/me")).json["id"]
    assert approved.json["decided_at"]
    problem(await asker.post("services", SERVICE), "unauthorized")
    email = await db.fetchval("SELECT email FROM users WHERE id = $1", user_id)
    asker = api.with_token((await sign_in(api, {"email": email})).json["access_token"])
    assert (await asker.post("services", SERVICE)).status == 201
    assert (await asker.get(path)).json["status"] == "approved"
    for decision in ("approve", "deny"):
        problem(await owner.post(f"{path}/{decision}"), "conflict")
    problem(await asker.post("permission-requests", ASKED), "validation_failed", "permission")
    entry = (await audited(owner, action="permission.approved"))[0]
    assert (entry["what_id"], entry["after"]["status"]) == (made["id"], "approved")


@pytest.mark.parity("C5")
async def test_a_manager_denies_and_nothing_changes(api: Api, db: asyncpg.Connection, business: str) -> None:
    """Who was denied may ask again."""
    asker, _, membership = await member(api, db, business, "professional")
    manager, _, _ = await member(api, db, business, "manager")
    made = await asker.made("permission-requests", ASKED)
    denied = await manager.post(f"permission-requests/{made['id']}/deny", {"answer": "not now"})
    assert (denied.json["status"], denied.json["answer"]) == ("denied", "not now")
    assert await db.fetchval("SELECT grants FROM memberships WHERE id = $1", membership) == []
    problem(await asker.post("services", SERVICE), "forbidden")
    assert (await asker.get("users/me")).status == 200, "the session goes on"
    assert (await asker.post("permission-requests", ASKED)).status == 201


async def test_nobody_decides_their_own_request_or_grants_more_than_managers_have(
    api: Api, db: asyncpg.Connection, business: str
) -> None:
    """Nor can be asked for what is the owner's or the platform's, what one has, or what is not there."""
    asker, user_id, _ = await member(api, db, business, "professional")
    made = await asker.made("permission-requests", {"permission": "bookings.read"})
    problem(await asker.post(f"permission-requests/{made['id']}/approve"), "forbidden")
    disguised = acting(api, business, "manager", subject=user_id)
    problem(await disguised.post(f"permission-requests/{made['id']}/approve"), "forbidden")
    limited = acting(api, business, "manager", locations=frozenset())
    problem(await limited.post(f"permission-requests/{made['id']}/approve"), "forbidden")
    for permission in ("tokens.manage", "memberships.write", "platform.read", "users.write", "no.such", "bookings",
                       "catalogue.read", "account.own"):  # fmt: skip
        answer = await asker.post("permission-requests", {"permission": permission})
        problem(answer, "validation_failed", "permission")
    manager, _, _ = await member(api, db, business, "manager")
    problem(await manager.post("permission-requests", ASKED), "validation_failed", "permission")
    for role in ("owner", "client", "service"):
        problem(await acting(api, business, role).post("permission-requests", ASKED), "forbidden")
    nobody = acting(api, business, "professional", subject="0198c0de-0000-7000-8000-000000000000")
    problem(await nobody.post("permission-requests", ASKED), "forbidden")


async def test_everybody_sees_their_own_requests(api: Api, owner: Api, db: asyncpg.Connection, business: str) -> None:
    """And who decides sees all; another's is not there."""
    askers = [(await member(api, db, business, "professional"))[0] for _ in range(2)]
    made = [await a.made("permission-requests", ASKED) for a in askers]
    for asker, own, other in ((askers[0], made[0], made[1]), (askers[1], made[1], made[0])):
        assert [r["id"] for r in (await asker.get("permission-requests")).json["items"]] == [own["id"]]
        problem(await asker.get(f"permission-requests/{other['id']}"), "not_found")
    pages = await all_pages(owner, "permission-requests", 1)
    assert [r["id"] for p in pages for r in p] == [m["id"] for m in made]


async def test_whoever_has_left_is_granted_nothing(api: Api, owner: Api, db: asyncpg.Connection, business: str) -> None:
    """The refusal leaves the request as it was."""
    asker, _, membership = await member(api, db, business, "professional")
    made = await asker.made("permission-requests", ASKED)
    await owner.request("DELETE", f"memberships/{membership}")
    problem(await owner.post(f"permission-requests/{made['id']}/approve"), "conflict")
    assert (await owner.get(f"permission-requests/{made['id']}")).json["status"] == "pending"

"""Members: added, changed and removed by owners, with the rights that follow at once."""

import asyncio
from typing import Any

import asyncpg
import pytest

from tests.rest.helpers import NOBODY, acting, all_pages, new_business, problem
from tests.rest.people import audited, join, member, new_user, sign_in, signed_in
from tests.support.server import Api, RunningServer, new_place


@pytest.fixture
async def business(server: RunningServer) -> str:
    return await new_business(server.dsn)


@pytest.fixture
async def owner(api: Api, db: asyncpg.Connection, business: str) -> Api:
    """Signed in, with a membership of their own."""
    return (await member(api, db, business, "owner"))[0]


@pytest.mark.parity("C4")
async def test_a_user_becomes_a_member_by_id_or_email(
    owner: Api, api: Api, db: asyncpg.Connection, business: str
) -> None:
    """However the address is spelt; a member signs in as what they were made."""
    ann, bob = await new_user(db), await new_user(db)
    made = await owner.made("memberships", {"role": "manager", "user_id": ann["id"]})
    assert (made["user_id"], made["role"], made["location_ids"], made["grants"]) == (ann["id"], "manager", None, [])
    local, _, domain = bob["email"].partition("@")
    spelt = await owner.made("memberships", {"role": "professional", "email": f"{local.upper()}@{domain.upper()}"})
    assert spelt["user_id"] == bob["id"]
    for user, role in ((ann, "manager"), (bob, "professional")):
        assert (await sign_in(api, user)).json["role"] == role
    assert (await owner.get(f"memberships/{made['id']}")).json == made
    problem(await owner.post("memberships", {"role": "owner", "user_id": ann["id"]}), "conflict")
    listed = [m["id"] for p in await all_pages(owner, "memberships", 1) for m in p]
    assert len(listed) == 3
    assert [m["id"] for m in (await owner.get("memberships", role="manager")).json["items"]] == [made["id"]]
    assert (await audited(owner, action="membership.made"))[-1]["after"]["user_id"] == ann["id"]


async def test_nobody_unknown_and_no_super_admin_becomes_a_member(owner: Api, db: asyncpg.Connection) -> None:
    admin = await new_user(db, super_admin=True)
    for who, field in (
        ({"user_id": NOBODY}, "user_id"), ({"email": "nobody@example.org"}, "email"),
        ({"user_id": admin["id"]}, "user_id"),
        ({"email": admin["email"]}, "email"), ({}, "user_id"), ({"user_id": NOBODY, "email": "a@b.org"}, "user_id"),
    ):  # fmt: skip
        problem(await owner.post("memberships", {"role": "manager", **who}), "validation_failed", field)


async def test_rights_name_what_is_there(owner: Api, stranger: Api, db: asyncpg.Connection) -> None:
    """Locations and calendars of the business, roles that exist, permissions that can be granted."""
    user = await new_user(db)
    theirs = await stranger.made("locations", {"name": "x"})
    place = await new_place(stranger)
    mine = await owner.made("locations", {"name": "x"})
    for bad, field in (
        ({"role": "super_admin"}, "role"), ({"role": "client"}, "role"), ({"role": "service"}, "role"),
        ({"location_ids": [theirs["id"]]}, "location_ids"), ({"location_ids": [NOBODY]}, "location_ids"),
        ({"role": "professional", "location_ids": [mine["id"]]}, "location_ids"),
        ({"role": "professional", "professional_id": place.professional_id}, "professional_id"),
        ({"grants": ["tokens.manage"]}, "grants"), ({"grants": ["platform.write"]}, "grants"),
        ({"grants": ["x.y"]}, "grants"), ({"grants": ["memberships.write"]}, "grants"),
        ({"business_id": NOBODY}, "business_id"),
    ):  # fmt: skip
        body = {"role": "manager", "user_id": user["id"], **bad}
        errors = problem(await owner.post("memberships", body), "validation_failed")["errors"]
        assert errors[0]["field"].startswith(field), (bad, errors)


async def test_a_calendar_is_one_members_own(owner: Api, db: asyncpg.Connection) -> None:
    """Until that one leaves."""
    calendar = {"role": "professional", "professional_id": (await new_place(owner)).professional_id}
    first = await owner.made("memberships", calendar | {"user_id": (await new_user(db))["id"]})
    second = {"user_id": (await new_user(db))["id"]}
    assert "calendar" in problem(await owner.post("memberships", calendar | second), "conflict")["detail"]
    made = await owner.made("memberships", {"role": "professional", **second})
    path = f"memberships/{made['id']}"
    change = {"professional_id": calendar["professional_id"]}
    assert "calendar" in problem(await owner.request("PATCH", path, change), "conflict")["detail"]
    await owner.request("DELETE", f"memberships/{first['id']}")
    assert (await owner.request("PATCH", path, change)).json["professional_id"] == change["professional_id"]


async def test_a_business_that_nobody_approved_finds_out_no_addresses(
    owner: Api, db: asyncpg.Connection, business: str
) -> None:
    """The same refusal whether somebody has the address or not."""
    await db.execute("UPDATE businesses SET status = 'pending' WHERE id = $1", business)
    user = await new_user(db)
    for email in (user["email"], "nobody@example.org"):
        problem(await owner.post("memberships", {"role": "manager", "email": email}), "business_pending")
    assert (await owner.post("memberships", {"role": "manager", "user_id": user["id"]})).status == 201


@pytest.mark.parity("C3")
async def test_changed_rights_hold_from_the_next_request_on(
    owner: Api, api: Api, db: asyncpg.Connection, business: str
) -> None:
    """The sessions with the old rights end; a new sign-in has the new ones."""
    here = await owner.made("locations", {"name": "here"})
    user = await new_user(db)
    made = await owner.made("memberships", {"role": "manager", "user_id": user["id"], "location_ids": [here["id"]]})
    path = f"memberships/{made['id']}"
    caller, _ = await signed_in(api, user)
    problem(await caller.post("services", {"name": "x", "duration_minutes": 5}), "forbidden")
    changed = await owner.request("PATCH", path, {"location_ids": None})
    assert changed.json["location_ids"] is None
    problem(await caller.get("users/me"), "unauthorized")
    caller, _ = await signed_in(api, user)
    assert (await caller.post("services", {"name": "x", "duration_minutes": 5})).status == 201
    # A limit to locations goes with the role that it is for.
    await owner.request("PATCH", path, {"location_ids": [here["id"]]})
    demoted = await owner.request("PATCH", path, {"role": "professional"})
    assert (demoted.json["role"], demoted.json["location_ids"]) == ("professional", None)
    caller, _ = await signed_in(api, user)
    assert (await caller.get("users/me")).json["role"] == "professional"
    entry = (await audited(owner, action="membership.changed"))[0]
    assert (entry["before"]["role"], entry["after"]["role"]) == ("manager", "professional")


async def test_a_removed_member_is_out_and_can_come_back(owner: Api, api: Api, db: asyncpg.Connection) -> None:
    """With the rights of the new membership, not of the old one."""
    user = await new_user(db)
    body = {"role": "manager", "user_id": user["id"], "grants": ["bookings.read"]}
    made = await owner.made("memberships", body)
    caller, _ = await signed_in(api, user)
    path = f"memberships/{made['id']}"
    assert (await owner.request("DELETE", path)).status == 204
    problem(await caller.get("bookings"), "unauthorized")
    assert (await sign_in(api, user)).json["role"] == "user"
    for answer in (await owner.get(path), await owner.request("DELETE", path), await owner.request("PATCH", path, {})):
        problem(answer, "not_found")
    back = await owner.made("memberships", {"role": "professional", "user_id": user["id"]})
    assert (back["role"], back["grants"]) == ("professional", [])


async def test_a_client_who_is_employed_signs_in_anew(
    owner: Api, api: Api, db: asyncpg.Connection, business: str
) -> None:
    """The token of a client does not go on beside the rights of a member."""
    user = await new_user(db)
    caller, access = await signed_in(api, user, business=business)
    assert access["role"] == "client"
    await owner.made("memberships", {"role": "manager", "user_id": user["id"]})
    problem(await caller.get("users/me"), "unauthorized")


# Owners


async def test_a_business_keeps_an_owner(owner: Api, api: Api, db: asyncpg.Connection, business: str) -> None:
    """The last one can neither leave nor step down; one whose login is disabled does not count."""
    me = (await owner.get("memberships", role="owner")).json["items"][0]
    path = f"memberships/{me['id']}"
    problem(await owner.request("DELETE", path), "conflict")
    problem(await owner.request("PATCH", path, {"role": "manager"}), "conflict")
    disabled = await new_user(db)
    await join(db, business, disabled, "owner")
    await db.execute("UPDATE users SET disabled_at = now() WHERE id = $1", disabled["id"])
    problem(await owner.request("DELETE", path), "conflict")
    await owner.made("memberships", {"role": "owner", "user_id": (await new_user(db))["id"]})
    assert (await owner.request("PATCH", path, {"role": "manager"})).json["role"] == "manager"


async def test_two_owners_who_remove_each_other_leave_one(
    api: Api, owner: Api, db: asyncpg.Connection, business: str
) -> None:
    other, _, second = await member(api, db, business, "owner")
    first = next(m["id"] for m in (await owner.get("memberships")).json["items"] if m["id"] != second)
    answers = await asyncio.gather(
        owner.request("DELETE", f"memberships/{second}"), other.request("DELETE", f"memberships/{first}")
    )
    assert sorted(a.status for a in answers)[0] == 204
    left = "SELECT count(*) FROM memberships WHERE business_id = $1 AND role = 'owner' AND deleted_at IS NULL"
    assert await db.fetchval(left, business) == 1


async def test_nobody_raises_themselves_and_only_owners_change_members(
    api: Api, owner: Api, db: asyncpg.Connection, business: str
) -> None:
    me = (await owner.get("memberships", role="owner")).json["items"][0]
    problem(await owner.request("PATCH", f"memberships/{me['id']}", {"grants": ["bookings.read"]}), "forbidden")
    for role in ("manager", "professional"):
        caller, user_id, membership = await member(api, db, business, role, grants=["memberships.write"])
        change: tuple[tuple[str, str, Any], ...] = (
            ("PATCH", f"memberships/{membership}", {"role": "owner"}),
            ("POST", "memberships", {"role": "owner", "user_id": user_id}),
            ("DELETE", f"memberships/{me['id']}", None),
        )
        for method, path, body in change:
            problem(await caller.request(method, path, body), "forbidden")


# Who sees whom


async def test_members_see_as_far_as_they_reach(api: Api, owner: Api, db: asyncpg.Connection, business: str) -> None:
    """A manager everybody, one of some locations who works there, a professional themselves, a client nobody."""
    here, there = [await owner.made("locations", {"name": n}) for n in ("here", "there")]
    works = [
        await owner.made("professionals", {"display_name": "P", "location_id": place["id"]}) for place in (here, there)
    ]
    first, first_id, first_m = await member(api, db, business, "professional", professional_id=works[0]["id"])
    _, second_id, second_m = await member(api, db, business, "professional", professional_id=works[1]["id"])
    manager = acting(api, business, "manager", locations=frozenset({here["id"]}))

    async def seen(caller: Api) -> set[str]:
        return {m["id"] for m in (await caller.get("memberships")).json["items"]}

    assert await seen(manager) == {first_m}
    assert await seen(first) == {first_m}
    assert len(await seen(acting(api, business, "manager"))) == 3
    assert (await manager.get(f"memberships/{first_m}")).status == 200
    for caller in (manager, first):
        problem(await caller.get(f"memberships/{second_m}"), "not_found")
    problem(await first.get("memberships", user_id=second_id), "forbidden")
    assert (await first.get("memberships", user_id=first_id)).status == 200
    problem(await acting(api, business, "client", client_id=NOBODY).get("memberships"), "forbidden")

"""What super admins do, and nobody else."""

import uuid
from typing import Any

import aiohttp
import asyncpg
import pytest

from server.app import endpoints
from tests.rest.helpers import NOBODY, acting, all_pages, book, new_business, problem
from tests.rest.people import audited, new_user, sign_in, signed_in, super_admin
from tests.rest.test_businesses import registered
from tests.support.server import Api, Place, RunningServer, new_place

PLATFORM = [e for e in endpoints(None) if e.needs in ("platform.read", "platform.write", "users.write")]
BODIES = {"BusinessDecision": {}, "ReasonGiven": {"reason": "x"}, "Empty": {}, "ReasonBody": {}}


@pytest.mark.parity("C4")
@pytest.mark.parametrize("e", PLATFORM, ids=lambda e: e.path)
async def test_the_platform_is_for_super_admins(api: Api, db: asyncpg.Connection, business_id: str, e: Any) -> None:
    """403 for every role of a business, whatever the id."""
    body = BODIES[e.body.__name__] if e.body else None
    path = e.path.replace("{id}", business_id)
    user, _ = await signed_in(api, await new_user(db))
    roles = [acting(api, business_id, r) for r in ("owner", "manager", "professional", "client", "service")]
    for caller in [user, *roles]:
        problem(await caller.request(e.method, path, body), "forbidden")
    if "{id}" in e.path:
        admin = await super_admin(api, db)
        for unknown in (NOBODY, "x", "%00"):
            problem(await admin.request(e.method, e.path.replace("{id}", unknown), body), "not_found")


@pytest.mark.parity("C1")
async def test_a_business_goes_through_its_states(api: Api, db: asyncpg.Connection) -> None:
    """Rejected, approved, suspended, reactivated; each with its reason, in the log; anything else is a conflict."""
    owner, made = await registered(api)
    admin, path = await super_admin(api, db), f"admin/businesses/{made['id']}"
    for early in ("suspend", "reactivate"):
        problem(await admin.post(f"{path}/{early}", {"reason": "x"}), "conflict")
    problem(await admin.post(f"{path}/reject"), "validation_failed", "reason")
    problem(await admin.post(f"{path}/reject", {"reason": ""}), "validation_failed", "reason")
    for action, status in (
        ("reject", "rejected"),
        ("approve", "active"),
        ("suspend", "suspended"),
        ("reactivate", "active"),
    ):
        answer = await admin.post(f"{path}/{action}", {"reason": f"why {action}"})
        assert (answer.status, answer.json["status"], answer.json["status_reason"]) == (200, status, f"why {action}")
        assert (await owner.get(f"businesses/{made['id']}")).json["status"] == status
    problem(await admin.post(f"{path}/approve"), "conflict")
    actions = [entry["action"] for entry in await audited(owner)]
    assert actions[:4] == ["business.reactivated", "business.suspended", "business.approved", "business.rejected"]
    assert (await audited(owner))[1]["after"] == {"status": "suspended", "status_reason": "why suspend"}


async def test_a_suspension_is_felt_at_once_and_reading_goes_on(api: Api, db: asyncpg.Connection) -> None:
    owner, made = await registered(api)
    admin, path = await super_admin(api, db), f"admin/businesses/{made['id']}"
    await admin.post(f"{path}/approve")
    place = await new_place(owner)
    booking = await owner.made("bookings", place.booking(place.at(9)))
    await admin.post(f"{path}/suspend", {"reason": "unpaid"})
    problem(await owner.post("bookings", place.booking(place.at(10))), "business_suspended")
    assert (await owner.get("bookings")).json["items"]
    assert (await owner.post(f"bookings/{booking['id']}/cancel")).status == 200
    await admin.post(f"{path}/reactivate")
    assert (await owner.post("bookings", place.booking(place.at(10)))).status == 201


@pytest.mark.parity("C1")
async def test_a_trial_begins_with_approval_and_ends(fresh_server: RunningServer, http: aiohttp.ClientSession) -> None:
    """Its length is the server's setting unless the super admin names another; past it no bookings are taken."""
    fresh_server.environment["SLOTCAST_TRIAL_DAYS"] = "14"
    api = Api(fresh_server.start(), http, None)
    db = await asyncpg.connect(fresh_server.dsn)
    owner, made = await registered(api)
    admin, path = await super_admin(api, db), f"admin/businesses/{made['id']}"
    approved = (await admin.post(f"{path}/approve")).json
    left = "SELECT round(extract(epoch FROM trial_ends_at - now()) / 86400) FROM businesses WHERE id = $1"
    assert approved["trial_ends_at"]
    assert await db.fetchval(left, made["id"]) == 14
    place = await new_place(owner)
    assert (await owner.post("bookings", place.booking(place.at(9)))).status == 201
    await admin.post(f"{path}/reactivate", {"trial_days": 3})
    assert await db.fetchval(left, made["id"]) == 3
    await db.execute("UPDATE businesses SET trial_ends_at = now() - interval '1 s' WHERE id = $1", made["id"])
    await owner.request("PATCH", f"businesses/{made['id']}", {"name": "x"})
    problem(await owner.post("bookings", place.booking(place.at(10))), "trial_over")
    assert "trial_ends_at" not in (await admin.post(f"{path}/reactivate", {"trial_days": 0})).json
    assert (await owner.post("bookings", place.booking(place.at(10)))).status == 201
    await db.close()


async def test_businesses_are_listed_with_filters_page_by_page(api: Api, db: asyncpg.Connection) -> None:
    admin, part = await super_admin(api, db), f"f{uuid.uuid4().hex[:12]}"
    made = [(await registered(api, slug=f"{part}-{n}"))[1]["id"] for n in range(5)]
    await admin.post(f"admin/businesses/{made[2]}/approve")
    pages = await all_pages(admin, "admin/businesses", 2, q=part.upper())
    assert [len(p) for p in pages] == [2, 2, 1]
    assert [b["id"] for p in pages for b in p] == made
    active = (await admin.get("admin/businesses", q=part, status="active")).json["items"]
    assert [b["id"] for b in active] == [made[2]]
    assert (await admin.get("admin/businesses", q="%")).json["items"] == [], "no pattern, but text"
    for bad in ({"status": "x"}, {"q": ""}, {"q": "\0"}, {"deleted": "maybe"}, {"limit": 0}, {"colour": 1}):
        problem(await admin.get("admin/businesses", **bad), "validation_failed")


@pytest.mark.parity("C15")
async def test_statistics_count_the_platform(api: Api, db: asyncpg.Connection, place: Place) -> None:
    """One more of each is one more in the counts; bookings by the day they were made."""
    admin = await super_admin(api, db)
    before = (await admin.get("admin/statistics")).json
    booking = await book(place, place.at(9))
    await book(place, place.at(10))
    await place.api.post(f"bookings/{booking['id']}/cancel")
    await registered(api)
    after = (await admin.get("admin/statistics")).json
    assert after["bookings"]["cancelled"] >= before["bookings"].get("cancelled", 0) + 1
    assert after["bookings"]["confirmed"] >= before["bookings"].get("confirmed", 0) + 1
    assert "held" not in after["bookings"]
    assert after["businesses"]["pending"] >= before["businesses"].get("pending", 0) + 1
    assert after["users"] > before["users"]
    assert after["professionals"] > 0
    assert after["clients"] > 0
    past = (await admin.get("admin/statistics", date_from="2001-01-01", date_to="2001-12-31")).json
    assert (past["bookings"], past["date_from"], past["date_to"]) == ({}, "2001-01-01", "2001-12-31")
    for bad in (
        {"date_from": "2026-01-02", "date_to": "2026-01-01"}, {"date_from": "2020-01-01", "date_to": "2026-01-01"},
        {"date_from": "x"}, {"date_to": "2026-13-01"}, {"month": "x"},
    ):  # fmt: skip
        problem(await admin.get("admin/statistics", **bad), "validation_failed")


async def test_a_disabled_login_is_locked_out_and_let_in_again(api: Api, db: asyncpg.Connection) -> None:
    """Its sessions end at once."""
    admin, user = await super_admin(api, db), await new_user(db)
    caller, _ = await signed_in(api, user)
    answer = await admin.post(f"users/{user['id']}/disable", {"reason": "spam"})
    assert (answer.status, answer.json["disabled"]) == (200, True)
    problem(await caller.get("users/me"), "unauthorized")
    problem(await sign_in(api, user), "forbidden")
    assert (await admin.post(f"users/{user['id']}/enable")).json["disabled"] is False
    assert (await sign_in(api, user)).status == 200
    entries = await audited(admin, what_id=user["id"])
    assert [e["action"] for e in entries] == ["user.enabled", "user.disabled"]
    assert entries[1]["after"] == {"disabled": True, "reason": "spam"}
    me = (await admin.get("users/me")).json["id"]
    problem(await admin.post(f"users/{me}/disable"), "forbidden")


async def test_a_super_admin_reads_and_changes_any_business_and_no_calendar(
    server: RunningServer, api: Api, db: asyncpg.Connection, place: Place
) -> None:
    admin, business = await super_admin(api, db), await new_business(server.dsn)
    assert (await admin.get(f"businesses/{business}")).json["allowed_origins"] == []
    changed = await admin.request("PATCH", f"businesses/{business}", {"name": "By the platform"})
    assert changed.json["name"] == "By the platform"
    assert (await audited(admin, business_id=business))[0]["action"] == "business.changed"
    for path in ("bookings", "clients", "locations", f"professionals/{place.professional_id}/events"):
        problem(await admin.get(path), "forbidden")

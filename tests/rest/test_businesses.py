"""Businesses: registered by their owners, run by their own rules, closed and restored."""

import uuid
from typing import Any

import asyncpg
import pytest

from server.slugs import RESERVED
from tests.rest.helpers import acting, new_business, problem
from tests.rest.people import audited, member, new_user, signed_in, super_admin
from tests.support.server import Api, RunningServer, new_place


def slug() -> str:
    return f"s-{uuid.uuid4().hex[:20]}"


def registration(**more: Any) -> dict[str, Any]:
    owner = {"name": "Olga Owner", "password": "long enough", "email": f"{uuid.uuid4().hex}@example.org"}
    return {"slug": slug(), "name": "Salon", "time_zone": "Europe/Berlin", "owner": owner, **more}


async def registered(api: Api, **more: Any) -> tuple[Api, Any]:
    """The API as the owner of a new business has it, and the business."""
    made = await api.with_token(None).made("businesses", registration(**more))
    return api.with_token(made["access"]["access_token"]), made["business"]


@pytest.mark.parity("B1")
@pytest.mark.parity("C1")
async def test_a_business_is_registered_with_its_owner_and_waits(api: Api, db: asyncpg.Connection) -> None:
    """The owner is signed in and may set everything up; bookings are taken once a super admin has approved."""
    body = registration(locale="kk", region="DE")
    answer = await api.with_token(None).post("businesses", body)
    assert answer.status == 201, answer
    made, access = answer.json["business"], answer.json["access"]
    assert answer.headers["Location"] == f"/api/v1/businesses/{made['id']}"
    assert (made["status"], made["slug"], made["locale"], made["region"]) == ("pending", body["slug"], "kk", "DE")
    assert (made["languages"], made["default_confirmation"]) == (["kk"], "instant")
    assert (access["role"], access["business_id"]) == ("owner", made["id"])
    owner = api.with_token(access["access_token"])
    assert (await owner.get(f"businesses/{made['id']}")).json["name"] == "Salon"
    place = await new_place(owner)
    problem(await owner.post("bookings", place.booking(place.at(9))), "business_pending")
    admin = await super_admin(api, db)
    approved = await admin.post(f"admin/businesses/{made['id']}/approve")
    assert (approved.status, approved.json["status"]) == (200, "active")
    assert (await owner.post("bookings", place.booking(place.at(9)))).status == 201
    again = {"email": body["owner"]["email"], "password": "long enough"}
    assert (await api.with_token(None).post("auth/login", again)).json["business_id"] == made["id"]
    entry = (await audited(owner, action="business.registered"))[0]
    assert (entry["what_id"], entry["after"]["slug"]) == (made["id"], body["slug"])
    assert "long enough" not in str(entry)


async def test_whoever_is_signed_in_can_own_another_business(api: Api, db: asyncpg.Connection) -> None:
    """Without an owner in the body; the answer signs them in there. Neither both nor nobody."""
    user = await new_user(db)
    caller, _ = await signed_in(api, user)
    body = {"slug": slug(), "name": "Second", "time_zone": "UTC"}
    made = await caller.made("businesses", body)
    assert made["access"]["user_id"] == user["id"]
    there = api.with_token(made["access"]["access_token"])
    assert (await there.get("users/me")).json["role"] == "owner"
    problem(await api.with_token(None).post("businesses", body | {"slug": slug()}), "unauthorized")
    both = registration()
    problem(await caller.post("businesses", both), "validation_failed", "owner")
    problem(await (await super_admin(api, db)).post("businesses", body | {"slug": slug()}), "forbidden")
    issued = await api.made("service-tokens", {"name": "x"})
    problem(await api.with_token(issued["token"]).post("businesses", body | {"slug": slug()}), "forbidden")


async def test_a_taken_slug_or_owner_leaves_nothing_behind(api: Api, db: asyncpg.Connection) -> None:
    """One name, one business: also for one that was closed. And one e-mail, one user, however it is spelt."""
    first = registration()
    await api.with_token(None).made("businesses", first)
    second = registration(slug=first["slug"])
    problem(await api.with_token(None).post("businesses", second), "conflict", "slug")
    count = "SELECT count(*) FROM users WHERE email = $1"
    assert await db.fetchval(count, second["owner"]["email"]) == 0
    third = registration()
    third["owner"]["email"] = first["owner"]["email"].upper()
    assert "slug" not in problem(await api.with_token(None).post("businesses", third), "conflict")["detail"]
    assert await db.fetchval("SELECT count(*) FROM businesses WHERE slug = $1", third["slug"]) == 0


@pytest.mark.parametrize(
    "bad",
    [
        "ab", "x" * 64, "Salon", "salon_1", "-salon", "salon-", "salon--1", "xn--bcher-kva", "bücher",
        "sa lon", "s\N{CYRILLIC SMALL LETTER A}lon",
        "salon.x", "salon\n", "", "www", "api", "admin", "static", "docs", "public", "live", "services", "bookings",
        "0198c0de-0000-7000-8000-000000000000",
    ],
)  # fmt: skip
async def test_a_slug_is_a_plain_label_and_nobody_elses(api: Api, bad: str) -> None:
    """ASCII letters, digits and single hyphens; no look-alikes, no names of ours, no ids."""
    problem(await api.with_token(None).post("businesses", registration(slug=bad)), "validation_failed", "slug")


def test_paths_below_public_are_no_slugs() -> None:
    """`public/services` is the services of the subdomain's business."""
    assert {"services", "professionals", "locations", "availability", "bookings"} <= RESERVED


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("time_zone", "Mars/Olympus"), ("region", "XX"), ("region", "de"), ("locale", "german"), ("name", ""),
        ("locale", "de"), ("status", "active"), ("id", "x"), ("trial_ends_at", "2030-01-01T00:00:00Z"),
        ("owner", {"name": "x", "password": "long enough"}),
        ("owner", {"name": "x", "password": "short", "email": "a@example.org"}),
        ("owner", {"name": "x", "password": "long enough", "email": "a@example.org", "super_admin": True}),
        ("owner", {"name": "x", "password": "x" * 10_240, "email": "a@example.org"}),
    ],
)  # fmt: skip
async def test_a_registration_is_checked(api: Api, field: str, value: Any) -> None:
    """Nothing can be set that approval decides, and no field is taken unseen."""
    body = problem(await api.with_token(None).post("businesses", registration(**{field: value})), "validation_failed")
    assert body["errors"][0]["field"].startswith(field)


# Settings and rules


async def test_an_owner_changes_settings_and_others_read_them(api: Api, db: asyncpg.Connection) -> None:
    """Who may not change it does not see how it is watched; the log says what was changed, from what."""
    owner, made = await registered(api)
    path = f"businesses/{made['id']}"
    change = {
        "name": "New", "languages": ["en", "de"], "cancellation_notice_minutes": 120,
        "default_confirmation": "approval", "hold_ttl_seconds": 60, "region": "DE",
        "allowed_origins": ["https://example.org"],
    }  # fmt: skip
    changed = await owner.request("PATCH", path, change)
    assert changed.status == 200, changed
    assert {k: changed.json[k] for k in change} == change
    manager, _, _ = await member(api, db, made["id"], "manager")
    seen = (await manager.get(path)).json
    assert seen["name"] == "New"
    assert "allowed_origins" not in seen
    problem(await manager.request("PATCH", path, {"name": "x"}), "forbidden")
    entry = (await audited(owner, action="business.changed"))[0]
    assert (entry["before"]["name"], entry["after"]["name"]) == ("Salon", "New")
    assert "slug" not in entry["before"], "only what differs"
    assert (entry["by"].split(":")[0], entry["address"], entry["what_id"]) == ("user", "127.0.0.1", made["id"])
    assert entry["user_agent"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("slug", "other"), ("status", "active"), ("trial_ends_at", None), ("time_zone", "x"), ("region", "ZZ"),
        ("allowed_origins", ["example.org"]), ("allowed_origins", ["https://example.org/"]), ("allowed_origins", ["*"]),
        ("allowed_origins", ["null"]), ("allowed_origins", ["https://EXAMPLE.org"]), ("hold_ttl_seconds", 0),
        ("hold_ttl_seconds", 901), ("cancellation_notice_minutes", -1), ("languages", []), ("languages", ["xx-yy"]),
        ("default_confirmation", "maybe"), ("business_id", "x"), ("name", None),
    ],
)  # fmt: skip
async def test_what_cannot_be_set_is_refused(api: Api, business_id: str, field: str, value: Any) -> None:
    """State is the platform's, the slug is for ever, values have their bounds."""
    answer = await api.request("PATCH", f"businesses/{business_id}", {field: value})
    assert problem(answer, "validation_failed")["errors"][0]["field"].startswith(field)


async def test_the_default_confirmation_is_for_services_that_name_none(server: RunningServer, api: Api) -> None:
    owner = acting(api, business := await new_business(server.dsn), "owner")
    new = {"name": "x", "duration_minutes": 30}
    assert (await owner.made("services", new))["confirmation"] == "instant"
    await owner.request("PATCH", f"businesses/{business}", {"default_confirmation": "approval"})
    assert (await owner.made("services", new))["confirmation"] == "approval"
    assert (await owner.made("services", new | {"confirmation": "instant"}))["confirmation"] == "instant"


async def test_the_hold_time_is_for_holds_that_name_none(
    server: RunningServer, api: Api, db: asyncpg.Connection
) -> None:
    """At once after the change, and not for holds that say how long."""
    owner = acting(api, business := await new_business(server.dsn), "owner")
    place = await new_place(owner)
    hold = {"professional_id": place.professional_id, "service_id": place.service_id}
    for ttl, hour in ((30, 9), (90, 10)):
        await owner.request("PATCH", f"businesses/{business}", {"hold_ttl_seconds": ttl})
        made = await owner.made("holds", hold | {"start": place.at(hour)})
        assert await seconds_of(db, made["id"]) == ttl
    named = await owner.made("holds", hold | {"start": place.at(11), "ttl_seconds": 600})
    assert await seconds_of(db, named["id"]) == 600


async def seconds_of(db: asyncpg.Connection, hold_id: str) -> int:
    query = "SELECT round(extract(epoch FROM expires_at - created_at)) FROM bookings WHERE id = $1"
    return int(await db.fetchval(query, hold_id))


async def test_clients_cancel_until_the_notice_and_staff_always(server: RunningServer, api: Api) -> None:
    """Moving out of the notice would be a way round it, so that is refused as well."""
    owner = acting(api, business := await new_business(server.dsn), "owner")
    place = await new_place(owner)
    client = acting(api, business, "client", subject="c", client_id=place.client_id)
    path = f"businesses/{business}"
    early, late = [
        await client.made("bookings", place.booking(place.at(9, day=d)) | {"client_id": None}) for d in (0, 60)
    ]
    guest = await owner.made("bookings", place.booking(place.at(10), guest={"name": "G"}))
    shown = {"X-Manage-Token": guest["manage_token"]}
    ten_days = {"cancellation_notice_minutes": 10 * 24 * 60}
    assert (await owner.request("PATCH", path, ten_days)).status == 200
    body = problem(await client.post(f"bookings/{early['id']}/cancel"), "too_late_to_cancel")
    assert "14400 minutes" in body["detail"]
    problem(
        await client.post(f"bookings/{early['id']}/reschedule", {"start": place.at(9, day=70)}), "too_late_to_cancel"
    )
    anyone = api.with_token(None)
    problem(await anyone.post(f"bookings/{guest['id']}/cancel", headers=shown), "too_late_to_cancel")
    assert (await client.post(f"bookings/{late['id']}/cancel", key="once")).status == 200
    assert (await owner.post(f"bookings/{early['id']}/cancel")).status == 200
    assert (await owner.request("PATCH", path, {"cancellation_notice_minutes": 90 * 24 * 60})).status == 200
    again = await client.post(f"bookings/{late['id']}/cancel", key="once")
    assert (again.status, again.json["status"]) == (200, "cancelled"), "done before it was too late"
    assert (await owner.request("PATCH", path, {"cancellation_notice_minutes": 0})).status == 200
    assert (await anyone.post(f"bookings/{guest['id']}/cancel", headers=shown)).status == 200


# Another's


async def test_another_business_is_not_there(api: Api, stranger: Api, business_id: str) -> None:
    """Not for its owner, whatever they ask."""
    path = f"businesses/{business_id}"
    problem(await stranger.get(path), "not_found")
    problem(await stranger.request("PATCH", path, {"name": "x"}), "not_found")
    problem(await stranger.request("DELETE", path), "not_found")
    assert (await api.get(path)).json["slug"] == "demo"


# Closed and restored


@pytest.mark.parity("B15")
async def test_a_business_is_closed_and_restored_with_everything(api: Api, db: asyncpg.Connection) -> None:
    """Meanwhile nobody gets in, by login, token or slug, and the slug stays taken."""
    owner, made = await registered(api)
    admin = await super_admin(api, db)
    await admin.post(f"admin/businesses/{made['id']}/approve")
    place = await new_place(owner)
    booking = await owner.made("bookings", place.booking(place.at(9)))
    service = api.with_token((await owner.made("service-tokens", {"name": "x"}))["token"])
    anyone = api.with_token(None)
    assert (await anyone.get(f"public/{made['slug']}")).status == 200
    assert (await owner.request("DELETE", f"businesses/{made['id']}")).status == 204
    for caller in (owner, service):
        problem(await caller.get("bookings"), "unauthorized")
    problem(await anyone.get(f"public/{made['slug']}"), "not_found")
    problem(await anyone.post("businesses", registration(slug=made["slug"])), "conflict", "slug")
    listed = (await admin.get("admin/businesses", q=made["slug"], deleted="true")).json["items"]
    assert [b["id"] for b in listed] == [made["id"]]
    assert (await admin.get("admin/businesses", q=made["slug"])).json["items"] == []
    restored = await admin.post(f"admin/businesses/{made['id']}/restore")
    assert (restored.status, "deleted_at" in restored.json) == (200, False)
    assert (await anyone.get(f"public/{made['slug']}")).status == 200
    again = acting(api, made["id"], "owner")
    assert (await again.get(f"bookings/{booking['id']}")).json["status"] == "confirmed"
    assert (await again.get(f"professionals/{place.professional_id}/events")).json["items"]

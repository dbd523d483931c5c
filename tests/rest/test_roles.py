"""What narrows and widens a role: locations, scopes, grants; and the state of a business."""

import asyncio
import uuid
from typing import Any

import aiohttp
import asyncpg
import pytest

from server.permissions import TABLE
from tests.rest.helpers import acting, book, new_business, problem
from tests.rest.people import join, new_user, signed_in, super_admin
from tests.support.server import Api, Place, RunningServer, new_place, tell

# Managers of some locations


@pytest.fixture
async def here(db: asyncpg.Connection, business_id: str, place: Place) -> str:
    """A location, at which the professional of `place` works."""
    location = await new_location(db, business_id)
    await db.execute("UPDATE professionals SET location_id = $2 WHERE id = $1", place.professional_id, location)
    return location


async def new_location(db: asyncpg.Connection, business_id: str) -> str:
    location = str(uuid.uuid4())
    query = "INSERT INTO locations (id, business_id, name, time_zone) VALUES ($1, $2, 'Branch', 'UTC')"
    await db.execute(query, location, business_id)
    return location


async def manager_of(api: Api, db: asyncpg.Connection, business_id: str, *locations: str) -> Api:
    user = await new_user(db)
    membership = await join(db, business_id, user, "manager", limited=True)
    for location in locations:
        await db.execute("INSERT INTO membership_locations VALUES ($1, $2, $3)", business_id, membership, location)
    return (await signed_in(api, user))[0]


def requests(place: Place, booking: dict[str, Any], hold: dict[str, Any]) -> list[tuple[str, str, Any]]:
    p = f"professionals/{place.professional_id}"
    return [
        ("GET", f"{p}/time-off", None),
        ("GET", f"{p}/bookings", None),
        ("GET", f"{p}/bookings/dates?month={place.day[:7]}", None),
        ("GET", f"{p}/events", None),
        ("PATCH", p, {"bio": "x"}),
        ("GET", f"bookings/{booking['id']}", None),
        ("GET", f"bookings/{booking['code']}", None),
        ("PATCH", f"bookings/{booking['id']}", {"notes": "x"}),
        ("POST", f"bookings/{booking['id']}/reschedule", {"start": place.at(10)}),
        ("POST", f"bookings/{booking['id']}/cancel", {}),
        ("POST", "bookings", place.booking(place.at(13))),
        (
            "POST",
            "holds",
            {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(11)},
        ),
        ("DELETE", f"holds/{hold['id']}", None),
        ("POST", f"{p}/time-off", {"start": place.at(20), "end": place.at(21)}),
        ("POST", f"{p}/services", {"service_id": place.service_id}),
        ("DELETE", f"{p}/services/{place.service_id}", None),
        ("PUT", f"{p}/schedule", {"time_zone": "UTC", "weekly": [], "force": True}),
    ]


@pytest.mark.parity("C3")
@pytest.mark.parity("C4")
async def test_a_manager_of_some_locations_has_those(
    api: Api, db: asyncpg.Connection, business_id: str, place: Place, here: str
) -> None:
    """Calendars and bookings of their locations; of others, of no location, and with no location at all: nothing."""
    hold = await api.made(
        "holds", {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(8)}
    )
    booking = await book(place, place.at(9))
    elsewhere = await manager_of(api, db, business_id, await new_location(db, business_id))
    nowhere = await manager_of(api, db, business_id)
    for caller in (elsewhere, nowhere):
        for method, path, body in requests(place, booking, hold):
            answer = await caller.request(method, path, body)
            assert answer.status in (403, 404), (method, path, answer)
        assert (await caller.get("bookings")).json["items"] == []
        assert (await caller.get(f"clients/{place.client_id}/bookings")).json["items"] == []
    mine = await manager_of(api, db, business_id, here)
    assert booking["id"] in [b["id"] for b in (await mine.get("bookings")).json["items"]]
    for method, path, body in requests(place, booking, hold):
        answer = await mine.request(method, path, body)
        assert answer.status in (200, 201, 204), (method, path, answer)
    other = await new_place(api)
    problem(await mine.get(f"professionals/{other.professional_id}/events"), "forbidden")


@pytest.mark.parity("C4")
async def test_a_manager_of_some_locations_changes_nothing_of_all(
    api: Api, db: asyncpg.Connection, business_id: str, place: Place, here: str
) -> None:
    """Services and new professionals belong to the whole business; reading them is free."""
    mine = await manager_of(api, db, business_id, here)
    new = {"name": "x", "duration_minutes": 5}
    for method, path, body in (
        ("POST", "services", new),
        ("PATCH", f"services/{place.service_id}", {"name": "x"}),
        ("DELETE", f"services/{place.service_id}", None),
        ("POST", f"professionals/{place.professional_id}/services", new),
        ("POST", "professionals", {"display_name": "x"}),
    ):
        problem(await mine.request(method, path, body), "forbidden")
    for path in ("services", "professionals", "clients", f"services/{place.service_id}"):
        assert (await mine.get(path)).status == 200


@pytest.mark.parity("C5")
async def test_a_grant_goes_as_far_as_a_manager(
    api: Api, db: asyncpg.Connection, business_id: str, place: Place
) -> None:
    """A professional who was granted a permission has it, and none besides."""
    user = await new_user(db)
    await join(db, business_id, user, "professional", grants=["catalogue.write", "tokens.manage"])
    caller, _ = await signed_in(api, user)
    assert (await caller.post("services", {"name": "x", "duration_minutes": 5})).status == 201
    problem(await caller.get(f"professionals/{place.professional_id}/events"), "forbidden")
    problem(await caller.get("service-tokens"), "forbidden")


# Service tokens


@pytest.mark.parity("A1")
async def test_a_token_with_scopes_does_no_more(api: Api, place: Place) -> None:
    """Whatever its role could do besides."""
    made = await api.made("service-tokens", {"name": "reader", "scopes": ["catalogue.read", "bookings.read"]})
    assert made["scopes"] == ["catalogue.read", "bookings.read"]
    reader = api.with_token(made["token"])
    for path in ("services", "professionals", "bookings"):
        assert (await reader.get(path)).status == 200
    for answer in (
        await reader.get("clients"),
        await reader.post("bookings", place.booking(place.at(9))),
        await reader.post("auth/ticket"),
        await reader.get(f"professionals/{place.professional_id}/events"),
    ):
        assert "scope" in problem(answer, "forbidden")["detail"]
    everything = (await api.made("service-tokens", {"name": "all"}))["scopes"]
    assert everything is None


@pytest.mark.parametrize(
    "scopes",
    [[], ["everything.read"], ["tokens.manage"], ["platform.read"], ["clients"], ["x"] * 41, "bookings.read", [1]],
)
async def test_a_scope_is_a_permission_of_the_role(api: Api, scopes: Any) -> None:
    """Nothing else is taken, so that no token promises what it does not do."""
    body = problem(await api.post("service-tokens", {"name": "x", "scopes": scopes}), "validation_failed")
    assert body["errors"][0]["field"].startswith("scopes")


def test_nobody_may_do_everything() -> None:
    """Owners have no platform, super admins no calendars, users nothing but their account."""
    assert not any("owner" in row for name, row in TABLE.items() if name.startswith("platform."))
    booking = [
        row for name, row in TABLE.items() if name.split(".")[0] in ("bookings", "clients", "schedule", "journal")
    ]
    assert not any("super_admin" in row or "user" in row for row in booking)
    assert {name for name, row in TABLE.items() if "user" in row} == {"account.own", "sessions.own"}
    assert {name for name, row in TABLE.items() if "public" in row} == {
        "availability.read", "bookings.make", "bookings.read", "bookings.change",
    }  # fmt: skip


# The state of a business


@pytest.mark.parity("C1")
@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        ("status = 'pending'", "business_pending", True),
        ("status = 'suspended'", "business_suspended", True),
        ("status = 'rejected'", "business_suspended", True),
        ("trial_ends_at = now() - interval '1 second'", "trial_over", False),
    ],
)
async def test_a_closed_business_takes_no_new_bookings(
    server: RunningServer, api: Api, db: asyncpg.Connection, change: str, code: str, told: bool
) -> None:
    """Holds and bookings are refused by name; reading, moving, cancelling and the answer to an earlier key stay."""
    business = await new_business(server.dsn)
    place = await new_place(acting(api, business, "owner"))
    kept = await place.api.post("bookings", place.booking(place.at(9)), key="before")
    hold = {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(10)}
    held = await place.api.made("holds", hold)
    await db.execute(f"UPDATE businesses SET {change} WHERE id = $1", business)
    if told:
        await tell(db, "businesses", business)
    deadline = asyncio.get_running_loop().time() + 15
    hour = 11
    while (answer := await place.api.post("bookings", place.booking(place.at(hour)))).status == 201:
        # Whom nobody has told looks again by itself.
        assert asyncio.get_running_loop().time() < deadline
        await place.api.post(f"bookings/{answer.json['id']}/cancel")
        await asyncio.sleep(0.2)
    problem(answer, code)
    problem(await place.api.post("holds", hold | {"start": place.at(12)}), code)
    problem(await place.api.post("bookings", place.booking(place.at(10), hold_id=held["id"])), code)
    again = await place.api.post("bookings", place.booking(place.at(9)), key="before")
    assert (again.status, again.json) == (201, kept.json)
    path = f"bookings/{kept.json['id']}"
    assert (await place.api.get(path)).status == 200
    assert (await place.api.get("clients")).status == 200
    assert (await place.api.post(f"{path}/reschedule", {"start": place.at(14)})).status == 200
    assert (await place.api.post(f"{path}/cancel")).status == 200
    assert (await place.api.request("DELETE", f"holds/{held['id']}")).status == 204
    register = {"name": "N", "password": "long enough", "username": uuid.uuid4().hex, "business": business}
    problem(await api.with_token(None).post("auth/register", register), code)


async def test_a_closed_business_takes_none_over_live_either(
    server: RunningServer, api: Api, http: aiohttp.ClientSession, db: asyncpg.Connection
) -> None:
    """The same desk, the same refusal."""
    business = await new_business(server.dsn)
    place = await new_place(acting(api, business, "owner"))
    suspended = await (await super_admin(api, db)).post(f"admin/businesses/{business}/suspend", {"reason": "x"})
    assert suspended.status == 200
    async with http.ws_connect(f"{server.url}/api/v1/live", protocols=["slotcast.v1"]) as live:
        await live.receive_json()
        await live.send_json({"type": "auth", "id": "1", "token": place.api.token})
        await live.receive_json()
        for kind in ("hold", "book"):
            body = {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(9)}
            more = {"client_id": place.client_id} if kind == "book" else {}
            await live.send_json({"type": kind, "id": kind, **body, **more})
            assert (await live.receive_json())["problem"]["code"] == "business_suspended"


async def test_who_belongs_to_no_business_has_no_live_session(
    server: RunningServer, http: aiohttp.ClientSession, api: Api, db: asyncpg.Connection
) -> None:
    """Their token opens nothing there, and no ticket is made for it."""
    for user in (await new_user(db), await new_user(db, super_admin=True)):
        caller, access = await signed_in(api, user)
        problem(await caller.post("auth/ticket"), "forbidden")
        async with http.ws_connect(f"{server.url}/api/v1/live", protocols=["slotcast.v1"]) as live:
            await live.receive_json()
            await live.send_json({"type": "auth", "id": "1", "token": access["access_token"]})
            assert (await live.receive_json())["problem"]["code"] == "forbidden"

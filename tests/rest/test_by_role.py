"""The same routes for each role: what owners, managers, professionals and clients do all day."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.rest.helpers import acting, new_business, problem
from tests.support.server import Api, Place, RunningServer, new_place


@pytest.fixture
async def business(server: RunningServer) -> str:
    return await new_business(server.dsn)


@pytest.fixture
async def place(api: Api, business: str) -> Place:
    """In a business with nothing else in it."""
    return await new_place(acting(api, business, "owner"))


@pytest.mark.parity("C7")
async def test_bookings_are_listed_made_changed_and_ended_by_role(api: Api, business: str, place: Place) -> None:
    """Owners and managers have all, professionals and clients their own; a client completes nothing."""
    other = await new_place(place.api)
    callers = {
        "owner": place.api,
        "manager": acting(api, business, "manager"),
        "professional": acting(api, business, "professional", professional_id=place.professional_id),
        "client": acting(api, business, "client", subject="c", client_id=place.client_id),
    }
    await place.api.made("bookings", other.booking(other.at(9)))
    made: dict[str, Any] = {}
    for hour, (role, caller) in enumerate(callers.items(), 9):
        made[role] = await caller.made("bookings", place.booking(place.at(hour)))
    own = {b["id"] for b in made.values()}
    for role, caller in callers.items():
        listed = {b["id"] for b in (await caller.get("bookings")).json["items"]}
        assert len(listed) == (5 if role in ("owner", "manager") else 4)
        assert own <= listed
        path = f"bookings/{made[role]['id']}"
        changed = await caller.request("PATCH", path, {"notes": f"by {role}"})
        assert (changed.status, changed.json["notes"]) == (200, f"by {role}")
        problem(await caller.post(f"{path}/complete"), "forbidden" if role == "client" else "not_yet")
        assert (await caller.post(f"{path}/cancel")).json["cancelled_by"] == role


@pytest.mark.parity("C8")
@pytest.mark.parametrize("role", ["owner", "manager"])
async def test_services_and_professionals_are_kept_by_owners_and_managers(api: Api, business: str, role: str) -> None:
    """Made, read, listed, changed, removed and brought back; by nobody below."""
    caller = acting(api, business, role)
    below = [acting(api, business, r) for r in ("professional", "client")]
    for path, new, change in (
        ("services", {"name": "Cut", "duration_minutes": 30}, {"description": "short"}),
        ("professionals", {"display_name": "Ada"}, {"bio": "patient"}),
    ):
        made = await caller.made(path, new)
        one = f"{path}/{made['id']}"
        steps: list[tuple[Callable[[Api], Awaitable[Any]], int]] = [
            (lambda a, p=path, n=new: a.post(p, n), 201),
            (lambda a, p=one, c=change: a.request("PATCH", p, c), 200),
            (lambda a, p=one: a.request("DELETE", p), 204),
            (lambda a, p=one: a.post(f"{p}/restore"), 200),
        ]
        for step, status in steps:
            for nobody in below:
                problem(await step(nobody), "forbidden")
            assert (await step(caller)).status == status
        assert change.items() <= (await caller.get(one)).json.items()
        for anybody in (caller, *below):
            assert made["id"] in [x["id"] for x in (await anybody.get(path)).json["items"]]

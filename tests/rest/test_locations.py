"""Locations, who works there, and who manages them."""

from typing import Any

import asyncpg
import pytest

from server.auth import Auth
from tests.rest.helpers import NOBODY, acting, all_pages, book, new_business, problem
from tests.rest.people import audited
from tests.support.server import SECRET, Api, Place, RunningServer, new_place


@pytest.fixture
async def owner(server: RunningServer, api: Api) -> Api:
    """The owner of a business in Berlin with nothing in it."""
    return acting(api, await new_business(server.dsn), "owner")


def manager_of(owner: Api, *locations: str) -> Api:
    """The API as a manager of those locations of the owner's business has it."""
    assert owner.token is not None
    business_id = Auth(SECRET).verify(owner.token).business_id
    return acting(owner, business_id, "manager", locations=frozenset(locations))


@pytest.mark.parity("C3")
async def test_locations_are_made_read_changed_and_listed(owner: Api) -> None:
    """Each with its own zone, the business's when it names none."""
    body = {"name": "Lisbon", "time_zone": "Europe/Lisbon", "address": "Rua 1\n1000 Lisboa", "phone": "+351 21 1234567"}
    made = await owner.made("locations", body)
    assert {k: made[k] for k in body} == body
    plain = await owner.made("locations", {"name": "Main"})
    assert (plain["time_zone"], plain["address"]) == ("Europe/Berlin", None)
    path = f"locations/{made['id']}"
    changed = await owner.request("PATCH", path, {"address": None, "name": "Lisboa"})
    assert (changed.json["name"], changed.json["address"], changed.json["time_zone"]) == (
        "Lisboa",
        None,
        "Europe/Lisbon",
    )
    assert (await owner.get(path)).json == changed.json
    assert [x["id"] for p in await all_pages(owner, "locations", 1) for x in p] == [made["id"], plain["id"]]
    entry = (await audited(owner, action="location.changed"))[0]
    assert entry["before"] == {"name": "Lisbon", "address": body["address"]}
    assert entry["after"] == {"name": "Lisboa", "address": None}


@pytest.mark.parametrize(
    ("field", "value"), [("time_zone", "x"), ("name", ""), ("business_id", NOBODY), ("phone", "call"), ("address", 3)]
)
async def test_a_location_is_checked(owner: Api, field: str, value: Any) -> None:
    body = {"name": "Main", field: value}
    assert problem(await owner.post("locations", body), "validation_failed")["errors"][0]["field"] == field
    made = await owner.made("locations", {"name": "Main"})
    problem(await owner.request("PATCH", f"locations/{made['id']}", {field: value}), "validation_failed", field)


@pytest.mark.parity("B15")
async def test_a_location_is_removed_once_nobody_works_there_and_restored(owner: Api) -> None:
    made = await owner.made("locations", {"name": "Main"})
    path = f"locations/{made['id']}"
    works = await owner.made("professionals", {"display_name": "P", "location_id": made["id"]})
    problem(await owner.request("DELETE", path), "conflict")
    assert (await owner.get(path)).status == 200, "a refusal changes nothing"
    await owner.request("PATCH", f"professionals/{works['id']}", {"location_id": None})
    assert (await owner.request("DELETE", path)).status == 204
    problem(await owner.get(path), "not_found")
    problem(await owner.request("PATCH", path, {"name": "x"}), "not_found")
    problem(await owner.request("DELETE", path), "not_found")
    assert (await owner.get("locations")).json["items"] == []
    assert [x["id"] for x in (await owner.get("locations", deleted="true")).json["items"]] == [made["id"]]
    there = {"display_name": "P", "location_id": made["id"]}
    problem(await owner.post("professionals", there), "validation_failed", "location_id")
    assert (await owner.post(f"{path}/restore")).json["name"] == "Main"
    assert (await owner.post("professionals", there)).status == 201


@pytest.mark.parity("D2")
async def test_a_professional_works_at_a_location(owner: Api, stranger: Api) -> None:
    """The calendar begins in the location's zone; lists narrow to it; another business's location is none."""
    lisbon = await owner.made("locations", {"name": "Lisbon", "time_zone": "Europe/Lisbon"})
    there = await owner.made("professionals", {"display_name": "A", "location_id": lisbon["id"]})
    assert (there["location_id"], there["time_zone"]) == (lisbon["id"], "Europe/Lisbon")
    own = {"display_name": "B", "location_id": lisbon["id"], "time_zone": "UTC"}
    assert (await owner.made("professionals", own))["time_zone"] == "UTC"
    nowhere = await owner.made("professionals", {"display_name": "C"})
    assert (nowhere["location_id"], nowhere["time_zone"]) == (None, "Europe/Berlin")
    names = [p["display_name"] for p in (await owner.get("professionals", location_id=lisbon["id"])).json["items"]]
    assert names == ["A", "B"]
    moved = await owner.request("PATCH", f"professionals/{there['id']}", {"location_id": None})
    assert (moved.json["location_id"], moved.json["time_zone"]) == (None, "Europe/Lisbon")
    theirs = await stranger.made("locations", {"name": "Theirs"})
    for bad in (theirs["id"], NOBODY):
        body = {"display_name": "D", "location_id": bad}
        problem(await owner.post("professionals", body), "validation_failed", "location_id")
        problem(await owner.request("PATCH", f"professionals/{there['id']}", {"location_id": bad}), "validation_failed")


@pytest.mark.parity("C3")
async def test_bookings_are_listed_by_location(owner: Api) -> None:
    here, there = await new_place(owner), await new_place(owner)
    location = await owner.made("locations", {"name": "Main"})
    await owner.request("PATCH", f"professionals/{here.professional_id}", {"location_id": location["id"]})
    booking = await book(here, here.at(9))
    await book(there, there.at(9))
    found = (await owner.get("bookings", location_id=location["id"])).json["items"]
    assert [b["id"] for b in found] == [booking["id"]]
    elsewhere = await owner.made("locations", {"name": "Other"})
    both = manager_of(owner, location["id"], elsewhere["id"])
    assert (await both.get("bookings", location_id=elsewhere["id"])).json["items"] == []
    assert [b["id"] for b in (await both.get("bookings")).json["items"]] == [booking["id"]]
    assert (await manager_of(owner, elsewhere["id"]).get("bookings", location_id=location["id"])).json["items"] == []


# Managers of some locations


@pytest.mark.parity("C3")
async def test_a_manager_of_some_locations_staffs_those(owner: Api) -> None:
    """They add professionals there and move them among their own; not into others', nor out of others' or their own."""
    mine, also, other = [await owner.made("locations", {"name": n}) for n in ("mine", "also mine", "other")]
    manager = manager_of(owner, mine["id"], also["id"])
    made = await manager.made("professionals", {"display_name": "A", "location_id": mine["id"]})
    path = f"professionals/{made['id']}"
    assert (await manager.request("PATCH", path, {"location_id": also["id"]})).json["location_id"] == also["id"]
    for bad in (other["id"], None):
        problem(await manager.request("PATCH", path, {"location_id": bad}), "forbidden")
        problem(await manager.post("professionals", {"display_name": "B", "location_id": bad}), "forbidden")
    problem(await manager.post("professionals", {"display_name": "B"}), "forbidden")
    foreign = await owner.made("professionals", {"display_name": "C", "location_id": other["id"]})
    problem(await manager.request("PATCH", f"professionals/{foreign['id']}", {"location_id": mine["id"]}), "forbidden")
    problem(await manager.request("DELETE", f"professionals/{foreign['id']}"), "forbidden")
    assert (await manager.request("DELETE", path)).status == 204
    assert (await manager.post(f"{path}/restore")).status == 200
    # A move takes the manager's hands off at once.
    await owner.request("PATCH", path, {"location_id": other["id"]})
    problem(await manager.get(f"{path}/time-off"), "forbidden")
    problem(await manager.request("PATCH", path, {"bio": "x"}), "forbidden")


async def test_a_manager_of_some_locations_changes_those_and_makes_none(owner: Api) -> None:
    mine, other = [await owner.made("locations", {"name": n}) for n in ("mine", "other")]
    manager = manager_of(owner, mine["id"])
    assert (await manager.request("PATCH", f"locations/{mine['id']}", {"name": "ours"})).json["name"] == "ours"
    problem(await manager.request("PATCH", f"locations/{other['id']}", {"name": "x"}), "forbidden")
    problem(await manager.post("locations", {"name": "x"}), "forbidden")
    for location in (mine, other):
        problem(await manager.request("DELETE", f"locations/{location['id']}"), "forbidden")
        problem(await manager.post(f"locations/{location['id']}/restore"), "forbidden")
    problem(await manager.get("locations", deleted="true"), "forbidden")
    assert len((await manager.get("locations")).json["items"]) == 2


async def test_a_professional_does_not_say_where_they_work(place: Place, as_professional: Api, api: Api) -> None:
    location = await api.made("locations", {"name": "x"})
    path = f"professionals/{place.professional_id}"
    problem(await as_professional.request("PATCH", path, {"location_id": location["id"]}), "forbidden")
    assert (await as_professional.request("PATCH", path, {"bio": "x"})).status == 200


# Removed and restored


@pytest.mark.parity("B15")
async def test_a_professional_without_bookings_ahead_is_removed_and_restored(api: Api, db: asyncpg.Connection) -> None:
    """Meanwhile nothing finds or books them; the journal stays, and the calendar comes back as it was."""
    place = await new_place(api)
    path = f"professionals/{place.professional_id}"
    booking = await book(place, place.at(9))
    problem(await api.request("DELETE", path), "conflict")
    await api.post(f"bookings/{booking['id']}/cancel")
    events = (await api.get(f"{path}/events")).json["items"]
    assert (await api.request("DELETE", path)).status == 204
    slots = {"from_": place.day, "to": place.day, "service_id": place.service_id}
    for answer in (
        await api.get(path),
        await api.get(f"{path}/slots", **slots),
        await api.get(f"{path}/availability", date=place.day),
        await api.post("bookings", place.booking(place.at(10))),
        await api.request("PATCH", path, {"bio": "x"}),
        await api.request("DELETE", path),
    ):
        problem(answer, "not_found")
    assert place.professional_id not in [p["id"] for p in (await api.get("professionals", limit=200)).json["items"]]
    removed = [p["id"] for q in await all_pages(api, "professionals", 200, deleted="true") for p in q]
    assert place.professional_id in removed
    assert (await api.get(f"bookings/{booking['id']}")).json["status"] == "cancelled"
    assert await db.fetchval("SELECT count(*) FROM events WHERE calendar_id = $1", place.professional_id) == len(events)
    assert (await api.post(f"{path}/restore")).json["id"] == place.professional_id
    assert (await api.get(f"{path}/slots", **slots)).json["slots"]
    assert (await api.post("bookings", place.booking(place.at(10)))).status == 201
    assert (await api.get(f"{path}/events")).json["items"][: len(events)] == events


@pytest.mark.parity("B15")
async def test_a_service_is_taken_out_and_brought_back(place: Place) -> None:
    """With those who offered it."""
    api, path = place.api, f"services/{place.service_id}"
    assert (await api.request("DELETE", path)).status == 204
    problem(await api.post("bookings", place.booking(place.at(9))), "service_not_offered")
    removed = [s["id"] for p in await all_pages(api, "services", 200, deleted="true") for s in p]
    assert place.service_id in removed
    assert (await api.post(f"{path}/restore")).json["id"] == place.service_id
    assert (await api.post("bookings", place.booking(place.at(9)))).status == 201

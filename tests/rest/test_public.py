"""What visitors see of a business and book, by its slug or its subdomain, without login."""

import uuid
from collections.abc import Iterator
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.rest.helpers import NOBODY, acting, all_pages, approving_place, problem
from tests.support.postgres import TestPostgres
from tests.support.server import Api, Place, RunningServer, new_place

DOMAIN = "slots.example"


async def business_with(db: asyncpg.Connection, **columns: Any) -> tuple[str, str]:
    """Id and slug of a business of its own."""
    row = {
        "id": str(uuid.uuid4()),
        "slug": f"p-{uuid.uuid4().hex[:12]}",
        "name": "Public",
        "time_zone": "UTC",
        **columns,
    }
    places = ", ".join(f"${n}" for n in range(1, len(row) + 1))
    await db.execute(f"INSERT INTO businesses ({', '.join(row)}) VALUES ({places})", *row.values())
    return row["id"], row["slug"]


@pytest.fixture
async def open_house(api: Api, db: asyncpg.Connection) -> tuple[str, Place]:
    """The slug of a business and a place in it."""
    business_id, slug = await business_with(db)
    return slug, await new_place(acting(api, business_id, "owner"))


@pytest.mark.parity("C2")
async def test_a_visitor_sees_what_is_offered_and_no_more(api: Api, open_house: tuple[str, Place]) -> None:
    """No telephone numbers of people, no settings, nothing that was removed."""
    (slug, place), anyone = open_house, api.with_token(None)
    owner = place.api
    location = await owner.made("locations", {"name": "Main", "phone": "+49 30 1234567"})
    await owner.request(
        "PATCH",
        f"professionals/{place.professional_id}",
        {"location_id": location["id"], "phone_number": "+49 30 7654321"},
    )
    gone = await owner.made("services", {"name": "Gone", "duration_minutes": 5})
    await owner.request("DELETE", f"services/{gone['id']}")
    seen = (await anyone.get(f"public/{slug}")).json
    assert seen == {
        "slug": slug, "name": "Public", "time_zone": "UTC", "locale": "en", "languages": ["en"],
        "cancellation_notice_minutes": 0, "takes_bookings": True,
    }  # fmt: skip
    services = (await anyone.get(f"public/{slug}/services")).json["items"]
    assert [s["id"] for s in services] == [place.service_id]
    people = (await anyone.get(f"public/{slug}/professionals", location_id=location["id"])).json["items"]
    assert [p["id"] for p in people] == [place.professional_id]
    assert set(people[0]) == {"id", "display_name", "time_zone", "specialisation", "bio", "location_id"}
    places = (await anyone.get(f"public/{slug}/locations")).json["items"]
    assert [(p["id"], p["phone"]) for p in places] == [(location["id"], "+49 30 1234567")]
    assert (await anyone.get(f"public/{slug}/professionals", service_id=NOBODY)).json["items"] == []
    assert (await anyone.get(f"public/{slug}/services", professional_id=place.professional_id)).json[
        "items"
    ] == services


async def test_lists_are_paged(api: Api, open_house: tuple[str, Place]) -> None:
    slug, place = open_house
    for n in range(4):
        await place.api.made("services", {"name": f"S{n}", "duration_minutes": 5})
    assert [len(p) for p in await all_pages(api.with_token(None), f"public/{slug}/services", 2)] == [2, 2, 1]


@pytest.mark.parity("C6")
async def test_a_visitor_sees_what_is_free(api: Api, open_house: tuple[str, Place]) -> None:
    """A day's grid without reasons, open slots of one professional, or of whoever offers the service."""
    (slug, place), anyone = open_house, api.with_token(None)
    path = f"public/{slug}/availability"
    await place.api.made("bookings", place.booking(place.at(9), notes="secret"))
    one = {"professional_id": place.professional_id, "service_id": place.service_id}
    grid = await anyone.get(path, date=place.day, **one)
    assert grid.status == 200, grid
    assert (grid.json["date"], grid.json["professional_id"], len(grid.json["slots"])) == (
        place.day,
        place.professional_id,
        48,
    )
    taken = next(s for s in grid.json["slots"] if s["start"] == place.at(9))
    assert taken == {
        "start": place.at(9),
        "end": place.at(9, 30),
        "available": False,
        "remaining": 0,
        "type": "appointment",
    }
    hourly = await anyone.get(path, date=place.day, professional_id=place.professional_id)
    assert len(hourly.json["slots"]) == 24
    found = (await anyone.get(path, from_=place.day, to=place.day, **one)).json
    assert len(found["slots"]) == 47
    staff = await place.api.get(
        f"professionals/{place.professional_id}/slots", from_=place.day, to=place.day, service_id=place.service_id
    )
    assert [s["start"] for s in found["slots"]] == [s["start"] for s in staff.json["slots"]]
    anybody = (await anyone.get(path, from_=place.day, to=place.day, service_id=place.service_id)).json
    assert anybody["slots"][0]["professional_ids"] == [place.professional_id]
    assert len(anybody["slots"]) == 47
    for bad in (
        {}, {"date": place.day}, {"from_": place.day, **one}, {"date": "x", **one},
        {"date": place.day, "from_": place.day, "to": place.day, **one},
        {"date": place.day, "service_id": place.service_id}, {"date": place.day, "time_zone": "x", **one},
        {"from_": place.day, "to": "2099-01-01", **one},
    ):  # fmt: skip
        problem(await anyone.get(path, **bad), "validation_failed")
    other = await new_place(api)
    problem(await anyone.get(path, date=place.day, professional_id=other.professional_id), "not_found")
    problem(await anyone.get(path, from_=place.day, to=place.day, service_id=other.service_id), "not_found")


@pytest.mark.parity("C6")
async def test_a_visitor_books_as_a_guest(api: Api, open_house: tuple[str, Place]) -> None:
    """With all that the desk checks; the manage token is theirs alone; a key gives the same booking again."""
    (slug, place), anyone = open_house, api.with_token(None)
    path = f"public/{slug}/bookings"
    body = {
        "professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(9),
        "guest": {"name": "Gina", "email": "gina@example.org"}, "notes": "first time",
    }  # fmt: skip
    booked = await anyone.post(path, body, key=f"k-{uuid.uuid4().hex}")
    assert (booked.status, booked.json["status"]) == (201, "confirmed"), booked
    shown = {"X-Manage-Token": booked.json["manage_token"]}
    assert (await anyone.get(f"bookings/{booked.json['code']}", headers=shown)).json["notes"] == "first time"
    key = f"k-{uuid.uuid4().hex}"
    first = await anyone.post(path, body | {"start": place.at(10)}, key=key)
    again = await anyone.post(path, body | {"start": place.at(10)}, key=key)
    assert first.json == again.json
    problem(await anyone.post(path, body | {"start": place.at(11)}, key=key), "idempotency_mismatch")
    assert problem(await anyone.post(path, body), "slot_unavailable")["alternatives"]
    pending = await approving_place(place)
    asked = await anyone.post(path, body | {"service_id": pending.service_id, "start": place.at(12)})
    assert asked.json["status"] == "pending"
    client = (await place.api.get(f"clients/{booked.json['client_id']}")).json
    assert (client["guest"], client["email"]) == (True, "gina@example.org")
    assert (
        (await place.api.get(f"professionals/{place.professional_id}/events"))
        .json["items"][-1]["by"]
        .startswith("guest:")
    )


async def test_a_visitor_books_nothing_of_another_business(
    api: Api, open_house: tuple[str, Place], place: Place
) -> None:
    """Whose ids they are decides, not the address; and no client can be named."""
    (slug, here), anyone = open_house, api.with_token(None)
    mine = {"professional_id": here.professional_id, "service_id": here.service_id, "start": here.at(9)}
    guest = {"guest": {"name": "G"}}
    path = f"public/{slug}/bookings"
    problem(await anyone.post(path, mine | guest | {"professional_id": place.professional_id}), "not_found")
    problem(await anyone.post(path, mine | guest | {"service_id": place.service_id}), "service_not_offered")
    problem(await anyone.post(path, mine | guest | {"client_id": here.client_id}), "validation_failed", "client_id")
    problem(await anyone.post(path, mine), "validation_failed", "guest")
    problem(await api.post(path, mine | guest | {"business_id": NOBODY}), "validation_failed", "business_id")
    # A login of another business is no help and no hindrance.
    assert (await api.post(path, mine | guest)).status == 201


@pytest.mark.parametrize("status", ["pending", "rejected"])
async def test_what_was_never_approved_is_not_there(api: Api, db: asyncpg.Connection, status: str) -> None:
    """The same as for a name that nobody has."""
    _, slug = await business_with(db, status=status)
    anyone = api.with_token(None)
    for name in (slug, "nobody-has-this", "%00", "x" * 300, "ÜBER"):
        for below in ("", "/services", "/professionals", "/locations"):
            problem(await anyone.get(f"public/{name}{below}"), "not_found")
        day = {"date": "2030-01-01", "professional_id": NOBODY}
        problem(await anyone.get(f"public/{name}/availability", **day), "not_found")


async def test_a_suspended_business_is_read_and_not_booked(api: Api, db: asyncpg.Connection) -> None:
    business_id, slug = await business_with(db, status="suspended")
    place = await new_place(acting(api, business_id, "owner"))
    anyone = api.with_token(None)
    assert (await anyone.get(f"public/{slug}")).json["takes_bookings"] is False
    assert (await anyone.get(f"public/{slug}/services")).json["items"]
    body = {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(9)}
    problem(await anyone.post(f"public/{slug}/bookings", body | {"guest": {"name": "G"}}), "business_suspended")


# Under the subdomain


@pytest.fixture(scope="module")
def domain_server(postgres: TestPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    directory = tmp_path_factory.mktemp("domain")
    running = RunningServer(postgres.new_database_sync(), directory, SLOTCAST_BASE_DOMAIN=DOMAIN).start()
    yield running
    assert running.stop() == 0, running.logged()[-4000:]


@pytest.mark.parity("C2")
async def test_host_and_path_give_the_same(domain_server: RunningServer, http: aiohttp.ClientSession) -> None:
    """In any case, with a port and with the root's dot."""
    anyone = Api(domain_server, http, None)
    db = await asyncpg.connect(domain_server.dsn)
    business_id, slug = await business_with(db)
    await db.close()
    place = await new_place(acting(anyone, business_id, "owner"))
    for host in (f"{slug}.{DOMAIN}", f"{slug}.{DOMAIN}:8080", f"{slug.upper()}.{DOMAIN.upper()}", f"{slug}.{DOMAIN}."):
        for below in ("", "/services", "/professionals", "/locations"):
            by_host = await anyone.get(f"public{below}", headers={"Host": host})
            by_path = await anyone.get(f"public/{slug}{below}")
            assert (by_host.status, by_host.json) == (200, by_path.json)
    headers = {"Host": f"{slug}.{DOMAIN}"}
    one = {"professional_id": place.professional_id, "service_id": place.service_id}
    by_host = await anyone.get("public/availability", headers=headers, date=place.day, **one)
    assert by_host.json == (await anyone.get(f"public/{slug}/availability", date=place.day, **one)).json
    body = {**one, "start": place.at(9), "guest": {"name": "G"}}
    assert (await anyone.post("public/bookings", body, headers=headers)).status == 201


async def test_a_forged_host_selects_what_is_public_and_nothing_else(
    domain_server: RunningServer, http: aiohttp.ClientSession
) -> None:
    """It gives no rights, and what is no subdomain of ours is no business."""
    anyone = Api(domain_server, http, None)
    db = await asyncpg.connect(domain_server.dsn)
    _, slug = await business_with(db)
    waiting_id, waiting = await business_with(db, status="pending")
    other_id, _ = await business_with(db)
    await db.close()
    hosts = (
        "localhost", DOMAIN, f".{DOMAIN}", f"a.{slug}.{DOMAIN}", f"{slug}.evil.example",
        f"{slug}.{DOMAIN}.evil.example",
        f"{slug}{DOMAIN}", f"{waiting}.{DOMAIN}", f"nobody.{DOMAIN}", f"{waiting_id}.{DOMAIN}", "[::1]", "%00",
    )  # fmt: skip
    for host in hosts:
        problem(await anyone.get("public", headers={"Host": host}), "not_found")
    headers = {"Host": f"{slug}.{DOMAIN}"}
    problem(await anyone.get("clients", headers=headers), "unauthorized")
    owner = acting(anyone, other_id, "owner")
    made = await owner.made("clients", {"first_name": "Mine"}, headers=headers)
    assert [c["id"] for c in (await owner.get("clients")).json["items"]] == [made["id"]], (
        "the token's business, not the host's"
    )
    forwarded = {"Host": "localhost", "X-Forwarded-Host": f"{slug}.{DOMAIN}"}
    problem(await anyone.get("public", headers=forwarded), "not_found")


async def test_without_a_base_domain_there_are_no_subdomains(api: Api) -> None:
    for host in ("demo.localhost", "demo.", "demo"):
        problem(await api.with_token(None).get("public", headers={"Host": host}), "not_found")
    assert (await api.with_token(None).get("public/demo")).json["slug"] == "demo"

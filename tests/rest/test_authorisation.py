"""Nobody reads or writes what is not theirs, by any route or id."""

from collections.abc import Callable
from typing import Any

import pytest

from server.app import endpoints
from server.edge import Endpoint
from tests.rest.helpers import NOBODY, acting, approving_place, book, problem, send
from tests.support.server import Answer, Api, Place, RunningServer, new_place

OPEN = {f"/api/v1/auth/{name}" for name in ("register", "login", "refresh")}
# What belongs to a user and not to a business is proved in test_sessions.py.
WITH_ID = [e for e in endpoints(None) if "{" in e.path and not e.path.startswith("/api/v1/users/me/")]
WITH_LOGIN = [e for e in endpoints(None) if e.path.startswith("/api/v1/") and e.path not in OPEN]


def name_of(e: Endpoint) -> str:
    return f"{e.method} {e.path.removeprefix('/api/v1/')}"


class Estate:
    """One of everything that has an id, and a request for every route to it."""

    def __init__(self, place: Place, ids: dict[str, str]) -> None:
        self.place = place
        self.ids = ids

    def path(self, e: Endpoint, ids: dict[str, str] | None = None) -> str:
        area = e.path.removeprefix("/api/v1/").split("/")[0]
        ids = ids or {**self.ids, "users": NOBODY}
        path = e.path.replace("{id}", ids[area]) if "{id}" in e.path else e.path
        for name in ("time_off_id", "service_id"):
            path = path.replace("{" + name + "}", ids[name])
        assert "{" not in path, f"{e.path} has an id that this test does not know"
        return path

    def body(self, e: Endpoint) -> Any:
        """What each type of body needs at least; a new type has to be added here."""
        place = self.place
        if e.body is None:
            return None
        return {
            "Empty": {},
            "Logout": {},
            "UserPatch": {},
            "ReasonBody": {},
            "CancelBody": {},
            "BookingPatch": {"notes": "x"},
            "RescheduleBody": {"start": place.at(20)},
            "ClientCreate": {"first_name": "x"},
            "ClientPatch": {"last_name": "x"},
            "ProfessionalCreate": {"display_name": "x"},
            "ProfessionalPatch": {"bio": "x"},
            "ServiceCreate": {"name": "x", "duration_minutes": 5},
            "ServicePatch": {"description": "x"},
            "ServiceForProfessional": {"service_id": place.service_id},
            "SchedulePut": {"time_zone": "UTC", "weekly": []},
            "TimeOffCreate": {"start": place.at(21), "end": place.at(22)},
            "HoldCreate": {
                "professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(19),
            },
            "BookingCreate": place.booking(place.at(18)),
            "ServiceTokenCreate": {"name": "x"},
        }[e.body.__name__]  # fmt: skip

    def query(self, e: Endpoint) -> dict[str, str]:
        return {
            "SlotsQuery": {"from_": self.place.day, "to": self.place.day},
            "DayQuery": {"date": self.place.day},
            "MonthQuery": {"month": self.place.day[:7]},
        }.get(e.query.__name__, {})

    async def ask(self, api: Api, e: Endpoint, ids: dict[str, str] | None = None) -> Answer:
        return await api.request(e.method, self.path(e, ids), self.body(e), **self.query(e))


@pytest.fixture
async def estate(api: Api, place: Place) -> Estate:
    professional = f"professionals/{place.professional_id}"
    hold = {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(8)}
    return Estate(
        place,
        {
            "professionals": place.professional_id,
            "services": place.service_id,
            "clients": place.client_id,
            "bookings": (await book(await approving_place(place), place.at(9)))["id"],
            "holds": (await api.made("holds", hold))["id"],
            "service-tokens": (await api.made("service-tokens", {"name": "x"}))["id"],
            "time_off_id": (await api.made(f"{professional}/time-off", {"start": place.at(15), "end": place.at(16)}))[
                "id"
            ],
            "service_id": place.service_id,
        },
    )


@pytest.mark.parity("A1")
@pytest.mark.parametrize("e", WITH_ID, ids=name_of)
async def test_another_businesss_ids_are_not_there(
    estate: Estate, stranger: Api, business_id: str, e: Endpoint
) -> None:
    """404 for the owner of another business, on every route with an id, whatever the id is spelt like.

    The owner of the business itself is let in on the same route with the same request, so the 404 is about whose it
    is, and the stranger has changed nothing.
    """
    problem(await estate.ask(stranger, e), "not_found")
    for other in (NOBODY, "x", "%00", "..%2f..%2fetc%2fpasswd", "BK-AAAAAAAA", "'%20OR%201=1", "😀", "%ff", "x" * 500):
        problem(await estate.ask(estate.place.api, e, dict.fromkeys(estate.ids, other)), "not_found")
    allowed = await estate.ask(estate.place.api, e)
    if e.path.endswith(("/complete", "/no-show")):
        # It is found, but pending.
        problem(allowed, "invalid_transition")
    else:
        assert allowed.status == e.status, allowed


@pytest.mark.parametrize("e", WITH_ID, ids=name_of)
async def test_an_id_in_capitals_is_the_same_id(estate: Estate, e: Endpoint) -> None:
    """RFC 9562: hexadecimal digits in either case."""
    answer = await estate.ask(estate.place.api, e, {k: v.upper() for k, v in estate.ids.items()})
    assert answer.status in (e.status, 409), answer


@pytest.mark.parametrize("e", WITH_LOGIN, ids=name_of)
async def test_every_route_wants_a_good_token(estate: Estate, e: Endpoint) -> None:
    """401 without one and with a bad one, before anything else is looked at."""
    for token in (None, "garbage"):
        problem(await estate.ask(estate.place.api.with_token(token), e), "unauthorized")
        if e.body is not None:
            answer = await send(estate.place.api.with_token(token), e.method, estate.path(e), b"{not json")
            assert answer.status in (400, 401), answer


async def test_ids_in_bodies_and_queries_are_of_the_same_business(place: Place, stranger: Api) -> None:
    """A booking of one business names nobody and nothing of another."""
    theirs = await new_place(stranger)
    mine = place.booking(place.at(9))
    problem(await place.api.post("bookings", mine | {"professional_id": theirs.professional_id}), "not_found")
    problem(await place.api.post("bookings", mine | {"service_id": theirs.service_id}), "service_not_offered")
    problem(await place.api.post("bookings", mine | {"client_id": theirs.client_id}), "validation_failed", "client_id")
    hold = {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(9)}
    problem(await place.api.post("holds", hold | {"professional_id": theirs.professional_id}), "not_found")
    problem(await place.api.post("holds", hold | {"client_id": theirs.client_id}), "validation_failed", "client_id")
    their_hold = await stranger.made(
        "holds", {"professional_id": theirs.professional_id, "service_id": theirs.service_id, "start": theirs.at(9)}
    )
    problem(await place.api.post("bookings", mine | {"hold_id": their_hold["id"]}), "hold_gone")
    path = f"professionals/{place.professional_id}/services"
    problem(await place.api.post(path, {"service_id": theirs.service_id}), "not_found")
    answer = await place.api.get(
        f"professionals/{place.professional_id}/slots", from_=place.day, to=place.day, service_id=theirs.service_id
    )
    problem(answer, "not_found")
    booked = await book(theirs, theirs.at(10))
    for query in (
        {"professional_id": theirs.professional_id},
        {"client_id": theirs.client_id},
        {"date": theirs.day},
    ):
        found = (await place.api.get("bookings", **query)).json["items"]
        assert booked["id"] not in [b["id"] for b in found]


async def test_lists_hold_only_the_businesss_own(place: Place, stranger: Api) -> None:
    """Every list of a business with nothing in it is empty, however much there is next door."""
    await book(place, place.at(9))
    for path in ("clients", "professionals", "services", "bookings", "service-tokens"):
        assert (await stranger.get(path)).json == {"items": [], "next_cursor": None}


# A professional's login


def calendar_requests(place: Place, ids: dict[str, str]) -> list[tuple[str, str, Any]]:
    p = f"professionals/{place.professional_id}"
    hold = {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(11)}
    return [
        ("GET", f"{p}/time-off", None),
        ("GET", f"{p}/bookings", None),
        ("GET", f"{p}/bookings/dates?month={place.day[:7]}", None),
        ("GET", f"{p}/events", None),
        ("GET", f"bookings/{ids['bookings']}", None),
        ("PATCH", f"bookings/{ids['bookings']}", {"notes": "x"}),
        ("POST", f"bookings/{ids['bookings']}/reschedule", {"start": place.at(10)}),
        ("POST", f"bookings/{ids['bookings']}/confirm", {}),
        ("POST", f"bookings/{ids['bookings']}/cancel", {}),
        ("POST", "bookings", place.booking(place.at(13))),
        ("POST", "holds", hold),
        ("DELETE", f"holds/{ids['holds']}", None),
        ("POST", f"{p}/time-off", {"start": place.at(20), "end": place.at(21)}),
        ("DELETE", f"{p}/time-off/{ids['time_off_id']}", None),
        ("PUT", f"{p}/schedule", {"time_zone": "UTC", "weekly": []}),
    ]


async def test_a_professional_has_only_their_own_calendar(estate: Estate, business_id: str) -> None:
    """Everything in it is theirs to read and write; a colleague's is not, whatever the route."""
    place = estate.place
    colleague = acting(place.api, business_id, "professional", professional_id=NOBODY)
    nobody = acting(place.api, business_id, "professional")
    for caller in (colleague, nobody):
        for method, path, body in calendar_requests(place, estate.ids):
            answer = await caller.request(method, path, body)
            assert answer.status in (403, 404), (method, path, answer)
            problem(answer, answer.json["code"])
    assert (await colleague.get("bookings")).json["items"] == []
    problem(await nobody.get("bookings"), "forbidden")
    own = acting(place.api, business_id, "professional", professional_id=place.professional_id)
    for method, path, body in calendar_requests(place, estate.ids):
        answer = await own.request(method, path, body)
        assert answer.status in (200, 201, 204), (method, path, answer)


# A client's login


async def test_a_client_has_only_their_own_bookings(place: Place, as_client: Api, business_id: str) -> None:
    """They make, read, move and cancel their own; others' are not there; and they decide nothing."""
    other = acting(place.api, business_id, "client", subject="another", client_id=NOBODY)
    mine = await as_client.made("bookings", place.booking(place.at(9)) | {"client_id": None})
    assert mine["client_id"] == place.client_id
    path = f"bookings/{mine['id']}"
    for answer in (
        await other.get(path),
        await other.get(f"bookings/{mine['code']}"),
        await other.request("PATCH", path, {"notes": "x"}),
        await other.post(f"{path}/cancel"),
        await other.post(f"{path}/reschedule", {"start": place.at(10)}),
    ):
        problem(answer, "not_found")
    problem(await other.get(f"clients/{place.client_id}/bookings"), "forbidden")
    problem(await other.post("bookings", place.booking(place.at(10))), "forbidden")
    for action in ("confirm", "reject", "complete", "no-show"):
        problem(await as_client.post(f"{path}/{action}"), "forbidden")
    for e in (
        await as_client.get(f"professionals/{place.professional_id}/time-off"),
        await as_client.get(f"professionals/{place.professional_id}/events"),
        await as_client.get(f"professionals/{place.professional_id}/bookings/dates", month=place.day[:7]),
        await as_client.request(
            "PUT", f"professionals/{place.professional_id}/schedule", {"time_zone": "UTC", "weekly": []}
        ),
        await as_client.post(
            f"professionals/{place.professional_id}/time-off", {"start": place.at(9), "end": place.at(10)}
        ),
    ):
        problem(e, "forbidden")
    assert (await as_client.get(path)).status == 200
    assert (await as_client.request("PATCH", path, {"notes": "mine"})).status == 200
    assert (await as_client.post(f"{path}/reschedule", {"start": place.at(10)})).status == 200
    assert (await as_client.post(f"{path}/cancel")).status == 200


async def test_a_clients_hold_is_theirs(place: Place, as_client: Api, business_id: str) -> None:
    """Another client cannot release it, nor hold in somebody's name."""
    other = acting(place.api, business_id, "client", subject="another", client_id=NOBODY)
    body = {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(9)}
    hold = await as_client.made("holds", body)
    problem(await other.request("DELETE", f"holds/{hold['id']}"), "not_found")
    problem(await other.post("holds", body | {"start": place.at(10), "client_id": place.client_id}), "forbidden")
    assert (await as_client.request("DELETE", f"holds/{hold['id']}")).status == 204


# Guests


async def test_a_guest_changes_their_own_booking_with_its_manage_token(place: Place) -> None:
    """Read, notes, move, cancel, without login; the token is shown once, to whoever booked."""
    booked = await place.api.made("bookings", place.booking(place.at(9), guest={"name": "G", "phone": "+49 30 1"}))
    token = booked["manage_token"]
    assert len(token) >= 43, "at least 256 bits"
    path, guest = f"bookings/{booked['code']}", place.api.with_token(None)
    shown = {"X-Manage-Token": token}
    read = await guest.get(path, headers=shown)
    assert read.status == 200, read
    assert "manage_token" not in read.json
    assert "manage_token" not in (await place.api.get(path)).json
    assert (await guest.request("PATCH", path, {"notes": "x"}, headers=shown)).json["notes"] == "x"
    moved = await guest.post(f"{path}/reschedule", {"start": place.at(10)}, headers=shown)
    assert (moved.status, moved.json["start"]) == (200, place.at(10))
    cancelled = await guest.post(f"{path}/cancel", {"reason": "no time"}, headers=shown)
    assert (cancelled.json["status"], cancelled.json["cancelled_by"]) == ("cancelled", "guest")
    events = (await place.api.get(f"professionals/{place.professional_id}/events")).json["items"]
    assert events[-1]["by"].startswith("guest:")


async def test_a_guest_decides_nothing(place: Place) -> None:
    """A pending booking is not theirs to confirm."""
    pending = await approving_place(place)
    booked = await place.api.made("bookings", pending.booking(place.at(9), guest={"name": "G"}))
    shown = {"X-Manage-Token": booked["manage_token"]}
    for action in ("confirm", "reject", "complete", "no-show"):
        answer = await place.api.with_token(None).post(f"bookings/{booked['id']}/{action}", headers=shown)
        problem(answer, "forbidden")
    assert (await place.api.get(f"bookings/{booked['id']}")).json["status"] == "pending"


BAD_MANAGE_TOKENS: dict[str, Callable[[str, str], str]] = {
    "another booking's": lambda own, other: other,
    "cut": lambda own, other: own[:-1],
    "in capitals": lambda own, other: own.upper(),
    "longer": lambda own, other: own + "0",
    "empty": lambda own, other: "",
    "null": lambda own, other: "null",
    "not ASCII": lambda own, other: "ü" * 64,
}


@pytest.mark.parametrize("kind", BAD_MANAGE_TOKENS)
async def test_another_manage_token_opens_nothing(place: Place, kind: str) -> None:
    """404, as if the booking were not there; also for a booking that has no manage token at all."""
    own = await place.api.made("bookings", place.booking(place.at(9), guest={"name": "A"}))
    other = await place.api.made("bookings", place.booking(place.at(10), guest={"name": "B"}))
    clients = await book(place, place.at(11))
    shown = {"X-Manage-Token": BAD_MANAGE_TOKENS[kind](own["manage_token"], other["manage_token"])}
    anyone = place.api.with_token(None)
    for booking in (own, clients):
        path = f"bookings/{booking['id']}"
        for answer in (
            await anyone.get(path, headers=shown),
            await anyone.request("PATCH", path, {"notes": "x"}, headers=shown),
            await anyone.post(f"{path}/cancel", headers=shown),
            await anyone.post(f"{path}/reschedule", {"start": place.at(12)}, headers=shown),
        ):
            problem(answer, "not_found")


async def test_a_manage_token_is_no_login(place: Place) -> None:
    """It opens its booking and nothing else."""
    booked = await place.api.made("bookings", place.booking(place.at(9), guest={"name": "A"}))
    anyone, shown = place.api.with_token(None), {"X-Manage-Token": booked["manage_token"]}
    problem(await anyone.get("bookings", headers=shown), "unauthorized")
    problem(await anyone.get(f"clients/{booked['client_id']}", headers=shown), "unauthorized")
    problem(await anyone.post("bookings", place.booking(place.at(10)), headers=shown), "unauthorized")
    problem(await anyone.with_token(booked["manage_token"]).get("bookings"), "unauthorized")


async def test_a_client_with_a_guests_manage_token_may_use_it(place: Place, as_client: Api) -> None:
    """Whoever booked as a guest and signed in later; another's login without it sees nothing."""
    booked = await place.api.made("bookings", place.booking(place.at(9), guest={"name": "A"}))
    path = f"bookings/{booked['id']}"
    problem(await as_client.get(path), "not_found")
    assert (await as_client.get(path, headers={"X-Manage-Token": booked["manage_token"]})).status == 200


async def test_a_booking_names_a_client_or_a_guest(place: Place) -> None:
    """One of them, not both, not neither."""
    guest = {"name": "A"}
    both = place.booking(place.at(9), guest=guest) | {"client_id": place.client_id}
    neither = place.booking(place.at(9)) | {"client_id": None}
    problem(await place.api.post("bookings", both), "validation_failed", "guest")
    problem(await place.api.post("bookings", neither), "validation_failed", "client_id")
    for bad in ({}, {"name": ""}, {"name": "x", "email": "no"}, {"name": "x", "age": 3}, {"name": "a\nb"}, "x", []):
        answer = await place.api.post("bookings", place.booking(place.at(9), guest=bad))
        assert problem(answer, "validation_failed")["errors"][0]["field"].startswith("guest")


async def test_stolen_ids_in_the_path_do_not_escape_it(server: RunningServer, api: Api) -> None:
    """A path that climbs is another path, not another file or route."""
    for path in (
        "/api/v1/bookings/../clients",
        "/static/..%2f..%2fpyproject.toml",
        "/static/%2e%2e/config.py",
        "/static/%00",
        "/static/",
        "/docs/../../etc/passwd",
    ):
        answer = await api.request("GET", path)
        assert answer.status in (200, 404), answer
        assert b"[project]" not in answer.body
        assert b"root:" not in answer.body

"""Nobody reads or writes what is not theirs. Every route for every role is asked in tests/permissions."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.rest.helpers import NOBODY, acting, approving_place, book, problem
from tests.support.server import Api, Place, RunningServer, new_place


class Estate:
    """A place with something of each kind in its calendar; `ids` by what they are of."""

    def __init__(self, place: Place, ids: dict[str, str]) -> None:
        self.place = place
        self.ids = ids


@pytest.fixture
async def estate(api: Api, place: Place) -> Estate:
    professional = f"professionals/{place.professional_id}"
    hold = {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(8)}
    time_off = {"start": place.at(15), "end": place.at(16)}
    return Estate(
        place,
        {
            "bookings": (await book(await approving_place(place), place.at(9)))["id"],
            "holds": (await api.made("holds", hold))["id"],
            "time_off_id": (await api.made(f"{professional}/time-off", time_off))["id"],
        },
    )


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
        ("PUT", f"{p}/schedule", {"time_zone": "UTC", "weekly": [], "force": True}),
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
    problem(await other.get(f"clients/{place.client_id}/bookings"), "not_found")
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
    """A pending booking is not theirs to confirm: that needs a login, whatever is shown."""
    pending = await approving_place(place)
    booked = await place.api.made("bookings", pending.booking(place.at(9), guest={"name": "G"}))
    shown = {"X-Manage-Token": booked["manage_token"]}
    for action in ("confirm", "reject", "complete", "no-show"):
        answer = await place.api.with_token(None).post(f"bookings/{booked['id']}/{action}", headers=shown)
        problem(answer, "unauthorized")
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

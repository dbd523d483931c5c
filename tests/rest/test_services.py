"""Services: their terms, each bound, and who offers them."""

from typing import Any

import pytest

from protocol import limits
from tests.rest.helpers import NOBODY, acting, problem, send
from tests.support.server import Api, Place

DEFAULTS = {
    "description": None, "buffer_before_minutes": 0, "buffer_after_minutes": 0, "notice_minutes": 0,
    "horizon_days": limits.horizon_days_default, "capacity": 1, "confirmation": "instant", "price_minor": None,
    "currency": None, "version": 1,
}  # fmt: skip


@pytest.mark.parity("D3")
async def test_a_professional_gets_services_with_duration_and_price(api: Api, place: Place) -> None:
    """Made for the professional in one request, listed with them, and taken away again."""
    body = {"name": "ECG", "duration_minutes": 20, "price_minor": 450000, "currency": "KZT", "description": "Quick"}
    path = f"professionals/{place.professional_id}/services"
    made = await api.post(path, body)
    assert made.status == 201, made
    assert made.headers["Location"] == f"/api/v1/services/{made.json['id']}"
    assert {k: made.json[k] for k in body} == body
    assert made.json["step_minutes"] == 20
    listed = (await api.get(path)).json["items"]
    assert [s["id"] for s in listed] == [place.service_id, made.json["id"]]
    assert listed[1] == made.json
    assert (await api.request("DELETE", f"{path}/{made.json['id']}")).status == 204
    assert [s["id"] for s in (await api.get(path)).json["items"]] == [place.service_id]
    # It is no longer offered, but still in the catalogue.
    assert (await api.get(f"services/{made.json['id']}")).status == 200
    problem(await api.request("DELETE", f"{path}/{made.json['id']}"), "not_found")


async def test_a_service_there_is_can_be_offered_by_another_professional(api: Api, place: Place) -> None:
    """By its id; then both are bookable for it, and offering it twice changes nothing."""
    other = await api.made("professionals", {"display_name": "Second", "time_zone": "UTC"})
    for _ in range(2):
        linked = await api.post(f"professionals/{other['id']}/services", {"service_id": place.service_id})
        assert linked.status == 201, linked
        assert linked.json["id"] == place.service_id
    answer = await api.get(f"services/{place.service_id}/slots", from_=place.at(10), to=place.at(10, 30))
    [slot] = answer.json["slots"]
    assert set(slot["professional_ids"]) == {place.professional_id, other["id"]}


async def test_a_service_is_made_read_changed_and_deleted(api: Api) -> None:
    """The whole life, with a version that counts its changes."""
    made = await api.post("services", {"name": "Cut", "duration_minutes": 45})
    assert made.status == 201, made
    path = f"services/{made.json['id']}"
    assert made.headers["Location"] == f"/api/v1/{path}"
    assert {k: made.json[k] for k in DEFAULTS} == DEFAULTS
    assert made.json["step_minutes"] == 45
    assert (await api.get(path)).json == made.json

    changed = await api.request("PATCH", path, {"name": "Long cut", "duration_minutes": 60, "step_minutes": 15})
    assert changed.status == 200, changed
    assert changed.json == {**made.json, "name": "Long cut", "duration_minutes": 60, "step_minutes": 15, "version": 2}
    priced = await api.request("PATCH", path, {"price_minor": 100, "currency": "EUR"})
    assert (priced.json["price_minor"], priced.json["currency"]) == (100, "EUR")
    freed = await api.request("PATCH", path, {"price_minor": None, "currency": None})
    assert (freed.json["price_minor"], freed.json["currency"]) == (None, None)

    assert (await api.request("DELETE", path)).status == 204
    for answer in (
        await api.get(path),
        await api.request("DELETE", path),
        await api.request("PATCH", path, {"name": "x"}),
    ):
        problem(answer, "not_found")


async def test_new_terms_hold_for_the_next_booking_at_once(place: Place) -> None:
    """Bookings already made keep theirs."""
    api = place.api
    old = await api.made("bookings", place.booking(place.at(9)))
    await api.request("PATCH", f"services/{place.service_id}", {"duration_minutes": 60, "step_minutes": 60})
    new = await api.made("bookings", place.booking(place.at(12)))
    assert (new["start"], new["end"]) == (place.at(12), place.at(13))
    assert (await api.get(f"bookings/{old['id']}")).json["end"] == place.at(9, 30)
    problem(await api.post("bookings", place.booking(place.at(14, 30))), "off_grid")


async def test_a_deleted_service_takes_no_more_bookings(place: Place) -> None:
    """What was booked stays."""
    api = place.api
    booked = await api.made("bookings", place.booking(place.at(9)))
    assert (await api.request("DELETE", f"services/{place.service_id}")).status == 204
    problem(await api.post("bookings", place.booking(place.at(10))), "service_not_offered")
    assert (await api.get(f"bookings/{booked['id']}")).json["status"] == "confirmed"
    assert (await api.get(f"professionals/{place.professional_id}/services")).json["items"] == []


BOUNDS = {
    "duration_minutes": (1, limits.duration_minutes_max),
    "step_minutes": (1, limits.duration_minutes_max),
    "buffer_before_minutes": (0, limits.buffer_minutes_max),
    "buffer_after_minutes": (0, limits.buffer_minutes_max),
    "notice_minutes": (0, limits.notice_minutes_max),
    "horizon_days": (1, limits.horizon_days_max),
    "capacity": (1, limits.capacity_max),
    "price_minor": (0, 10**12),
}


def terms(field: str, value: Any) -> dict[str, Any]:
    body = {"name": "Bound", "duration_minutes": 30, field: value}
    return {**body, "currency": "EUR"} if field == "price_minor" else body


@pytest.mark.parametrize("field", BOUNDS)
async def test_a_number_may_reach_its_bounds_and_no_further(api: Api, place: Place, field: str) -> None:
    """At both bounds it is stored as given; one beyond is a 422 naming it; by every way in."""
    low, high = BOUNDS[field]
    ways = ["services", f"professionals/{place.professional_id}/services"]
    for value in (low, high):
        for way in ways:
            assert (await api.made(way, terms(field, value)))[field] == value
    made = await api.made("services", terms(field, high))
    for value in (low - 1, high + 1, -1 if low else -5, 10**18, 10**30, 1.5, "7", True, [], {}):
        for way in ways:
            problem(await send(api, "POST", way, terms(field, value)), "validation_failed", field)
        answer = await send(api, "PATCH", f"services/{made['id']}", {field: value})
        problem(answer, "validation_failed", field)
    assert (await api.get(f"services/{made['id']}")).json == made, "a refused change changes nothing"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": None}, "name"),
        ({"description": "x" * 2001}, "description"),
        ({"description": "\u0000"}, "description"),
        ({"confirmation": "maybe"}, "confirmation"),
        ({"price_minor": 5}, "currency"),
        ({"currency": "EUR"}, "currency"),
        ({"price_minor": 5, "currency": "eur"}, "currency"),
        ({"price_minor": 5, "currency": "EURO"}, "currency"),
        ({"price_minor": 5, "currency": "EUR\n"}, "currency"),
        ({"duration": 30}, "duration"),
        ({"version": 3}, "version"),
    ],
)
async def test_terms_of_another_form_are_invalid(api: Api, place: Place, change: Any, field: str) -> None:
    """By every way in, and on a change."""
    body = {"name": "x", "duration_minutes": 30, **change}
    problem(await api.post("services", body), "validation_failed", field)
    answer = await api.post(f"professionals/{place.professional_id}/services", body)
    # There an explicit null is the same as leaving it out, so the message is that it is missing.
    problem(answer, "validation_failed", None if change == {"name": None} else field)
    problem(await api.request("PATCH", f"services/{place.service_id}", change), "validation_failed", field)


async def test_the_longest_texts_are_kept_whole(api: Api) -> None:
    """Two hundred and two thousand characters, whatever their bytes."""
    body = {"name": "ж" * 200, "duration_minutes": 5, "description": "日" * 2000}
    made = await api.made("services", body)
    assert {k: made[k] for k in body} == body


async def test_a_service_is_made_with_the_professionals_who_offer_it(api: Api, stranger: Api, place: Place) -> None:
    """Of this business only; a stranger's is refused, and then nothing is made."""
    body = {"name": "Shared", "duration_minutes": 30, "professional_ids": [place.professional_id]}
    made = await api.made("services", body)
    assert made["id"] in [
        s["id"] for s in (await api.get(f"professionals/{place.professional_id}/services")).json["items"]
    ]
    foreign = await stranger.made("professionals", {"display_name": "Foreign"})
    before = (await stranger.get("services")).json["items"]
    for bad in ([foreign["id"]], [NOBODY], ["x"], [place.professional_id.upper()], "x", [None]):
        answer = await api.post("services", {**body, "professional_ids": bad})
        assert problem(answer, "validation_failed")["errors"][0]["field"].startswith("professional_ids")
    problem(await stranger.post("services", body), "validation_failed", "professional_ids")
    assert (await stranger.get("services")).json["items"] == before


async def test_a_professional_is_given_a_service_id_or_a_new_service_but_not_both(api: Api, place: Place) -> None:
    """Nor nothing at all, nor a service that is not there."""
    path = f"professionals/{place.professional_id}/services"
    problem(
        await api.post(path, {"service_id": place.service_id, "name": "x", "duration_minutes": 5}),
        "validation_failed",
        "service_id",
    )
    problem(await api.post(path, {}), "validation_failed")
    problem(await api.post(path, {"service_id": NOBODY}), "not_found")
    problem(await api.post(path, {"service_id": "x"}), "validation_failed", "service_id")


@pytest.mark.parametrize(
    ("role", "writes"),
    [("owner", True), ("manager", True), ("service", True), ("professional", False), ("client", False)],
)
async def test_who_may_change_the_catalogue(
    api: Api, place: Place, as_professional: Api, as_client: Api, business_id: str, role: str, writes: bool
) -> None:
    """Everybody in the business reads it."""
    caller = {"professional": as_professional, "client": as_client}.get(role) or acting(api, business_id, role)
    service = await api.made("services", {"name": "x", "duration_minutes": 5})
    path = f"professionals/{place.professional_id}/services"
    for read in ("services", f"services/{service['id']}", path):
        assert (await caller.get(read)).status == 200
    answers = [
        await caller.post("services", {"name": "y", "duration_minutes": 5}),
        await caller.request("PATCH", f"services/{service['id']}", {"name": "z"}),
        await caller.post(path, {"service_id": service["id"]}),
        await caller.request("DELETE", f"{path}/{service['id']}"),
        await caller.request("DELETE", f"services/{service['id']}"),
    ]
    if writes:
        assert [a.status for a in answers] == [201, 200, 201, 204, 204]
    else:
        for answer in answers:
            problem(answer, "forbidden")

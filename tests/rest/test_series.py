"""Meetings that recur: offered with the conflicts named, booked all or nothing, or those that can be had."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.rest.helpers import acting, book, problem
from tests.support.server import Api, Place


def ask(place: Place, start: str, rrule: str, **more: Any) -> dict[str, Any]:
    named = {"professional_id": place.professional_id, "service_id": place.service_id}
    return {**named, "start": start, "rrule": rrule, **more}


@pytest.mark.parity("B20")
async def test_a_series_is_offered_and_booked_all_or_nothing(place: Place) -> None:
    """The offer names what cannot be had; booking it is refused with the same starts, and nothing is booked."""
    await book(place, place.at(9, day=7))
    asked = ask(place, place.at(9), "FREQ=WEEKLY;COUNT=4")
    offer = await place.api.post("bookings/series/offer", asked)
    starts = [place.at(9, day=7 * n) for n in range(4)]
    assert [(s["start"], s["available"], s.get("code")) for s in offer.json["starts"]] == [
        (start, n != 1, "slot_unavailable" if n == 1 else None) for n, start in enumerate(starts)
    ]
    refused = await place.api.post("bookings/series", asked | {"client_id": place.client_id})
    assert problem(refused, "series_conflict")["starts"] == [{"start": starts[1], "code": "slot_unavailable"}]
    assert len((await place.api.get("bookings", professional_id=place.professional_id)).json["items"]) == 1
    made = await place.api.made("bookings/series", asked | {"client_id": place.client_id, "on_conflict": "skip"})
    assert [b["start"] for b in made["bookings"]] == [starts[0], starts[2], starts[3]]
    assert made["skipped"] == [starts[1]]
    assert {b["series_id"] for b in made["bookings"]} == {made["id"]}
    assert len({b["code"] for b in made["bookings"]}) == 3


@pytest.mark.parity("E9")
async def test_the_same_key_books_it_once(place: Place) -> None:
    body = ask(place, place.at(9), "FREQ=DAILY;COUNT=5", guest={"name": "Ann", "email": "ann@example.org"})
    first = await place.api.made("bookings/series", body, key="series-once")
    again = await place.api.made("bookings/series", body, key="series-once")
    assert [b["id"] for b in again["bookings"]] == [b["id"] for b in first["bookings"]]
    assert len({b["client_id"] for b in first["bookings"]}) == 1
    nobody = place.api.with_token(None)
    for one in first["bookings"]:
        mine = {"X-Manage-Token": one["manage_token"]}
        assert (await nobody.get(f"bookings/{one['code']}", headers=mine)).json["start"] == one["start"]


async def test_it_keeps_its_time_of_day_when_the_clock_changes(api: Api) -> None:
    """Ten o'clock in Berlin stays ten o'clock, though that is another hour in UTC."""
    professional = await api.made("professionals", {"display_name": "x", "time_zone": "Europe/Berlin"})
    path = f"professionals/{professional['id']}/services"
    service = await api.made(path, {"name": "x", "duration_minutes": 30, "horizon_days": 730})
    client = await api.made("clients", {"first_name": "x"})
    body = {
        "professional_id": professional["id"], "service_id": service["id"], "start": "2027-03-23T10:00:00+01:00",
        "rrule": "FREQ=WEEKLY;COUNT=2", "client_id": client["id"],
    }  # fmt: skip
    made = await api.made("bookings/series", body)
    assert [b["start"] for b in made["bookings"]] == ["2027-03-23T09:00:00Z", "2027-03-30T08:00:00Z"]
    berlin = ZoneInfo("Europe/Berlin")
    assert {datetime.fromisoformat(b["start"]).astimezone(berlin).hour for b in made["bookings"]} == {10}


async def test_what_is_to_come_is_cancelled_together(place: Place, as_client: Api, stranger: Api) -> None:
    body = ask(place, place.at(9), "FREQ=DAILY;COUNT=3") | {"client_id": None}
    made = await as_client.made("bookings/series", body)
    path = f"bookings/series/{made['id']}"
    assert (await place.api.post(f"bookings/{made['bookings'][0]['id']}/reject")).status == 200
    problem(await stranger.post(f"{path}/cancel"), "not_found")
    problem(await stranger.get(path), "not_found")
    gone = await as_client.post(f"{path}/cancel", {"reason": "moving away"})
    assert [b["status"] for b in gone.json["bookings"]] == ["rejected", "cancelled", "cancelled"]
    read = (await as_client.get(path)).json["bookings"]
    assert [(b["status"], b.get("cancelled_by")) for b in read[1:]] == [("cancelled", "client")] * 2
    assert (await as_client.post(f"{path}/cancel")).status == 200


async def test_what_is_refused_names_its_field(place: Place) -> None:
    for rule in ("FREQ=WEEKLY", "FREQ=WEEKLY;COUNT=105", "FREQ=SECONDLY;COUNT=2", "x", "FREQ=YEARLY;COUNT=9"):
        answer = await place.api.post("bookings/series", ask(place, place.at(9), rule, client_id=place.client_id))
        problem(answer, "validation_failed", "rrule")
    asked = ask(place, place.at(9), "FREQ=DAILY;COUNT=2")
    problem(await place.api.post("bookings/series", asked), "validation_failed", "client_id")
    problem(await place.api.get("bookings/series/none"), "not_found")


@pytest.mark.parity("A12")
@pytest.mark.parity("E2")
async def test_why_a_start_is_not_offered(place: Place, as_client: Api) -> None:
    """Every reason is named, now and as it was; what stands in the way is told to staff alone."""
    path = f"professionals/{place.professional_id}/explain"

    async def reasons(start: str, api: Api = place.api, **more: Any) -> Any:
        answer = await api.get(path, start=start, service_id=place.service_id, **more)
        assert answer.status == 200, answer
        assert answer.json["offered"] == (answer.json["reasons"] == [])
        return {r["code"]: r for r in answer.json["reasons"]}

    assert await reasons(place.at(9)) == {}
    made = await book(place, place.at(9))
    told = await reasons(place.at(9))
    assert told["booking"]["ids"] == [made["id"]]
    assert "ids" not in (await reasons(place.at(9), as_client))["booking"]
    hold = {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(11)}
    held = await place.api.made("holds", hold)
    assert (await reasons(place.at(11), as_client))["hold"]["until"] == held["expires_at"]
    await place.api.made(
        f"professionals/{place.professional_id}/time-off",
        {"start": place.at(9), "end": place.at(10), "force": True, "description": "private"},
    )
    assert set(await reasons(place.at(9))) == {"booking", "time_off"}
    assert set(await reasons(place.at(9, 10))) == {"booking", "time_off", "off_grid"}
    assert set(await reasons("2020-01-01T09:00:00Z")) == {"past"}
    assert set(await reasons(place.at(9, day=600))) == {"horizon"}
    assert await reasons(place.at(9), version=made["calendar_version"] - 1) == {}
    assert set(await reasons(place.at(9), version=made["calendar_version"])) == {"booking"}
    answer = await place.api.get(path, start=place.at(9), service_id=place.service_id, version=99)
    problem(answer, "not_found")
    problem(await place.api.get(path, start="noon", service_id=place.service_id), "validation_failed", "start")


async def test_a_bookings_history_tells_every_step(place: Place, stranger: Api) -> None:
    made = await book(place, place.at(9))
    await place.api.post(f"bookings/{made['id']}/reschedule", {"start": place.at(10)})
    await place.api.post(f"bookings/{made['id']}/cancel", {"reason": "ill"})
    path = f"bookings/{made['id']}/history"
    told = (await place.api.get(path)).json["items"]
    assert [e["type"] for e in told] == ["booking.created", "booking.rescheduled", "booking.cancelled"]
    first = (await place.api.get(path, limit=1)).json
    rest = (await place.api.get(path, cursor=first["next_cursor"])).json
    assert [*first["items"], *rest["items"]] == told
    assert rest["next_cursor"] is None
    problem(await stranger.get(path), "not_found")


async def test_a_repeated_request_tells_what_was_booked_then(place: Place) -> None:
    """Whatever has become of it since."""
    body = ask(place, place.at(9), "FREQ=DAILY;COUNT=3", client_id=place.client_id, notes="x")
    first = await place.api.made("bookings/series", body, key="series-then")
    assert (await place.api.post(f"bookings/{first['bookings'][0]['id']}/cancel")).status == 200
    assert await place.api.made("bookings/series", body, key="series-then") == first
    assert [b["notes"] for b in first["bookings"]] == ["x"] * 3


async def test_what_is_in_the_way_is_told_to_who_may_read_it(place: Place, business_id: str) -> None:
    """A colleague learns that it is booked and not by what, and the journal is not theirs to go through."""
    made = await book(place, place.at(9))
    path = f"professionals/{place.professional_id}/explain"
    asked = {"start": place.at(9), "service_id": place.service_id}
    other = await place.api.made("professionals", {"display_name": "Other", "time_zone": "UTC"})
    colleague = acting(place.api, business_id, "professional", professional_id=other["id"])
    themselves = acting(place.api, business_id, "professional", professional_id=place.professional_id)
    assert (await colleague.get(path, **asked)).json["reasons"] == [{"code": "booking", "title": "It is booked"}]
    assert (await themselves.get(path, **asked)).json["reasons"][0]["ids"] == [made["id"]]
    problem(await colleague.get(path, **asked, version=1), "forbidden")
    assert (await themselves.get(path, **asked, version=made["calendar_version"])).status == 200


async def test_a_history_tells_a_guest_which_side_acted(place: Place) -> None:
    """And not which login; nor do digests of what they have told of themselves come back."""
    start = place.at(10)
    offering = await place.api.made("offerings", {
        "professional_id": place.professional_id, "type": "single", "title": "x", "start_date": place.day,
        "end_date": place.day, "start_time": "10:00", "end_time": "11:00", "duration_minutes": 30,
        "anti_scalping": "standard",
    })  # fmt: skip
    guest = {"name": "Cy", "email": "cy@example.org"}
    made = await place.api.made("bookings", {"offering_code": offering["code"], "start": start, "guest": guest})
    mine = {"X-Manage-Token": made["manage_token"]}
    [told] = (await place.api.with_token(None).get(f"bookings/{made['id']}/history", headers=mine)).json["items"]
    [known] = (await place.api.get(f"bookings/{made['id']}/history")).json["items"]
    assert ":" in known["by"]
    assert known["data"]["marks"]
    assert told["by"] == known["by"].partition(":")[0]
    assert told["data"] == {name: value for name, value in known["data"].items() if name != "marks"}

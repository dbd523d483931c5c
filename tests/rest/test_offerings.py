"""Published things to book by a code: what is free of them, who may have them, and that no place is given twice."""

import asyncio
from typing import Any

import asyncpg
import pytest

from tests.rest.helpers import acting, new_business, problem
from tests.support.server import Api, Place


async def offer(place: Place, **more: Any) -> Any:
    body = {
        "professional_id": place.professional_id, "type": "single", "title": "Office hours",
        "start_date": place.day, "end_date": place.day, "start_time": "10:00", "end_time": "12:00", **more,
    }  # fmt: skip
    if body["type"] != "party":
        body.setdefault("duration_minutes", 30)
    return await place.api.made("offerings", body)


def visitor(place: Place) -> Api:
    return place.api.with_token(None)


def guest(n: int = 0) -> dict[str, str]:
    return {"name": f"Guest {n}", "email": f"guest{n}@example.org"}


async def by_code(place: Place, offering: Any, start: str | None = None, **more: Any) -> Any:
    body = {"offering_code": offering["code"], "guest": guest(), **({"start": start} if start else {}), **more}
    return await visitor(place).post("bookings", body)


async def slots_of(place: Place, offering: Any, **query: Any) -> list[Any]:
    answer = await visitor(place).get(f"offerings/{offering['code']}/slots", **query)
    assert answer.status == 200, answer
    return answer.json["slots"]


@pytest.mark.parity("B3")
@pytest.mark.parity("B4")
@pytest.mark.parity("B5")
async def test_a_single_has_slots_for_one_each(place: Place) -> None:
    """Slots follow from dates, daily hours and duration; who books one by the code, without login, has it alone."""
    made = await offer(place, end_date=place.at(0, day=1)[:10], description="Come by")
    assert made["code"].startswith("AP-")
    assert len(made["code"]) == 8
    assert (made["max_attendees"], made["attendees_booked"], made["version"]) == (1, 0, 1)
    starts = [place.at(h, m, day=d) for d in (0, 1) for h in (10, 11) for m in (0, 30)]
    assert [s["start"] for s in await slots_of(place, made)] == starts
    answer = await by_code(place, made, starts[0], attendees=1)
    assert answer.status == 201, answer
    booking = answer.json
    assert booking["manage_token"]
    assert (booking["service_id"], booking["professional_id"]) == (made["id"], place.professional_id)
    assert problem(await by_code(place, made, starts[0]), "slot_unavailable")["alternatives"]
    day = await visitor(place).get(f"offerings/{made['code']}/slots/by-day", date=place.day)
    assert [(s["start"], s["available"]) for s in day.json["slots"]][:2] == [(starts[0], False), (starts[1], True)]
    assert (await visitor(place).get(f"offerings/{made['code'].lower()}")).json["attendees_booked"] == 1
    mine = {"X-Manage-Token": booking["manage_token"]}
    assert (await visitor(place).get(f"bookings/{booking['code']}", headers=mine)).json["id"] == booking["id"]
    cancelled = await visitor(place).post(f"bookings/{booking['code']}/cancel", headers=mine)
    assert cancelled.status == 200, cancelled
    assert starts[0] in [s["start"] for s in await slots_of(place, made)]


async def test_its_hours_are_its_own_and_the_calendar_is_one(place: Place) -> None:
    """It is open when the professional's schedule is not, but what stands in the calendar stands in its way."""
    weekly = [{"weekday": d, "start": "00:00", "end": "01:00"} for d in range(7)]
    schedule = f"professionals/{place.professional_id}/schedule"
    assert (await place.api.request("PUT", schedule, {"time_zone": "UTC", "weekly": weekly})).status == 200
    made = await offer(place)
    assert len(await slots_of(place, made)) == 4
    off = {"start": place.at(10), "end": place.at(11)}
    await place.api.made(f"professionals/{place.professional_id}/time-off", off)
    assert [s["start"] for s in await slots_of(place, made)] == [place.at(11), place.at(11, 30)]
    other = await offer(place, start_time="11:00")
    assert (await by_code(place, other, place.at(11))).status == 201
    problem(await by_code(place, made, place.at(11)), "slot_unavailable")
    problem(await by_code(place, made, place.at(9)), "outside_hours")


async def test_a_group_shares_each_slot_and_a_party_the_whole(place: Place) -> None:
    group = await offer(place, type="group", max_attendees=5)
    assert (await by_code(place, group, place.at(10), attendees=3)).json["attendees"] == 3
    assert {s["start"]: s["remaining"] for s in await slots_of(place, group)}[place.at(10)] == 2
    problem(await by_code(place, group, place.at(10), attendees=3), "slot_unavailable")
    problem(await by_code(place, group, place.at(10), attendees=6), "too_many_attendees")
    party = await offer(
        place, type="party", max_attendees=100, start_date=place.at(0, day=3)[:10], end_date=place.at(0, day=4)[:10]
    )
    answer = await by_code(place, party, attendees=60)
    assert (answer.status, answer.json["start"], answer.json["end"]) == (201, place.at(10, day=3), place.at(12, day=4))
    assert [(s["start"], s["remaining"]) for s in await slots_of(place, party)] == [(place.at(10, day=3), 40)]
    problem(await by_code(place, party, attendees=41), "slot_unavailable")


@pytest.mark.parity("B6")
@pytest.mark.parity("B10")
async def test_a_client_books_and_the_owner_sees_all(place: Place, as_client: Api) -> None:
    made = await offer(place, type="group", max_attendees=3)
    mine = await as_client.made("bookings", {"offering_code": made["code"], "start": place.at(10)})
    assert mine["client_id"] == place.client_id
    assert (await by_code(place, made, place.at(10))).status == 201
    listed = (await place.api.get(f"offerings/{made['code']}/bookings")).json["items"]
    assert len(listed) == 2
    assert mine["id"] in [b["id"] for b in listed]
    own = await as_client.get(f"offerings/{made['code']}/bookings")
    assert [b["id"] for b in own.json["items"]] == [mine["id"]]
    offerings = (await place.api.get("offerings", professional_id=place.professional_id)).json["items"]
    assert [o["id"] for o in offerings] == [made["id"]]


@pytest.mark.parity("B14")
async def test_standard_takes_one_booking_per_person(place: Place) -> None:
    """However the address is written, until the booking is cancelled; another offering has nothing to do with it."""
    made = await offer(place, anti_scalping="standard")
    problem(await by_code(place, made, place.at(10), guest={"name": "x"}), "identity_required")
    first = (await by_code(place, made, place.at(10), guest={"name": "x", "email": "Ann@Example.org"})).json
    again = {"name": "y", "email": "ann@example.org"}
    problem(await by_code(place, made, place.at(11), guest=again), "already_booked")
    assert (await by_code(place, await offer(place, start_time="11:30"), place.at(11, 30), guest=again)).status == 201
    cancelled = await place.api.post(f"bookings/{first['id']}/cancel")
    assert cancelled.status == 200
    assert (await by_code(place, made, place.at(11), guest=again)).status == 201


@pytest.mark.parity("B14")
async def test_strict_takes_a_device_too(place: Place) -> None:
    """One booking or hold per device, whoever's address is given; a made-up token is none."""
    made = await offer(place, anti_scalping="strict")
    device = (await visitor(place).post("auth/device-token")).json["device_token"]
    problem(await by_code(place, made, place.at(10)), "identity_required")
    problem(await by_code(place, made, place.at(10), device_token="A" * 86), "identity_required")
    problem(
        await visitor(place).post("holds", {"offering_code": made["code"], "start": place.at(10)}), "identity_required"
    )
    held = await visitor(place).made(
        "holds", {"offering_code": made["code"], "start": place.at(10), "device_token": device}
    )
    again = {"offering_code": made["code"], "start": place.at(11), "device_token": device}
    problem(await visitor(place).post("holds", again), "already_booked")
    problem(await by_code(place, made, place.at(11), device_token=device), "already_booked")
    booked = await by_code(place, made, place.at(10), device_token=device, hold_id=held["id"])
    assert booked.status == 201, booked
    problem(await by_code(place, made, place.at(11), guest=guest(2), device_token=device), "already_booked")
    other = (await visitor(place).post("auth/device-token")).json["device_token"]
    problem(await by_code(place, made, place.at(11), device_token=other), "already_booked")
    assert (await by_code(place, made, place.at(11), guest=guest(2), device_token=other)).status == 201


async def test_what_is_refused_names_its_field(place: Place) -> None:
    for field, given in (
        ("end_date", {"end_date": "2020-01-01"}),
        ("start_date", {"start_date": "2026-02-30"}),
        ("end_time", {"end_time": "09:00"}),
        ("duration_minutes", {"duration_minutes": 121}),
        ("duration_minutes", {"duration_minutes": 0}),
        ("max_attendees", {"max_attendees": 2}),
        ("max_attendees", {"type": "group"}),
        ("duration_minutes", {"type": "party", "max_attendees": 3, "duration_minutes": 30}),
        ("anti_scalping", {"anti_scalping": "lax"}),
        ("time_zone", {"time_zone": "Mars/Olympus"}),
    ):
        body = {
            "professional_id": place.professional_id, "type": "single", "title": "x", "start_date": place.day,
            "end_date": place.day, "start_time": "10:00", "end_time": "12:00", "duration_minutes": 30, **given,
        }  # fmt: skip
        problem(await place.api.post("offerings", body), "validation_failed", field)
    made = await offer(place)
    nobody = visitor(place)
    problem(
        await nobody.post("bookings", {"offering_code": made["code"], "guest": guest()}), "validation_failed", "start"
    )
    wrong = {"offering_code": made["code"], "guest": guest(), "start": place.at(10), "service_id": place.service_id}
    problem(await nobody.post("bookings", wrong), "validation_failed", "service_id")
    problem(await nobody.post("bookings", {"offering_code": "AP-00000", "guest": guest()}), "not_found")
    problem(
        await nobody.post("bookings", {"offering_code": "AP-1", "guest": guest()}), "validation_failed", "offering_code"
    )
    problem(await nobody.post("bookings", place.booking(place.at(10), guest=guest())), "unauthorized")
    problem(await nobody.get("offerings/AP-00000/slots"), "not_found")


@pytest.mark.parity("B15")
async def test_it_is_changed_taken_back_and_published_again(place: Place, stranger: Api, business_id: str) -> None:
    made = await offer(place, type="group", max_attendees=2)
    path = f"offerings/{made['code']}"
    booked = (await by_code(place, made, place.at(10))).json
    changed = await place.api.request("PATCH", path, {"max_attendees": 4, "end_time": "11:00", "title": "Later"})
    assert (changed.status, changed.json["version"], changed.json["title"]) == (200, 2, "Later")
    assert [(s["start"], s["remaining"]) for s in await slots_of(place, made)] == [
        (place.at(10), 1),
        (place.at(10, 30), 4),
    ]
    problem(await stranger.request("PATCH", path, {"title": "x"}), "not_found")
    problem(await stranger.get(f"{path}/bookings"), "not_found")
    colleague = acting(place.api, business_id, "professional", professional_id=made["id"])
    problem(await colleague.request("PATCH", path, {"title": "x"}), "forbidden")
    assert (await place.api.request("DELETE", path)).status == 204
    problem(await visitor(place).get(path), "not_found")
    later = await by_code(place, made, place.at(10, 30))
    assert later.status in (404, 422), later
    assert (await place.api.get(f"bookings/{booked['id']}")).json["status"] == "confirmed"
    assert made["id"] in [o["id"] for o in (await place.api.get("offerings", deleted=True)).json["items"]]
    assert (await place.api.post(f"offerings/{made['id']}/restore")).status == 200
    assert len(await slots_of(place, made)) == 2


@pytest.mark.parity("B8")
async def test_of_two_hundred_guests_ten_win(place: Place, db: asyncpg.Connection) -> None:
    """Ten places left, two hundred want one at once: exactly ten have it, and the others are told that it is gone."""
    made = await offer(place, type="party", max_attendees=10)
    answers = await asyncio.gather(*(by_code(place, made, guest=guest(n)) for n in range(200)))
    assert sorted(a.status for a in answers) == [201] * 10 + [409] * 190
    for answer in answers:
        if answer.status == 409:
            problem(answer, "slot_unavailable")
    taken = await db.fetchval("SELECT sum(attendees) FROM bookings WHERE service_id = $1::uuid", made["id"])
    assert taken == 10
    assert await slots_of(place, made) == []


async def test_a_long_offering_is_shown_from_today_on(place: Place, db: asyncpg.Connection) -> None:
    """Also one that began long ago, and one with more slots than an answer has room for."""
    made = await offer(
        place, start_time="00:00", end_time="24:00", duration_minutes=5, end_date=place.at(0, day=300)[:10]
    )
    assert len(await slots_of(place, made)) > 1_000
    began = await offer(place, start_time="12:00", end_time="13:00", end_date=place.at(0, day=30)[:10])
    await db.execute("UPDATE offerings SET start_date = start_date - 300 WHERE id = $1::uuid", began["id"])
    again = await place.api.request("PATCH", f"offerings/{began['code']}", {"title": "Since long"})
    assert again.status == 200
    assert len(await slots_of(place, began)) >= 2 * 31
    later = await slots_of(place, began, **{"from": place.at(12, day=20)})
    assert (later[0]["start"], later[-1]["start"]) == (place.at(12, day=20), place.at(12, 30, day=30))
    assert await slots_of(place, began, **{"from": place.at(0, day=40)[:10]}) == []
    answer = await visitor(place).get(f"offerings/{made['code']}/slots", **{"from": "tomorrow"})
    problem(answer, "validation_failed", "from")


async def test_a_party_lasts_from_its_first_day_to_its_last(place: Place) -> None:
    party = await offer(place, type="party", max_attendees=3, end_date=place.at(0, day=2)[:10])
    assert party["duration_minutes"] == 2 * 24 * 60 + 120
    path = f"offerings/{party['code']}"
    shorter = await place.api.request("PATCH", path, {"end_date": place.day, "end_time": "11:00"})
    assert shorter.json["duration_minutes"] == 60


async def test_what_is_published_is_hidden_until_the_business_is_approved(place: Place, db: asyncpg.Connection) -> None:
    other = await new_business(place.api.server.dsn)
    await db.execute("UPDATE businesses SET status = 'pending' WHERE id = $1", other)
    owner = acting(place.api, other, "owner")
    professional = await owner.made("professionals", {"display_name": "x", "time_zone": "UTC"})
    made = await owner.made("offerings", {
        "professional_id": professional["id"], "type": "party", "title": "x", "start_date": place.day,
        "end_date": place.day, "start_time": "10:00", "end_time": "12:00", "max_attendees": 2,
    })  # fmt: skip
    for path in (f"offerings/{made['code']}", f"offerings/{made['code']}/slots"):
        problem(await visitor(place).get(path), "not_found")
        problem(await place.api.get(path), "not_found")
        assert (await owner.get(path)).status == 200

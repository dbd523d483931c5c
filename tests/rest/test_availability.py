"""What can be booked when: the day's grid, open slots, and dates with bookings."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.rest.helpers import NOBODY, acting, approving_place, book, problem
from tests.support.server import Api, Place, new_place


async def hourly_place(api: Api, time_zone: str) -> Place:
    """A professional who never set hours, with a service of an hour."""
    professional = await api.made("professionals", {"display_name": "Default", "time_zone": time_zone})
    service = await api.made(
        f"professionals/{professional['id']}/services",
        {"name": "Hour", "duration_minutes": 60, "horizon_days": 365},
    )
    client = await api.made("clients", {"first_name": "C"})
    day = (datetime.now(UTC) + timedelta(days=7)).strftime("%Y-%m-%d")
    return Place(api, professional["id"], service["id"], client["id"], day)


@pytest.mark.parity("A12")
@pytest.mark.parametrize(("zone", "offset"), [("UTC", 0), ("Asia/Tokyo", 9), ("Pacific/Kiritimati", 14)])
async def test_a_day_is_eighteen_hours_from_five_to_eleven(api: Api, zone: str, offset: int) -> None:
    """The default schedule, on the professional's own clock, also where that is another date in UTC."""
    place = await hourly_place(api, zone)
    answer = await api.get(f"professionals/{place.professional_id}/availability", date=place.day)
    assert answer.status == 200, answer
    body = answer.json
    assert (body["date"], body["professional_id"], body["time_zone"]) == (place.day, place.professional_id, zone)
    assert len(body["slots"]) == 18
    first = datetime.fromisoformat(f"{place.day}T05:00:00+00:00") - timedelta(hours=offset)
    for i, slot in enumerate(body["slots"]):
        start = first + timedelta(hours=i)
        assert slot == {
            "start": f"{start:%Y-%m-%dT%H:%M:%SZ}",
            "end": f"{start + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
            "available": True,
        }


@pytest.mark.parity("A12")
async def test_each_slot_tells_why_it_is_not_available(api: Api, business_id: str) -> None:
    """An appointment or an unavailable period; the reason is for staff only, the type for everybody."""
    place = await hourly_place(api, "UTC")
    path = f"professionals/{place.professional_id}/availability"
    await book(place, place.at(9))
    await api.made(
        f"professionals/{place.professional_id}/time-off",
        {"start": place.at(12), "end": place.at(14), "description": "Conference in Astana"},
    )
    hold = {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(20)}
    await api.made("holds", hold)
    client = acting(api, business_id, "client", subject="c", client_id=place.client_id)
    professional = acting(api, business_id, "professional", professional_id=place.professional_id)
    for caller, staff in ((api, True), (professional, True), (client, False)):
        slots = {s["start"]: s for s in (await caller.get(path, date=place.day)).json["slots"]}
        assert len(slots) == 18
        taken = {start: (s.get("type"), s.get("reason")) for start, s in slots.items() if not s["available"]}
        assert taken == {
            place.at(9): ("appointment", "Booked by a client" if staff else None),
            place.at(12): ("unavailable", "Conference in Astana" if staff else None),
            place.at(13): ("unavailable", "Conference in Astana" if staff else None),
            place.at(20): ("hold", "Held by a client" if staff else None),
        }
        assert all("type" not in s and "reason" not in s for s in slots.values() if s["available"])
        assert staff or b"Astana" not in (await caller.get(path, date=place.day)).body


@pytest.mark.parity("A12")
async def test_what_is_over_is_not_available(api: Api) -> None:
    """Yesterday's grid is whole and closed; today's is closed up to now."""
    place = await hourly_place(api, "UTC")
    path = f"professionals/{place.professional_id}/availability"
    now = datetime.now(UTC)
    yesterday = (await api.get(path, date=f"{now - timedelta(days=1):%Y-%m-%d}")).json["slots"]
    assert len(yesterday) == 18
    assert {(s["available"], s["type"]) for s in yesterday} == {(False, "past")}
    today = (await api.get(path, date=f"{now:%Y-%m-%d}")).json["slots"]
    for slot in today:
        starts_in = (datetime.fromisoformat(slot["start"]) - now).total_seconds()
        if abs(starts_in) > 30:
            assert slot["available"] == (starts_in > 0), slot


async def test_the_grid_of_a_service_has_its_steps_notice_and_horizon(api: Api) -> None:
    """With `service_id` the slots are those that could be booked for it, and why not."""
    place = await new_place(api, duration_minutes=30, notice_minutes=60 * 24, horizon_days=10, capacity=2)
    path = f"professionals/{place.professional_id}/availability"
    slots = (await api.get(path, date=place.day, service_id=place.service_id)).json["slots"]
    assert len(slots) == 48
    await book(place, place.at(9), attendees=2)
    slots = (await api.get(path, date=place.day, service_id=place.service_id)).json["slots"]
    assert [(s["start"], s["reason"]) for s in slots if not s["available"]] == [(place.at(9), "All places are taken")]
    far = (await api.get(path, date=place.at(0, day=10)[:10], service_id=place.service_id)).json["slots"]
    assert {s["type"] for s in far} == {"horizon"}
    tomorrow = f"{datetime.now(UTC) + timedelta(hours=12):%Y-%m-%d}"
    soon = (await api.get(path, date=tomorrow, service_id=place.service_id)).json["slots"]
    assert "notice" in {s.get("type") for s in soon}


async def test_what_is_listed_is_what_can_be_booked(api: Api) -> None:
    """Every listed slot of a day can be booked, and no other start of the grid."""
    place = await new_place(api, duration_minutes=120, step_minutes=60, buffer_after_minutes=30)
    for hour in (3, 11, 17):
        await book(place, place.at(hour))
    path = f"professionals/{place.professional_id}/slots"
    answer = await api.get(path, from_=place.day, to=place.day, service_id=place.service_id)
    listed = {s["start"] for s in answer.json["slots"]}
    assert listed
    for hour in range(23):
        made = await api.post("bookings", place.booking(place.at(hour)))
        assert (made.status == 201) == (place.at(hour) in listed), (hour, made)
        if made.status == 201:
            await api.post(f"bookings/{made.json['id']}/cancel")


async def test_slots_are_those_of_the_dates_in_the_zone_asked_for(api: Api) -> None:
    """Dates are both included; instants are, and are not; the zone decides where a date begins."""
    place = await new_place(api)
    path = f"professionals/{place.professional_id}/slots"

    async def starts(**query: Any) -> list[str]:
        answer = await api.get(path, service_id=place.service_id, **query)
        assert answer.status == 200, answer
        assert all(s["state"] == "open" for s in answer.json["slots"])
        return [s["start"] for s in answer.json["slots"]]

    day = place.day
    assert (await starts(from_=day, to=day)) == [place.at(i // 2, 30 * (i % 2)) for i in range(48)]
    tokyo = await starts(from_=day, to=day, time_zone="Asia/Tokyo")
    assert (tokyo[0], tokyo[-1], len(tokyo)) == (place.at(15, day=-1), place.at(14, 30), 48)
    assert await starts(from_=place.at(9), to=place.at(10)) == [place.at(9), place.at(9, 30)]
    assert await starts(from_=f"{day}T11:00:00+02:00", to=f"{day}T12:00:00+02:00") == [place.at(9), place.at(9, 30)]
    assert len(await starts(from_=day, to=place.at(0, day=61)[:10])) == 48 * 62
    answer = await api.get(path, from_=day, to=day)
    assert [s["start"] for s in answer.json["slots"]] == [place.at(h) for h in range(24)], "hours, without a service"
    assert answer.json["version"] >= 1
    assert answer.json["time_zone"] == "UTC"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "from"),
        ({"from_": "2027-01-01"}, "to"),
        ({"from_": "2027-01-02", "to": "2027-01-01"}, "to"),
        ({"from_": "2027-01-01T10:00:00Z", "to": "2027-01-01T10:00:00Z"}, "to"),
        ({"from_": "2027-01-01", "to": "2027-03-04"}, "to"),
        ({"from_": "today", "to": "2027-01-01"}, "from"),
        ({"from_": "2027-01-01T10:00:00", "to": "2027-01-02"}, "from"),
        ({"from_": "2027-01-01T10:00:60Z", "to": "2027-01-02"}, "from"),
        ({"from_": "0001-01-01", "to": "2027-01-02"}, "from"),
        ({"from_": "9999-12-31", "to": "9999-12-31"}, "from"),
        ({"from_": "0001-01-01T00:00:00Z", "to": "2027-01-02"}, "from"),
        ({"from_": "2027-01-01", "to": "9999-12-31T23:59:59-12:00"}, "to"),
        ({"from_": "2027-02-29", "to": "2027-03-01"}, "from"),
        ({"from_": "2027-01-01", "to": "2027-01-01", "service_id": "x"}, "service_id"),
        ({"from_": "2027-01-01", "to": "2027-01-01", "state": "held"}, "state"),
        ({"from_": "2027-01-01" * 300, "to": "2027-01-01"}, "from"),
    ],
)
async def test_a_range_of_another_form_is_invalid(place: Place, query: dict[str, str], field: str) -> None:
    """For a professional's slots and for a service's."""
    for path in (f"professionals/{place.professional_id}/slots", f"services/{place.service_id}/slots"):
        problem(await place.api.get(path, **query), "validation_failed", field)


@pytest.mark.parametrize("date", ["", "tomorrow", "2027-13-01", "2027-2-3", "0001-01-01", "9999-12-31", "2027-W01-1"])
async def test_a_date_of_another_form_is_invalid(place: Place, date: str) -> None:
    """And so is a missing one."""
    path = f"professionals/{place.professional_id}/availability"
    problem(await place.api.get(path, date=date), "validation_failed", "date")
    problem(await place.api.get(path), "validation_failed", "date")


async def test_a_service_that_is_not_offered_has_no_slots_here(place: Place) -> None:
    """404, for slots and for the grid."""
    p = f"professionals/{place.professional_id}"
    problem(await place.api.get(f"{p}/slots", from_=place.day, to=place.day, service_id=NOBODY), "not_found")
    problem(await place.api.get(f"{p}/availability", date=place.day, service_id=NOBODY), "not_found")


@pytest.mark.parity("E2")
async def test_slots_of_a_service_with_any_professional(api: Api) -> None:
    """Each start once, with everybody who is free then."""
    place = await new_place(api)
    other = await new_place(api)
    await api.post(f"professionals/{other.professional_id}/services", {"service_id": place.service_id})
    await book(place, place.at(9))
    await book(place, place.at(10))
    await api.made(f"professionals/{other.professional_id}/time-off", {"start": place.at(10), "end": place.at(10, 30)})
    answer = await api.get(f"services/{place.service_id}/slots", from_=place.at(9), to=place.at(11))
    found = {s["start"]: set(s["professional_ids"]) for s in answer.json["slots"]}
    both = {place.professional_id, other.professional_id}
    assert found == {place.at(9): {other.professional_id}, place.at(9, 30): both, place.at(10, 30): both}


# Dates with bookings


@pytest.mark.parity("A13")
async def test_dates_with_confirmed_bookings_are_the_professionals_own(api: Api) -> None:
    """In Auckland a morning is the day before in UTC; pending and cancelled ones do not count."""
    place = await hourly_place(api, "Pacific/Auckland")
    pending = await approving_place(place)
    # Two hours after five in the morning of the 10th of next month in Auckland, which is the 9th in UTC.
    month = (datetime.now(UTC).replace(day=1) + timedelta(days=32)).strftime("%Y-%m")
    slots = f"professionals/{place.professional_id}/availability"

    async def start_on(day: int, hour: int = 2) -> str:
        found = (await api.get(slots, date=f"{month}-{day:02d}")).json["slots"][hour]["start"]
        assert found[:10] < f"{month}-{day:02d}", "the date line must be crossed"
        return found

    await book(place, await start_on(10))
    await book(place, await start_on(10, 3))
    await book(place, await start_on(1))
    gone = await book(place, await start_on(12))
    await api.post(f"bookings/{gone['id']}/cancel")
    await book(pending, await start_on(14))
    path = f"professionals/{place.professional_id}/bookings/dates"
    answer = await api.get(path, month=month)
    assert answer.json == {"month": month, "dates": [f"{month}-01", f"{month}-10"]}
    before = (datetime.now(UTC).replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)
    # The first of the month in Auckland is the last of the month before in UTC, and is not listed there.
    assert (await api.get(path, month=f"{before:%Y-%m}")).json["dates"] == []


@pytest.mark.parametrize(
    "month", ["", "2027", "2027-00", "2027-13", "2027-1", "01-2027", "2027-01-01", "0001-01", "9999-12"]
)
async def test_a_month_of_another_form_is_invalid(place: Place, month: str) -> None:
    """And so is a missing one."""
    path = f"professionals/{place.professional_id}/bookings/dates"
    problem(await place.api.get(path, month=month), "validation_failed", "month")
    problem(await place.api.get(path), "validation_failed", "month")


# Reads never lag


async def test_a_read_after_a_write_sees_it(place: Place) -> None:
    """Repeated questions are answered from memory, and still never show what is gone."""
    path = f"professionals/{place.professional_id}/slots"
    for i in range(20):
        start = place.at(i)
        for _ in range(2):
            listed = (await place.api.get(path, from_=place.day, to=place.day, service_id=place.service_id)).json
            assert start in [s["start"] for s in listed["slots"]]
        made = await book(place, start)
        listed = (await place.api.get(path, from_=place.day, to=place.day, service_id=place.service_id)).json
        assert start not in [s["start"] for s in listed["slots"]]
        assert listed["version"] == made["calendar_version"]


async def test_staff_and_clients_never_get_each_others_remembered_answer(place: Place, as_client: Api) -> None:
    """The same path, asked in turns: reasons for one, none for the other."""
    path = f"professionals/{place.professional_id}/availability"
    await book(place, place.at(9))
    for _ in range(3):
        assert b"reason" in (await place.api.get(path, date=place.day)).body
        assert b"reason" not in (await as_client.get(path, date=place.day)).body
    problem(await place.api.with_token(None).get(path, date=place.day), "unauthorized")


async def test_another_business_never_gets_a_remembered_answer(place: Place, stranger: Api) -> None:
    """However often the path was asked by those who may."""
    path = f"professionals/{place.professional_id}/slots"
    for _ in range(3):
        assert (await place.api.get(path, from_=place.day, to=place.day)).status == 200
        problem(await stranger.get(path, from_=place.day, to=place.day), "not_found")

"""Holidays of a business or of one of its locations: closed everywhere at once, and never over bookings unsaid."""

from typing import Any

import pytest

from protocol import limits
from tests.rest.helpers import NOBODY, acting, all_pages, book, new_business, problem
from tests.support.server import Api, Place, new_place


@pytest.fixture
async def place(api: Api) -> Place:
    """In a business of its own, because holidays close all of it."""
    return await new_place(acting(api, await new_business(api.server.dsn), "owner"))


async def starts(place: Place, day: int) -> list[str]:
    date = place.at(0, day=day)[:10]
    answer = await place.api.get(
        f"professionals/{place.professional_id}/slots", from_=date, to=date, service_id=place.service_id
    )
    return [s["start"] for s in answer.json["slots"]]


def holiday(place: Place, day: int = 0, **more: Any) -> dict[str, Any]:
    return {"date": place.at(0, day=day)[:10], "name": "Founders' day", **more}


async def test_a_holiday_closes_the_date_until_it_is_deleted(place: Place) -> None:
    """At once, for everybody, on that date alone."""
    assert await starts(place, 1)
    answer = await place.api.post("holidays", holiday(place, 1))
    assert answer.status == 201, answer
    made = answer.json
    assert answer.headers["Location"] == f"/api/v1/holidays/{made['id']}"
    assert {k: made[k] for k in ("date", "name", "location_id", "forced")} == {
        **holiday(place, 1), "location_id": None, "forced": False,
    }  # fmt: skip
    assert await starts(place, 1) == []
    assert await starts(place, 0)
    assert await starts(place, 2)
    problem(await place.api.post("bookings", place.booking(place.at(9, day=1))), "outside_hours")
    assert (await place.api.get("holidays")).json["items"] == [made]
    assert (await place.api.request("DELETE", f"holidays/{made['id']}")).status == 204
    assert await starts(place, 1)
    problem(await place.api.request("DELETE", f"holidays/{made['id']}"), "not_found")
    actions = [e["action"] for e in (await place.api.get("audit", what_id=made["id"])).json["items"]]
    assert sorted(actions) == ["holiday.made", "holiday.removed"]


async def test_a_holiday_over_bookings_is_refused_unless_forced(place: Place) -> None:
    """They are named; forced they stay, and the audit log tells who did it. Holds count too."""
    booked = await book(place, place.at(9))
    who = {"professional_id": place.professional_id, "service_id": place.service_id}
    held = await place.api.made("holds", who | {"start": place.at(11)})
    refused = problem(await place.api.post("holidays", holiday(place)), "schedule_conflict")
    assert refused["conflicts"] == [booked["id"], held["id"]]
    assert await starts(place, 0)
    made = await place.api.made("holidays", holiday(place, force=True))
    assert made["forced"] is True
    assert (await place.api.get(f"bookings/{booked['id']}")).json["status"] == "confirmed"
    assert await starts(place, 0) == []
    [entry] = (await place.api.get("audit", what_id=made["id"])).json["items"]
    assert entry["action"] == "holiday.forced"


async def test_the_date_is_that_of_each_calendars_clock(place: Place) -> None:
    """23:30 UTC is the next day in Auckland: a booking there is in the way of that date, and of no other."""
    path = f"professionals/{place.professional_id}/schedule"
    weekly = [{"weekday": d, "start": "00:00", "end": "24:00"} for d in range(7)]
    assert (await place.api.request("PUT", path, {"time_zone": "Pacific/Auckland", "weekly": weekly})).status == 200
    await book(place, place.at(23, 30))
    await place.api.made("holidays", holiday(place))
    problem(await place.api.post("holidays", holiday(place, 1)), "schedule_conflict")


async def test_who_has_hours_for_the_date_works_all_the_same(place: Place) -> None:
    """An override is said on purpose; bookings in it are in nobody's way."""
    weekly = [{"weekday": d, "start": "00:00", "end": "24:00"} for d in range(7)]
    body = {
        "time_zone": "UTC", "weekly": weekly,
        "overrides": [{"date": place.day, "ranges": [{"start": "09:00", "end": "10:00"}]}],
    }  # fmt: skip
    path = f"professionals/{place.professional_id}/schedule"
    assert (await place.api.request("PUT", path, body)).status == 200
    await book(place, place.at(9))
    await place.api.made("holidays", holiday(place))
    assert await starts(place, 0) == [place.at(9, 30)]


async def test_a_holiday_of_a_location_closes_who_works_there(place: Place) -> None:
    """Moving somebody there closes their date at once; others stay open."""
    api = place.api
    here, there = [(await api.made("locations", {"name": n}))["id"] for n in ("Here", "There")]
    made = await api.made("holidays", holiday(place, location_id=here))
    assert made["location_id"] == here
    assert await starts(place, 0)
    path = f"professionals/{place.professional_id}"
    assert (await api.request("PATCH", path, {"location_id": here})).status == 200
    assert await starts(place, 0) == []
    assert (await api.request("PATCH", path, {"location_id": there})).status == 200
    assert await starts(place, 0)
    whole = await api.made("holidays", holiday(place, 5))
    listed = [h["id"] for h in (await api.get("holidays", location_id=there)).json["items"]]
    assert listed == [whole["id"]]
    assert len((await api.get("holidays", location_id=here)).json["items"]) == 2
    assert [h["id"] for h in (await api.get("holidays", date_from=place.at(0, day=5)[:10])).json["items"]] == listed
    problem(await api.post("holidays", holiday(place, 6, location_id=NOBODY)), "validation_failed", "location_id")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"date": "2027-02-30"}, "date"),
        ({"date": "27-02-03"}, "date"),
        ({"date": "2001-01-01"}, "date"),
        ({"date": "9999-01-01"}, "date"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"force": "yes"}, "force"),
        ({"every_year": True}, "every_year"),
    ],
)
async def test_a_holiday_of_another_form_is_invalid(place: Place, change: dict[str, Any], field: str) -> None:
    problem(await place.api.post("holidays", holiday(place) | change), "validation_failed", field)
    assert (await place.api.get("holidays")).json["items"] == []


async def test_a_date_is_a_holiday_once(place: Place) -> None:
    """The same key gives the same one; another request finds it there."""
    first = await place.api.post("holidays", holiday(place, 2), key=f"once-{place.professional_id}")
    assert (await place.api.post("holidays", holiday(place, 2), key=f"once-{place.professional_id}")).json == first.json
    problem(await place.api.post("holidays", holiday(place, 2, name="again")), "conflict")
    await place.api.made("holidays", holiday(place, 3))
    pages = await all_pages(place.api, "holidays", 1)
    assert [len(p) for p in pages] in ([1, 1], [1, 1, 0])


async def test_holidays_ahead_are_bounded(place: Place, db: Any) -> None:
    """What is over makes room by itself."""
    business_id = (await place.api.get("audit")).json["items"][0]["business_id"]
    await db.execute(
        "INSERT INTO holidays (id, business_id, date, name) SELECT gen_random_uuid(), $1, current_date + 30 + n, 'x'"
        " FROM generate_series(1, $2::int) AS n",
        business_id, limits.holidays_max,
    )  # fmt: skip
    problem(await place.api.post("holidays", holiday(place)), "limit_reached")


async def test_who_may_set_holidays(place: Place, db: Any) -> None:
    """Whoever may write the catalogue; everybody in the business reads them."""
    business_id = (await place.api.get("audit")).json["items"][0]["business_id"]
    made = await place.api.made("holidays", holiday(place, 4))
    for role in ("professional", "client"):
        caller = acting(place.api, business_id, role)
        problem(await caller.post("holidays", holiday(place, 6)), "forbidden")
        problem(await caller.request("DELETE", f"holidays/{made['id']}"), "forbidden")
        assert (await caller.get("holidays")).json["items"] == [made]
    manager = acting(place.api, business_id, "manager")
    await manager.made("holidays", holiday(place, 6))
    stranger = acting(place.api, await new_business(place.api.server.dsn), "owner")
    problem(await stranger.request("DELETE", f"holidays/{made['id']}"), "not_found")
    assert (await stranger.get("holidays")).json["items"] == []

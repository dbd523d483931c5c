"""Working hours and time off."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from protocol import limits
from tests.rest.helpers import NOBODY, book, problem, send
from tests.support.server import Api, Place


def weekly(*ranges: tuple[int, str, str]) -> list[dict[str, Any]]:
    return [{"weekday": d, "start": a, "end": b} for d, a, b in ranges]


async def put(place: Place, body: Any) -> Any:
    answer = await place.api.request("PUT", f"professionals/{place.professional_id}/schedule", body)
    assert answer.status == 200, answer
    return answer.json


async def hours_of(place: Place, date: str) -> list[str]:
    answer = await place.api.get(f"professionals/{place.professional_id}/availability", date=date)
    return [s["start"] for s in answer.json["slots"]]


@pytest.mark.parity("D4")
async def test_a_schedule_is_set_and_read(place: Place) -> None:
    """Answered in order of time, with the calendar's version; it holds at once."""
    path = f"professionals/{place.professional_id}/schedule"
    weekday = datetime.fromisoformat(place.day).weekday()
    body = {
        "time_zone": "Europe/Berlin",
        "weekly": weekly((weekday, "14:00", "18:00"), (weekday, "09:00", "12:00")),
        "overrides": [
            {"date": place.at(0, day=7)[:10], "ranges": [{"start": "10:00", "end": "11:00"}]},
            {"date": place.at(0, day=14)[:10]},
        ],
    }
    before = (await place.api.get(path)).json["calendar_version"]
    told = await put(place, body)
    assert told["calendar_version"] == before + 1
    assert told["professional_id"] == place.professional_id
    assert told["weekly"] == weekly((weekday, "09:00", "12:00"), (weekday, "14:00", "18:00"))
    assert told["overrides"] == [body["overrides"][0], {"date": place.at(0, day=14)[:10], "ranges": []}]
    assert (await place.api.get(path)).json == told
    # Berlin is one hour ahead in winter, two in summer.
    hours = await hours_of(place, place.day)
    assert len(hours) == 7
    assert hours[0] in (place.at(8), place.at(7))
    assert len(await hours_of(place, place.at(0, day=7)[:10])) == 1
    assert await hours_of(place, place.at(0, day=14)[:10]) == []
    assert await hours_of(place, place.at(0, day=1)[:10]) == []
    problem(await place.api.post("bookings", place.booking(place.at(3))), "outside_hours")
    assert (await place.api.get(f"professionals/{place.professional_id}")).json["time_zone"] == "Europe/Berlin"


@pytest.mark.parity("D4")
async def test_bookings_outside_new_hours_refuse_them_unless_forced(place: Place) -> None:
    """They are named; forced, they stay, and new ones are refused."""
    made = await book(place, place.at(9))
    path = f"professionals/{place.professional_id}/schedule"
    before = (await place.api.get(path)).json
    refused = problem(
        await place.api.request("PUT", path, {"time_zone": "UTC", "weekly": []}, key=f"narrow-{place.professional_id}"),
        "schedule_conflict",
    )
    assert refused["conflicts"] == [made["id"]]
    assert (await place.api.get(path)).json == before
    await put(place, {"time_zone": "UTC", "weekly": [], "force": True})
    assert (await place.api.get(f"bookings/{made['id']}")).json["status"] == "confirmed"
    event = (await place.api.get(f"professionals/{place.professional_id}/events")).json["items"][-1]
    assert (event["type"], event["data"]["forced"]) == ("schedule.changed", True)
    answer = await place.api.post("bookings", place.booking(place.at(11)))
    assert problem(answer, "outside_hours").get("alternatives", []) == []
    # What stands outside already is no reason to refuse the next change.
    await put(place, {"time_zone": "UTC", "weekly": weekly((0, "09:00", "10:00"))})


async def test_a_default_schedule_is_told_as_one(api: Api) -> None:
    """Who never set hours has 05:00 to 23:00 every day."""
    made = await api.made("professionals", {"display_name": "x", "time_zone": "Asia/Almaty"})
    told = (await api.get(f"professionals/{made['id']}/schedule")).json
    assert told["weekly"] == weekly(*[(d, "05:00", "23:00") for d in range(7)])
    assert (told["time_zone"], told["overrides"], told["calendar_version"]) == ("Asia/Almaty", [], 0)


R = {"start": "09:00", "end": "10:00"}
BAD_SCHEDULES: list[tuple[Any, str]] = [
    ({"weekly": []}, "time_zone"),
    ({"time_zone": "UTC"}, "weekly"),
    ({"time_zone": "UTC", "weekly": weekly((7, "09:00", "10:00"))}, "weekly[0].weekday"),
    ({"time_zone": "UTC", "weekly": weekly((-1, "09:00", "10:00"))}, "weekly[0].weekday"),
    ({"time_zone": "UTC", "weekly": [{"weekday": True, **R}]}, "weekly[0].weekday"),
    ({"time_zone": "UTC", "weekly": [{"weekday": 1.5, **R}]}, "weekly[0].weekday"),
    ({"time_zone": "UTC", "weekly": [R]}, "weekly[0].weekday"),
    ({"time_zone": "UTC", "weekly": weekly((1, "10:00", "09:00"))}, "weekly"),
    ({"time_zone": "UTC", "weekly": weekly((1, "10:00", "10:00"))}, "weekly"),
    ({"time_zone": "UTC", "weekly": weekly((1, "24:00", "24:00"))}, "weekly"),
    ({"time_zone": "UTC", "weekly": weekly((1, "9:00", "10:00"))}, "weekly[0].start"),
    ({"time_zone": "UTC", "weekly": weekly((1, "09:60", "10:00"))}, "weekly[0].start"),
    ({"time_zone": "UTC", "weekly": weekly((1, "09:00", "24:01"))}, "weekly[0].end"),
    ({"time_zone": "UTC", "weekly": weekly((1, "09:00", "25:00"))}, "weekly[0].end"),
    ({"time_zone": "UTC", "weekly": weekly((1, "09:00\n", "10:00"))}, "weekly[0].start"),
    ({"time_zone": "UTC", "weekly": weekly((1, "09:00:00", "10:00"))}, "weekly[0].start"),
    ({"time_zone": "UTC", "weekly": weekly((1, "09:00", "11:00"), (1, "10:00", "12:00"))}, "weekly"),
    ({"time_zone": "UTC", "weekly": weekly((1, "09:00", "11:00"), (1, "09:00", "11:00"))}, "weekly"),
    ({"time_zone": "UTC", "weekly": [{"weekday": 1, **R, "open": True}]}, "weekly[0].open"),
    ({"time_zone": "UTC", "weekly": weekly(*[(1, "09:00", "10:00")] * 85)}, "weekly"),
    ({"time_zone": "UTC", "weekly": "always"}, "weekly"),
    ({"time_zone": "UTC", "weekly": [], "overrides": [{"date": "2027-02-30"}]}, "overrides[0].date"),
    ({"time_zone": "UTC", "weekly": [], "overrides": [{"date": "27-02-03"}]}, "overrides[0].date"),
    ({"time_zone": "UTC", "weekly": [], "overrides": [{"date": "9999-12-31"}]}, "overrides[0].date"),
    ({"time_zone": "UTC", "weekly": [], "overrides": [{"date": "2027-01-01"}] * 2}, "overrides[1].date"),
    (
        {"time_zone": "UTC", "weekly": [], "overrides": [{"date": "2027-01-01", "ranges": [R, R]}]},
        "overrides[0].ranges",
    ),
    (
        {"time_zone": "UTC", "weekly": [], "overrides": [{"date": "2027-01-01", "ranges": [R] * 13}]},
        "overrides[0].ranges",
    ),
    (
        {
            "time_zone": "UTC", "weekly": [],
            "overrides": [{"date": f"{datetime(2027, 1, 1) + timedelta(days=i):%Y-%m-%d}"} for i in range(401)],
        },
        "overrides",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("body", "field"), BAD_SCHEDULES)
async def test_a_schedule_that_makes_no_sense_is_refused_whole(place: Place, body: Any, field: str) -> None:
    """The field is named, and the hours there were remain."""
    path = f"professionals/{place.professional_id}/schedule"
    before = (await place.api.get(path)).json
    problem(await send(place.api, "PUT", path, body), "validation_failed", field)
    assert (await place.api.get(path)).json == before


async def test_hours_may_touch_and_reach_midnight(place: Place) -> None:
    """As many as the limits allow."""
    day = [f"{h:02d}:00" for h in range(25)]
    ranges = [(d, day[h], day[h + 1]) for d in range(7) for h in range(0, 24, 2)]
    assert len(ranges) == limits.weekly_ranges_max
    dates = [f"{datetime(2027, 1, 1) + timedelta(days=i):%Y-%m-%d}" for i in range(limits.overrides_max)]
    told = await put(place, {"time_zone": "UTC", "weekly": weekly(*ranges), "overrides": [{"date": d} for d in dates]})
    assert len(told["weekly"]) == limits.weekly_ranges_max
    assert len(told["overrides"]) == limits.overrides_max
    told = await put(place, {"time_zone": "UTC", "weekly": weekly((0, "00:00", "12:00"), (0, "12:00", "24:00"))})
    assert told["weekly"] == weekly((0, "00:00", "12:00"), (0, "12:00", "24:00"))


def next_change_of_clocks() -> datetime:
    """The next last Sunday of March, when Berlin skips 02:00 to 03:00."""
    now = datetime.now(UTC)
    for year in (now.year, now.year + 1):
        day = datetime(year, 3, 31, tzinfo=UTC)
        day -= timedelta(days=(day.weekday() + 1) % 7)
        if day > now + timedelta(days=1):
            return day
    raise AssertionError


async def test_an_hour_that_the_clock_skips_is_no_hour(place: Place) -> None:
    """Hours from 02:00 to 03:00 have no slot on that Sunday, and nothing can be booked in them."""
    sunday = next_change_of_clocks()
    date = f"{sunday:%Y-%m-%d}"
    await put(
        place,
        {"time_zone": "Europe/Berlin", "weekly": weekly((6, "02:00", "03:00"), (5, "02:00", "03:00"))},
    )
    assert await hours_of(place, date) == []
    assert await hours_of(place, f"{sunday - timedelta(days=1):%Y-%m-%d}") == [
        f"{sunday - timedelta(days=1):%Y-%m-%d}T01:00:00Z"
    ]
    # 02:30 with winter's offset is an instant all the same: 03:30 on Berlin's clocks.
    for start in (f"{date}T02:30:00+01:00", f"{date}T02:00:00+01:00", f"{date}T03:00:00+02:00"):
        problem(await place.api.post("bookings", place.booking(start)), "outside_hours")


@pytest.mark.parametrize(
    ("start", "code"),
    [
        ("2027-01-04T10:00:00", "validation_failed"),
        ("2027-01-04T10:00", "validation_failed"),
        ("2027-01-04", "validation_failed"),
        ("2027-01-04T10:00:60Z", "validation_failed"),
        ("2027-01-04T24:00:00Z", "validation_failed"),
        ("2027-02-30T10:00:00Z", "validation_failed"),
        ("2027-01-04T10:00:00+25:00", "validation_failed"),
        ("0001-01-01T00:00:00Z", "validation_failed"),
        ("0001-01-01T00:00:00+14:00", "validation_failed"),
        ("9999-12-31T23:59:59Z", "validation_failed"),
        ("9999-12-31T23:59:59-14:00", "validation_failed"),
        ("1999-12-31T23:59:59Z", "validation_failed"),
        ("2100-01-01T00:00:00Z", "validation_failed"),
        ("2000-01-01T00:00:00Z", "in_the_past"),
        ("2099-12-31T23:30:00Z", "beyond_horizon"),
        ("", "validation_failed"),
        ("now", "validation_failed"),
        (1767520800, "validation_failed"),
        (None, "validation_failed"),
        ([], "validation_failed"),
    ],
)
async def test_a_start_that_is_no_time_is_refused(place: Place, start: Any, code: str) -> None:
    """For bookings, holds, moves and time off alike; instants have an offset and lie in this century."""
    made = await book(place, place.at(9))
    who = {"professional_id": place.professional_id, "service_id": place.service_id, "start": start}
    field = "start" if code == "validation_failed" else None
    problem(await place.api.post("bookings", place.booking(place.at(9)) | {"start": start}), code, field)
    problem(await place.api.post("holds", who), code, field)
    problem(await place.api.post(f"bookings/{made['id']}/reschedule", {"start": start}), code, field)
    if field:
        body = {"start": start, "end": place.at(10)}
        problem(
            await place.api.post(f"professionals/{place.professional_id}/time-off", body), "validation_failed", "start"
        )


async def test_an_offset_is_only_another_way_to_write_an_instant(place: Place) -> None:
    """Answered in UTC with Z."""
    made = await book(place, place.at(9).replace("Z", "+00:00"))
    assert made["start"] == place.at(9)
    made = await book(place, f"{place.day}T15:30:00+05:30")
    assert made["start"] == place.at(10)


# Time off


@pytest.mark.parity("A11")
async def test_time_off_is_made_listed_and_deleted(place: Place) -> None:
    """With a description; while it stands nothing can be booked in it."""
    path = f"professionals/{place.professional_id}/time-off"
    body = {"start": place.at(9), "end": place.at(12), "description": "Conference"}
    made = await place.api.post(path, body)
    assert made.status == 201, made
    off = made.json
    assert made.headers["Location"] == f"/api/v1/{path}/{off['id']}"
    assert {k: off[k] for k in body} == body
    assert (off["type"], off["forced"]) == ("unavailable", False)
    [listed] = (await place.api.get(path)).json["items"]
    assert {**listed, "calendar_version": off["calendar_version"]} == off
    refused = await place.api.post("bookings", place.booking(place.at(10)))
    assert place.at(8, 30) in [a["start"] for a in problem(refused, "slot_unavailable")["alternatives"]]
    assert (await place.api.request("DELETE", f"{path}/{off['id']}")).status == 204
    assert (await place.api.get(path)).json["items"] == []
    problem(await place.api.request("DELETE", f"{path}/{off['id']}"), "not_found")
    await book(place, place.at(10))


@pytest.mark.parity("A11")
async def test_time_off_over_bookings_is_refused_unless_forced(place: Place, as_professional: Api) -> None:
    """The refusal names the bookings; forcing leaves them, and the journal tells who forced it."""
    booked = await book(place, place.at(10))
    path = f"professionals/{place.professional_id}/time-off"
    body = {"start": place.at(9), "end": place.at(12)}
    refused = problem(await place.api.post(path, body), "time_off_conflict")
    assert refused["conflicts"] == [booked["id"]]
    assert (await place.api.get(path)).json["items"] == []
    forced = await as_professional.post(path, {**body, "force": True}, headers={"X-Request-ID": "forced-it"})
    assert (forced.status, forced.json["forced"]) == (201, True)
    assert (await place.api.get(path)).json["items"][0]["forced"] is True
    assert (await place.api.get(f"bookings/{booked['id']}")).json["status"] == "confirmed"
    event = (await place.api.get(f"professionals/{place.professional_id}/events")).json["items"][-1]
    assert (event["type"], event["by"], event["request_id"]) == (
        "time_off.created", "user:its-professional", "forced-it",
    )  # fmt: skip
    assert event["data"]["forced"] is True
    # Beside the booking, not over it, force has nothing to force.
    beside = await place.api.made(path, {"start": place.at(14), "end": place.at(15), "force": True})
    assert beside["forced"] is False


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"end": None}, "end"),
        ({"end": "{start}"}, "end"),
        ({"end": "{before}"}, "end"),
        ({"end": "{in two years}"}, "end"),
        ({"end": "9999-12-31T00:00:00Z"}, "end"),
        ({"description": "x" * 2001}, "description"),
        ({"description": "nul\u0000"}, "description"),
        ({"force": "yes"}, "force"),
        ({"force": 1}, "force"),
        ({"type": "holiday"}, "type"),
    ],
)
async def test_time_off_of_another_form_is_invalid(place: Place, change: dict[str, Any], field: str) -> None:
    """Nothing is blocked by it."""
    words = {"{start}": place.at(9), "{before}": place.at(8), "{in two years}": place.at(9, day=367)}
    body = {"start": place.at(9), "end": place.at(10)}
    body |= {k: words.get(v, v) if isinstance(v, str) else v for k, v in change.items()}
    path = f"professionals/{place.professional_id}/time-off"
    problem(await place.api.post(path, body), "validation_failed", field)
    assert (await place.api.get(path)).json["items"] == []


async def test_a_year_of_time_off_is_allowed(place: Place) -> None:
    """Up to its bound."""
    path = f"professionals/{place.professional_id}/time-off"
    await place.api.made(path, {"start": place.at(0), "end": place.at(0, day=limits.time_off_days_max)})
    problem(await place.api.request("DELETE", f"{path}/{NOBODY}"), "not_found")


async def test_time_off_of_another_calendar_is_not_deleted_here(place: Place, api: Api) -> None:
    """An id under the wrong professional is not found, and stands."""
    other = await api.made("professionals", {"display_name": "x", "time_zone": "UTC"})
    path = f"professionals/{place.professional_id}/time-off"
    off = await api.made(path, {"start": place.at(9), "end": place.at(10)})
    problem(await api.request("DELETE", f"professionals/{other['id']}/time-off/{off['id']}"), "not_found")
    assert [t["id"] for t in (await api.get(path)).json["items"]] == [off["id"]]

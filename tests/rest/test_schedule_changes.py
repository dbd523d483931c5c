"""Breaks, hours that begin later, and what forcing them over bookings leaves behind."""

from typing import Any

import pytest

from protocol import limits
from tests.rest.helpers import book, problem
from tests.rest.test_schedule import weekly
from tests.support.server import Place

DAILY = weekly(*[(d, "09:00", "17:00") for d in range(7)])
MORNINGS = weekly(*[(d, "09:00", "12:00") for d in range(7)])
LUNCH = weekly(*[(d, "12:00", "13:00") for d in range(7)])


async def put(place: Place, **body: Any) -> Any:
    path = f"professionals/{place.professional_id}/schedule"
    return await place.api.request("PUT", path, {"time_zone": "UTC", "weekly": DAILY, **body})


async def hours_of(place: Place, day: int) -> list[str]:
    date = place.at(0, day=day)[:10]
    answer = await place.api.get(f"professionals/{place.professional_id}/availability", date=date)
    return [s["start"][11:16] for s in answer.json["slots"]]


async def test_breaks_are_kept_and_closed(place: Place) -> None:
    """Answered in order of time; the grid begins anew after each."""
    told = await put(place, breaks=LUNCH[::-1])
    assert told.json["breaks"] == LUNCH
    assert await hours_of(place, 0) == ["09:00", "10:00", "11:00", "13:00", "14:00", "15:00", "16:00"]
    problem(await place.api.post("bookings", place.booking(place.at(12))), "outside_hours")
    # A meeting may not reach into one.
    problem(await place.api.post("bookings", place.booking(place.at(11, 45))), "outside_hours")


async def test_hours_take_effect_from_a_date(place: Place) -> None:
    """What is before stays as it is; the answer is the whole schedule that now holds."""
    assert (await put(place)).status == 200
    date = place.at(0, day=3)[:10]
    told = await put(place, weekly=MORNINGS, breaks=weekly((0, "09:00", "09:30")), effective_from=date)
    assert told.status == 200, told
    assert (told.json["weekly"], told.json["breaks"]) == (DAILY, [])
    assert told.json["later"] == [{"date": date, "weekly": MORNINGS, "breaks": weekly((0, "09:00", "09:30"))}]
    assert (await place.api.get(f"professionals/{place.professional_id}/schedule")).json == told.json
    assert "16:00" in await hours_of(place, 2)
    assert "16:00" not in await hours_of(place, 3)
    # And read back as it was told.
    whole = {k: told.json[k] for k in ("weekly", "breaks", "overrides", "later")}
    again = await put(place, **whole)
    assert {k: again.json[k] for k in whole} == whole


async def test_a_change_from_a_date_names_only_bookings_after_it(place: Place) -> None:
    """Forced, it is in the journal and in the audit log, once however often it is sent."""
    await book(place, place.at(15, day=1))
    later = await book(place, place.at(15, day=4))
    date = place.at(0, day=3)[:10]
    refused = problem(await put(place, weekly=MORNINGS, effective_from=date), "schedule_conflict")
    # New places are open round the clock.
    assert refused["conflicts"] == [later["id"]]
    path = f"professionals/{place.professional_id}/schedule"
    body = {"time_zone": "UTC", "weekly": MORNINGS, "effective_from": date, "force": True}
    answers = [await place.api.request("PUT", path, body, key=f"forced-{place.professional_id}") for _ in range(2)]
    assert [a.status for a in answers] == [200, 200]
    assert answers[0].json == answers[1].json
    [entry] = (await place.api.get("audit", what_id=place.professional_id, action="schedule.forced")).json["items"]
    assert entry["after"]["later"][0]["date"] == date


BAD: list[tuple[dict[str, Any], str]] = [
    ({"breaks": weekly((1, "10:00", "09:00"))}, "breaks"),
    ({"breaks": weekly((1, "09:00", "11:00"), (1, "10:00", "12:00"))}, "breaks"),
    ({"breaks": [{**LUNCH[0], "location_id": "x"}]}, "breaks[0].location_id"),
    ({"later": [{"date": "2027-02-30", "weekly": []}]}, "later[0].date"),
    ({"later": [{"date": "2027-02-01", "weekly": []}] * 2}, "later[1].date"),
    ({"later": [{"date": "2027-02-01"}]}, "later[0].weekly"),
    ({"later": [{"date": "2027-02-01", "weekly": weekly((1, "10:00", "09:00"))}]}, "later[0].weekly"),
    ({"later": [{"date": f"2027-{1 + i // 28:02d}-{1 + i % 28:02d}", "weekly": []}
                for i in range(limits.later_hours_max + 1)]}, "later"),
    ({"effective_from": "tomorrow"}, "effective_from"),
    ({"effective_from": "2027-02-30"}, "effective_from"),
    ({"effective_from": "2027-02-01", "later": [{"date": "2027-03-01", "weekly": []}]}, "later"),
    ({"effective_from": "2027-02-01", "overrides": [{"date": "2027-01-31"}]}, "overrides[0].date"),
    ({"force": "yes"}, "force"),
    ({"weekly": [{**DAILY[0], "location_id": "x"}]}, "weekly[0].location_id"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "field"), BAD)
async def test_changes_that_make_no_sense_are_refused_whole(place: Place, change: dict[str, Any], field: str) -> None:
    path = f"professionals/{place.professional_id}/schedule"
    before = (await place.api.get(path)).json
    problem(await put(place, **change), "validation_failed", field)
    assert (await place.api.get(path)).json == before


async def test_another_time_zone_cannot_wait_for_a_date(place: Place) -> None:
    """The hours before it would be read on another clock."""
    body = {"time_zone": "Asia/Kolkata", "effective_from": place.at(0, day=3)[:10]}
    problem(await put(place, **body), "validation_failed")

"""Time off by a rule: made, listed and deleted as one or one by one."""

from datetime import datetime

import pytest

from tests.rest.helpers import book, problem
from tests.support.server import Place


@pytest.mark.parity("A11")
async def test_a_rule_makes_periods_of_one_series(place: Place) -> None:
    """All of them or none; the answer has each, the list too; the same key gives the same."""
    path = f"professionals/{place.professional_id}/time-off"
    body = {"start": place.at(12), "end": place.at(13), "description": "Lunch", "rrule": "FREQ=DAILY;COUNT=3"}
    answer = await place.api.post(path, body, key=f"lunch-{place.professional_id}")
    assert answer.status == 201, answer
    made = answer.json
    starts = [place.at(12, day=d) for d in range(3)]
    assert [p["start"] for p in made["periods"]] == starts
    assert (made["id"], made["start"], made["end"]) == (made["periods"][0]["id"], starts[0], place.at(13))
    assert answer.headers["Location"] == f"/api/v1/{path}/{made['series_id']}"
    assert (await place.api.post(path, body, key=f"lunch-{place.professional_id}")).json == made
    listed = (await place.api.get(path)).json["items"]
    assert [(t["id"], t["start"], t["series_id"], t["description"]) for t in listed] == [
        (p["id"], p["start"], made["series_id"], "Lunch") for p in made["periods"]
    ]
    problem(await place.api.post("bookings", place.booking(place.at(12, day=1))), "slot_unavailable")
    # One of them, then the rest.
    assert (await place.api.request("DELETE", f"{path}/{made['periods'][1]['id']}")).status == 204
    await book(place, place.at(12, day=1))
    assert (await place.api.request("DELETE", f"{path}/{made['series_id']}")).status == 204
    assert (await place.api.get(path)).json["items"] == []
    problem(await place.api.request("DELETE", f"{path}/{made['series_id']}"), "not_found")
    assert (await place.api.post(path, body, key=f"lunch-{place.professional_id}")).json == made, (
        "told from the journal, which keeps it"
    )


async def test_bookings_in_any_of_the_periods_refuse_them_all(place: Place) -> None:
    """Forced, those periods alone are marked, and the audit log has it once."""
    booked = await book(place, place.at(12, day=1))
    path = f"professionals/{place.professional_id}/time-off"
    body = {"start": place.at(12), "end": place.at(13), "rrule": "FREQ=DAILY;COUNT=3"}
    refused = problem(await place.api.post(path, body), "time_off_conflict")
    assert refused["conflicts"] == [booked["id"]]
    assert (await place.api.get(path)).json["items"] == []
    for _ in range(2):
        made = (await place.api.post(path, {**body, "force": True}, key=f"forced-{place.professional_id}")).json
    assert (made["forced"], [p["forced"] for p in made["periods"]]) == (True, [False, True, False])
    [entry] = (await place.api.get("audit", what_id=made["series_id"])).json["items"]
    assert entry["action"] == "time_off.forced"


async def test_periods_follow_the_clock_of_the_calendar(place: Place) -> None:
    """From noon to one in Berlin all year, whatever UTC says."""
    weekly = [{"weekday": d, "start": "00:00", "end": "24:00"} for d in range(7)]
    path = f"professionals/{place.professional_id}"
    assert (
        await place.api.request("PUT", f"{path}/schedule", {"time_zone": "Europe/Berlin", "weekly": weekly})
    ).status == 200
    body = {
        "start": f"{place.day}T12:00:00+01:00", "end": f"{place.day}T13:00:00+01:00", "rrule": "FREQ=MONTHLY;COUNT=12",
    }  # fmt: skip
    made = await place.api.made(f"{path}/time-off", body)
    hours = {datetime.fromisoformat(p["start"]).hour for p in made["periods"]}
    assert len(made["periods"]) == 12
    assert len(hours) == 2, "winter and summer differ in UTC"


@pytest.mark.parametrize("rule", ["FREQ=DAILY", "FREQ=HOURLY;COUNT=2", "FREQ=DAILY;COUNT=401", "", "x" * 201, "ä", 7])
async def test_a_rule_without_an_end_or_sense_is_invalid(place: Place, rule: str) -> None:
    """Nothing is blocked by it."""
    path = f"professionals/{place.professional_id}/time-off"
    body = {"start": place.at(12), "end": place.at(13), "rrule": rule}
    problem(await place.api.post(path, body), "validation_failed", "rrule")
    assert (await place.api.get(path)).json["items"] == []

"""Terms beyond time: durations to choose from, caps, notices, questions, locations and what a meeting takes up."""

from datetime import date
from typing import Any

import pytest

from protocol import limits
from tests.rest.helpers import NOBODY, acting, all_pages, book, problem, send
from tests.support.server import Api, Place, new_place

TERMS: dict[str, Any] = {
    "durations_minutes": [60, 90], "daily_cap": 3, "weekly_cap": 10, "cancellation_notice_minutes": 120,
    "reschedule_notice_minutes": 0, "assignment": "round_robin",
    "questions": [
        {"id": "allergies", "text": "Any allergies?", "required": True},
        {"id": "drink", "text": "A drink?", "kind": "choice", "options": ["tea", "coffee"]},
        {"id": "news", "text": "May we write to you?", "kind": "boolean", "required": True},
    ],
}  # fmt: skip


async def resource(api: Api, name: str = "Chair") -> str:
    made = await api.made("professionals", {"display_name": name, "kind": "resource", "time_zone": "UTC"})
    assert made["kind"] == "resource"
    return made["id"]


@pytest.mark.parity("C18")
async def test_terms_are_kept_as_given_and_changed_one_by_one(api: Api, place: Place) -> None:
    """By every way in; with nothing said there are no caps, choices or questions."""
    plain = await api.made("services", {"name": "x", "duration_minutes": 30})
    assert {f: plain[f] for f in TERMS} == {
        "durations_minutes": [], "daily_cap": None, "weekly_cap": None, "cancellation_notice_minutes": None,
        "reschedule_notice_minutes": None, "assignment": "least_loaded", "questions": [],
    }  # fmt: skip
    assert (plain["location_ids"], plain["professionals_needed"], plain["resources"]) == ([], 1, [])
    location = (await api.made("locations", {"name": "Mitte"}))["id"]
    chairs = [await resource(api), await resource(api)]
    several = {"location_ids": [location], "professionals_needed": 2, "resources": [chairs]}
    for way in ("services", f"professionals/{place.professional_id}/services"):
        made = await api.made(way, {"name": "x", "duration_minutes": 30, **TERMS, **several})
        assert {f: made[f] for f in (*TERMS, *several)} == TERMS | several
        assert (await api.get(f"services/{made['id']}")).json == made
    changed = await api.request(
        "PATCH", f"services/{made['id']}", {"daily_cap": None, "questions": [], "resources": []}
    )
    assert changed.json == {**made, "daily_cap": None, "questions": [], "resources": [], "version": 2}


Q: dict[str, Any] = {"id": "q", "text": "?"}
BAD: list[tuple[dict[str, Any], str]] = [
    ({"durations_minutes": [30, 30]}, "durations_minutes"),
    ({"durations_minutes": [0]}, "durations_minutes[0]"),
    ({"durations_minutes": [10] * (limits.durations_per_service_max + 1)}, "durations_minutes"),
    ({"daily_cap": 0}, "daily_cap"),
    ({"weekly_cap": limits.cap_max + 1}, "weekly_cap"),
    ({"cancellation_notice_minutes": -1}, "cancellation_notice_minutes"),
    ({"assignment": "whoever"}, "assignment"),
    ({"location_ids": [NOBODY]}, "location_ids"),
    ({"professionals_needed": 0}, "professionals_needed"),
    ({"professionals_needed": 2, "capacity": 2}, "capacity"),
    ({"resources": [[]]}, "resources[0]"),
    ({"resources": [[NOBODY]]}, "resources"),
    ({"questions": [Q, Q]}, "questions[1].id"),
    ({"questions": [{**Q, "id": "Not an id"}]}, "questions[0].id"),
    ({"questions": [{**Q, "text": ""}]}, "questions[0].text"),
    ({"questions": [{**Q, "kind": "date"}]}, "questions[0].kind"),
    ({"questions": [{**Q, "kind": "choice"}]}, "questions[0].options"),
    ({"questions": [{**Q, "options": ["a"]}]}, "questions[0].options"),
    ({"questions": [{**Q, "kind": "choice", "options": ["a", "a"]}]}, "questions[0].options"),
    ({"questions": [{"id": f"q{i}", "text": "?"} for i in range(limits.questions_per_service_max + 1)]}, "questions"),
]


@pytest.mark.parametrize(("change", "field"), BAD)
async def test_terms_that_make_no_sense_are_refused(api: Api, place: Place, change: dict[str, Any], field: str) -> None:
    """The field is named, and a service that was to be changed stays as it is."""
    body = {"name": "x", "duration_minutes": 30, **change}
    problem(await send(api, "POST", "services", body), "validation_failed", field)
    path = f"services/{place.service_id}"
    before = (await api.get(path)).json
    problem(await send(api, "PATCH", path, change), "validation_failed", field)
    assert (await api.get(path)).json == before


async def test_only_resources_of_the_business_are_taken(api: Api, stranger: Api, place: Place) -> None:
    """Neither people nor somebody else's, nor one twice."""
    theirs, mine = await resource(stranger), await resource(api)
    for resources in ([[place.professional_id]], [[theirs]], [[mine], [mine]]):
        answer = await api.request("PATCH", f"services/{place.service_id}", {"resources": resources})
        problem(answer, "validation_failed", "resources")


async def test_resources_are_listed_apart_and_not_shown_to_visitors(api: Api) -> None:
    """They are no people whom one could choose."""
    chair = await resource(api, "Chair")
    person = (await api.made("professionals", {"display_name": "Person"}))["id"]

    async def listed(path: str, **query: Any) -> set[str]:
        return {p["id"] for items in await all_pages(api, path, 200, **query) for p in items}

    assert chair in await listed("professionals", kind="resource")
    assert person not in await listed("professionals", kind="resource")
    assert chair not in await listed("professionals", kind="person")
    assert person in await listed("public/demo/professionals")
    assert chair not in await listed("public/demo/professionals")
    problem(await api.get("professionals", kind="robot"), "validation_failed", "kind")


# Durations


async def test_a_duration_is_chosen_for_slots_holds_and_bookings(api: Api) -> None:
    """One of those offered; another is refused, and a hold keeps its own."""
    place = await new_place(api, durations_minutes=[90])
    path = f"professionals/{place.professional_id}/slots"
    q = {"from_": place.at(9), "to": place.at(10), "service_id": place.service_id}
    for read in (path, f"services/{place.service_id}/slots"):
        asked = q if read == path else {k: v for k, v in q.items() if k != "service_id"}
        slots = (await api.get(read, **asked, duration_minutes=90)).json["slots"]
        assert [(s["start"], s["end"]) for s in slots] == [
            (place.at(9), place.at(10, 30)), (place.at(9, 30), place.at(11)),
        ]  # fmt: skip
    grid = await api.get(
        f"professionals/{place.professional_id}/availability", date=place.day, service_id=place.service_id,
        duration_minutes=90,
    )  # fmt: skip
    assert grid.json["slots"][0]["end"] == place.at(1, 30)
    problem(await api.get(path, **q, duration_minutes=60), "duration_not_offered")
    problem(await api.get(path, from_=place.day, to=place.day, duration_minutes=60), "validation_failed")
    booked = await book(place, place.at(9), duration_minutes=90)
    assert booked["end"] == place.at(10, 30)
    problem(await api.post("bookings", place.booking(place.at(12), duration_minutes=60)), "duration_not_offered")
    hold = {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(13)}
    held = await api.made("holds", hold | {"duration_minutes": 90})
    assert held["end"] == place.at(14, 30)
    other = place.booking(place.at(13), hold_id=held["id"], duration_minutes=30)
    problem(await api.post("bookings", other), "validation_failed")
    assert (await book(place, place.at(13), hold_id=held["id"]))["end"] == place.at(14, 30)
    moved = await api.post(f"bookings/{booked['id']}/reschedule", {"start": place.at(16)})
    assert moved.json["end"] == place.at(17, 30)


# Caps


async def test_caps_close_the_day_and_the_week(api: Api) -> None:
    """Listed as such and refused as such, with times on other days; a cancellation opens them again."""
    place = await new_place(api, daily_cap=2, weekly_cap=3)
    monday = 7 - date.fromisoformat(place.day).weekday()
    first = await book(place, place.at(9, day=monday))
    await book(place, place.at(10, day=monday))
    refused = problem(await api.post("bookings", place.booking(place.at(15, day=monday))), "cap_reached")
    assert refused["alternatives"]
    assert {a["start"][:10] for a in refused["alternatives"]}.isdisjoint({place.at(0, day=monday)[:10]})
    await book(place, place.at(9, day=monday + 1))
    problem(await api.post("bookings", place.booking(place.at(9, day=monday + 6))), "cap_reached")
    grid = await api.get(
        f"professionals/{place.professional_id}/availability", date=place.at(0, day=monday + 2)[:10],
        service_id=place.service_id,
    )  # fmt: skip
    assert {s["type"] for s in grid.json["slots"]} == {"cap"}
    await book(place, place.at(9, day=monday + 7))
    assert (await api.post(f"bookings/{first['id']}/cancel")).status == 200
    await book(place, place.at(15, day=monday + 3))


# Questions


async def test_answers_are_checked_and_kept(api: Api) -> None:
    """Required ones must be there; what does not fit names its field; staff read them with the booking."""
    place = await new_place(api, questions=TERMS["questions"])
    good = {"allergies": "none", "news": False, "drink": "tea"}
    for answers in ({}, {"allergies": "nuts"}, {"allergies": "  ", "news": True}):
        problem(await api.post("bookings", place.booking(place.at(9), answers=answers)), "answers_required")
    for wrong, field in (
        ({"shoes": "42"}, "answers.shoes"),
        ({"drink": "beer"}, "answers.drink"),
        ({"drink": True}, "answers.drink"),
        ({"news": "yes"}, "answers.news"),
        ({"allergies": False}, "answers.allergies"),
    ):
        problem(
            await api.post("bookings", place.booking(place.at(9), answers=good | wrong)), "validation_failed", field
        )
    for wrong in ({"allergies": "x" * (limits.answer_chars_max + 1)}, {"allergies": "nul\u0000"}, {"allergies": 7}):
        answer = problem(
            await api.post("bookings", place.booking(place.at(9), answers=good | wrong)), "validation_failed"
        )
        assert answer["errors"][0]["field"].startswith("answers")
    made = await book(place, place.at(9), answers=good)
    assert made["answers"] == good
    assert (await api.get(f"bookings/{made['id']}")).json["answers"] == good
    assert "answers" not in (await api.get(f"professionals/{place.professional_id}/events")).json["items"][-1]["data"]
    hold = {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(11)}
    held = await api.made("holds", hold)
    problem(await api.post("bookings", place.booking(place.at(11), hold_id=held["id"])), "answers_required")
    kept = await book(place, place.at(11), hold_id=held["id"], answers=good)
    assert (await api.get(f"bookings/{kept['id']}")).json["answers"] == good


async def test_visitors_see_the_questions_and_answer_them(api: Api) -> None:
    """Without login, as everything that a guest needs to book."""
    place = await new_place(api, questions=TERMS["questions"], durations_minutes=[60])
    anyone = api.with_token(None)
    listed = (await anyone.get("public/demo/services", professional_id=place.professional_id)).json["items"]
    assert [(s["questions"], s["durations_minutes"]) for s in listed] == [(TERMS["questions"], [60])]
    body = {
        "professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(9),
        "guest": {"name": "G"}, "duration_minutes": 60,
    }  # fmt: skip
    problem(await anyone.post("public/demo/bookings", body), "answers_required")
    made = await anyone.made("public/demo/bookings", body | {"answers": {"allergies": "none", "news": True}})
    assert (made["end"], made["answers"]["news"]) == (place.at(10), True)


async def test_an_erased_clients_answers_are_forgotten(api: Api) -> None:
    """They are text of that person."""
    place = await new_place(api, questions=[{"id": "q", "text": "?"}])
    made = await book(place, place.at(9), answers={"q": "I have a cold"})
    assert (await api.post(f"clients/{place.client_id}/erase")).status == 204
    assert "answers" not in (await api.get(f"bookings/{made['id']}")).json


# Notices


@pytest.mark.parity("C18")
async def test_notices_of_a_service_bind_clients_and_not_staff(api: Api, business_id: str) -> None:
    """The service's own goes before the business's, for cancelling and for moving each; 0 is until the start."""
    month = 60 * 24 * 30
    place = await new_place(api, cancellation_notice_minutes=month, reschedule_notice_minutes=0)
    client = acting(api, business_id, "client", subject="its-client", client_id=place.client_id)
    made = await client.made("bookings", place.booking(place.at(9)) | {"client_id": None})
    path = f"bookings/{made['id']}"
    problem(await client.post(f"{path}/cancel"), "too_late_to_cancel")
    assert (await client.post(f"{path}/reschedule", {"start": place.at(10)})).status == 200
    change = {"cancellation_notice_minutes": 0, "reschedule_notice_minutes": month}
    assert (await api.request("PATCH", f"services/{place.service_id}", change)).status == 200
    problem(await client.post(f"{path}/reschedule", {"start": place.at(11)}), "too_late_to_cancel")
    assert (await api.post(f"{path}/reschedule", {"start": place.at(11)})).status == 200
    # Where only cancelling is said, moving is bound by it as well.
    change = {"cancellation_notice_minutes": month, "reschedule_notice_minutes": None}
    assert (await api.request("PATCH", f"services/{place.service_id}", change)).status == 200
    problem(await client.post(f"{path}/reschedule", {"start": place.at(12)}), "too_late_to_cancel")
    problem(await client.post(f"{path}/cancel"), "too_late_to_cancel")
    assert (await api.post(f"{path}/cancel")).status == 200


# Locations


async def test_a_service_is_offered_only_in_hours_at_its_locations(api: Api, place: Place) -> None:
    """Where the professional works then; moving them, or the service, counts at once."""
    here, there = [(await api.made("locations", {"name": n}))["id"] for n in ("Here", "There")]
    weekly = [{"weekday": d, "start": "09:00", "end": "12:00"} for d in range(7)]
    weekly += [{"weekday": d, "start": "13:00", "end": "17:00", "location_id": there} for d in range(7)]
    path = f"professionals/{place.professional_id}"
    put = await api.request("PUT", f"{path}/schedule", {"time_zone": "UTC", "weekly": weekly})
    assert (put.json["weekly"][1]["location_id"], "location_id" in put.json["weekly"][0]) == (there, False)
    assert (await api.request("PATCH", f"services/{place.service_id}", {"location_ids": [there]})).status == 200

    async def starts() -> set[str]:
        answer = await api.get(f"{path}/slots", from_=place.day, to=place.day, service_id=place.service_id)
        return {s["start"] for s in answer.json["slots"]}

    # Without a location of their own, unnamed hours are worked anywhere.
    assert {place.at(9), place.at(13)} <= await starts()
    assert (await api.request("PATCH", path, {"location_id": here})).status == 200
    assert await starts() == {place.at(h, m) for h in range(13, 17) for m in (0, 30)}
    problem(await api.post("bookings", place.booking(place.at(9))), "outside_hours")
    await book(place, place.at(13))
    unknown = [{**weekly[0], "location_id": NOBODY}]
    problem(
        await api.request("PUT", f"{path}/schedule", {"time_zone": "UTC", "weekly": unknown}),
        "validation_failed",
        "weekly",
    )

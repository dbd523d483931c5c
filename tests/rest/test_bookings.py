"""Bookings over REST: making them, their life, and the lists they are found in."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.conftest import business_of
from tests.rest.helpers import NOBODY, acting, all_pages, approving_place, book, problem
from tests.support.server import Api, Place, RunningServer, new_place, token_for


async def test_two_hundred_bookers_of_one_slot_give_one_booking(place: Place) -> None:
    """One wins; the others hear 409 with alternatives from the same calendar."""
    start = place.at(10)
    answers = await asyncio.gather(*(place.api.post("bookings", place.booking(start)) for _ in range(200)))
    won = [a for a in answers if a.status == 201]
    lost = [a for a in answers if a.status == 409]
    assert (len(won), len(lost)) == (1, 199)
    for answer in lost:
        assert answer.json["code"] == "slot_unavailable"
        assert answer.json["calendar_version"] >= won[0].json["calendar_version"]
        assert start not in [slot["start"] for slot in answer.json["alternatives"]]
        assert len(answer.json["alternatives"]) == 5


@pytest.mark.parity("A14")
@pytest.mark.parity("D5")
async def test_a_booking_is_made_and_read(place: Place) -> None:
    """201 with Location and ETag; the same by id, by id in capitals, and by code in either case."""
    answer = await place.api.post("bookings", place.booking(place.at(9), notes="First time\nPlease ring"))
    assert answer.status == 201, answer
    made = answer.json
    assert answer.headers["Location"] == f"/api/v1/bookings/{made['id']}"
    assert answer.headers["ETag"] == f'"{made["version"]}"'
    assert made["code"].startswith("BK-")
    assert (made["professional_id"], made["service_id"], made["client_id"]) == (
        place.professional_id, place.service_id, place.client_id,
    )  # fmt: skip
    assert (made["start"], made["end"], made["attendees"]) == (place.at(9), place.at(9, 30), 1)
    assert made["notes"] == "First time\nPlease ring"
    assert "manage_token" not in made
    for name in (made["id"], made["id"].upper(), made["code"], made["code"].lower()):
        read = await place.api.get(f"bookings/{name}")
        assert read.status == 200, read
        assert read.headers["ETag"] == answer.headers["ETag"]
        assert read.json == {
            **{k: v for k, v in made.items() if k != "calendar_version"},
            "professional_name": "Dr Test",
        }


@pytest.mark.parity("A14")
@pytest.mark.parametrize(("confirmation", "status"), [("instant", "confirmed"), ("approval", "pending")])
async def test_whether_a_booking_begins_pending_is_a_rule_of_the_service(
    api: Api, confirmation: str, status: str
) -> None:
    """The service says so, not the caller."""
    place = await new_place(api, confirmation=confirmation)
    made = await book(place, place.at(9))
    assert made["status"] == status
    answer = await api.post("bookings", place.booking(place.at(10), status="completed"))
    problem(answer, "validation_failed", "status")


@pytest.mark.parity("A9")
async def test_a_pending_booking_is_confirmed_once(place: Place) -> None:
    """Confirming it again is refused, and so is confirming one that never was pending."""
    pending = await book(await approving_place(place), place.at(9))
    answer = await place.api.post(f"bookings/{pending['id']}/confirm")
    assert answer.status == 200, answer
    assert (answer.json["status"], answer.json["version"]) == ("confirmed", 2)
    assert answer.headers["ETag"] == '"2"'
    assert (await place.api.get(f"bookings/{pending['code']}")).json["status"] == "confirmed"
    problem(await place.api.post(f"bookings/{pending['id']}/confirm"), "invalid_transition")
    instant = await book(place, place.at(11))
    problem(await place.api.post(f"bookings/{instant['id']}/confirm"), "invalid_transition")


@pytest.mark.parity("A5")
@pytest.mark.parity("D5")
async def test_a_client_cancels_with_a_reason(place: Place, as_client: Api) -> None:
    """Who and why are kept, the slot is free at once, and a second time is refused."""
    made = await book(place, place.at(9))
    answer = await as_client.post(f"bookings/{made['id']}/cancel", {"reason": "I am ill"})
    assert answer.status == 200, answer
    read = (await place.api.get(f"bookings/{made['id']}")).json
    for found in (answer.json, read):
        assert (found["status"], found["cancelled_by"], found["reason"]) == ("cancelled", "client", "I am ill")
    problem(await as_client.post(f"bookings/{made['id']}/cancel", {"reason": "again"}), "invalid_transition")
    await book(place, place.at(9))


@pytest.mark.parity("A10")
async def test_a_professional_cancels_with_a_reason(place: Place, as_professional: Api) -> None:
    """As a client does, but `cancelled_by` says professional; the journal names the login."""
    made = await book(place, place.at(9))
    answer = await as_professional.post(f"bookings/{made['code']}/cancel", {"reason": "Conference"})
    assert (answer.json["status"], answer.json["cancelled_by"]) == ("cancelled", "professional")
    assert answer.json["reason"] == "Conference"
    events = (await place.api.get(f"professionals/{place.professional_id}/events")).json["items"]
    assert (events[-1]["type"], events[-1]["by"]) == ("booking.cancelled", "user:its-professional")


@pytest.mark.parametrize("role", ["owner", "manager", "service"])
async def test_cancelled_by_names_the_role(place: Place, business_id: str, role: str) -> None:
    """Whoever it was; without a reason there is none."""
    made = await book(place, place.at(9))
    answer = await acting(place.api, business_id, role).post(f"bookings/{made['id']}/cancel")
    assert (answer.json["cancelled_by"], answer.json.get("reason")) == (role, None)


@pytest.mark.parity("A5")
@pytest.mark.parity("A10")
@pytest.mark.parametrize("whom", ["client", "professional"])
async def test_a_service_says_for_whom_it_cancels(place: Place, business_id: str, as_client: Api, whom: str) -> None:
    """As a chat bot does, which has one token for everybody; a client may not speak for others."""
    made = await book(place, place.at(9))
    body = {"reason": "Ill", "on_behalf_of": whom}
    problem(await as_client.post(f"bookings/{made['id']}/cancel", body), "forbidden")
    answer = await acting(place.api, business_id, "service").post(f"bookings/{made['id']}/cancel", body)
    assert (answer.json["status"], answer.json["cancelled_by"], answer.json["reason"]) == ("cancelled", whom, "Ill")


async def test_what_people_write_is_not_in_the_journal(place: Place) -> None:
    """A person can be erased while the journal stays whole."""
    made = await place.api.made("bookings", place.booking(place.at(9), guest={"name": "Zoe Zebra"}, notes="Allergic"))
    await place.api.post(f"bookings/{made['id']}/cancel", {"reason": "Broken leg"})
    events = (await place.api.get(f"professionals/{place.professional_id}/events")).body
    assert b"booking.cancelled" in events
    assert not any(text in events for text in (b"Zebra", b"Allergic", b"Broken leg"))
    read = (await place.api.get(f"bookings/{made['id']}")).json
    assert (read["notes"], read["reason"]) == ("Allergic", "Broken leg")


async def test_a_booking_is_rejected_by_those_who_offer_the_time(place: Place, as_client: Api) -> None:
    """With a reason; not by the client."""
    pending = await book(await approving_place(place), place.at(9))
    problem(await as_client.post(f"bookings/{pending['id']}/reject"), "forbidden")
    answer = await place.api.post(f"bookings/{pending['id']}/reject", {"reason": "Full"})
    assert (answer.json["status"], answer.json["reason"]) == ("rejected", "Full")
    await book(place, place.at(9))


async def test_what_needs_the_booking_to_have_begun_waits_for_it(place: Place) -> None:
    """Completing and marking a no-show are refused before the start; and everything once it has ended."""
    made = await book(place, place.at(9))
    for action in ("complete", "no-show"):
        problem(await place.api.post(f"bookings/{made['id']}/{action}"), "not_yet")
    await place.api.post(f"bookings/{made['id']}/cancel")
    for action in ("complete", "no-show", "confirm", "reject", "cancel"):
        problem(await place.api.post(f"bookings/{made['id']}/{action}"), "invalid_transition")
    problem(await place.api.post(f"bookings/{made['id']}/reschedule", {"start": place.at(10)}), "invalid_transition")
    problem(await place.api.request("PATCH", f"bookings/{made['id']}", {"notes": "x"}), "invalid_transition")


async def test_a_booking_that_has_begun_is_completed_or_missed(fresh_server: RunningServer) -> None:
    """Either is final. The server is stopped meanwhile, so that the bookings can be moved into the past."""
    fresh_server.start()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
        await _complete_and_miss(fresh_server, http)


async def _complete_and_miss(fresh_server: RunningServer, http: aiohttp.ClientSession) -> None:
    place = await new_place(Api(fresh_server, http, token_for(await business_of(fresh_server.dsn))))
    made = [await book(place, place.at(h)) for h in (9, 10)]
    assert fresh_server.stop() == 0
    connection = await asyncpg.connect(fresh_server.dsn)
    for i, b in enumerate(made):
        await connection.execute(
            "UPDATE bookings SET start_at = now() - $2::interval, end_at = now() + interval '1 minute' - $2::interval,"
            " blocked = tstzrange(now() - $2::interval, now() + interval '1 minute' - $2::interval) WHERE id = $1",
            b["id"], timedelta(minutes=2 * i, seconds=1),
        )  # fmt: skip
    await connection.close()
    fresh_server.start()
    for b, action, status in zip(made, ("complete", "no-show"), ("completed", "no_show"), strict=True):
        answer = await place.api.post(f"bookings/{b['id']}/{action}")
        assert (answer.status, answer.json["status"]) == (200, status), answer
        assert (await place.api.get(f"bookings/{b['id']}")).json["status"] == status
        for again in ("complete", "cancel"):
            problem(await place.api.post(f"bookings/{b['id']}/{again}"), "invalid_transition")
    listed = await place.api.get("bookings", status="no_show")
    assert [b["id"] for b in listed.json["items"]] == [made[1]["id"]]


@pytest.mark.parity("E9")
async def test_a_booking_is_rescheduled(place: Place) -> None:
    """It keeps id and code, frees the old time, takes the new; a taken one is refused and changes nothing."""
    api = place.api
    made, blocker = await book(place, place.at(9)), await book(place, place.at(10))
    path = f"bookings/{made['id']}"
    refused = await api.post(f"{path}/reschedule", {"start": place.at(10)})
    assert problem(refused, "slot_unavailable")["alternatives"]
    assert (await api.get(path)).json["start"] == place.at(9)
    answer = await api.post(f"{path}/reschedule", {"start": place.at(11)})
    assert answer.status == 200, answer
    moved = answer.json
    assert (moved["id"], moved["code"], moved["version"]) == (made["id"], made["code"], 2)
    assert (moved["start"], moved["end"], moved["status"]) == (place.at(11), place.at(11, 30), "confirmed")
    assert answer.headers["ETag"] == '"2"'
    read = (await api.get(path)).json
    assert {k: read[k] for k in read} == {k: moved[k] for k in read}
    await book(place, place.at(9))
    problem(await api.post("bookings", place.booking(place.at(11))), "slot_unavailable")
    for start, code in (
        (place.at(12, 10), "off_grid"),
        ("2020-01-01T10:00:00Z", "in_the_past"),
        (place.at(9, day=700), "beyond_horizon"),
    ):
        problem(await api.post(f"{path}/reschedule", {"start": start}), code)
    assert (await api.get(f"bookings/{blocker['id']}")).json["version"] == 1


async def test_a_booking_may_move_onto_a_part_of_itself(api: Api) -> None:
    """Its own time is not in its way."""
    place = await new_place(api, duration_minutes=60, step_minutes=30)
    made = await book(place, place.at(9))
    answer = await api.post(f"bookings/{made['id']}/reschedule", {"start": place.at(9, 30)})
    assert (answer.status, answer.json["start"]) == (200, place.at(9, 30))


async def test_notes_are_changed_and_taken_away(place: Place) -> None:
    """The booking's version counts it."""
    made = await book(place, place.at(9), notes="old")
    path = f"bookings/{made['id']}"
    changed = await place.api.request("PATCH", path, {"notes": "new 🎈"})
    assert (changed.json["notes"], changed.json["version"]) == ("new 🎈", 2)
    assert (await place.api.get(path)).json["notes"] == "new 🎈"
    cleared = await place.api.request("PATCH", path, {"notes": None})
    assert cleared.json["version"] == 3
    assert "notes" not in (await place.api.get(path)).json
    problem(await place.api.request("PATCH", path, {}), "validation_failed", "notes")
    problem(await place.api.request("PATCH", path, {"notes": "x" * 2001}), "validation_failed", "notes")
    problem(await place.api.request("PATCH", path, {"start": place.at(10)}), "validation_failed", "start")


# Versions


async def test_if_match_guards_every_change(place: Place) -> None:
    """412 for another version or what is no ETag of a booking; `*` and the present one pass."""
    made = await book(place, place.at(9))
    path = f"bookings/{made['id']}"
    for bad in ('"2"', '"0"', "1", 'W/"1"', '"1", "2"', '""', '"x"', '"99999999999"', "**", ""):
        for answer in (
            await place.api.post(f"{path}/cancel", headers={"If-Match": bad}),
            await place.api.post(f"{path}/reschedule", {"start": place.at(12)}, headers={"If-Match": bad}),
            await place.api.request("PATCH", path, {"notes": "x"}, headers={"If-Match": bad}),
        ):
            problem(answer, "version_mismatch")
    assert (await place.api.get(path)).json["version"] == 1
    etag = (await place.api.get(path)).headers["ETag"]
    answer = await place.api.request("PATCH", path, {"notes": "x"}, headers={"If-Match": etag})
    assert (answer.status, answer.headers["ETag"]) == (200, '"2"')
    answer = await place.api.post(f"{path}/cancel", headers={"If-Match": "*"})
    assert answer.status == 200, answer


async def test_only_one_of_many_who_saw_the_same_version_changes_it(place: Place) -> None:
    """Fifty moves with the same If-Match: one is done, the rest hear 412."""
    made = await book(place, place.at(9))
    answers = await asyncio.gather(
        *(
            place.api.post(
                f"bookings/{made['id']}/reschedule", {"start": place.at(10 + i % 10)}, headers={"If-Match": '"1"'}
            )
            for i in range(50)
        )
    )
    assert sorted(a.status for a in answers) == [200] + [412] * 49


async def test_a_choice_made_on_an_old_calendar_can_be_refused(place: Place) -> None:
    """`if_version` is the calendar version of the slots that were shown."""
    shown = (await place.api.get(f"professionals/{place.professional_id}/slots", from_=place.day, to=place.day)).json
    await book(place, place.at(9), if_version=shown["version"])
    answer = await place.api.post("bookings", place.booking(place.at(11), if_version=shown["version"]))
    assert problem(answer, "calendar_changed")["calendar_version"] == shown["version"] + 1
    for bad in (-1, "1", 1.5, True):
        problem(
            await place.api.post("bookings", place.booking(place.at(11), if_version=bad)),
            "validation_failed",
            "if_version",
        )


# Refusals of the calendar


@pytest.mark.parity("A15")
async def test_each_reason_not_to_book_has_its_code(api: Api) -> None:
    """Past, too soon, too far, off the grid, too many, another's service: each a 422 of its own."""
    place = await new_place(api, notice_minutes=60, horizon_days=30, capacity=2)
    now = datetime.now(UTC)
    soon = (now + timedelta(minutes=30)).replace(minute=0 if now.minute < 30 else 30, second=0, microsecond=0)
    if soon - now < timedelta(seconds=10):
        soon += timedelta(minutes=30)
    for start, code in (
        ("2020-01-01T10:00:00Z", "in_the_past"),
        (f"{now - timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}", "in_the_past"),
        (f"{soon:%Y-%m-%dT%H:%M:%SZ}", "too_soon"),
        (place.at(9, day=40), "beyond_horizon"),
        (place.at(9, 15), "off_grid"),
        (place.at(9, 0).replace(":00Z", ":01Z"), "off_grid"),
        (place.at(9, 0).replace("00Z", "00.001Z"), "off_grid"),
    ):
        problem(await api.post("bookings", place.booking(start)), code)
    problem(await api.post("bookings", place.booking(place.at(9), attendees=3)), "too_many_attendees")
    problem(await api.post("bookings", place.booking(place.at(9)) | {"service_id": NOBODY}), "service_not_offered")
    problem(
        await api.post("bookings", place.booking(place.at(9)) | {"client_id": NOBODY}), "validation_failed", "client_id"
    )
    problem(await api.post("bookings", place.booking(place.at(9)) | {"professional_id": NOBODY}), "not_found")
    problem(await api.post("bookings", place.booking(place.at(9), hold_id=NOBODY)), "hold_gone")
    assert (await api.get("bookings", professional_id=place.professional_id)).json["items"] == []


async def test_buffers_of_neighbours_never_overlap(api: Api) -> None:
    """Ten minutes before and after: half-hour meetings end up an hour apart on a half-hour grid."""
    place = await new_place(api, buffer_before_minutes=10, buffer_after_minutes=10)
    await book(place, place.at(9))
    problem(await api.post("bookings", place.booking(place.at(9, 30))), "slot_unavailable")
    problem(await api.post("bookings", place.booking(place.at(8, 30))), "slot_unavailable")
    await book(place, place.at(10))


async def test_places_of_a_session_are_taken_one_by_one(api: Api) -> None:
    """Up to the capacity and never beyond; the remaining ones are told."""
    place = await new_place(api, capacity=5)
    answers = await asyncio.gather(*(api.post("bookings", place.booking(place.at(9))) for _ in range(12)))
    assert sorted(a.status for a in answers) == [201] * 5 + [409] * 7
    path = f"professionals/{place.professional_id}/slots"
    await book(place, place.at(10), attendees=3)
    answer = await api.get(path, from_=place.at(9), to=place.at(11), service_id=place.service_id)
    assert {s["start"]: s["remaining"] for s in answer.json["slots"]} == {
        place.at(9, 30): 5, place.at(10): 2, place.at(10, 30): 5,
    }  # fmt: skip
    problem(await api.post("bookings", place.booking(place.at(10), attendees=3)), "slot_unavailable")
    await book(place, place.at(10), attendees=2)


# Holds


async def test_a_hold_becomes_a_booking(place: Place) -> None:
    """While it stands nobody else gets the time; booking by it takes it over with its id."""
    body = {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(9)}
    made = await place.api.post("holds", {**body, "ttl_seconds": 60})
    assert made.status == 201, made
    hold = made.json
    assert made.headers["Location"] == f"/api/v1/holds/{hold['id']}"
    assert (hold["start"], hold["end"], hold["attendees"]) == (place.at(9), place.at(9, 30), 1)
    left = datetime.fromisoformat(hold["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=50) < left <= timedelta(seconds=61)
    refused = problem(await place.api.post("bookings", place.booking(place.at(9))), "slot_unavailable")
    assert refused["retry_at"] == hold["expires_at"]
    wrong = await place.api.post("bookings", place.booking(place.at(10), hold_id=hold["id"]))
    problem(wrong, "validation_failed")
    booked = await book(place, place.at(9), hold_id=hold["id"])
    assert booked["id"] == hold["id"]
    problem(await place.api.post("bookings", place.booking(place.at(9), hold_id=hold["id"])), "hold_gone")
    problem(await place.api.request("DELETE", f"holds/{hold['id']}"), "not_found")


async def test_a_hold_is_released_or_ends_by_itself(place: Place) -> None:
    """Either way the time is free again; a hold is not a booking and is in no list of them."""
    body = {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(9)}
    hold = await place.api.made("holds", body)
    problem(await place.api.get(f"bookings/{hold['id']}"), "not_found")
    assert (await place.api.get("bookings", professional_id=place.professional_id)).json["items"] == []
    assert (await place.api.request("DELETE", f"holds/{hold['id']}")).status == 204
    problem(await place.api.request("DELETE", f"holds/{hold['id']}"), "not_found")
    short = await place.api.made("holds", {**body, "ttl_seconds": 1})
    problem(await place.api.post("bookings", place.booking(place.at(9))), "slot_unavailable")
    await asyncio.sleep(1.1)
    problem(await place.api.post("bookings", place.booking(place.at(9), hold_id=short["id"])), "hold_gone")
    await book(place, place.at(9))


async def test_holds_are_bounded(place: Place, as_client: Api) -> None:
    """Three at once for each holder in a calendar, at most a quarter of an hour, at least a second."""
    body = {"professional_id": place.professional_id, "service_id": place.service_id}
    for hour in (9, 10, 11):
        await as_client.made("holds", {**body, "start": place.at(hour)})
    answer = await as_client.post("holds", {**body, "start": place.at(12)})
    problem(answer, "hold_limit")
    assert int(answer.headers["Retry-After"]) >= 1
    await place.api.made("holds", {**body, "start": place.at(12)})
    for ttl in (0, -1, 901, 1.5, "60", True):
        problem(
            await place.api.post("holds", {**body, "start": place.at(13), "ttl_seconds": ttl}),
            "validation_failed",
            "ttl_seconds",
        )


# Lists


def day_of(start: str) -> str:
    return start[:10]


@pytest.mark.parity("A4")
async def test_a_clients_bookings_to_come_with_the_professionals_name(place: Place, as_client: Api) -> None:
    """Future ones only, by status and date; what is over comes with `when=all`."""
    path = f"clients/{place.client_id}/bookings"
    first = await book(place, place.at(9))
    second = await book(place, place.at(9, day=1))
    gone = await book(place, place.at(10))
    await place.api.post(f"bookings/{gone['id']}/cancel")
    other = await new_place(place.api)
    await book(other, other.at(9))

    for caller in (place.api, as_client):
        items = (await caller.get(path)).json["items"]
        assert [b["id"] for b in items] == [first["id"], gone["id"], second["id"]]
        assert {b["professional_name"] for b in items} == {"Dr Test"}
        confirmed = (await caller.get(path, status="confirmed")).json["items"]
        assert [b["id"] for b in confirmed] == [first["id"], second["id"]]
        cancelled = (await caller.get(path, status="cancelled")).json["items"]
        assert [b["id"] for b in cancelled] == [gone["id"]]
        on_day = (await caller.get(path, date=day_of(place.at(9, day=1)))).json["items"]
        assert [b["id"] for b in on_day] == [second["id"]]
        both = (await caller.get(path, date=place.day, status="confirmed")).json["items"]
        assert [b["id"] for b in both] == [first["id"]]


@pytest.mark.parity("A4")
@pytest.mark.parity("A8")
async def test_what_is_over_is_listed_only_on_request(place: Place, db: asyncpg.Connection) -> None:
    """A meeting that has ended is no coming one; one under way still is."""
    over, under_way, coming = [await book(place, place.at(h)) for h in (9, 10, 11)]
    await db.execute(
        "UPDATE bookings SET start_at = now() - interval '2 days', end_at = now() - interval '47 hours',"
        " blocked = tstzrange(now() - interval '2 days', now() - interval '47 hours') WHERE id = $1",
        over["id"],
    )
    await db.execute(
        "UPDATE bookings SET start_at = now() - interval '1 hour', end_at = now() + interval '1 hour',"
        " blocked = tstzrange(now() - interval '1 hour', now() + interval '1 hour') WHERE id = $1",
        under_way["id"],
    )
    for path in (f"clients/{place.client_id}/bookings", f"professionals/{place.professional_id}/bookings"):
        ids = [b["id"] for b in (await place.api.get(path)).json["items"]]
        assert ids == [under_way["id"], coming["id"]]
        ids = [b["id"] for b in (await place.api.get(path, when="all")).json["items"]]
        assert ids == [over["id"], under_way["id"], coming["id"]]
        date = f"{datetime.now(UTC) - timedelta(days=2):%Y-%m-%d}"
        assert [b["id"] for b in (await place.api.get(path, date=date)).json["items"]] == [over["id"]]


@pytest.mark.parity("A8")
async def test_a_professionals_bookings_by_status_and_date(place: Place, as_professional: Api) -> None:
    """The same for whoever gives the appointments; the professional sees their own only."""
    path = f"professionals/{place.professional_id}/bookings"
    pending = await book(await approving_place(place), place.at(9))
    confirmed = await book(place, place.at(10))
    tomorrow = await book(place, place.at(9, day=1))
    items = (await as_professional.get(path)).json["items"]
    assert [b["id"] for b in items] == [pending["id"], confirmed["id"], tomorrow["id"]]
    assert [b["id"] for b in (await as_professional.get(path, status="pending")).json["items"]] == [pending["id"]]
    on_day = (await as_professional.get(path, date=day_of(place.at(9, day=1)))).json["items"]
    assert [b["id"] for b in on_day] == [tomorrow["id"]]
    other = await new_place(place.api)
    problem(await as_professional.get(f"professionals/{other.professional_id}/bookings"), "forbidden")


@pytest.mark.parity("A4")
async def test_a_date_is_one_of_the_zone_asked_for(place: Place) -> None:
    """23:30 UTC is the next day in Almaty."""
    made = await book(place, place.at(23, 30))
    next_day = day_of(place.at(0, day=1))
    for path in (f"clients/{place.client_id}/bookings", f"professionals/{place.professional_id}/bookings", "bookings"):
        more = {"professional_id": place.professional_id} if path == "bookings" else {}
        here = await place.api.get(path, date=place.day, **more)
        there = await place.api.get(path, date=next_day, time_zone="Asia/Almaty", **more)
        assert [b["id"] for b in here.json["items"]] == [made["id"]]
        assert [b["id"] for b in there.json["items"]] == [made["id"]]
        assert (await place.api.get(path, date=next_day, **more)).json["items"] == []
        assert (await place.api.get(path, date=place.day, time_zone="Asia/Almaty", **more)).json["items"] == []


@pytest.mark.parity("E3")
async def test_bookings_are_filtered_and_paged(place: Place) -> None:
    """By status, days and people, alone and together; in order of start; each once over all pages."""
    api, mine = place.api, {"professional_id": place.professional_id}
    made = [await book(place, place.at(9 + i % 3, day=i // 3)) for i in range(9)]
    for i in (1, 4):
        await api.post(f"bookings/{made[i]['id']}/cancel")
    ids = [b["id"] for b in made]

    async def found(**query: Any) -> list[int]:
        pages = await all_pages(api, "bookings", 4, **mine, **query)
        assert all(len(p) == 4 for p in pages[:-1])
        return [ids.index(b["id"]) for p in pages for b in p]

    days = [day_of(place.at(9, day=d)) for d in range(3)]
    assert await found() == list(range(9))
    assert await found(status="cancelled") == [1, 4]
    assert await found(status="confirmed") == [0, 2, 3, 5, 6, 7, 8]
    assert await found(date=days[1]) == [3, 4, 5]
    assert await found(date_from=days[1]) == [3, 4, 5, 6, 7, 8]
    assert await found(date_to=days[1]) == [0, 1, 2, 3, 4, 5]
    assert await found(date_from=days[1], date_to=days[1]) == [3, 4, 5]
    assert await found(date_from=days[1], date_to=days[2], status="confirmed") == [3, 5, 6, 7, 8]
    assert await found(client_id=place.client_id) == list(range(9))
    assert await found(client_id=NOBODY) == []
    assert await found(status="no_show") == []
    assert await found(date_from=days[2], date_to=days[0]) == []


@pytest.mark.parity("E3")
async def test_mine_and_my_specialist_bookings(place: Place, as_client: Api, as_professional: Api) -> None:
    """A client's list holds what they booked, a professional's what they give; neither can ask for others'."""
    mine = await book(place, place.at(9))
    guests = await book(place, place.at(10), guest={"name": "Guest"})
    other = await new_place(place.api)
    await book(other, other.at(9))
    assert [b["id"] for b in (await as_client.get("bookings")).json["items"]] == [mine["id"]]
    assert [b["id"] for b in (await as_professional.get("bookings")).json["items"]] == [mine["id"], guests["id"]]
    problem(await as_client.get("bookings", client_id=other.client_id), "forbidden")
    problem(await as_professional.get("bookings", professional_id=other.professional_id), "forbidden")


@pytest.mark.parity("E3")
@pytest.mark.parametrize(
    "query",
    [
        {"status": "held"},
        {"status": "booked"},
        {"status": ""},
        {"date": "2026-13-01"},
        {"date": "2026-02-30"},
        {"date": "01.02.2026"},
        {"date": "2026-W01-1"},
        {"date": "20260101"},
        {"date": ""},
        {"date": "0001-01-01"},
        {"date": "9999-12-31"},
        {"date_from": "tomorrow"},
        {"date_to": "2026-1-1"},
        {"date": "2026-01-01", "date_from": "2026-01-01"},
        {"professional_id": "x"},
        {"client_id": "' OR 1=1 --"},
        {"time_zone": "Mars/Olympus"},
        {"status": "null"},
        {"date": "null"},
        {"client_id": "NULL"},
        {"time_zone": ""},
        {"dates": "2026-01-01"},
    ],
)
async def test_a_filter_of_another_form_is_invalid(api: Api, query: dict[str, str]) -> None:
    """422, and never an unfiltered list."""
    problem(await api.get("bookings", **query), "validation_failed")

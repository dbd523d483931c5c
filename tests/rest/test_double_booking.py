"""Deliberate double booking: by staff, explicit, audited, and shown as such; over REST and live."""

from typing import Any

import pytest

from tests.rest.helpers import acting, book, problem
from tests.support.server import Api, Place


async def told(api: Api, booking_id: str) -> list[Any]:
    return (await api.get("audit", what_id=booking_id)).json["items"]


async def test_a_double_booking_stands_beside_the_other(place: Place) -> None:
    """Both are confirmed; the later one is marked: in the booking, in lists, in the journal and in the audit log."""
    first = await book(place, place.at(9))
    assert "double_booking" not in first
    problem(await place.api.post("bookings", place.booking(place.at(9))), "slot_unavailable")
    body = place.booking(place.at(9), double_booking=True)
    answer = await place.api.post(
        "bookings", body, key=f"twice-{place.professional_id}", headers={"User-Agent": "by hand"}
    )
    assert answer.status == 201, answer
    second = answer.json
    assert (second["status"], second["double_booking"]) == ("confirmed", True)
    assert (await place.api.post("bookings", body, key=f"twice-{place.professional_id}")).json == second
    assert (await place.api.get(f"bookings/{second['id']}")).json["double_booking"] is True
    listed = (await place.api.get("bookings", professional_id=place.professional_id)).json["items"]
    assert {b["id"]: b.get("double_booking", False) for b in listed} == {first["id"]: False, second["id"]: True}
    event = (await place.api.get(f"professionals/{place.professional_id}/events")).json["items"][-1]
    assert event["data"]["doubled"] is True
    [entry] = await told(place.api, second["id"])
    assert (entry["action"], entry["by"], entry["user_agent"]) == ("booking.doubled", "user:test-owner", "by hand")
    # The time is taken until both are gone.
    assert (await place.api.post(f"bookings/{first['id']}/cancel")).status == 200
    problem(await place.api.post("bookings", place.booking(place.at(9))), "slot_unavailable")
    assert (await place.api.post(f"bookings/{second['id']}/cancel")).status == 200
    await book(place, place.at(9))


async def test_where_nothing_is_in_the_way_it_is_a_booking_like_any_other(place: Place) -> None:
    """Hours, notice and time off hold all the same."""
    plain = await book(place, place.at(9), double_booking=True)
    assert "double_booking" not in plain
    assert await told(place.api, plain["id"]) == []
    await place.api.made(
        f"professionals/{place.professional_id}/time-off", {"start": place.at(14), "end": place.at(15)}
    )
    problem(await place.api.post("bookings", place.booking(place.at(14), double_booking=True)), "slot_unavailable")
    problem(await place.api.post("bookings", place.booking(place.at(9, 10), double_booking=True)), "off_grid")


async def test_a_booking_is_moved_over_another_on_purpose(place: Place) -> None:
    """Marked from then on, and no longer once it has moved away."""
    await book(place, place.at(9))
    mover = await book(place, place.at(11))
    path = f"bookings/{mover['id']}/reschedule"
    problem(await place.api.post(path, {"start": place.at(9)}), "slot_unavailable")
    moved = await place.api.post(path, {"start": place.at(9), "double_booking": True})
    assert (moved.status, moved.json["double_booking"]) == (200, True)
    assert len(await told(place.api, mover["id"])) == 1
    again = await place.api.post(path, {"start": place.at(12), "double_booking": True})
    assert "double_booking" not in again.json
    assert "double_booking" not in (await place.api.get(f"bookings/{mover['id']}")).json
    assert len(await told(place.api, mover["id"])) == 1


async def test_a_booking_moves_into_a_hold(place: Place) -> None:
    """The hold ends with it; one that is not there moves nothing."""
    mover = await book(place, place.at(9))
    who = {"professional_id": place.professional_id, "service_id": place.service_id}
    held = await place.api.made("holds", who | {"start": place.at(11)})
    path = f"bookings/{mover['id']}/reschedule"
    problem(await place.api.post(path, {"start": place.at(12), "hold_id": held["id"]}), "validation_failed")
    moved = await place.api.post(path, {"start": place.at(11), "hold_id": held["id"]})
    assert (moved.status, moved.json["start"]) == (200, place.at(11))
    problem(await place.api.post(path, {"start": place.at(11), "hold_id": held["id"]}), "hold_gone")
    await book(place, place.at(9))


@pytest.mark.parametrize("role", ["client", "colleague", "scoped"])
async def test_nobody_else_books_over_others(place: Place, as_client: Api, business_id: str, role: str) -> None:
    """Neither clients nor colleagues, nor a service whose scopes do not say so; nor for their own booking."""
    caller = {
        "client": as_client,
        "colleague": acting(place.api, business_id, "professional", professional_id=place.client_id),
        "scoped": acting(place.api, business_id, "service", scopes=("bookings.make", "bookings.change")),
    }[role]
    await book(place, place.at(9))
    body = place.booking(place.at(9), double_booking=True)
    problem(await caller.post("bookings", body), "forbidden")
    if role == "client":
        own = await book(place, place.at(11))
        move = {"start": place.at(9), "double_booking": True}
        problem(await as_client.post(f"bookings/{own['id']}/reschedule", move), "forbidden")
        guest = await place.api.made("bookings", place.booking(place.at(12), guest={"name": "G"}))
        shown = {"X-Manage-Token": guest["manage_token"]}
        answer = await place.api.with_token(None).post(f"bookings/{guest['id']}/reschedule", move, headers=shown)
        problem(answer, "forbidden")


async def test_a_professional_doubles_in_their_own_calendar(place: Place, as_professional: Api) -> None:
    await book(place, place.at(9))
    made = await as_professional.made("bookings", place.booking(place.at(9), double_booking=True))
    [entry] = await told(place.api, made["id"])
    assert entry["by"] == "user:its-professional"

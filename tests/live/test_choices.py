"""What a booking's body says beside the time holds over live as over REST: durations, answers, double bookings."""

from tests.conftest import business_of
from tests.live.conftest import Connect
from tests.rest.helpers import acting
from tests.support.server import Api, Place, RunningServer, new_place

QUESTIONS = [{"id": "drink", "text": "?", "kind": "choice", "options": ["tea", "coffee"], "required": True}]


async def test_durations_and_answers_over_live(api: Api, connect: Connect) -> None:
    """Checked by the same rules, and told in the same words."""
    place = await new_place(api, durations_minutes=[60], questions=QUESTIONS)
    live = await connect()
    who = {"professional_id": place.professional_id, "service_id": place.service_id}
    assert (await live.problem("hold", **who, start=place.at(9), duration_minutes=45))["code"] == "duration_not_offered"
    held = await live.done("hold", **who, start=place.at(9), duration_minutes=60)
    assert held["end"] == place.at(10)
    body = place.booking(place.at(9), hold_id=held["id"])
    assert (await live.problem("book", **body))["code"] == "answers_required"
    wrong = await live.problem("book", **body, answers={"drink": "beer"})
    assert [e["field"] for e in wrong["errors"]] == ["answers.drink"]
    booked = await live.done("book", **body, answers={"drink": "tea"})
    assert (booked["end"], booked["answers"]) == (place.at(10), {"drink": "tea"})


async def test_staff_book_and_move_over_others(place: Place, connect: Connect) -> None:
    """Shown, and written down with the address and program of the connection; viewers still see one taken slot."""
    live = await connect()
    first = await live.done("book", **place.booking(place.at(9)))
    second = await live.done("book", **place.booking(place.at(9), double_booking=True))
    assert "double_booking" not in first
    assert second["double_booking"] is True
    third = await live.done("book", **place.booking(place.at(11)))
    moved = await live.done("reschedule", booking_id=third["id"], start=place.at(9), double_booking=True)
    assert moved["double_booking"] is True
    for booking in (second, third):
        [entry] = (await place.api.get("audit", what_id=booking["id"])).json["items"]
        assert (entry["action"], entry["address"]) == ("booking.doubled", "127.0.0.1")
    held = await live.done(
        "hold", professional_id=place.professional_id, service_id=place.service_id, start=place.at(12)
    )
    into = await live.done("reschedule", booking_id=third["id"], start=place.at(12), hold_id=held["id"])
    assert into["start"] == place.at(12)
    assert "double_booking" not in into


async def test_clients_do_not(place: Place, connect: Connect, server: RunningServer) -> None:
    """Over live as little as over REST."""
    await place.api.made("bookings", place.booking(place.at(9)))
    client = acting(place.api, await business_of(server.dsn), "client", client_id=place.client_id)
    live = await connect(token=client.token)
    problem = await live.problem("book", **place.booking(place.at(9), double_booking=True))
    assert problem["code"] == "forbidden"


async def test_a_service_s_notice_binds_over_live(api: Api, connect: Connect, server: RunningServer) -> None:
    """By the calendar's own terms and clock."""
    place = await new_place(api, cancellation_notice_minutes=60 * 24 * 30)
    client = acting(api, await business_of(server.dsn), "client", client_id=place.client_id)
    live = await connect(token=client.token)
    booked = await live.done("book", **place.booking(place.at(9)))
    assert (await live.problem("cancel", booking_id=booked["id"]))["code"] == "too_late_to_cancel"
    problem = await live.problem("reschedule", booking_id=booked["id"], start=place.at(10))
    assert problem["code"] == "too_late_to_cancel"

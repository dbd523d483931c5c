"""Bookings over REST."""

import asyncio

from tests.support.server import Place


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

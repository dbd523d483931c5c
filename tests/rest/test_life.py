"""What becomes of bookings by themselves, and what becomes of their time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from tests.rest.helpers import approving_place, book, problem
from tests.rest.test_offerings import by_code, offer, slots_of
from tests.support.server import Place, eventually, tell


async def _put_back(place: Place, db: asyncpg.Connection, booking: Any, by: timedelta) -> None:
    """As if it had been booked for so much earlier; the calendar is loaded anew, as after a move to another node."""
    await db.execute(
        "UPDATE bookings SET start_at = start_at - $2::interval, end_at = end_at - $2::interval,"
        " blocked = tstzrange(lower(blocked) - $2::interval, upper(blocked) - $2::interval) WHERE id = $1::uuid",
        booking["id"], by,
    )  # fmt: skip
    await tell(db, "calendars", place.professional_id)


@pytest.mark.parity("E4")
async def test_what_is_left_pending_expires_and_what_is_over_is_completed(place: Place, db: asyncpg.Connection) -> None:
    """By themselves, once start or end has passed; nothing else does. A completed one may still become a no-show."""
    asked = await approving_place(place)
    pending, over, on, coming = [
        await book(asked if n == 0 else place, start)
        for n, start in enumerate((place.at(1), place.at(2), place.at(3), place.at(3, day=2)))
    ]
    now = datetime.now(UTC)
    for booking, ago in ((pending, 62), (over, 32), (on, 1)):
        await _put_back(place, db, booking, datetime.fromisoformat(booking["start"]) - now + timedelta(minutes=ago))

    async def statuses() -> list[str]:
        return [(await place.api.get(f"bookings/{b['id']}")).json["status"] for b in (pending, over, on, coming)]

    async def ended() -> bool:
        return await statuses() == ["expired", "completed", "confirmed", "confirmed"]

    assert await eventually(ended), await statuses()
    problem(await place.api.post(f"bookings/{pending['id']}/confirm"), "invalid_transition")
    problem(await place.api.post(f"bookings/{over['id']}/cancel"), "invalid_transition")
    missed = await place.api.post(f"bookings/{over['id']}/no-show")
    assert (missed.status, missed.json["status"]) == (200, "no_show")
    told = (await place.api.get(f"bookings/{over['id']}/history")).json["items"]
    assert [e["type"] for e in told] == ["booking.created", "booking.completed", "booking.no_show"]
    assert told[1]["by"] == "system:timer"


@pytest.mark.parity("B9")
@pytest.mark.parity("B11")
@pytest.mark.parity("B7")
async def test_rejecting_and_cancelling_free_the_place(place: Place) -> None:
    made = await offer(place, type="group", max_attendees=2)
    first = (await by_code(place, made, place.at(10))).json
    second = (await by_code(place, made, place.at(10))).json

    async def left() -> int:
        return {s["start"]: s["remaining"] for s in await slots_of(place, made)}.get(place.at(10), 0)

    assert await left() == 0
    answer = await place.api.post(f"bookings/{first['id']}/reject", {"reason": "not for beginners"})
    assert (answer.status, answer.json["status"], answer.json["reason"]) == (200, "rejected", "not for beginners")
    assert await left() == 1
    nobody, mine = place.api.with_token(None), {"X-Manage-Token": second["manage_token"]}
    path = f"bookings/{second['code']}"
    assert (await nobody.request("PATCH", path, {"notes": "late"}, headers=mine)).json["notes"] == "late"
    assert (await nobody.post(f"{path}/cancel", {"reason": "ill"}, headers=mine)).json["cancelled_by"] == "guest"
    assert await left() == 2

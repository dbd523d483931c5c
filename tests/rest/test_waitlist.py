"""Waiting for an opening: who came first gets it, as a hold that everybody sees, and nobody gets it twice."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from tests.rest.helpers import book, problem
from tests.support.server import Api, Place

PATIENCE_S = 10.0


async def until(ask: Callable[[], Any], true: Callable[[Any], Any]) -> Any:
    """What is answered once that holds of it."""
    async with asyncio.timeout(PATIENCE_S):
        while not true(found := await ask()):
            await asyncio.sleep(0.05)
        return found


def waiting(place: Place, hour: int = 9, **more: Any) -> dict[str, Any]:
    """For the half hour at `hour`."""
    body = {
        "service_id": place.service_id, "professional_id": place.professional_id, "from": place.at(hour),
        "to": place.at(hour, 30), **more,
    }  # fmt: skip
    return body if "guest" in more else {"client_id": place.client_id, **body}


async def client_of(place: Place, name: str = "x") -> str:
    return (await place.api.made("clients", {"first_name": name}))["id"]


async def entry(place: Place, made: Any) -> Any:
    return (await place.api.get(f"waitlist/{made['id']}")).json


@pytest.mark.parity("E9")
async def test_what_is_cancelled_goes_to_who_came_first(place: Place) -> None:
    """By a hold that is real: others find it held, and the one it is for books it; the next waits on."""
    booked = await book(place, place.at(9))
    first = await place.api.made("waitlist", waiting(place))
    second = await place.api.made("waitlist", waiting(place, client_id=await client_of(place)))
    assert (first["status"], first["position"], second["position"]) == ("waiting", 1, 2)
    assert (await place.api.post(f"bookings/{booked['id']}/cancel")).status == 200
    offered = await until(lambda: entry(place, first), lambda e: e["status"] == "offered")
    assert offered["hold"]["start"] == place.at(9)
    assert (await entry(place, second))["position"] == 1
    problem(await place.api.post("bookings", place.booking(place.at(9))), "slot_unavailable")
    taken = await place.api.made("bookings", place.booking(place.at(9), hold_id=offered["hold"]["id"]))
    assert taken["id"] == offered["hold"]["id"]
    assert (await place.api.post(f"bookings/{taken['id']}/reject")).status == 200
    await until(lambda: entry(place, second), lambda e: e["status"] == "offered")
    assert (await entry(place, first))["status"] == "booked"


async def test_what_is_not_taken_goes_to_the_next(place: Place) -> None:
    booked = await book(place, place.at(9))
    entries = [await place.api.made("waitlist", waiting(place, client_id=await client_of(place))) for _ in range(3)]
    assert (await place.api.post(f"bookings/{booked['id']}/cancel")).status == 200
    offered = await until(lambda: entry(place, entries[0]), lambda e: e["status"] == "offered")
    assert (await place.api.request("DELETE", f"holds/{offered['hold']['id']}")).status == 204
    await until(lambda: entry(place, entries[1]), lambda e: e["status"] == "offered")
    assert (await entry(place, entries[0]))["status"] == "lapsed"
    assert (await place.api.request("DELETE", f"waitlist/{entries[1]['id']}")).status == 204
    await until(lambda: entry(place, entries[2]), lambda e: e["status"] == "offered")
    assert (await entry(place, entries[1]))["status"] == "left"


async def test_fifty_wait_and_three_are_freed(place: Place, db: asyncpg.Connection) -> None:
    """Exactly the first three are offered something, each another start."""
    starts = [place.at(h, m) for h in (9, 10, 11) for m in (0, 30)]
    bookings = [await book(place, start) for start in starts]
    range_ = {"from": place.at(9), "to": place.at(12)}
    clients = await asyncio.gather(*(client_of(place) for _ in range(50)))
    entries = [await place.api.made("waitlist", waiting(place, client_id=c, **range_)) for c in clients]
    assert [e["position"] for e in entries] == list(range(1, 51))
    freed = bookings[1::2]
    await asyncio.gather(*(place.api.post(f"bookings/{b['id']}/cancel") for b in freed))

    async def offered() -> Any:
        return (await place.api.get("waitlist", status="offered", professional_id=place.professional_id)).json["items"]

    found = await until(offered, lambda items: len(items) >= 3)
    assert [e["id"] for e in found] == [e["id"] for e in entries[:3]]
    assert sorted(e["hold"]["start"] for e in found) == starts[1::2]
    held = await db.fetch(
        "SELECT holder FROM bookings WHERE calendar_id = $1::uuid AND status = 'held'", place.professional_id
    )
    assert sorted(r["holder"] for r in held) == sorted(f"waitlist:{e['id']}" for e in entries[:3])
    assert (await entry(place, entries[3]))["position"] == 1


async def test_who_waits_for_a_held_slot_sees_their_place(place: Place) -> None:
    """The position, and when the hold ends; once it is released they have it at once."""
    hold = {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(9)}
    held = await place.api.made("holds", hold)
    refused = problem(await place.api.post("holds", hold), "slot_unavailable")
    assert refused["retry_at"] == held["expires_at"]
    made = await place.api.made("waitlist", waiting(place))
    assert (made["position"], made["held_until"]) == (1, held["expires_at"])
    assert (await place.api.request("DELETE", f"holds/{held['id']}")).status == 204
    await until(lambda: entry(place, made), lambda e: e["status"] == "offered")


async def test_any_professional_will_do(place: Place) -> None:
    """Who names nobody is offered what is freed first; something that is open already is offered at once."""
    other = await place.api.made("professionals", {"display_name": "Other", "time_zone": "UTC"})
    made = await place.api.made("waitlist", {k: v for k, v in waiting(place).items() if k != "professional_id"})
    offered = await until(lambda: entry(place, made), lambda e: e["status"] == "offered")
    assert offered["hold"]["professional_id"] == place.professional_id
    path = f"professionals/{other['id']}/services"
    assert (await place.api.post(path, {"service_id": place.service_id})).status == 201
    booked = await book(place, place.at(10))
    second = await place.api.made("waitlist", {k: v for k, v in waiting(place, 10).items() if k != "professional_id"})
    offered = await until(lambda: entry(place, second), lambda e: e["status"] == "offered")
    assert offered["hold"]["professional_id"] == other["id"]
    assert booked["status"] == "confirmed"


async def test_a_guest_waits_with_a_token(place: Place, stranger: Api) -> None:
    await book(place, place.at(9))
    made = await place.api.made("waitlist", waiting(place, guest={"name": "Ann", "email": "ann@example.org"}))
    nobody = place.api.with_token(None)
    path, mine = f"waitlist/{made['id']}", {"X-Manage-Token": made["manage_token"]}
    assert (await nobody.get(path, headers=mine)).json["status"] == "waiting"
    problem(await nobody.get(path, headers={"X-Manage-Token": "x"}), "not_found")
    problem(await nobody.get(path), "unauthorized")
    problem(await stranger.get(path), "not_found")
    assert (await nobody.request("DELETE", path, headers=mine)).status == 204
    assert (await nobody.get(path, headers=mine)).json["status"] == "left"


async def test_what_cannot_be_waited_for_is_refused(place: Place) -> None:
    await book(place, place.at(9))
    for field, more in (
        ("to", {"to": place.at(8)}),
        ("to", {"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}),
        ("to", {"to": place.at(9, day=70)}),
        ("service_id", {"service_id": None}),
        ("client_id", {"client_id": None}),
        ("guest", {"guest": {"name": "x"}, "client_id": place.client_id}),
    ):
        problem(await place.api.post("waitlist", waiting(place) | more), "validation_failed", field)
    problem(await place.api.post("waitlist", waiting(place, attendees=2)), "too_many_attendees")
    problem(await place.api.post("waitlist", waiting(place, duration_minutes=45)), "duration_not_offered")
    other = await place.api.made("professionals", {"display_name": "Other", "time_zone": "UTC"})
    problem(await place.api.post("waitlist", waiting(place, professional_id=other["id"])), "service_not_offered")
    for _ in range(20):
        await place.api.made("waitlist", waiting(place))
    problem(await place.api.post("waitlist", waiting(place)), "limit_reached")


async def test_a_crash_between_hold_and_note_offers_nothing_twice(place: Place, db: asyncpg.Connection) -> None:
    """A hold that was placed for an entry, though nobody said so, is what it is offered in the end."""
    hold = {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(9)}
    held = await place.api.made("holds", hold)
    made = await place.api.made("waitlist", waiting(place))
    await db.execute("UPDATE bookings SET holder = 'waitlist:' || $2 WHERE id = $1::uuid", held["id"], made["id"])
    claimed = "UPDATE waitlist_entries SET status = 'offering', claimed_until = now() - interval '1 second'"
    await db.execute(f"{claimed} WHERE id = $1::uuid", made["id"])
    # Something else of the same calendar wakes it.
    other = await book(place, place.at(15))
    await place.api.post(f"bookings/{other['id']}/cancel")
    offered = await until(lambda: entry(place, made), lambda e: e["status"] == "offered")
    assert offered["hold"]["id"] == held["id"]
    count = "SELECT count(*) FROM bookings WHERE calendar_id = $1::uuid AND status = 'held'"
    assert await db.fetchval(count, place.professional_id) == 1


async def test_who_is_refused_when_booking_does_not_wait(place: Place) -> None:
    """A hold for who is banned would only keep others away."""
    await book(place, place.at(9))
    await place.api.made("ban-list", {"email": "unwanted@example.org"})
    ann = {"name": "Ann", "email": "Unwanted@example.org"}
    problem(await place.api.post("waitlist", waiting(place, guest=ann)), "banned")
    bob = (await place.api.made("clients", {"first_name": "Ann", "email": "unwanted@example.org"}))["id"]
    problem(await place.api.post("waitlist", waiting(place, client_id=bob)), "banned")


async def test_what_an_offering_never_has_is_not_waited_for(place: Place) -> None:
    made = await place.api.made("offerings", {
        "professional_id": place.professional_id, "type": "group", "title": "x", "start_date": place.day,
        "end_date": place.day, "start_time": "09:00", "end_time": "10:00", "duration_minutes": 30, "max_attendees": 2,
    })  # fmt: skip
    body = {
        "offering_code": made["code"], "from": place.at(9), "to": place.at(9, 30), "client_id": place.client_id,
        "attendees": 2,
    }  # fmt: skip
    problem(await place.api.post("waitlist", body | {"attendees": 3}), "too_many_attendees")
    problem(await place.api.post("waitlist", body | {"duration_minutes": 30}), "duration_not_offered")
    another = body | {"service_id": place.service_id}
    problem(await place.api.post("waitlist", another), "validation_failed", "service_id")
    entry_of = await place.api.made("waitlist", body)
    offered = await until(lambda: entry(place, entry_of), lambda e: e["status"] == "offered")
    assert offered["hold"]["start"] == place.at(9)


async def test_many_starts_and_a_hold_among_them(place: Place) -> None:
    """A long range of short slots is no reason to refuse, whether something in it is held or not."""
    path = f"professionals/{place.professional_id}/services"
    short = await place.api.made(path, {"name": "Quick", "duration_minutes": 5, "horizon_days": 730})
    held = await place.api.made(
        "holds", {"professional_id": place.professional_id, "service_id": short["id"], "start": place.at(9)}
    )
    off = {"start": place.at(0), "end": place.at(0, day=60), "force": True}
    await place.api.made(f"professionals/{place.professional_id}/time-off", off)
    made = await place.api.made("waitlist", waiting(place, service_id=short["id"], to=place.at(9, day=60)))
    assert "held_until" not in made, "it is time off that is in the way"
    assert (await place.api.get(f"waitlist/{made['id']}")).status == 200
    assert held["start"] == place.at(9)


async def test_a_later_opening_goes_to_who_waits_for_later(place: Place) -> None:
    """Who stands before them and wants other times, or more places, is not offered it and loses nothing."""
    path = f"professionals/{place.professional_id}/services"
    pair = await place.api.made(path, {"name": "Pair", "duration_minutes": 30, "capacity": 2, "horizon_days": 365})
    full = {"service_id": pair["id"], "attendees": 2}
    first, second = [await place.api.made("bookings", place.booking(place.at(h), **full)) for h in (9, 10)]
    nine = await place.api.made("waitlist", waiting(place, 9, service_id=pair["id"]))
    both = await place.api.made("waitlist", waiting(place, 10, **full, client_id=await client_of(place)))
    one = await place.api.made("waitlist", waiting(place, 10, service_id=pair["id"], client_id=await client_of(place)))
    assert (await place.api.post(f"bookings/{second['id']}/reschedule", {"start": place.at(15)})).status == 200
    await until(lambda: entry(place, both), lambda e: e["status"] == "offered")
    assert [(await entry(place, e))["status"] for e in (nine, one)] == ["waiting", "waiting"]
    assert (await place.api.request("DELETE", f"waitlist/{both['id']}")).status == 204
    await until(lambda: entry(place, one), lambda e: e["status"] == "offered")
    assert (await place.api.get(f"bookings/{first['id']}")).json["status"] == "confirmed"

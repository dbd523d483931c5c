"""What a viewer sees of every kind of change, and that all of it is what REST and the database say."""

import asyncio
from typing import Any

import aiohttp
import asyncpg

from tests.live.conftest import Connect, InnerServer
from tests.support.live import LiveClient, Replica
from tests.support.server import Api, Place, new_place


async def _open_over_rest(place: Place, days: int = 1) -> list[str]:
    last = place.at(0, day=days - 1)[:10]
    answer = await place.api.get(
        f"professionals/{place.professional_id}/slots", from_=place.day, to=last, service_id=place.service_id
    )
    assert answer.status == 200, answer
    return [slot["start"] for slot in answer.json["slots"]]


async def _agrees(replica: Replica, place: Place) -> None:
    assert replica.gaps == []
    assert replica.starts("open") == await _open_over_rest(place)


async def _hold(place: Place, start: str, **more: Any) -> Any:
    body = {"professional_id": place.professional_id, "service_id": place.service_id, "start": start, **more}
    return await place.api.made("holds", body)


async def _put_hours(place: Place, opens: str, closes: str) -> None:
    weekly = [{"weekday": d, "start": opens, "end": closes} for d in range(7)]
    put = await place.api.request(
        "PUT", f"professionals/{place.professional_id}/schedule", {"time_zone": "UTC", "weekly": weekly}
    )
    assert put.status == 200, put


async def test_the_snapshot_is_the_whole_grid(connect: Connect, place: Place) -> None:
    await place.api.made("bookings", place.booking(place.at(9)))
    await _hold(place, place.at(10))
    off = {"start": place.at(11), "end": place.at(12)}
    await place.api.made(f"professionals/{place.professional_id}/time-off", off)
    client = await connect()
    replica, told = await client.rewatch(place, id="mine")
    assert (told["id"], told["professional_id"], told["service_id"]) == (
        "mine",
        place.professional_id,
        place.service_id,
    )
    assert (told["recovered"], told["version"], replica.version) == (False, replica.version, told["version"])
    assert replica.time_zone == "UTC"
    assert sorted(replica.slots) == [place.at(h, m) for h in range(24) for m in (0, 30)]
    assert replica.slots[place.at(9)] == {
        "start": place.at(9), "end": place.at(9, 30), "state": "booked", "remaining": 0
    }  # fmt: skip
    assert replica.slots[place.at(8)] == {
        "start": place.at(8), "end": place.at(8, 30), "state": "open", "remaining": 1
    }  # fmt: skip
    assert replica.starts("held") == [place.at(10)]
    assert replica.starts("blocked") == [place.at(11), place.at(11, 30)]
    await _agrees(replica, place)


async def test_every_change_of_a_booking_reaches_every_viewer(connect: Connect, place: Place) -> None:
    first, second = await connect(), await connect()
    replicas = [await first.watch(place), await second.watch(place)]
    api, start, later = place.api, place.at(9), place.at(15)

    async def both(start: str, state: str) -> None:
        for client, replica in zip((first, second), replicas, strict=True):
            await client.until(lambda r=replica: r.state(start) == state, why=f"{start} {state}")

    hold = await _hold(place, start)
    await both(start, "held")
    assert (await api.request("DELETE", f"holds/{hold['id']}")).status == 204
    await both(start, "open")
    hold = await _hold(place, start)
    await both(start, "held")
    booking = await api.made("bookings", place.booking(start, hold_id=hold["id"]))
    await both(start, "booked")
    moved = await api.post(f"bookings/{booking['id']}/reschedule", {"start": later})
    assert moved.status == 200, moved
    await both(later, "booked")
    await both(start, "open")
    assert (await api.post(f"bookings/{booking['id']}/cancel")).status == 200
    await both(later, "open")
    for replica in replicas:
        await _agrees(replica, place)
        changed = [[c["start"] for c in d["changes"]] for d in replica.deltas]
        assert changed == [[start]] * 4 + [[start, later]] + [[later]], "a delta holds what changed and nothing else"


async def test_a_booking_that_needs_approval_is_booked_from_the_start(connect: Connect, place: Place) -> None:
    body = {"name": "By approval", "duration_minutes": 30, "confirmation": "approval"}
    service = await place.api.made(f"professionals/{place.professional_id}/services", body)
    client = await connect()
    replica = await client.watch(place)
    booking = await place.api.made("bookings", {**place.booking(place.at(9)), "service_id": service["id"]})
    assert booking["status"] == "pending"
    await client.until(lambda: replica.state(place.at(9)) == "booked")
    assert (await place.api.post(f"bookings/{booking['id']}/confirm")).status == 200
    rejected = await place.api.made("bookings", {**place.booking(place.at(10)), "service_id": service["id"]})
    await client.until(lambda: replica.state(place.at(10)) == "booked")
    assert (await place.api.post(f"bookings/{rejected['id']}/reject")).status == 200
    await client.until(lambda: replica.state(place.at(10)) == "open")
    assert replica.state(place.at(9)) == "booked", "a confirmation changes nothing for viewers"
    await _agrees(replica, place)


async def test_places_of_a_group_count_down(connect: Connect, place: Place) -> None:
    body = {"name": "Class", "duration_minutes": 60, "step_minutes": 60, "capacity": 3}
    service = await place.api.made(f"professionals/{place.professional_id}/services", body)
    place.service_id = service["id"]
    client = await connect()
    replica = await client.watch(place)
    start, seen = place.at(9), []

    def now() -> tuple[str, int]:
        return replica.slots[start]["state"], replica.slots[start]["remaining"]

    for expected, attendees in ((("open", 1), 2), (("booked", 0), 1)):
        booking = await place.api.made("bookings", place.booking(start, attendees=attendees))
        seen.append(booking["id"])
        await client.until(lambda e=expected: now() == e, why=str(expected))
    await place.api.post(f"bookings/{seen[0]}/cancel")
    await client.until(lambda: now() == ("open", 2))


async def test_time_off_closes_and_opens_slots(connect: Connect, place: Place) -> None:
    client = await connect()
    replica = await client.watch(place)
    path = f"professionals/{place.professional_id}/time-off"
    off = await place.api.made(path, {"start": place.at(9), "end": place.at(17)})
    closed = [place.at(h, m) for h in range(9, 17) for m in (0, 30)]
    await client.until(lambda: replica.starts("blocked") == closed)
    await _agrees(replica, place)
    assert (await place.api.request("DELETE", f"{path}/{off['id']}")).status == 204
    await client.until(lambda: not replica.starts("blocked"))
    await _agrees(replica, place)


async def test_new_hours_remove_and_add_slots(connect: Connect, place: Place) -> None:
    client = await connect()
    replica = await client.watch(place)
    await place.api.made("bookings", place.booking(place.at(10)))
    await client.until(lambda: replica.state(place.at(10)) == "booked")
    await _put_hours(place, "09:15", "17:15")
    await client.until(lambda: len(replica.slots) == 16)
    assert set(replica.deltas[-1]["removed"]) == {place.at(h, m) for h in range(24) for m in (0, 30)}
    # The booking stays, and now stands across two slots of the new grid.
    assert replica.starts("booked") == [place.at(9, 45), place.at(10, 15)]
    await _agrees(replica, place)
    await _put_hours(place, "00:00", "24:00")
    await client.until(lambda: len(replica.slots) == 48)
    assert replica.starts("booked") == [place.at(10)]
    await _agrees(replica, place)


async def test_new_terms_of_a_service_reach_viewers(connect: Connect, place: Place) -> None:
    client = await connect()
    replica = await client.watch(place)
    path = f"services/{place.service_id}"

    async def patch(**terms: Any) -> None:
        answer = await place.api.request("PATCH", path, terms)
        assert answer.status == 200, answer

    await patch(step_minutes=60)
    await client.until(lambda: len(replica.slots) == 24)
    await _agrees(replica, place)
    # Same starts, same states: only the ends differ.
    await patch(duration_minutes=45)
    await client.until(lambda: replica.slots[place.at(9)]["end"] == place.at(9, 45))
    assert {s["end"][14:16] for s in replica.slots.values()} == {"45"}
    await patch(capacity=4)
    await client.until(lambda: replica.slots[place.at(9)]["remaining"] == 4)
    await patch(notice_minutes=60 * 24 * 7 + 6 * 60)
    await client.until(lambda: replica.state(place.at(0)) == "blocked")
    await _agrees(replica, place)
    fresh = await connect()
    assert (await fresh.watch(place)).slots == replica.slots


async def test_new_terms_meet_a_booking_under_way(
    inner: InnerServer, inner_api: Api, http: aiohttp.ClientSession
) -> None:
    """Terms that change while an event is on its way to the database are shown with it, not before and not never."""
    place = await new_place(inner_api)
    client = await LiveClient(http, inner.url, origin=inner.url).connect()
    replica = await client.watch(place)
    blocker = await asyncpg.connect(inner.dsn)
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("LOCK TABLE bookings IN EXCLUSIVE MODE")
    booking = asyncio.create_task(inner_api.post("bookings", place.booking(place.at(9))))
    while not (actor := inner.node.runtime.roster.actors[place.professional_id]).pending:
        await asyncio.sleep(0.01)
    patched = await inner_api.request("PATCH", f"services/{place.service_id}", {"step_minutes": 60})
    assert patched.status == 200, patched
    assert actor.pending, "the booking is still on its way"
    await client.done("ping")
    assert (len(replica.slots), replica.deltas) == (48, [])
    await transaction.rollback()
    await blocker.close()
    assert (await booking).status == 201
    await client.until(lambda: len(replica.slots) == 24)
    assert replica.starts("booked") == [place.at(9)]
    await _agrees(replica, place)
    fresh = await LiveClient(http, inner.url, origin=inner.url).connect()
    assert (await fresh.watch(place)).slots == replica.slots
    await client.close()
    await fresh.close()


async def test_a_service_no_longer_offered_has_no_slots_for_good(connect: Connect, place: Place) -> None:
    body = {"name": "Stays", "duration_minutes": 30}
    other = await place.api.made(f"professionals/{place.professional_id}/services", body)
    client = await connect()
    replica = await client.watch(place)
    path = f"professionals/{place.professional_id}/services/{place.service_id}"
    assert (await place.api.request("DELETE", path)).status == 204
    await client.until(lambda: not replica.slots)
    # Neither a booking of another service nor new hours bring them back.
    await place.api.made("bookings", {**place.booking(place.at(9)), "service_id": other["id"]})
    await _put_hours(place, "08:00", "20:00")
    witness = await client.watch(place, service_id=other["id"])
    await place.api.made("bookings", {**place.booking(place.at(10)), "service_id": other["id"]})
    await client.until(lambda: witness.state(place.at(10)) == "booked")
    assert replica.slots == {}


async def test_a_view_shows_its_own_range_in_its_own_zone(connect: Connect, place: Place) -> None:
    client = await connect()
    replica = await client.watch(place, time_zone="Asia/Kolkata")
    assert replica.time_zone == "Asia/Kolkata"
    assert min(replica.slots) == place.at(18, 30, day=-1)
    assert max(replica.slots) == place.at(18, 0)
    await place.api.made("bookings", place.booking(place.at(20)))
    await place.api.made("bookings", place.booking(place.at(18)))
    await client.until(lambda: replica.state(place.at(18)) == "booked")
    assert [c["start"] for d in replica.deltas for c in d["changes"]] == [place.at(18)]
    assert replica.gaps == [], "what another view shows is no gap in this one"


async def test_two_subscriptions_of_one_view_share_its_name_and_its_frames(connect: Connect, place: Place) -> None:
    client = await connect()
    replica, first = await client.rewatch(place)
    _, second = await client.rewatch(place)
    other = await connect()
    assert (await other.rewatch(place))[1]["view"] == first["view"] == second["view"]
    assert (await client.rewatch(place, days=2))[1]["view"] != first["view"]
    await place.api.made("bookings", place.booking(place.at(9)))
    await client.until(lambda: replica.state(place.at(9)) == "booked")
    await client.done("ping")
    assert len(replica.deltas) == 1, "one frame per connection, however many subscriptions"
    # One of two ended: the other goes on. Both ended: silence.
    await client.done("unsubscribe", subscription=first["id"])
    await place.api.made("bookings", place.booking(place.at(10)))
    await client.until(lambda: replica.state(place.at(10)) == "booked")
    await client.done("unsubscribe", subscription=second["id"])
    assert (await client.problem("unsubscribe", subscription=second["id"]))["code"] == "not_subscribed"
    watcher = next(iter(other.views.values()))
    await place.api.made("bookings", place.booking(place.at(11)))
    await other.until(lambda: watcher.state(place.at(11)) == "booked")
    await client.done("ping")
    assert replica.state(place.at(11)) == "open"


async def test_a_service_is_watched_at_everybody_who_offers_it(connect: Connect, place: Place, api: Api) -> None:
    other = await api.made("professionals", {"display_name": "Second", "time_zone": "UTC"})
    await api.made(f"professionals/{other['id']}/services", {"service_id": place.service_id})
    client = await connect()
    message_id = await client.send("subscribe", service_id=place.service_id, from_=place.day, to=place.day)
    await client.until(lambda: len([r for r in client.views.values() if r.snapshots]) == 2)
    told = [m for m in client.messages if m["type"] == "subscribed"]
    assert {m["id"] for m in told} == {message_id}
    by_professional = {r.professional_id: r for r in client.views.values()}
    assert set(by_professional) == {place.professional_id, other["id"]}
    await api.made("bookings", {**place.booking(place.at(9)), "professional_id": other["id"]})
    await client.until(lambda: by_professional[other["id"]].state(place.at(9)) == "booked")
    await client.done("ping")
    assert by_professional[place.professional_id].state(place.at(9)) == "open"


async def test_a_subscription_that_makes_no_sense_is_refused(connect: Connect, place: Place) -> None:
    client = await connect()
    good = {"professional_id": place.professional_id, "from": place.day, "to": place.day}
    nobody = "0198c0de-0000-7000-8000-000000000000"
    for code, fields in (
        ("not_found", {**good, "professional_id": nobody}),
        ("not_found", {"service_id": nobody, "from": place.day, "to": place.day}),
        ("service_not_offered", {**good, "service_id": nobody}),
        ("validation_failed", {**good, "from": "tomorrow"}),
        ("validation_failed", {**good, "from": "2026-02-30"}),
        ("validation_failed", {**good, "to": "2020-01-01"}),
        ("validation_failed", {**good, "to": "2099-01-01"}),
        ("validation_failed", {**good, "time_zone": "Mars/Olympus"}),
        ("validation_failed", {**good, "time_zone": "../../etc/passwd"}),
        ("validation_failed", {"from": place.day, "to": place.day}),
    ):
        # The same id each time: what was refused is no subscription.
        assert (await client.problem("subscribe", id="again", **fields))["code"] == code, fields
    await client.subscribe(id="again", **good)

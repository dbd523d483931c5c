"""Offerings, series and the waitlist over live."""

import asyncio
from typing import Any

import asyncpg

from tests.live.conftest import Connect
from tests.rest.helpers import book
from tests.support.live import Replica
from tests.support.server import Place, RunningServer


def counted(replica: Replica, start: str) -> list[int]:
    """The remaining places of a start, as a viewer has seen them one after the other."""
    return [slot["remaining"] for delta in replica.deltas for slot in delta["changes"] if slot["start"] == start]


async def party(place: Place, places: int) -> Any:
    body = {
        "professional_id": place.professional_id, "type": "party", "title": "Open day", "start_date": place.day,
        "end_date": place.day, "start_time": "10:00", "end_time": "16:00", "max_attendees": places,
    }  # fmt: skip
    return await place.api.made("offerings", body)


async def test_viewers_count_down_while_two_hundred_race(
    place: Place, connect: Connect, server: RunningServer, db: asyncpg.Connection
) -> None:
    """Ten win. Who watches, logged in or not, sees ever fewer places and in the end none."""
    made = await party(place, 10)
    days = {"offering_code": made["code"], "from": place.day, "to": place.day}
    visitors = [await connect(origin=server.url) for _ in range(20)]
    watchers = [await connect(), *visitors[:4]]
    replicas = [w.views[(await w.subscribe(**days))["view"]] for w in watchers]
    assert [r.slots[place.at(10)]["remaining"] for r in replicas] == [10] * len(replicas)
    by_live = [
        visitors[n % 20].ask("book", offering_code=made["code"], guest={"name": f"Guest {n}"}) for n in range(100)
    ]
    body = {"offering_code": made["code"]}
    nobody = place.api.with_token(None)
    by_rest = [nobody.post("bookings", body | {"guest": {"name": f"Guest {n}"}}) for n in range(100, 200)]
    replies, answers = await asyncio.gather(asyncio.gather(*by_live), asyncio.gather(*by_rest))
    won = [r["ok"] for r in replies] + [a.status == 201 for a in answers]
    assert (len(won), sum(won)) == (200, 10)
    assert {r["problem"]["code"] for r in replies if not r["ok"]} | {
        a.json["code"] for a in answers if a.status != 201
    } == {"slot_unavailable"}
    taken = await db.fetchval("SELECT sum(attendees) FROM bookings WHERE service_id = $1::uuid", made["id"])
    assert taken == 10
    for watcher, replica in zip(watchers, replicas, strict=True):
        await watcher.until(lambda replica=replica: replica.state(place.at(10)) == "booked")
        told = counted(replica, place.at(10))
        assert told == sorted(told, reverse=True), "it never counts up"
        assert told[-1] == 0
        assert replica.gaps == []
    late = visitors[5].views[(await visitors[5].subscribe(**days))["view"]]
    assert (late.state(place.at(10)), late.slots[place.at(10)]["remaining"]) == ("booked", 0)


async def test_a_series_over_live(place: Place, connect: Connect) -> None:
    """As over REST, with its key and its refusals."""
    live = await connect()
    asked = {
        "professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(9),
        "rrule": "FREQ=DAILY;COUNT=3", "client_id": place.client_id,
    }  # fmt: skip
    made = await live.done("book_series", **asked, idempotency_key="live-series")
    assert [b["start"] for b in made["bookings"]] == [place.at(9, day=d) for d in range(3)]
    assert await live.done("book_series", **asked, idempotency_key="live-series") == made
    refused = await live.problem("book_series", **asked)
    assert (refused["code"], len(refused["starts"])) == ("series_conflict", 3)
    wrong = await live.problem("book_series", **asked | {"rrule": "FREQ=DAILY"})
    assert [e["field"] for e in wrong["errors"]] == ["rrule"]
    over_rest = (await place.api.get(f"bookings/series/{made['id']}")).json
    assert [b["id"] for b in over_rest["bookings"]] == [b["id"] for b in made["bookings"]]


async def test_waiting_over_live(place: Place, connect: Connect, server: RunningServer) -> None:
    """Also without login, with a token to look after it; the same key waits once."""
    booked = await book(place, place.at(9))
    page = await connect(origin=server.url)
    asked = {
        "professional_id": place.professional_id, "service_id": place.service_id, "from": place.at(9),
        "to": place.at(9, 30), "guest": {"name": "Ann"},
    }  # fmt: skip
    made = await page.done("wait", **asked, idempotency_key="live-wait-83ab21")
    assert (made["status"], made["position"]) == ("waiting", 1)
    assert await page.done("wait", **asked, idempotency_key="live-wait-83ab21") == made
    assert (await page.problem("wait", **asked | {"to": place.at(8)}))["errors"][0]["field"] == "to"
    replica = await page.watch(place)
    assert (await place.api.post(f"bookings/{booked['id']}/cancel")).status == 200
    await page.until(lambda: replica.state(place.at(9)) == "held", why="a hold for who waits")
    mine = {"X-Manage-Token": made["manage_token"]}
    nobody = place.api.with_token(None)
    async with asyncio.timeout(10):
        while (entry := (await nobody.get(f"waitlist/{made['id']}", headers=mine)).json)["status"] != "offered":
            await asyncio.sleep(0.05)
    taken = await page.done("book", **place.booking(place.at(9), guest={"name": "Ann"}, hold_id=entry["hold"]["id"]))
    assert taken["id"] == entry["hold"]["id"]

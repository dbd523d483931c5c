"""Slots change because time passes, and viewers are told without anybody asking."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest

from actors import timers
from protocol import limits
from server.node import SystemClock
from tests.live.conftest import Connect, InnerServer
from tests.support.live import LiveClient
from tests.support.server import Api, Place, eventually, new_place

SOON_S = 2.0
"""Within which viewers must know."""


async def test_a_hold_is_visible_at_once_and_goes_when_its_time_ends(connect: Connect, place: Place) -> None:
    holder, watcher = await connect(), await connect()
    replica = await watcher.watch(place)
    start = place.at(9)
    hold = await holder.done(
        "hold", professional_id=place.professional_id, service_id=place.service_id, start=start, ttl_seconds=1
    )
    await watcher.until(lambda: replica.state(start) == "held", SOON_S)
    await watcher.until(lambda: replica.state(start) == "open", 1 + SOON_S)
    assert datetime.now(UTC) >= datetime.fromisoformat(hold["expires_at"]), "not before its time"
    assert [d["changes"][0]["state"] for d in replica.deltas] == ["held", "open"]
    assert replica.deltas[1]["version"] == replica.deltas[0]["version"] + 1, "its end is an event of its own"
    rows = await place.api.get(f"professionals/{place.professional_id}/events", after=hold["calendar_version"])
    assert [e["type"] for e in rows.json["items"]] == ["hold.expired"]
    problem = await holder.problem("book", **place.booking(start, hold_id=hold["id"]))
    assert problem["code"] == "hold_gone"


async def test_a_hold_that_was_booked_does_not_end(connect: Connect, place: Place) -> None:
    client = await connect()
    replica = await client.watch(place)
    hold = await client.done(
        "hold", professional_id=place.professional_id, service_id=place.service_id, start=place.at(9), ttl_seconds=1
    )
    await client.done("book", **place.booking(place.at(9), hold_id=hold["id"]))
    await client.until(lambda: replica.state(place.at(9)) == "booked")
    await asyncio.sleep(1 + 4 * timers.TICK_S)
    await client.done("ping")
    assert [d["changes"][0]["state"] for d in replica.deltas] == ["held", "booked"]


class FakeTime:
    """The clock of the server in this process: about noon tomorrow, and moved at will."""

    def __init__(self) -> None:
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        self.noon = tomorrow.replace(hour=12, minute=0, second=0, microsecond=0)
        self._shift = timedelta()
        self.be(self.noon - timedelta(seconds=50))

    def be(self, moment: datetime) -> None:
        self._shift = moment - datetime.now(UTC)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._shift

    def now_us(self) -> int:
        return int(self.now().timestamp() * 1_000_000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    clock = FakeTime()
    monkeypatch.setattr(SystemClock, "now_us", lambda _: clock.now_us())
    return clock


async def _minutes(api: Api, clock: FakeTime, **terms: Any) -> Place:
    """A place with a slot every minute of the day it is."""
    place = await new_place(api, duration_minutes=1, **terms)
    place.day = f"{clock.now():%Y-%m-%d}"
    return place


async def _open_over_rest(place: Place, last: str) -> list[str]:
    answer = await place.api.get(
        f"professionals/{place.professional_id}/slots", from_=place.day, to=last, service_id=place.service_id
    )
    return [slot["start"] for slot in answer.json["slots"]]


async def test_a_start_that_passes_closes_without_anybody_asking(
    clock: FakeTime, inner: InnerServer, inner_api: Api, http: aiohttp.ClientSession
) -> None:
    place = await _minutes(inner_api, clock)
    client = await LiveClient(http, inner.url, origin=inner.url).connect()
    replica = await client.watch(place)
    version = replica.version
    assert replica.state(place.at(11, 59)) == "blocked"
    assert replica.state(place.at(12, 0)) == "open"
    clock.be(clock.noon - timedelta(seconds=1))
    await client.until(lambda: replica.state(place.at(12, 0)) == "blocked", 1 + SOON_S)
    assert clock.now() >= clock.noon, "not before its time"
    assert [c["start"] for d in replica.deltas for c in d["changes"]] == [place.at(12, 0)]
    assert (replica.version, replica.gaps) == (version, []), "time alone makes no event"
    assert replica.starts("open") == await _open_over_rest(place, place.day)
    clock.be(clock.noon + timedelta(minutes=5, seconds=10))
    await client.until(lambda: replica.state(place.at(12, 5)) == "blocked", SOON_S)
    assert replica.starts("open") == await _open_over_rest(place, place.day)
    await client.close()


async def test_notice_and_horizon_move_with_time(
    clock: FakeTime, inner: InnerServer, inner_api: Api, http: aiohttp.ClientSession
) -> None:
    place = await _minutes(inner_api, clock, notice_minutes=60, horizon_days=1)
    client = await LiveClient(http, inner.url, origin=inner.url).connect()
    replica = await client.watch(place, days=2)
    noticed, coming = place.at(13, 0), place.at(12, 0, day=1)
    assert (replica.state(noticed), replica.state(coming)) == ("open", "blocked")
    clock.be(clock.noon - timedelta(seconds=1))
    await client.until(lambda: replica.state(coming) == "open", 1 + SOON_S)
    await client.until(lambda: replica.state(noticed) == "blocked", SOON_S)
    assert replica.starts("open") == await _open_over_rest(place, place.at(0, day=1)[:10])
    await client.close()


async def test_a_calendar_that_is_never_quiet_tells_of_time_too(
    clock: FakeTime, inner: InnerServer, inner_api: Api, http: aiohttp.ClientSession
) -> None:
    """While something is on its way to the database no tick may show what time has changed; an event carries it."""
    place = await _minutes(inner_api, clock)
    client = await LiveClient(http, inner.url, origin=inner.url).connect()
    replica = await client.watch(place)
    blocker = await asyncpg.connect(inner.dsn)
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("LOCK TABLE bookings IN EXCLUSIVE MODE")
    before = asyncio.create_task(inner_api.post("bookings", place.booking(place.at(14))))
    while not (actor := inner.node.runtime.roster.actors[place.professional_id]).pending:
        await asyncio.sleep(0.01)
    clock.be(clock.noon + timedelta(seconds=10))
    await asyncio.sleep(2 * timers.TICK_S)
    after = asyncio.create_task(inner_api.post("bookings", place.booking(place.at(15))))
    while actor.pending < 2:
        await asyncio.sleep(0.01)
    await client.done("ping")
    assert replica.deltas == [], "what is shown is never ahead of the database"
    await transaction.rollback()
    await blocker.close()
    assert [(await b).status for b in (before, after)] == [201, 201]
    await client.until(lambda: replica.state(place.at(12, 0)) == "blocked")
    assert {place.at(12, 0), place.at(15)} <= {c["start"] for c in replica.deltas[-1]["changes"]}
    assert replica.starts("booked") == [place.at(14), place.at(15)]
    assert replica.starts("open") == await _open_over_rest(place, place.day)
    await client.close()


async def test_who_returns_to_a_view_made_anew_learns_what_time_has_changed(
    clock: FakeTime,
    inner: InnerServer,
    inner_api: Api,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No event has happened meanwhile, so the version alone does not tell."""
    monkeypatch.setattr(limits, "view_linger_s", 0.0)
    place = await _minutes(inner_api, clock)
    client = await LiveClient(http, inner.url, origin=inner.url).connect()
    replica = await client.watch(place)
    await client.close()
    await eventually(lambda: _no_views(inner))
    clock.be(clock.noon + timedelta(minutes=30))
    await client.connect()
    await client.watch(place, since=replica.version)
    await client.until(lambda: replica.state(place.at(12, 15)) == "blocked", SOON_S)
    assert replica.starts("open") == await _open_over_rest(place, place.day)
    await client.close()


async def _no_views(inner: InnerServer) -> bool:
    return inner.node.runtime.watch.views == 0

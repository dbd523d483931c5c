"""Coming back: nothing is missed, nothing is invented, whatever happens to the connection."""

import asyncio
import random
from itertools import pairwise
from typing import Any

import asyncpg

from protocol import limits
from tests.live.conftest import Connect
from tests.support.live import LiveClient, Replica
from tests.support.server import Api, Place, RunningServer, eventually


async def _again(client: LiveClient, api: Api) -> None:
    await client.connect((await api.made("auth/ticket", {}))["ticket"])


async def test_since_brings_exactly_what_was_missed(connect: Connect, place: Place) -> None:
    client = await connect()
    replica = await client.watch(place)
    booked = await place.api.made("bookings", place.booking(place.at(9)))
    await client.until(lambda: replica.version == booked["calendar_version"])
    seen, held = len(replica.deltas), replica.version
    client.drop()
    missed = [await place.api.made("bookings", place.booking(place.at(h))) for h in (10, 11, 12)]
    await place.api.post(f"bookings/{missed[1]['id']}/cancel")
    await _again(client, place.api)
    _, told = await client.rewatch(place, since=held)
    assert told["recovered"]
    assert told["version"] == held + 4
    await client.until(lambda: replica.version == held + 4)
    await client.done("ping")
    assert replica.snapshots == 1, "no second snapshot"
    new = [d for d in replica.deltas[seen:] if d["version"] > held]
    assert [d["from_version"] for d in new] == [held, held + 1, held + 2, held + 3]
    assert [[c["start"] for c in d["changes"]] for d in new] == [[place.at(h)] for h in (10, 11, 12, 11)]
    assert replica.starts("booked") == [place.at(9), place.at(10), place.at(12)]
    assert replica.gaps == []


async def test_who_missed_nothing_gets_nothing_new(connect: Connect, place: Place) -> None:
    client = await connect()
    replica = await client.watch(place)
    booked = await place.api.made("bookings", place.booking(place.at(9)))
    await client.until(lambda: replica.version == booked["calendar_version"])
    before = dict(replica.slots)
    await client.close()
    await _again(client, place.api)
    _, told = await client.rewatch(place, since=replica.version)
    assert told["recovered"]
    await client.done("ping")
    assert replica.slots == before
    assert replica.snapshots == 1
    assert [m["version"] for m in client.messages if m["type"] == "delta"] in ([], [replica.version])


async def test_what_the_ring_no_longer_holds_comes_as_a_snapshot(connect: Connect, place: Place) -> None:
    client, witness = await connect(), await connect()
    replica, other = await client.watch(place), await witness.watch(place)
    held = replica.version
    client.drop()
    for _ in range(limits.ring_frames_max // 2 + 2):
        booked = await place.api.made("bookings", place.booking(place.at(9)))
        await place.api.post(f"bookings/{booked['id']}/cancel")
    final = await place.api.made("bookings", place.booking(place.at(9)))
    await witness.until(lambda: other.version == final["calendar_version"])
    await _again(client, place.api)
    _, told = await client.rewatch(place, since=held)
    assert not told["recovered"]
    assert replica.snapshots == 2
    assert replica.version == final["calendar_version"]
    assert replica.slots == other.slots
    # The newest are still there.
    _, told = await client.rewatch(place, since=final["calendar_version"] - 50)
    assert told["recovered"]


async def test_a_version_that_never_was_brings_a_snapshot(connect: Connect, place: Place) -> None:
    client = await connect()
    for since in (0, 10**6, 2**63, 2**64 - 1):
        _, told = await client.rewatch(place, since=since)
        assert not told["recovered"], since


async def test_versions_have_no_gaps_and_do_not_go_back(connect: Connect, place: Place) -> None:
    """Under load a frame stands for many events, but frames of a view always join up."""
    client = await connect()
    replica = await client.watch(place, days=4)
    first = replica.version
    starts = [place.at(h, m, day=d) for d in range(4) for h in range(24) for m in (0, 30)]
    answers = await asyncio.gather(*(place.api.post("bookings", place.booking(s)) for s in starts))
    assert {a.status for a in answers} == {201}
    last = max(a.json["calendar_version"] for a in answers)
    await client.until(lambda: replica.version == last)
    versions = [(d["from_version"], d["version"]) for d in replica.deltas]
    assert versions[0][0] == first
    assert all(a[1] == b[0] for a, b in pairwise(versions)), versions
    assert all(a < b for a, b in versions)
    assert len(versions) < len(starts), "deltas merge under load"
    assert last == first + len(starts)
    assert replica.starts("booked") == sorted(starts)


class Restless:
    """A viewer whose connection breaks again and again, in every way there is."""

    def __init__(self, client: LiveClient, place: Place, rng: random.Random) -> None:
        self.client = client
        self._place = place
        self._rng = rng
        self.replica: Replica | None = None
        self.recovered = self.connections = 0

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.once()
            await asyncio.sleep(self._rng.random() * 0.15)
            if self._rng.random() < 0.7:
                self.client.drop()
            else:
                await self.client.close()
            await asyncio.sleep(self._rng.random() * 0.1)
        await self.once()

    async def once(self) -> None:
        self.connections += 1
        await _again(self.client, self._place.api)
        since = None if self.replica is None or self._rng.random() < 0.1 else self.replica.version
        if self._rng.random() < 0.2:
            # Cut off in the middle of subscribing.
            day = self._place.day
            await self.client.send("subscribe", professional_id=self._place.professional_id, from_=day, to=day)
            self.client.drop()
            await _again(self.client, self._place.api)
        self.replica, told = await self.client.rewatch(self._place, days=2, since=since)
        self.recovered += told["recovered"]


async def _stir(place: Place, rng: random.Random, rounds: int) -> None:
    """Books, holds, releases, cancels and moves at random; refusals are part of it."""
    api, mine = place.api, []
    for _ in range(rounds):
        start = place.at(rng.randrange(24), rng.choice((0, 30)), day=rng.randrange(2))
        what = rng.random()
        if what < 0.45:
            answer = await api.post("bookings", place.booking(start))
            if answer.status == 201:
                mine.append(answer.json["id"])
        elif what < 0.6:
            body = {"professional_id": place.professional_id, "service_id": place.service_id, "start": start}
            answer = await api.post("holds", {**body, "ttl_seconds": 1})
            if answer.status == 201 and rng.random() < 0.5:
                answer = await api.request("DELETE", f"holds/{answer.json['id']}")
        elif mine and what < 0.85:
            answer = await api.post(f"bookings/{mine.pop(rng.randrange(len(mine)))}/cancel")
        elif mine:
            answer = await api.post(f"bookings/{rng.choice(mine)}/reschedule", {"start": start})
        else:
            continue
        assert answer.status < 500, answer


async def test_a_viewer_who_reconnects_at_random_ends_equal_to_the_database(
    connect: Connect, place: Place, db: asyncpg.Connection
) -> None:
    seed = random.randrange(10**9)
    rng = random.Random(seed)
    viewers = [Restless(await connect(), place, random.Random(rng.random())) for _ in range(5)]
    steady = await connect()
    witness = await steady.watch(place, days=2)
    stop = asyncio.Event()
    running = [asyncio.create_task(v.run(stop)) for v in viewers]
    await asyncio.gather(*(_stir(place, random.Random(rng.random()), 120) for _ in range(4)))
    await asyncio.sleep(1.5)  # the last holds end
    stop.set()
    await asyncio.gather(*running)

    booked = {
        f"{row['start_at']:%Y-%m-%dT%H:%M:%SZ}"
        for row in await db.fetch(
            "SELECT start_at FROM bookings WHERE calendar_id = $1 AND status = ANY($2)",
            place.professional_id, ["held", "pending", "confirmed"],
        )
    }  # fmt: skip
    answer = await place.api.get(
        f"professionals/{place.professional_id}/slots",
        from_=place.day, to=place.at(0, day=1)[:10], service_id=place.service_id,
    )  # fmt: skip
    open_now = [s["start"] for s in answer.json["slots"]]
    everybody: list[tuple[str, LiveClient, Any]] = [("steady", steady, witness)]
    everybody += [(f"restless {i}", v.client, v.replica) for i, v in enumerate(viewers)]
    for name, client, replica in everybody:
        await client.until(lambda r=replica: r.starts("open") == open_now, 2, f"seed {seed}: {name}")
        assert set(replica.starts("booked")) == booked, (seed, name)
        assert set(replica.slots) == booked | set(open_now), (seed, name)
        assert replica.slots == witness.slots, (seed, name)
        assert replica.gaps == [], (seed, name)
    assert 0 < len(booked) < 96, "the calendar was neither empty nor full"
    assert sum(v.recovered for v in viewers) > 5, f"seed {seed}: the ring was of use"
    assert all(v.connections > 3 for v in viewers)


async def test_a_viewer_finds_its_way_through_a_crash_of_the_server(fresh_server: RunningServer, http: Any) -> None:
    """After `kill -9` the version it holds is older than the new view's; a snapshot repairs that."""
    from tests.conftest import business_of
    from tests.support.server import new_place, token_for

    fresh_server.start()
    api = Api(fresh_server, http, token_for(await business_of(fresh_server.dsn)))
    place = await new_place(api)
    client = await LiveClient(http, fresh_server.url, origin=fresh_server.url).connect()
    replica = await client.watch(place)
    await api.made("bookings", place.booking(place.at(9)))
    await client.until(lambda: replica.state(place.at(9)) == "booked")
    fresh_server.kill()
    await asyncio.wait_for(client.closed(), 5)

    async def starts() -> bool:
        fresh_server.start()
        return True

    assert await eventually(starts, 30)
    await api.made("bookings", place.booking(place.at(10)))
    await client.connect()
    await client.watch(place, since=replica.version)
    assert replica.starts("booked") == [place.at(9), place.at(10)]
    await client.close()

"""Whoever waits is served once, by whichever node, whatever fails in between, and many cost as many queries as few."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from actors.calendar import commands as cmd
from actors.calendar.state import Service
from actors.placement import shard_of
from jobs.waitlist import Waitlist
from protocol.ids import booking_code, new_id
from protocol.times import DAY, HOUR, MINUTE
from storage import waitlist
from storage.postgres import Database
from tests.contract.world import NOON, SHARDS, FixedClock, House, PostgresWorld, service

TTL_S = 300


class Crashed(Exception):
    """The node is no more."""


class Tables:
    """Counts queries, and does something before one of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.asked: Counter[str] = Counter()
        self.before: dict[str, Callable[[], Any]] = {}

    async def _count(self, query: str) -> None:
        self.asked[query] += 1
        if query in self.before:
            await self.before[query]()

    async def fetch(self, query: str, *args: object) -> Sequence[Any]:
        await self._count(query)
        return await self._database.fetch(query, *args)

    async def row(self, query: str, *args: object) -> Any:
        await self._count(query)
        return await self._database.row(query, *args)

    async def value(self, query: str, *args: object) -> Any:
        await self._count(query)
        return await self._database.value(query, *args)


class Node:
    """One that has some of the shards, with the job beside its runtime."""

    def __init__(self, world: PostgresWorld, shards: Sequence[int]) -> None:
        self.house = House(world, world.journal(), FixedClock(time.time_ns() // 1000))
        self.tables = Tables(world.database)
        self.job = Waitlist(self.tables, self.house.runtime, TTL_S)
        self._shards = shards

    async def start(self) -> "Node":
        await self.house.journal.start(self.house.runtime)
        await self.house.journal.take(self._shards)
        return self

    async def full(self, calendar: str, s: Service, hours: int) -> list[str]:
        """The bookings that fill so many hours from noon on."""
        ids = [new_id() for _ in range(2 * hours)]
        books = [cmd.Book(b, booking_code(), s.id, NOON + n * 30 * MINUTE) for n, b in enumerate(ids)]
        outcomes = await asyncio.gather(*(self.house.ask(calendar, b) for b in books))
        assert not any(o.refusal for o in outcomes)
        return ids

    async def free(self, calendar: str, booking_id: str) -> None:
        assert (await self.house.ask(calendar, cmd.Cancel(booking_id, "owner"))).refusal is None


@pytest.fixture
async def world(contract_dsn: str) -> AsyncIterator[PostgresWorld]:
    found = await PostgresWorld.open(contract_dsn)
    yield found
    await found.connection.execute("DELETE FROM waitlist_entries")
    await found.close()


@pytest.fixture
async def nodes(world: PostgresWorld) -> AsyncIterator[Callable[..., Any]]:
    started: list[Node] = []

    async def node(shards: Sequence[int] = range(SHARDS)) -> Node:
        started.append(Node(world, shards))
        return await started[-1].start()

    yield node
    for one in started:
        await one.house.journal.stop()


async def waits(world: PostgresWorld, s: Service, calendar: str | None, from_us: int, to_us: int) -> str:
    client = new_id()
    await world.connection.execute(
        "INSERT INTO clients (id, business_id, first_name) VALUES ($1, $2, 'x')", client, world.business
    )
    new = waitlist.New(
        id=new_id(), service_id=s.id, professional_id=calendar, client_id=client, from_us=from_us, to_us=to_us,
        attendees=1, duration_minutes=None, notes=None, manage_hash=None,
    )  # fmt: skip
    await waitlist.join(world.database, world.business, new, 1)
    return new.id


async def statuses(world: PostgresWorld) -> dict[str, str]:
    rows = await world.connection.fetch("SELECT id::text, status FROM waitlist_entries ORDER BY id")
    return {r["id"]: r["status"] for r in rows}


async def holders(world: PostgresWorld) -> list[str]:
    found = await world.connection.fetch(
        "SELECT holder FROM bookings WHERE status = 'held' AND business_id = $1", world.business
    )
    return sorted(r["holder"].removeprefix("waitlist:") for r in found)


async def time_passes_for_claims(world: PostgresWorld) -> None:
    await world.connection.execute("UPDATE waitlist_entries SET claimed_until = now() - interval '1 second'")


@pytest.mark.parametrize("count", [3, 300])
async def test_looking_costs_the_same_however_many_wait(
    world: PostgresWorld, nodes: Callable[..., Any], count: int
) -> None:
    """Nothing is open: one look at the calendar and a handful of queries for all of them."""
    s = service()
    calendar, node = await world.calendar(s), await nodes()
    await node.full(calendar, s, 8)
    for n in range(count):
        await waits(world, s, calendar, NOON + n % 16 * 30 * MINUTE, NOON + 8 * HOUR - n * 1000)
    node.tables.asked.clear()
    await node.job.once({calendar})
    assert sum(node.tables.asked.values()) == 4
    assert set((await statuses(world)).values()) == {"waiting"}


async def test_where_nobody_waits_one_query_says_so(world: PostgresWorld, nodes: Callable[..., Any]) -> None:
    s = service()
    calendar, other, node = await world.calendar(s), await world.calendar(s), await nodes()
    await waits(world, s, other, NOON, NOON + HOUR)
    await node.job.once({calendar})
    assert node.tables.asked == {"waited_for_among": 1}


async def test_two_nodes_serve_each_once(world: PostgresWorld, nodes: Callable[..., Any]) -> None:
    """Both have something for whoever comes first, at the same moment."""
    s = service()
    here, there = await world.calendar(s), await world.calendar(s)
    while shard_of(there, SHARDS) == shard_of(here, SHARDS):
        await world.offer(there)
        there = await world.calendar(s)
    one, two = await nodes([shard_of(here, SHARDS)]), await nodes([shard_of(there, SHARDS)])
    await one.full(here, s, 4)
    await two.full(there, s, 4)
    entries = [await waits(world, s, None, NOON, NOON + 4 * HOUR) for _ in range(24)]
    for node, calendar in ((one, here), (two, there)):
        for booking in await _bookings(world, calendar):
            await node.free(calendar, booking)
    for _ in range(3):
        await asyncio.gather(one.job.once({here}), two.job.once(None))
        await time_passes_for_claims(world)
    told = await statuses(world)
    offered = [e for e in entries if told[e] == "offered"]
    assert len(offered) == 16, "each opening is somebody's"
    assert await holders(world) == sorted(offered), "nobody has two, and none is left over"


async def _bookings(world: PostgresWorld, calendar: str) -> list[str]:
    query = "SELECT id::text FROM bookings WHERE calendar_id = $1 ORDER BY start_at"
    found = await world.connection.fetch(query, calendar)
    return [r["id"] for r in found]


@pytest.mark.parametrize("last", ["hold_of_entry", "claim_entry", "offer_entry"])
async def test_a_crash_anywhere_offers_it_once(world: PostgresWorld, nodes: Callable[..., Any], last: str) -> None:
    """Whatever was the last that the node did not come to, another goes on from there."""
    s = service()
    calendar, node = await world.calendar(s), await nodes()
    entry = await waits(world, s, calendar, NOON, NOON + HOUR)

    async def crash() -> None:
        raise Crashed

    node.tables.before[last] = crash
    if last == "hold_of_entry":
        claimed = "UPDATE waitlist_entries SET status = 'offering', claimed_until = now() WHERE id = $1"
        await world.connection.execute(claimed, entry)
    with pytest.raises(Crashed):
        await node.job.once({calendar})
    after = await nodes()
    await after.job.once(None)
    await time_passes_for_claims(world)
    await after.job.once(None)
    assert await statuses(world) == {entry: "offered"}
    assert await holders(world) == [entry]


async def test_who_leaves_while_something_is_held_leaves_nothing(
    world: PostgresWorld, nodes: Callable[..., Any]
) -> None:
    s = service()
    calendar, node = await world.calendar(s), await nodes()
    first = await waits(world, s, calendar, NOON, NOON + 30 * MINUTE)
    second = await waits(world, s, calendar, NOON, NOON + 30 * MINUTE)

    async def leave() -> None:
        node.tables.before.clear()
        assert await waitlist.leave(world.database, first) is None

    node.tables.before["offer_entry"] = leave
    await node.job.once({calendar})
    await node.job.once({calendar})
    assert await statuses(world) == {first: "left", second: "offered"}
    assert await holders(world) == [second]


async def test_what_is_over_and_what_was_booked_otherwise_ends(world: PostgresWorld, nodes: Callable[..., Any]) -> None:
    s = service()
    calendar, node = await world.calendar(s), await nodes()
    await node.full(calendar, s, 1)
    past = await waits(world, s, calendar, NOON - 30 * DAY, NOON - 29 * DAY)
    booked, other = [await waits(world, s, calendar, NOON, NOON + 30 * MINUTE) for _ in range(2)]
    client = await world.connection.fetchval("SELECT client_id::text FROM waitlist_entries WHERE id = $1", booked)
    await node.free(calendar, (await _bookings(world, calendar))[0])
    node.house.clock.now = time.time_ns() // 1000
    await node.house.ask(calendar, cmd.Book(new_id(), booking_code(), s.id, NOON, client_id=client))
    await node.job.once(None)
    assert await statuses(world) == {past: "past", booked: "booked", other: "waiting"}

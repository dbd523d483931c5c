"""The scenario of several nodes: who is asked again and what counts as a wait, and real nodes that come and go."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bench import cluster_redis, histogram
from bench.children import Generator, end_all, free_port
from bench.cluster_jobs import Begin, Settled, Told
from bench.cluster_load import as_one
from bench.cluster_meter import QuickMeter
from bench.cluster_nodes import Nodes
from bench.cluster_redis import Redis, find_binary
from bench.cluster_users import Users
from bench.load import Outcome
from bench.report import Refused, Skipped
from bench.runner import Bench
from bench.scenarios import cluster
from bench.scenarios.cluster_hop import Field, Throughput
from bench.scenarios.cluster_strikes import Episode, Strikes, back_after, stalls
from bench.usage import Usage

Handler = Callable[[web.Request], Any]


@pytest.fixture
async def listen(aiohttp_server: Any) -> AsyncIterator[Callable[[Handler], Any]]:
    """Start a server that takes bookings, and give its port."""

    async def start(handler: Handler) -> int:
        app = web.Application()
        app.router.add_post("/api/v1/bookings", handler)
        server = await aiohttp_server(app)
        return int(server.port)

    return start


def told(calendar: str, due: float, done: float, node: str, *errors: str) -> Told:
    return Told(calendar, due, done, node, "x", list(errors))


def episode(*what: Told, at: float = 10.0, never: dict[str, int] | None = None) -> Episode:
    return Episode(at, {"one", "two"}, Settled(told=list(what), never=never or {}, knocked=0, late=0.0))


# What is made of what people were told


def test_calendar_is_back_when_somebody_else_than_the_dead_acknowledges() -> None:
    seen = episode(
        told("one", 9.0, 10.01, "dead"),
        told("one", 9.5, 14.0, "b", "connection lost"),
        told("one", 10.5, 13.5, "b"),
        told("two", 10.0, 12.0, "c"),
        told("three", 10.0, 10.1, "b"),
    )
    assert back_after(seen, "dead") == {"one": 3.5, "two": 2.0}


def test_calendar_that_is_never_booked_again_is_refused() -> None:
    with pytest.raises(Refused, match="1 calendars of the killed node"):
        back_after(episode(told("one", 10.0, 11.0, "b"), told("two", 9.0, 10.1, "dead")), "dead")


def test_longest_wait_is_of_calendars_that_moved_and_after_the_strike() -> None:
    seen = episode(
        told("one", 5.0, 9.0, "a"),
        told("one", 10.0, 10.2, "a"),
        told("one", 10.1, 10.5, "b"),
        told("two", 10.0, 19.0, "a"),
    )
    assert stalls(seen) == {"one": pytest.approx(0.4)}
    assert seen.usual() == [pytest.approx(4.0)]


def test_whatever_was_no_booking_counts_as_failed() -> None:
    seen = episode(told("one", 1, 2, "a", "503 unavailable", "connection lost"), never={"500": 2})
    assert dict(seen.errors()) == {"503 unavailable": 1, "connection lost": 1, "for ever: 500": 2}


def test_jobs_of_several_nodes_are_one() -> None:
    outcomes = [
        Outcome(
            operations=operations,
            seconds=seconds,
            p50=0.0,
            p99=0.0,
            worst=0.0,
            cpu={},
            generator_cpu=0.0,
            others_cpu=0.0,
            errors={"409": number},
            ids=[f"id {number}"],
            hdr=histogram.encode(histogram.of_seconds([number / 100] * 10)),
        )
        for number, operations, seconds in ((1, 100, 1.0), (2, 300, 2.0))
    ]
    one = as_one(outcomes, Usage(2.0, {"node a": 0.4}, 0.2, 0.1))
    assert (one.operations, one.rate, one.errors, one.ids) == (400, pytest.approx(250.0), {"409": 3}, ["id 1", "id 2"])
    assert (one.p50, one.p99) == (pytest.approx(10, rel=0.01), pytest.approx(20, rel=0.01))
    # CPU is brought down to the window that the rate is of.
    assert one.cpu["node a"] == pytest.approx(0.4 * 1.6 / 2.0)


def test_quick_meter_sees_processes_that_come_later() -> None:
    meter = QuickMeter({"self": os.getpid()})
    meter.begin()
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    assert meter.read().trees["self"] >= 0.05


# People who do not give up


def begin(*ports: int, calendars: int = 1) -> Begin:
    return Begin(
        ports=list(ports),
        token="t",
        service="s",
        client="c",
        often=[f"calendar {number}" for number in range(calendars)],
        often_every_s=0.05,
        others=[],
        others_every_s=1.0,
        first=1_900_000_000,
        step=300,
        seed=7,
    )


async def test_refused_and_cut_off_are_asked_again_with_the_same_key(listen: Callable[[Handler], Any]) -> None:
    asked: dict[str, list[Any]] = {}

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        tries = asked.setdefault(request.headers["Idempotency-Key"], [])
        tries.append(body)
        if len(tries) == 1:
            return web.json_response({"code": "unavailable"}, status=503)
        if len(tries) == 2:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"id": "x"}, status=201, headers={"X-Slotcast-Node": "a, b"})

    users = Users(begin(await listen(answer), free_port()))
    while len(asked) < 3:
        await asyncio.sleep(0.01)
    seen = await users.settle()
    assert len(seen.told) == len(asked)
    assert not seen.never
    for one in seen.told:
        assert (one.node, one.errors) == ("b", ["503 unavailable", "connection lost"])
    for tries in asked.values():
        assert tries[0] == tries[1] == tries[2]
    assert len({tries[0]["start"] for tries in asked.values()}) == len(asked)


async def test_who_is_never_answered_is_told(listen: Callable[[Handler], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.cluster_users.GIVE_UP_SECONDS", 0.2)
    asked = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        asked.set()
        return web.Response(status=500)

    users = Users(begin(await listen(answer)))
    await asked.wait()
    seen = await users.settle()
    assert seen.told == []
    assert set(seen.never) == {"500"}


async def test_wait_counts_from_when_it_was_due(listen: Callable[[Handler], Any]) -> None:
    """Nobody waits for an earlier answer before asking; a server that stalls is asked by everybody."""
    free, waiting = asyncio.Event(), 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal waiting
        waiting += 1
        await free.wait()
        return web.json_response({"id": "x"}, status=201)

    users = Users(begin(await listen(answer), calendars=2))
    while waiting < 6:
        await asyncio.sleep(0.01)
    free.set()
    seen = await users.settle()
    assert len(seen.told) >= 6
    assert max(t.done - t.due for t in seen.told) >= 0.05


# Redis


def test_without_redis_it_is_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(cluster_redis, "find_spec", lambda _: None)
    with pytest.raises(Skipped, match="no redis-server on PATH"):
        find_binary()


async def test_redis_that_ends_at_once_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="did not become ready"):
        await Redis.start(shutil.which("false") or "", tmp_path)


# Real nodes


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    run = Bench(repetitions=1, seconds=0.3, quick=True, connections=8, warmup=0.1, folder=tmp_path)
    yield run
    await run.stop()
    await end_all()
    run.end(keep_logs=True)


async def test_nodes_are_where_the_scenario_thinks_and_all_that_was_told_is_true(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "QUICK_CALENDARS", 20)
    monkeypatch.setattr(cluster, "BOOKED", 12)
    redis = await Redis.start(find_binary(), bench.folder)
    nodes = await Nodes.start(bench, redis, ("a", "b"), cluster.QUICK_LEASE_S)
    generator = await Generator.start("bench.cluster_load")
    try:
        ground = await cluster.lay_out(bench, nodes, generator)
        await Throughput(Field(ground)).turn(2, bench)
        for calendar in ground.booked:
            names = await _answered_by(nodes, calendar)
            assert names[0] == "a"
            assert names[-1] == nodes.owner_of(calendar).name
        strikes = Strikes(ground)
        # It refuses what moved and should not have, and what should have and did not.
        await strikes.drain(nodes.members[1])
        assert {nodes.owner_of(calendar).name for calendar in ground.booked} == {"a"}
        await strikes.end(nodes.members[1])
        rows = {row.metric: row for row in strikes.move_rows()}
        assert rows["a node is drained: requests that failed"].measured == 0
        await cluster.verify(ground)
        ground.told.append("00000000-0000-7000-8000-000000000000")
        with pytest.raises(Refused):
            await cluster.verify(ground)
    finally:
        await generator.stop()
        await nodes.stop()
        await redis.stop()


async def _answered_by(nodes: Nodes, calendar: str) -> list[str]:
    _, headers, _ = await nodes.first.raw("GET", f"/api/v1/professionals/{calendar}/schedule")
    return dict(headers)["X-Slotcast-Node"].split(", ")

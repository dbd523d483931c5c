"""The live side of the measurements: what it drives is real, and what is told wrong is refused."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import asyncpg
import msgspec
import pytest

from bench import integrity
from bench.children import Generator, Listener
from bench.live import Change, Changed, Drive, Driven, Storm, Subscribe, Subscribed, View, Weathered
from bench.load import Outcome
from bench.report import Refused
from bench.returning import Returning, Wave
from bench.runner import Bench, accept
from bench.scenarios import book_live, booking, resubscribe, stalled, watching
from bench.slotcast import Slotcast
from bench.subscribers import EngineSubscriber, Hub, Subscriber, frame_bounds, masked, socket_event
from protocol import limits
from protocol.frames import text_frame
from tests.conftest import business_of
from tests.support.server import RunningServer, token_for

NOBODY = View(port=1, token="t", professional_id="p", service_id="s", from_date="2030-01-01", to_date="2030-01-02")


class Wire(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        pass


def frame(**message: object) -> bytes:
    return text_frame(msgspec.json.encode(message))


def delta(begins: int, ends: int, **more: object) -> bytes:
    return frame(type="delta", from_version=begins, version=ends, **more)


def attached(hub: Hub, subscriber: Subscriber) -> Wire:
    wire = Wire()
    subscriber.connection_made(wire)
    subscriber.data_received(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    return wire


def audience(count: int, version: int = 5) -> tuple[Hub, list[Subscriber]]:
    hub = Hub(NOBODY, count)
    subscribers = [Subscriber(hub) for _ in range(count)]
    for subscriber in subscribers:
        attached(hub, subscriber)
        subscriber.data_received(frame(type="snapshot", version=version, slots=[]))
    return hub, subscribers


# What arrives is told apart by its bytes


def test_frame_is_delivered_once_everybody_has_it_however_it_is_cut_up() -> None:
    hub, (first, second) = audience(2)
    both = delta(5, 6) + delta(6, 8)
    first.data_received(both)
    assert (hub.frames, hub.version, hub.deliveries) == (0, 5, 2)
    assert "1 of 2" in hub.partial()
    for byte in both:
        second.data_received(bytes([byte]))
    assert (hub.frames, hub.version, hub.deliveries) == (2, 8, 4)
    assert not hub.partial()
    assert not hub.failure


def test_delta_that_one_subscriber_lost_is_told() -> None:
    hub, (first, second) = audience(2)
    first.data_received(delta(5, 6) + delta(6, 7))
    second.data_received(delta(6, 7))
    assert "1 of 2" in hub.partial()


def test_gap_that_everybody_shares_is_a_failure() -> None:
    hub, subscribers = audience(2)
    for subscriber in subscribers:
        subscriber.data_received(delta(6, 7))
    assert "a gap" in hub.failure


def test_anything_but_a_delta_is_a_failure() -> None:
    hub, (one,) = audience(1)
    one.data_received(frame(type="snapshot", version=6, slots=[]))
    assert "instead of a delta" in hub.failure


def test_length_that_is_not_all_there_yet_is_waited_for() -> None:
    whole = text_frame(b"x" * 300)
    assert all(frame_bounds(whole[:size], 0) is None for size in range(len(whole)))
    assert frame_bounds(whole, 0) == (4, 304)


# Engine.IO


def test_engine_io_opening_ping_and_deltas() -> None:
    hub = Hub(msgspec.structs.replace(NOBODY, carrier="engine.io"), 1)
    one = EngineSubscriber(hub)
    wire = attached(hub, one)
    assert b"GET /socket.io/?EIO=4&transport=websocket " in wire.written[0]
    for said, answer in (
        (b'0{"sid":"a","upgrades":[],"pingInterval":25000}', b"40"),
        (b'40{"sid":"b"}', b'42["subscribe",{}]'),
        (b"2", b"3"),
    ):
        one.data_received(text_frame(said))
        assert wire.written[-1] == masked(0x1, answer)
    one.data_received(text_frame(b'42["snapshot",{"version":0,"slots":[]}]'))
    assert hub.all_ready.is_set()
    one.data_received(text_frame(b'42["delta",{"version":1,"pad":"xx"}]') + text_frame(b"2"))
    assert (hub.version, hub.frames, hub.failure) == (1, 1, "")
    assert wire.written[-1] == masked(0x1, b"3")
    one.data_received(text_frame(b'44{"message":"no"}'))
    assert "instead of a delta" in hub.failure


def test_engine_io_event() -> None:
    assert socket_event(b'42["delta",{"version":3}]') == {"type": "delta", "version": 3}
    for other in (b"2", b"40", b"42", b'42["delta"]', b"42[1,2]", b'43["delta",{}]'):
        assert socket_event(other) == {}


# Coming back


def returned(*frames: bytes, since: int = 6) -> Hub:
    """What a hub says of one who came back and was told these frames; 6..8 and 8..9 were sent meanwhile."""
    missed = [(6, b"known"), *((version, payload) for version, payload in GONE_BY.items())]
    hub = Hub(NOBODY, 1)
    one = Returning(hub, Wave(missed, 9, 1), since)
    wire = attached(hub, one)
    one.data_received(frame(type="welcome"))
    assert b'"since":%d' % since in wire.written[-1]
    one.data_received(frame(type="reply", id="1", ok=True))
    for told in frames:
        one.data_received(told)
    return hub


GONE_BY = {8: delta(6, 8)[2:], 9: delta(8, 9)[2:]}
RECOVERED = frame(type="subscribed", recovered=True, version=9)


def test_replay_of_all_that_was_missed_is_right() -> None:
    assert not returned(RECOVERED, delta(6, 8), delta(8, 9)).failure
    # A change by time has the version it found, so frames of the version held are repeated.
    assert not returned(RECOVERED, delta(5, 6, changes=[1]), delta(6, 8), delta(8, 9)).failure


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        ([frame(type="subscribed", recovered=False, version=9)], "not recovered"),
        ([frame(type="subscribed", recovered=True, version=8)], "not recovered"),
        ([RECOVERED, delta(8, 9)], "what it missed goes on with"),
        ([RECOVERED, delta(6, 8, changes=["other"])], "what it missed goes on with"),
        ([RECOVERED, frame(type="snapshot", version=9, slots=[])], "was told"),
        ([RECOVERED, delta(6, 8), delta(8, 9), delta(9, 10)], "more than it missed"),
    ],
    ids=["not recovered", "behind", "lost", "doctored", "snapshot", "too much"],
)
def test_replay_that_is_wrong_is_refused(frames: list[bytes], why: str) -> None:
    assert why in returned(*frames).failure


# Against a real node


class Shared(Slotcast):
    """The tests' server as scenarios see theirs."""

    def __init__(self, running: RunningServer, token: str) -> None:
        self.dsn, self.port, self.token = running.dsn, running.port, token
        process: Any = running.process
        self._listener = Listener(process, running.port, running.log)
        self._session = self._own = aiohttp.ClientSession(running.url, headers={"Authorization": f"Bearer {token}"})

    async def leave(self) -> None:
        await self._own.close()


@pytest.fixture
async def node(server: RunningServer) -> AsyncIterator[Slotcast]:
    shared = Shared(server, token_for(await business_of(server.dsn)))
    yield shared
    await shared.leave()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    run = Bench(repetitions=1, seconds=0.3, quick=True, connections=8, warmup=0.1, folder=tmp_path)
    # Only the process id of a Postgres is asked for, and the server has one of its own.
    monkeypatch.setattr(run, "_postgres", SimpleNamespace(pid=os.getpid()))
    return run


async def test_storm_asks_nothing_of_the_database(
    node: Slotcast, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only sums of Postgres need the time, and they are not looked at here.
    monkeypatch.setattr(resubscribe, "FLUSH_SECONDS", 0.05)
    watcher = await asyncpg.connect(node.dsn)
    try:
        async with AsyncExitStack() as stack:
            # What the server asks for itself, every second or so, may fall into one storm, but not into each.
            for _ in range(30):
                weathered, asked, _ = await resubscribe.storm(bench, node, watcher, stack, 12)
                if (asked.counted, asked.connections) == (0, 0):
                    break
    finally:
        await watcher.close()
    assert (asked.counted, asked.connections) == (0, 0)
    assert weathered.count == 12
    assert weathered.replayed >= 12


async def test_statements_are_seen_by_server_and_postgres(node: Slotcast) -> None:
    watcher = await asyncpg.connect(node.dsn)
    try:
        async with resubscribe.Statements(node, watcher) as asked:
            for _ in range(3):
                await node.call("GET", "/api/v1/clients")
    finally:
        await watcher.close()
    assert asked.counted >= 3
    assert asked.connections >= 1
    assert asked.transactions >= 3


async def test_storm_beyond_the_ring_is_refused(node: Slotcast) -> None:
    """Who missed more than the server keeps gets a snapshot, which is no recovery."""
    async with AsyncExitStack() as stack:
        view = await watching.make_view(node)
        generator = await watching.live_generator(stack)
        await watching.ask("x", generator, Subscribe(view=view, count=1), Subscribed, 10)
        client, missed = await node.client(), limits.ring_frames_max + 5
        change = Change(client_id=client, starts=watching.starts(), count=missed + 1)
        changed = await watching.ask("x", generator, change, Changed, 30)
        assert changed.frames == missed + 1
        with pytest.raises(Refused, match="not recovered"):
            await watching.ask("x", generator, Storm(count=2, at_once=2, missed=missed, watch={}), Weathered, 30)


async def test_changes_at_a_rate_reach_everybody(node: Slotcast) -> None:
    async with AsyncExitStack() as stack:
        view = await watching.make_view(node)
        generator = await watching.live_generator(stack)
        await watching.ask("x", generator, Subscribe(view=view, count=5), Subscribed, 10)
        drive = Drive(
            client_id=await node.client(),
            starts=watching.starts(1),
            workers=4,
            seconds=0.5,
            warmup=0.1,
            watch={},
            rate=40,
        )
        driven = await watching.ask("x", generator, drive, Driven, 10)
        assert driven.changes > 0
        assert driven.deliveries > 0
        again = await watching.ask("x", generator, msgspec.structs.replace(drive, rate=0.0), Driven, 10)
        assert again.changes > 0
        # A second audience takes the place of the first.
        await watching.ask("x", generator, Subscribe(view=view, count=3), Subscribed, 10)
        assert (await watching.ask("x", generator, drive, Driven, 10)).deliveries > 0


async def test_live_bookings_are_all_in_the_database(node: Slotcast, bench: Bench) -> None:
    service, client = await node.service(5), await node.client()
    calendars = await node.professionals(1, service, "00:00", "24:00")
    job = book_live.live_job(bench, booking.slotcast_side(node), book_live.field_of(service, client, calendars), 0)
    generator = await Generator.start("bench.book_live_load")
    try:
        job = msgspec.structs.replace(job, sockets=2, in_flight=4)
        outcome = await generator.ask(job, Outcome, 30)
        assert not outcome.errors
        assert outcome.operations > 0
        assert len(outcome.ids) >= outcome.operations
        await integrity.check("live", node.dsn, integrity.SLOTCAST, outcome.ids)
        # The same starts again are taken: an answer that is no booking is an error.
        refused = await generator.ask(job, Outcome, 30)
        assert set(refused.errors) == {"refused"}
        assert "slot_unavailable" in refused.sample_error
        with pytest.raises(Refused):
            accept("book-live", "live", refused)
    finally:
        await generator.stop()


async def test_stalled_viewers_fall_behind_and_catch_up_by_a_snapshot(node: Slotcast) -> None:
    async with AsyncExitStack() as stack:
        generator = await watching.live_generator(stack)
        view = await watching.make_view(node, stalled.MINUTES)
        audience = stalled.Audience(node, view, generator, await node.client(), reading=4, stalling=2)
        await audience.open()
        await audience.lag()
        await audience.drive(0.2, 0.0, {})
        await audience.stall()
        driven = await audience.drive(0.2, 0.0, {})
        assert driven.deliveries > 0
        back = await audience.resume()
        assert (back.caught_up, back.cut) == (2, 0)
        assert back.snapshots > 0
        await integrity.check("stalled", node.dsn, integrity.SLOTCAST, [])

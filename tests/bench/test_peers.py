"""The peers do what their measurements take for granted, and wrong tables are found."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import jwt
import msgspec
import pytest

from bench.children import Generator, Listener
from bench.http_load import Tally
from bench.load import Bookings, Job, Outcome
from bench.peers import ws
from bench.peers.bare import Canned
from bench.report import Refused
from bench.runner import Bench, Contender
from bench.scenarios import book_live, booking, contend
from bench.scenarios.booking import Side

CALENDAR, SERVICE, CLIENT = (str(uuid4()) for _ in range(3))
FIELD = booking.Field(
    service=SERVICE,
    client=CLIENT,
    calendars=lambda _: [CALENDAR],
    first=lambda _: booking.midnight_in(2),
    count=12,
)
FRAME_BYTES = 300

# One row beside another that it overlaps, by a minute or in the same slot.
BESIDE = {
    "ROW_LOCK": """
        INSERT INTO bookings SELECT $1, code, status, professional_id, service_id, client_id,
        starts_at + interval '1 minute', ends_at + interval '1 minute', created_at FROM bookings
        ORDER BY starts_at DESC LIMIT 1
    """,
    "SLOT_TABLE": """
        INSERT INTO bookings (id, slot_id, service_id, client_id, status, created_at)
        SELECT $1, slot_id, service_id, client_id, status, created_at FROM bookings LIMIT 1
    """,
}


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    made = Bench(repetitions=1, seconds=0.1, quick=True)
    yield made
    made.end()


@asynccontextmanager
async def peer(bench: Bench, module: str, *arguments: str) -> AsyncGenerator[Listener]:
    server = await bench.peer(module, *arguments)
    try:
        yield server
    finally:
        await server.stop()


def wanted(index: int) -> dict[str, str]:
    """The body of a booking of the field's start with this number."""
    start = datetime.fromtimestamp(booking.midnight_in(2) + index * booking.STEP, UTC)
    return {"professional_id": CALENDAR, "service_id": SERVICE, "client_id": CLIENT, "start": start.isoformat()}


async def book(http: aiohttp.ClientSession, side: Side, index: int, token: str = "") -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token or side.token}"}
    async with http.post(f"{side.server.base}/api/v1/bookings", json=wanted(index), headers=headers) as answer:
        return answer.status, await answer.json()


async def fetch(side: Side, sql: str, *values: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(side.dsn)
    try:
        return await connection.fetch(sql, *values)
    finally:
        await connection.close()


def outcome(ids: list[str], wins: list[int]) -> Outcome:
    return Outcome(
        operations=1,
        seconds=1,
        p50=1,
        p99=1,
        worst=1,
        cpu={},
        generator_cpu=0,
        others_cpu=0,
        errors={},
        ids=ids,
        wins=wins,
    )


def told(*ids: str) -> Contender:
    """A contender that says it acknowledged these."""
    return Contender("peer", None, None, [outcome(list(ids), [])])  # type: ignore[arg-type]


async def test_every_booking_peer_gives_a_slot_once_and_wrong_tables_are_refused(
    bench: Bench, http: aiohttp.ClientSession
) -> None:
    def booker(module: str, *flags: str) -> Awaitable[Side]:
        return booking.start_peer(bench, FIELD, [0], module, "--pool=4", *flags)

    sides = await asyncio.gather(
        booker("rowlock"),
        booker("rowlock", "--function"),
        booker("exclude"),
        booker("exclude", "--look-first"),
        booking.start_peer(bench, FIELD, [0], "groupcommit"),
        booking.start_peer(bench, FIELD, [0], "groupcommit", "--writers=2"),
        booking.start_contract(bench, FIELD),
        booking.start_slot_table(bench, FIELD, [0], pool=4),
    )
    try:
        for side in sides:
            await gives_a_slot_once(http, side)
        plain = sides[2]
        for side in sides:
            # Plain inserts under an exclusion constraint may deadlock in a crowd; only the other kind is measured so.
            if side is not plain:
                crowd = await asyncio.gather(*(book(http, side, 2) for _ in range(12)))
                assert sorted(status for status, _ in crowd) == [201, *[409] * 11]
        row_lock, slots = sides[0], sides[-1]
        for side, beside in ((row_lock, BESIDE["ROW_LOCK"]), (slots, BESIDE["SLOT_TABLE"])):
            await fetch(side, beside, uuid4())
            with pytest.raises(Refused, match="1 active bookings overlap"):
                await booking.verify(side, told())
        await answers_as_its_design_promises(http, slots)
    finally:
        await asyncio.gather(*(side.server.stop() for side in sides))


async def test_the_floor_books_over_sockets_too(bench: Bench) -> None:
    side = await booking.start_contract(bench, FIELD)
    generator = await Generator.start("bench.book_live_load")
    try:
        job = book_live.live_job(bench, side, FIELD, 0)
        job = msgspec.structs.replace(job, count=20_000, sockets=2, in_flight=4, seconds=0.2)
        booked = await generator.ask(job, Outcome, 30)
        assert not booked.errors
        assert len(booked.ids) >= booked.operations > 0
        await booking.verify(side, Contender("floor", side.server, None, [booked]))  # type: ignore[arg-type]
        refused = await generator.ask(job, Outcome, 30)
        assert set(refused.errors) == {"refused"}
        assert "slot_unavailable" in refused.sample_error
    finally:
        await generator.stop()
        await side.server.stop()


async def gives_a_slot_once(http: aiohttp.ClientSession, side: Side) -> None:
    first, second, again = await book(http, side, 0), await book(http, side, 1), await book(http, side, 0)
    assert (first[0], second[0], again[0]) == (201, 201, 409)
    ids = [first[1]["id"], second[1]["id"]]
    assert {str(row["id"]) for row in await fetch(side, "SELECT id FROM bookings")} == set(ids)
    await booking.verify(side, told(*ids))
    await booking.verify_nothing_else(side, told(*ids), [CALENDAR])

    with pytest.raises(Refused, match="acknowledged more than once"):
        await booking.verify(side, told(*ids, ids[0]))
    with pytest.raises(Refused, match="1 acknowledged bookings are not in the database"):
        await booking.verify(side, told(*ids, str(uuid4())))
    with pytest.raises(Refused, match="2 bookings stand, 1 were acknowledged"):
        await booking.verify_nothing_else(side, told(ids[0]), [CALENDAR])


async def answers_as_its_design_promises(http: aiohttp.ClientSession, slots: Side) -> None:
    claims = jwt.decode(slots.token, options={"verify_signature": False})
    forged = jwt.encode(claims, "another secret, as long as it has to be", algorithm="HS256")
    status, body = await book(http, slots, 3, forged)
    assert (status, body["error"]["code"]) == (401, "http_401")
    assert (await book(http, slots, 100))[0] == 404
    async with http.get(f"{slots.server.base}/metrics") as answer:
        counted = await answer.text()
        assert answer.headers["X-Request-ID"]
    assert 'http_requests_total{method="POST",path="/api/v1/bookings",status="201"} 3.0' in counted
    assert "bookings_created_total 3.0" in counted


async def test_bare_repeats_its_answer(bench: Bench, http: aiohttp.ClientSession) -> None:
    answers = bench.folder / "answers.json"
    headers = [("Content-Type", "application/json"), ("Content-Length", "7")]
    canned = Canned("POST", "/api/v1/bookings", 201, headers, b'{"a":1}')
    answers.write_bytes(msgspec.json.encode([canned]))
    async with peer(bench, "bare", "--answers", str(answers)) as server:
        assert await book(http, Side(server, "any", "", {}), 0) == (201, {"a": 1})


async def change(http: aiohttp.ClientSession, base: str, version: int, path: str = "") -> None:
    async with http.post(f"{base}/api/v1/bookings{path}", json={}) as answer:
        assert answer.status == 201
        assert (await answer.json())["calendar_version"] == version


async def broadcasts(bench: Bench, http: aiohttp.ClientSession, module: str) -> None:
    async with (
        peer(bench, module, "--frame-bytes", str(FRAME_BYTES)) as server,
        http.ws_connect(f"{server.base}/api/v1/live", protocols=["slotcast.v1"]) as live,
    ):
        assert live.protocol == "slotcast.v1"
        assert (await live.receive_json())["type"] == "welcome"
        await live.send_json({"type": "auth", "id": "1", "token": "any"})
        assert await live.receive_json() == {"type": "reply", "id": "1", "ok": True}
        await live.send_json({"type": "subscribe", "id": "2"})
        assert [(await live.receive_json())["type"] for _ in range(2)] == ["subscribed", "snapshot"]
        for version, path in ((1, ""), (2, "/any/cancel")):
            await change(http, server.base, version, path)
            text = await live.receive_str()
            assert msgspec.json.decode(text)["version"] == version
            assert len(text) + 4 == FRAME_BYTES


async def test_writeloop_sends_each_change_to_its_subscribers(bench: Bench, http: aiohttp.ClientSession) -> None:
    await broadcasts(bench, http, "writeloop")


async def test_ws_does_the_same_or_says_what_it_lacks(
    bench: Bench, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if ws.missing():
        run = subprocess.run([sys.executable, "-m", "bench.peers.ws"], capture_output=True, text=True, check=False)
        assert (run.returncode, run.stderr.strip()) == (1, ws.missing())
    else:
        await broadcasts(bench, http, "ws")
    monkeypatch.setattr(ws.shutil, "which", lambda _: "/somewhere/node")
    monkeypatch.setattr(ws, "FOLDER", tmp_path)
    assert "npm ci --prefix bench/peers/node" in ws.missing()
    monkeypatch.setattr(ws.shutil, "which", lambda _: None)
    assert "needs Node" in ws.missing()


async def test_socketio_emits_each_change_to_its_room(bench: Bench, http: aiohttp.ClientSession) -> None:
    async with (
        peer(bench, "socketio", "--frame-bytes", str(FRAME_BYTES)) as server,
        http.ws_connect(f"{server.base}/socket.io/?EIO=4&transport=websocket") as live,
    ):
        assert (await live.receive_str()).startswith('0{"sid"')
        await live.send_str("40")
        assert (await live.receive_str()).startswith("40{")
        await live.send_str('42["subscribe",{}]')
        assert (await live.receive_str()).startswith('42["snapshot",')
        for version, path in ((1, ""), (2, "/any/cancel")):
            await change(http, server.base, version, path)
            text = await live.receive_str()
            assert msgspec.json.decode(text[2:])[1]["version"] == version
            assert len(text) + 4 == FRAME_BYTES


def test_the_node_peers_lock_file_names_no_registry() -> None:
    assert "resolved" not in (ws.FOLDER / "package-lock.json").read_text()


def requests(plan: Bookings, count: int) -> list[bytes]:
    tally = Tally(Job(port=0, expect=201, seconds=1, bookings=plan))
    return list(islice(tally.requests, count))


def test_a_zipf_plan_asks_for_different_slots_and_most_for_the_first_calendar() -> None:
    heads = [f"{calendar:03} " for calendar in range(100)]
    made = requests(Bookings(heads=heads, tail="", first=0, step=300, count=2000, zipf=1.0), 5000)
    assert len(set(made)) == len(made) == 5000
    asked = [sum(request.startswith(head.encode()) for request in made) for head in heads]
    # A hundred ranks weigh 5.19 together: the first gets 964 of 5,000 and the second half of that, give or take.
    assert 850 < asked[0] < 1080
    assert 400 < asked[1] < 560


def test_a_crowd_asks_for_each_slot_as_often_as_wanted() -> None:
    made = requests(Bookings(heads=["a ", "b "], tail="", first=0, step=300, count=3, attempts=4), 100)
    assert len(made) == 24
    assert len(set(made[:8])) == 2
    assert {made.count(request) for request in made} == {4}


def test_evenness_of_wins() -> None:
    assert contend.evenness(outcome([], [5, 5, 5, 5])) == 1
    assert contend.evenness(outcome([], [8, 0, 0, 0])) == 0.25
    assert contend.evenness(outcome([], [0, 0])) == 0

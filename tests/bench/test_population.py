"""Calendars copied by SQL are calendars like any other, and the day's generator does and tells what it says."""

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import aiohttp
import asyncpg
import pytest

from bench import integrity
from bench.children import Generator
from bench.integrity import Story
from bench.mixed_job import LOST, MixedJob, Site
from bench.mixed_load import Connection, Day
from bench.report import Refused
from bench.runner import Bench
from bench.scenarios import mixed
from bench.scenarios.booking import midnight_in
from bench.scenarios.idle import filled_calendars
from bench.site import Memory, Operation
from bench.slotcast import Slotcast
from tests.conftest import business_of
from tests.support.server import RunningServer, token_for

MINUTES = 30
HALF_HOUR = MINUTES * 60


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(repetitions=1, seconds=0.3, quick=True)
    yield made
    made.end()
    shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture
async def slotcast(bench: Bench, server: RunningServer) -> AsyncIterator[Slotcast]:
    """The tests' shared server, seen as the suite sees the one it starts."""
    seen = Slotcast(bench, server.dsn)
    seen.port, seen.token = server.port, token_for(await business_of(server.dsn))
    headers = {"Authorization": f"Bearer {seen.token}"}
    async with aiohttp.ClientSession(server.url, headers=headers) as session:
        seen._session = session  # type: ignore[reportPrivateUsage]
        yield seen


async def starts_of(slotcast: Slotcast, calendar: str, service: str, day: str) -> list[str]:
    path = f"/api/v1/professionals/{calendar}/slots?from={day}&to={day}&service_id={service}"
    return [slot["start"] for slot in (await slotcast.call("GET", path))["slots"] if slot["state"] == "open"]


def moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_copied_calendars_can_be_read_and_booked(slotcast: Slotcast) -> None:
    service, calendars = await filled_calendars(slotcast, 3, bookings=4)
    assert len(set(calendars)) == 3
    day, first = moment(midnight_in(2))[:10], midnight_in(2)
    for calendar in calendars:
        open_ = await starts_of(slotcast, calendar, service, day)
        assert open_[0] == moment(first + 4 * HALF_HOUR)
        assert len(open_) == 44
    hours = [await slotcast.call("GET", f"/api/v1/professionals/{c}/schedule") for c in calendars]
    assert hours[0]["weekly"]
    assert all(h["weekly"] == hours[0]["weekly"] for h in hours)
    wish = {"professional_id": calendars[1], "service_id": service, "client_id": await slotcast.client()}
    booked = await slotcast.call("POST", "/api/v1/bookings", {**wish, "start": moment(first + 4 * HALF_HOUR)})
    assert booked["calendar_version"] == 1
    with pytest.raises(Refused, match="409"):
        await slotcast.call("POST", "/api/v1/bookings", {**wish, "start": moment(first)})
    # Its copies are calendars of their own.
    assert len(await starts_of(slotcast, calendars[1], service, day)) == 43
    assert len(await starts_of(slotcast, calendars[2], service, day)) == 44
    copied = await slotcast.call("GET", f"/api/v1/bookings?professional_id={calendars[2]}")
    assert [b["status"] for b in copied["items"]] == ["confirmed"] * 4
    # What was copied is as good as what was booked: it can be cancelled.
    await slotcast.call("POST", f"/api/v1/bookings/{copied['items'][0]['id']}/cancel", {})
    assert len(await starts_of(slotcast, calendars[2], service, day)) == 45


async def test_time_off_is_copied(slotcast: Slotcast) -> None:
    service = await slotcast.service(MINUTES)
    [made] = await slotcast.professionals(1, service, "09:00", "17:00")
    off = {"start": moment(midnight_in(2)), "end": moment(midnight_in(3))}
    await slotcast.call("POST", f"/api/v1/professionals/{made}/time-off", off)
    [copy] = await slotcast.clone(made, 1)
    assert await starts_of(slotcast, copy, service, moment(midnight_in(2))[:10]) == []
    assert len(await starts_of(slotcast, copy, service, moment(midnight_in(3))[:10])) == 16


async def test_many_professionals_are_one_made_and_others_copied(slotcast: Slotcast) -> None:
    service = await slotcast.service(MINUTES)
    calendars = await slotcast.professionals(40, service, "09:00", "17:00")
    assert len(set(calendars)) == 40
    day = moment(midnight_in(2))[:10]
    assert [len(await starts_of(slotcast, c, service, day)) for c in (calendars[0], calendars[39])] == [16, 16]


async def a_site(slotcast: Slotcast, folder: Path, cap: int) -> Site:
    service = await slotcast.service(MINUTES)
    return Site(
        port=slotcast.port,
        token=slotcast.token,
        calendars=await slotcast.professionals(5, service, "08:00", "20:00"),
        service=service,
        client=await slotcast.client(),
        first=midnight_in(2),
        days=14,
        opens=8 * 3600,
        closes=20 * 3600,
        step=HALF_HOUR,
        cap=cap,
        story=str(folder / "story"),
    )


async def test_the_day_is_told_truly_and_a_doctored_one_is_found(slotcast: Slotcast, tmp_path: Path) -> None:
    site = await a_site(slotcast, tmp_path, cap=30)
    generator = await Generator.start("bench.mixed_load")
    try:
        filled = await mixed.ask(generator, MixedJob(site=site, seconds=20, connections=4, fill_to=site.cap))
        opened = await mixed.ask(generator, MixedJob(seconds=1.0, rate=300, connections=8))
    finally:
        await generator.stop()
    assert 20 <= filled.standing <= 30 + 4
    assert opened.standing <= 30 + 8
    assert {"slots", "availability", "hold"} <= set(opened.answers)
    assert set(opened.hdr) == set(opened.answers)
    allowed = {"200", "201", "204", LOST}
    assert {status for counts in opened.answers.values() for status in counts} <= allowed
    story = integrity.read_story(Path(site.story))
    assert len(story.standing) == opened.standing
    assert story.cancelled
    await integrity.check_story("day", slotcast.dsn, site.calendars, story)

    untold = Story([id_ for id_ in story.booked if id_ != story.standing[0]], story.cancelled)
    lost = Story([*story.booked, str(uuid4())], story.cancelled)
    told_twice = Story([*story.booked, story.booked[-1]], story.cancelled)
    undone = Story(story.booked, story.cancelled[1:])
    not_undone = Story(story.booked, [*story.cancelled, story.standing[0]])
    for doctored in (lost, told_twice, undone, not_undone):
        with pytest.raises(Refused):
            await integrity.check_story("day", slotcast.dsn, site.calendars, doctored)
    with pytest.raises(Refused, match="nobody was told"):
        await integrity.check_story("day", slotcast.dsn, site.calendars, untold)
    connection = await asyncpg.connect(slotcast.dsn)
    transaction = connection.transaction()
    try:
        await connection.execute("UPDATE bookings SET status = 'no_show' WHERE id = $1", story.standing[0])
        with pytest.raises(Refused, match="not confirmed"):
            await integrity.check_story("day", slotcast.dsn, site.calendars, story)
        await connection.execute("UPDATE bookings SET status = 'confirmed' WHERE id = $1", story.standing[0])
        # A journal with a hole, put back at once: other tests share this server.
        await transaction.start()
        await connection.execute("DELETE FROM events WHERE calendar_id = $1 AND version = 2", site.calendars[0])
        assert await connection.fetchval(integrity.GAPS, site.calendars) == 1
    finally:
        await transaction.rollback()
        await connection.close()


def a_memory(cap: int = 3, *, reads_only: bool = False) -> Memory:
    return Memory(
        Site(
            port=1, token="t", calendars=["a", "b", "c"], service="s", client="k", first=midnight_in(2), days=14,
            opens=8 * 3600, closes=20 * 3600, step=HALF_HOUR, cap=cap, reads_only=reads_only,
        )
    )  # fmt: skip


def test_the_mix_is_the_mix() -> None:
    memory = a_memory()
    kinds = Counter(memory.kind() for _ in range(20_000))
    assert {kind: round(count / 2000) for kind, count in kinds.items()} == {
        "slots": 6, "availability": 3, "hold": 1, "book": 0, "cancel": 0,
    }  # fmt: skip
    assert 400 < kinds["book"] < 800
    assert {a_memory(reads_only=True).kind() for _ in range(100)} <= {"slots", "availability"}
    calendars = Counter(memory.calendar() for _ in range(10_000))
    assert calendars[0] > calendars[1] > calendars[2] > 0


def test_beyond_the_cap_the_oldest_is_cancelled_first() -> None:
    memory = a_memory(cap=2)
    for number in range(2):
        memory.booked(f"old-{number}", (0, number))
    day = Day(MixedJob(seconds=1, rate=1), memory)
    request = day.request(Operation("book", 0.0))
    assert request.startswith(b"POST /api/v1/bookings HTTP/1.1")
    [cancelling] = day.due
    assert day.request(cancelling).startswith(b"POST /api/v1/bookings/old-0/cancel ")
    assert [id_ for id_, _ in memory.standing] == ["old-1"]


def test_what_is_taken_is_rarely_aimed_at() -> None:
    memory = a_memory()
    memory.random = random.Random(5)
    for number in range(50):
        memory.booked(str(number), (number % 3, number))
    aimed = [Operation("book", 0.0) for _ in range(200)]
    taken = set(memory.taken)
    for operation in aimed:
        memory.aim(operation)
    assert 1 <= sum(operation.place in taken for operation in aimed) <= 30


class FakeTransport:
    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None: ...


@pytest.mark.parametrize("cut", [1, 5, 17, 40, 10_000])
async def test_answers_are_understood_however_they_are_cut(cut: int) -> None:
    memory = a_memory()
    day = Day(MixedJob(seconds=1, rate=1), memory)
    day.measured_from = 0.0
    connection = Connection(day)
    connection.connection_made(cast(asyncio.BaseTransport, FakeTransport()))
    answers: list[tuple[Any, bytes]] = [
        (Operation("slots", 0.0), b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[1,2]"),
        (Operation("release", 0.0, id_="h"), b"HTTP/1.1 204 No Content\r\nX-Request-ID: 1\r\n\r\n"),
        (Operation("book", 0.0), b'HTTP/1.1 201 Created\r\ncontent-length: 10\r\n\r\n{"id":"b"} '[:-1]),
        (Operation("book", 0.0), b'HTTP/1.1 409 Conflict\r\nContent-Length: 27\r\n\r\n{"code":"slot_unavailable"}'),
    ]
    for operation, answer in answers:
        day.arrive(operation)
        for at in range(0, len(answer), cut):
            connection.data_received(answer[at : at + cut])
    assert not day.errors, day.sample_error
    assert {kind: dict(counts) for kind, counts in day.counts.items()} == {
        "slots": {"200": 1}, "release": {"204": 1}, "book": {"201": 1, LOST: 1},
    }  # fmt: skip
    assert [id_ for id_, _ in memory.standing] == ["b"]
    day.arrive(Operation("slots", 0.0))
    connection.data_received(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}")
    assert day.errors == {"slots: 503": 1}


def test_only_a_long_run_is_held_to_be_flat() -> None:
    def growth(last: float, seconds: float) -> Any:
        samples = [(at * seconds / 100, 100.0 if at < 75 else last) for at in range(101)]
        return mixed.memory_rows(samples, seconds)[0]

    assert growth(104.0, 3600.0).met
    assert growth(106.0, 3600.0).met is False
    assert growth(150.0, 60.0).met is None
    assert growth(150.0, 60.0).measured == pytest.approx(50.0)

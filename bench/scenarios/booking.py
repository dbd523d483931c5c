"""Durable bookings: Slotcast and its peers get the very same requests in turns."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec

from bench import integrity
from bench.children import Listener
from bench.load import Bookings, Job, request_text
from bench.peers.bare import Canned
from bench.runner import Bench, Contender
from bench.slotcast import Slotcast

MINUTES = 5
STEP = MINUTES * 60
DAY = 86_400
START = "1970-01-01T00:00:00Z"


class Field(msgspec.Struct, frozen=True):
    """Ids that all contenders know, and which of the calendars and starts a repetition uses."""

    service: str
    client: str
    calendars: Callable[[int], Sequence[str]]
    first: Callable[[int], int]
    """Unix seconds of a repetition's earliest start."""
    count: int
    """Starts per calendar and repetition."""


def midnight_in(days: int) -> int:
    """Unix seconds of a coming midnight in UTC."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((today + timedelta(days=days)).timestamp())


def contender(bench: Bench, name: str, server: Listener, slotcast: Slotcast, field: Field, *, keep: bool) -> Contender:
    """A contender that is asked for the bookings of `field`; `keep` collects the ids it acknowledges."""

    def job(repetition: int) -> Job:
        heads, tail = [], ""
        for calendar in field.calendars(repetition):
            text = request_text("POST", "/api/v1/bookings", server.port, slotcast.token, _body(field, calendar, START))
            head, tail = text.split(START)
            heads.append(head)
        watch = {"server": server.pid}
        if keep:
            watch["postgres"] = bench.postgres.pid
        return Job(
            port=server.port,
            expect=201,
            seconds=bench.seconds,
            warmup=bench.warmup,
            connections=bench.connections,
            bookings=Bookings(heads=heads, tail=tail, first=field.first(repetition), step=STEP, count=field.count),
            keep_ids=keep,
            watch=watch,
        )

    return Contender(name, server, job)


async def start_row_lock(
    bench: Bench, field: Field, repetitions: int, *, pool: int, function: bool
) -> tuple[Listener, str]:
    """The row-lock peer on a database of its own that knows the same ids; also its DSN."""
    dsn = await bench.postgres.create("rowlock")
    flags = ["--function"] if function else []
    server = await bench.peer("rowlock", "--pool", str(pool), *flags, environment={"DATABASE_URL": dsn})
    calendars = {c for repetition in range(repetitions) for c in field.calendars(repetition)}
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("INSERT INTO services VALUES ($1, $2)", field.service, MINUTES)
        await connection.execute("INSERT INTO professionals SELECT unnest($1::uuid[])", list(calendars))
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
    return server, dsn


async def start_bare(bench: Bench, slotcast: Slotcast, field: Field, scenario: str) -> Listener:
    """Bare aiohttp, ready to repeat one real answer of Slotcast to a booking."""
    start = datetime.fromtimestamp(midnight_in(1), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = _body(field, field.calendars(0)[0], start)
    status, headers, content = await slotcast.raw("POST", "/api/v1/bookings", msgspec.json.decode(body))
    answers = bench.folder / f"{scenario}-answers.json"
    answers.write_bytes(msgspec.json.encode([Canned("POST", "/api/v1/bookings", status, headers, content)]))
    return await bench.peer("bare", "--answers", str(answers))


async def verify(contender: Contender, dsn: str, columns: dict[str, str]) -> None:
    """Every id this contender acknowledged is there, and nothing overlaps."""
    acknowledged = [id for outcome in contender.outcomes for id in outcome.ids]
    await integrity.check(contender.name, dsn, columns, acknowledged)


def _body(field: Field, calendar: str, start: str) -> str:
    return (
        f'{{"professional_id":"{calendar}","service_id":"{field.service}",'
        f'"start":"{start}","client_id":"{field.client}"}}'
    )

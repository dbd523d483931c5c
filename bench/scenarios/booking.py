"""Durable bookings: Slotcast and its peers get the very same requests in turns."""

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
import jwt
import msgspec

from bench import integrity
from bench.children import Listener
from bench.load import Bookings, Job, request_text
from bench.peers.bare import Canned
from bench.report import Refused
from bench.runner import Bench, Contender
from bench.slotcast import Slotcast

MINUTES = 5
STEP = MINUTES * 60
DAY = 86_400
START = "1970-01-01T00:00:00Z"
# So that all contenders of a booking scenario fit into a quick run.
QUICK_SECONDS = 0.6
QUICK_WARMUP = 0.25
TOKEN_SECONDS = 86_400

SLOT_TABLE = {
    "calendar": "(SELECT specialist_id FROM slots WHERE slots.id = slot_id)",
    "start": "(SELECT starts_at FROM slots WHERE slots.id = slot_id)",
    "end": "(SELECT ends_at FROM slots WHERE slots.id = slot_id)",
}

FILL_SLOTS = """
INSERT INTO slots (specialist_id, starts_at, ends_at, booked)
SELECT calendar, start, start + $4::int * interval '1 second', false
FROM unnest($1::uuid[]) AS calendar,
    generate_series(to_timestamp($2), to_timestamp($3), $4::int * interval '1 second') AS start
"""

SERVICE = """
WITH made AS (
    INSERT INTO businesses (id, slug, name, time_zone) VALUES (gen_random_uuid(), 'floor', 'Floor', 'UTC') RETURNING id
)
INSERT INTO services (id, business_id, name, duration_minutes, step_minutes)
SELECT $1, made.id, 'Bench', $2, $2 FROM made
"""

STANDING = """
SELECT count(*) FROM bookings WHERE status IN ('held', 'pending', 'confirmed') AND {calendar} = ANY ($1::uuid[])
"""


class Field(msgspec.Struct, frozen=True):
    """Ids that all contenders know, and which of the calendars and starts a repetition uses."""

    service: str
    client: str
    calendars: Callable[[int], Sequence[str]]
    first: Callable[[int], int]
    """Unix seconds of a repetition's earliest start."""
    count: int
    """Starts per calendar and repetition."""
    zipf: float = 0.0
    attempts: int = 1
    """As in `Bookings`."""
    accept: tuple[int, ...] = ()
    """What else than a booking is a legitimate answer."""


@dataclass(slots=True)
class Side:
    """A running server that books, the token its requests carry, and where its bookings can be asked for."""

    server: Listener
    token: str
    dsn: str
    """Empty for one that stores nothing."""
    columns: dict[str, str]


def midnight_in(days: int) -> int:
    """Unix seconds of a coming midnight in UTC."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((today + timedelta(days=days)).timestamp())


def contender(bench: Bench, name: str, side: Side, field: Field) -> Contender:
    """A contender that is asked for the bookings of `field`; of one with a database the ids are kept to verify."""

    def job(repetition: int) -> Job:
        heads, tail = [], ""
        for calendar in field.calendars(repetition):
            body = _body(field, calendar, START)
            text = request_text("POST", "/api/v1/bookings", side.server.port, side.token, body)
            head, tail = text.split(START)
            heads.append(head)
        watch = {"server": side.server.pid}
        if side.dsn:
            watch["postgres"] = bench.postgres.pid
        return Job(
            port=side.server.port,
            expect=201,
            accept=list(field.accept),
            seconds=min(bench.seconds, QUICK_SECONDS) if bench.quick else bench.seconds,
            warmup=min(bench.warmup, QUICK_WARMUP) if bench.quick else bench.warmup,
            connections=bench.connections,
            bookings=Bookings(
                heads=heads,
                tail=tail,
                first=field.first(repetition),
                step=STEP,
                count=field.count,
                zipf=field.zipf,
                attempts=field.attempts,
                around=not side.dsn,
            ),
            keep_ids=bool(side.dsn),
            watch=watch,
        )

    return Contender(name, side.server, job)


def slotcast_side(slotcast: Slotcast) -> Side:
    return Side(slotcast.server, slotcast.token, slotcast.dsn, integrity.SLOTCAST)


async def start_peer(bench: Bench, field: Field, repetitions: Iterable[int], module: str, *flags: str) -> Side:
    """A peer built on `bench.peers.bookings`, on a database of its own that knows the same ids."""
    dsn = await bench.postgres.create(module)
    server = await bench.peer(module, *flags, environment={"DATABASE_URL": dsn})
    calendars = {calendar for repetition in repetitions for calendar in field.calendars(repetition)}
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("INSERT INTO services VALUES ($1, $2)", field.service, MINUTES)
        if await connection.fetchval("SELECT to_regclass('professionals') IS NOT NULL"):
            await connection.execute("INSERT INTO professionals SELECT unnest($1::uuid[])", list(calendars))
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
    # None of them checks a login; they only read about as many bytes.
    return Side(server, _token(field, secrets.token_hex(32)), dsn, integrity.ROW_LOCK)


async def start_contract(bench: Bench, field: Field) -> Side:
    """The floor of whoever writes what Slotcast writes, on an empty database of its schema."""
    dsn = await bench.postgres.create("contract")
    server = await bench.peer("groupcommit", "--contract", environment={"DATABASE_URL": dsn})
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(SERVICE, field.service, MINUTES)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
    return Side(server, _token(field, secrets.token_hex(32)), dsn, integrity.SLOTCAST)


async def start_slot_table(bench: Bench, field: Field, repetitions: Iterable[int], *, pool: int) -> Side:
    """The slot-table peer, with a row for every start that these repetitions may ask for."""
    dsn, secret = await bench.postgres.create("slottable"), secrets.token_hex(32)
    environment = {"DATABASE_URL": dsn, "TOKEN_SECRET": secret}
    server = await bench.peer("slottable", "--pool", str(pool), environment=environment)
    connection = await asyncpg.connect(dsn)
    try:
        for repetition in repetitions:
            first = field.first(repetition)
            last = first + (field.count - 1) * STEP
            await connection.execute(FILL_SLOTS, list(field.calendars(repetition)), first, last, STEP)
        await connection.execute("VACUUM ANALYZE slots")
    finally:
        await connection.close()
    return Side(server, _token(field, secret), dsn, SLOT_TABLE)


async def start_bare(bench: Bench, slotcast: Slotcast, field: Field, scenario: str) -> Side:
    """Bare aiohttp, ready to repeat one real answer of Slotcast to a booking."""
    start = datetime.fromtimestamp(midnight_in(1), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = _body(field, field.calendars(0)[0], start)
    status, headers, content = await slotcast.raw("POST", "/api/v1/bookings", msgspec.json.decode(body))
    answers = bench.folder / f"{scenario}-answers.json"
    answers.write_bytes(msgspec.json.encode([Canned("POST", "/api/v1/bookings", status, headers, content)]))
    return Side(await bench.peer("bare", "--answers", str(answers)), slotcast.token, "", {})


async def verify(side: Side, *contenders: Contender) -> None:
    """Every id a side acknowledged under any of these names is there once, and nothing overlaps."""
    acknowledged = [id_ for contender in contenders for id_ in contender.acknowledged()]
    await integrity.check(contenders[0].name, side.dsn, side.columns, acknowledged)


async def verify_nothing_else(side: Side, contender: Contender, calendars: Iterable[str]) -> None:
    """On these calendars as many bookings stand as were acknowledged: no winner was told that they had lost."""
    connection = await asyncpg.connect(side.dsn)
    try:
        standing = await connection.fetchval(STANDING.format(**side.columns), list(calendars))
    finally:
        await connection.close()
    told = len(contender.acknowledged())
    if standing != told:
        raise Refused(f"{contender.name}: {standing} bookings stand, {told} were acknowledged")


def _token(field: Field, secret: str) -> str:
    """Of the client for whom all bookings are."""
    claims = {"sub": field.client, "role": "client", "exp": int(time.time()) + TOKEN_SECONDS}
    return jwt.encode(claims, secret, algorithm="HS256")


def _body(field: Field, calendar: str, start: str) -> str:
    return (
        f'{{"professional_id":"{calendar}","service_id":"{field.service}",'
        f'"start":"{start}","client_id":"{field.client}"}}'
    )

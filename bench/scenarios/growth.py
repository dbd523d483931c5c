"""What a booking and a read cost on a calendar that is full already, and in a node that is."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from bench import integrity
from bench.children import Generator
from bench.load import Bookings, Job, Outcome, request_text
from bench.report import Refused, Row, goal_row
from bench.rows import disturbance_row, spread_row
from bench.runner import GRACE_SECONDS, Bench
from bench.scenarios.booking import midnight_in
from bench.scenarios.idle import ask_each
from bench.slotcast import Slotcast
from bench.stats import Spread, ratios, spread

NAME = "growth"
MINUTES = 5
STEP = MINUTES * 60
# Two years of five-minute slots, less the days at either end that notice and horizon may cut.
DAYS = 720
STARTS = DAYS * 86_400 // STEP
FULL = 10_000
# As many in each turn, so that both sides grow by the same and the empty one stays far from full.
BOOKED, BOOKED_QUICK = 3000, 500
READ, READ_QUICK = 4000, 600
FEW_BOOKINGS = 10
OTHERS, OTHERS_QUICK = 100_000, 2000
OTHERS_BOOKINGS = 2
CONNECTIONS = 64
TURN_SECONDS = 60.0
GOAL = 0.9

Name = TypeVar("Name")


class Ground(msgspec.Struct, frozen=True):
    """A node's service and client, and a calendar of that service that can be copied."""

    slotcast: Slotcast
    service: str
    client: str
    empty: str

    @classmethod
    async def prepare(cls, slotcast: Slotcast) -> "Ground":
        service = await slotcast.service(MINUTES)
        [empty] = await slotcast.professionals(1, service, "00:00", "24:00")
        return cls(slotcast, service, await slotcast.client(), empty)

    async def calendars(self, count: int, bookings: int) -> list[str]:
        """Calendars that stand in memory, with so many bookings spread over the horizon."""
        made = await self.slotcast.clone(self.empty, 1)
        every = STARTS // max(1, bookings)
        starts = [midnight_in(2) + number * every * STEP for number in range(bookings)]
        await self.slotcast.put_bookings(made[0], self.service, self.client, starts, MINUTES)
        made += await self.slotcast.clone(made[0], count - 1)
        await ask_each(self.slotcast, [f"/api/v1/professionals/{id_}/schedule" for id_ in made])
        return made


async def run(bench: Bench) -> list[Row]:
    async with AsyncExitStack() as stack:
        generator = await Generator.start("bench.http_load")
        stack.push_async_callback(generator.stop)

        async def ground() -> Ground:
            # Nodes of their own: what other scenarios left in a shared one is what must not be there.
            slotcast = await Slotcast.start(bench)
            stack.push_async_callback(slotcast.stop)
            return await Ground.prepare(slotcast)

        alone, crowded = await asyncio.gather(ground(), ground())
        return [
            *await _full_node(bench, generator, alone, crowded),
            *await _full_calendar(bench, generator, alone),
        ]


async def _full_calendar(bench: Bench, generator: Generator, ground: Ground) -> list[Row]:
    # One stays full for all turns; of the empty ones each turn needs its own.
    [full] = await ground.calendars(1, FULL)
    empty = await ground.calendars(bench.repetitions, 0)
    sides = {"full": (ground, [full] * bench.repetitions), "empty": (ground, empty)}
    booked = await _book_in_turns(bench, generator, sides)
    return [
        *_ratio_rows(f"booking rate, {FULL:,} bookings / none", booked["full"], booked["empty"]),
        spread_row(NAME, "booking rate, empty calendar", _rates(booked["empty"]), unit="/s", digits=0),
        spread_row(NAME, f"booking rate, {FULL:,} bookings", _rates(booked["full"]), unit="/s", digits=0),
        *await _uncached_reads(bench, generator, ground, full),
    ]


async def _full_node(bench: Bench, generator: Generator, alone: Ground, crowded: Ground) -> list[Row]:
    """The same calendar in a node that keeps many others in memory, and in one that keeps hardly any."""
    others = OTHERS_QUICK if bench.quick else OTHERS
    await crowded.calendars(others, OTHERS_BOOKINGS)
    active = await crowded.slotcast.counter("slotcast_actors_active")
    if active < others:
        raise Refused(f"{NAME}: {active:,.0f} of {others:,} calendars are active")
    grounds = {"alone": alone, "among others": crowded}
    sides = {name: (ground, await ground.calendars(bench.repetitions, 0)) for name, ground in grounds.items()}
    booked = await _book_in_turns(bench, generator, sides)
    return [
        *_ratio_rows(f"booking rate, {others:,} other calendars / none", booked["among others"], booked["alone"]),
        spread_row(NAME, "booking rate, alone in the node", _rates(booked["alone"]), unit="/s", digits=0),
        disturbance_row(NAME, [outcome for outcomes in booked.values() for outcome in outcomes]),
    ]


async def _uncached_reads(bench: Bench, generator: Generator, ground: Ground, full: str) -> list[Row]:
    """A day's slots, no question asked twice, of a calendar with few bookings and of one with many."""
    count = READ_QUICK if bench.quick else READ
    sides = {FEW_BOOKINGS: (await ground.calendars(1, FEW_BOOKINGS))[0], FULL: full}
    read: dict[int, list[Outcome]] = {bookings: [] for bookings in sides}
    for repetition in range(bench.repetitions):
        for bookings in _turn(list(sides), repetition):
            paths = _different_days(sides[bookings], ground.service, count, repetition)
            requests = [request_text("GET", path, ground.slotcast.port, ground.slotcast.token) for path in paths]
            job = _job(ground.slotcast, expect=200, cycle=requests, once=True)
            read[bookings].append(await _carry_out(generator, job, count))
    ratio = ratios([o.rate for o in read[FULL]], [o.rate for o in read[FEW_BOOKINGS]])
    return [
        spread_row(NAME, f"a day's slots uncached, {FULL:,} bookings / {FEW_BOOKINGS}", ratio, unit="x"),
        spread_row(NAME, f"a day's slots uncached, {FULL:,} bookings", _rates(read[FULL]), unit="/s", digits=0),
    ]


def _different_days(calendar: str, service: str, count: int, repetition: int) -> list[str]:
    """Paths that begin at different seconds of different days, so that no answer kept ready fits."""
    first = datetime.fromtimestamp(midnight_in(3), UTC)
    paths: list[str] = []
    for number in range(count):
        begin = first + timedelta(days=number % (DAYS - 10), seconds=repetition * count + number)
        end = begin.replace(hour=23, minute=59, second=59)
        paths.append(
            f"/api/v1/professionals/{calendar}/slots?from={begin:%Y-%m-%dT%H:%M:%SZ}&to={end:%Y-%m-%dT%H:%M:%SZ}"
            f"&service_id={service}"
        )
    return paths


async def _book_in_turns(
    bench: Bench, generator: Generator, sides: dict[str, tuple[Ground, list[str]]]
) -> dict[str, list[Outcome]]:
    """A B, B A …: as many bookings each time, on a calendar of the repetition's own; then SQL verifies them all."""
    count = BOOKED_QUICK if bench.quick else BOOKED
    booked: dict[str, list[Outcome]] = {name: [] for name in sides}
    for repetition in range(bench.repetitions):
        for name in _turn(list(sides), repetition):
            ground, calendars = sides[name]
            await bench.settle()
            job = _job(
                ground.slotcast,
                expect=201,
                bookings=_plan(ground, calendars[repetition], count, repetition),
                keep_ids=True,
            )
            outcome = await _carry_out(generator, job, count)
            booked[name].append(outcome)
            bench.say(f"{NAME} {repetition + 1}/{bench.repetitions} {name}: {outcome.rate:,.0f} bookings/s")
    for name, (ground, _) in sides.items():
        acknowledged = [id_ for outcome in booked[name] for id_ in outcome.ids]
        await integrity.check(f"{NAME} {name}", ground.slotcast.dsn, integrity.SLOTCAST, acknowledged)
    return booked


def _plan(ground: Ground, calendar: str, count: int, repetition: int) -> Bookings:
    """Starts all over the horizon, each some slots after a place where a full calendar has a booking."""
    mark = "1970-01-01T00:00:00Z"
    body = (
        f'{{"professional_id":"{calendar}","service_id":"{ground.service}",'
        f'"start":"{mark}","client_id":"{ground.client}"}}'
    )
    text = request_text("POST", "/api/v1/bookings", ground.slotcast.port, ground.slotcast.token, body)
    head, tail = text.split(mark)
    every = STARTS // FULL * (FULL // count)
    return Bookings(
        heads=[head], tail=tail, first=midnight_in(2) + (1 + repetition) * STEP, step=every * STEP, count=count
    )


def _job(slotcast: Slotcast, **what: object) -> Job:
    watch = {"server": slotcast.server.pid, "postgres": slotcast.postgres_pid}
    base = Job(port=slotcast.port, expect=0, seconds=TURN_SECONDS, warmup=0, connections=CONNECTIONS, watch=watch)
    return msgspec.structs.replace(base, **what)


async def _carry_out(generator: Generator, job: Job, count: int) -> Outcome:
    outcome = await generator.ask(job, Outcome, job.seconds + GRACE_SECONDS)
    if outcome.errors or outcome.operations != count:
        raise Refused(f"{NAME}: {outcome.operations} of {count} answers, {outcome.errors} {outcome.sample_error}")
    return outcome


def _turn(names: list[Name], repetition: int) -> list[Name]:
    return names if repetition % 2 == 0 else names[::-1]


def _ratio_rows(metric: str, ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> list[Row]:
    ratio = ratios([o.rate for o in ours], [o.rate for o in theirs])
    return [goal_row(NAME, metric, ratio.median, GOAL, spread=ratio.text(), values=ratio.values)]


def _rates(outcomes: Sequence[Outcome]) -> Spread:
    return spread([outcome.rate for outcome in outcomes])

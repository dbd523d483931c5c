"""Authenticated reads against bare aiohttp that answers one of their answers."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime, time, timedelta
from statistics import median

import msgspec

from bench.children import Listener
from bench.load import Job, request_text
from bench.peers.bare import Canned
from bench.report import Refused, Row
from bench.rows import cpu_row, detail_rows, ratio_row, spread_row
from bench.runner import Bench, Contender, open_loop, take_turns
from bench.slotcast import Slotcast, at_once
from bench.stats import ratios

# Enough different calendars and days that one cached answer does not stand for all reads.
CALENDARS = 50
DAYS = 7
WEEK = timedelta(days=6)
MINUTES = 30
PER_DAY = 2
# Answers of one scenario differ by a booking or a digit; more would make the floor another workload.
TOLERANCE = 0.10
# 50 calendars on 7 days: 105,000 different questions, and as many as a short run needs.
FIRST_MOMENTS = 300


class Reading(msgspec.Struct, frozen=True):
    """A kind of read: its route for the floor, and its path for a calendar and a day."""

    name: str
    route: str
    query: str
    """Format with `day`, `last` (six days on) and `service`."""
    goal: float
    first_query: str = ""
    """The same with a `moment` (mm:ss) besides, for paths that are never asked twice."""

    def path(self, calendar: str, day: date, service: str) -> str:
        query = self.query.format(day=day, last=day + WEEK, service=service)
        return f"{self.route.replace('{id}', calendar)}?{query}"

    def first_paths(self, calendars: list[str], days: list[date], service: str, moments: int) -> list[str]:
        """Enough different questions that none repeats while it is measured, so nothing ready can answer."""
        return [
            f"{self.route.replace('{id}', calendar)}?"
            + self.first_query.format(
                day=day, last=day + WEEK, service=service, moment=f"{second // 60:02}:{second % 60:02}"
            )
            for second in range(moments)
            for day in days
            for calendar in calendars
        ]


async def run_reading(bench: Bench, reading: Reading) -> list[Row]:
    """Slotcast and the floor in turns over the same list of paths, then Slotcast at parts of its ceiling."""
    async with AsyncExitStack() as stack:
        slotcast = await bench.node()
        days = [datetime.now(UTC).date() + timedelta(days=ahead) for ahead in range(2, 2 + DAYS)]
        service, calendars = await booked_calendars(slotcast, CALENDARS, days[0])
        paths = [reading.path(calendar, day, service) for day in days for calendar in calendars]
        canned = await _typical_answer(slotcast, reading, paths)
        answers = bench.folder / f"{reading.name}-answers.json"
        answers.write_bytes(msgspec.json.encode([canned]))
        bare = await bench.peer("bare", "--answers", str(answers))
        stack.push_async_callback(bare.stop)

        ours = Contender("slotcast", slotcast.server, _jobs(bench, slotcast.server, slotcast.token, paths))
        floor = Contender("bare", bare, _jobs(bench, bare, slotcast.token, paths))
        everyone = [ours, floor]
        rows: list[Row] = []
        if reading.first_query and not bench.quick:
            firsts = reading.first_paths(calendars, days, service, FIRST_MOMENTS)
            jobs = _jobs(bench, slotcast.server, slotcast.token, firsts)
            everyone.append(Contender("slotcast, nothing asked twice", slotcast.server, jobs))
        await take_turns(bench, reading.name, everyone)
        if reading.first_query and not bench.quick:
            ratio = ratios(everyone[-1].rates(), floor.rates())
            rows.append(spread_row(reading.name, "rate vs bare, nothing asked twice", ratio, unit="x"))
        if not bench.quick:
            rows += await open_loop(bench, reading.name, ours, median(ours.rates()))
        return [
            ratio_row(reading.name, ours, floor, reading.goal),
            cpu_row(reading.name, ours, floor),
            *rows,
            Row(scenario=reading.name, metric="answer body", measured=len(canned.body), unit="bytes"),
            *detail_rows(reading.name, everyone),
        ]


async def booked_calendars(slotcast: Slotcast, count: int, first: date) -> tuple[str, list[str]]:
    """A service, and calendars with two bookings on every day from the first that any read may cover."""
    service, client = await slotcast.service(MINUTES), await slotcast.client()
    [made] = await slotcast.professionals(1, service, "09:00", "17:00")
    [template] = await slotcast.clone(made, 1)
    midnight = int(datetime.combine(first, time(), UTC).timestamp())
    hours = [24 * day + 10 + 3 * turn for day in range(DAYS + WEEK.days) for turn in range(PER_DAY)]
    await slotcast.put_bookings(template, service, client, [midnight + 3600 * hour for hour in hours], MINUTES)
    return service, [template, *await slotcast.clone(template, count - 1)]


def _jobs(bench: Bench, server: Listener, token: str, paths: list[str]) -> Callable[[int], Job]:
    requests = [request_text("GET", path, server.port, token) for path in paths]

    def job(repetition: int) -> Job:
        # Each repetition goes on where the last one can at most have come to.
        skip = repetition * len(requests) // bench.repetitions % len(requests)
        return Job(
            port=server.port,
            expect=200,
            seconds=bench.seconds,
            warmup=bench.warmup,
            connections=bench.connections,
            cycle=requests[skip:] + requests[:skip],
            watch={"server": server.pid, "postgres": bench.postgres.pid},
        )

    return job


async def _typical_answer(slotcast: Slotcast, reading: Reading, paths: list[str]) -> Canned:
    """The answer of middle length, once all are found to be of about that length."""
    answers = await at_once(slotcast.raw("GET", path) for path in paths)
    answers.sort(key=lambda answer: len(answer[2]))
    status, headers, body = answers[len(answers) // 2]
    shortest, longest = len(answers[0][2]), len(answers[-1][2])
    if longest - shortest > TOLERANCE * len(body):
        raise Refused(f"{reading.name}: answers differ in length, {shortest} to {longest} bytes")
    return Canned("GET", reading.route, status, headers, body)

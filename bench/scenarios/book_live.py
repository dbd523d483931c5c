"""Durable bookings over a few pipelined WebSockets, against the REST of the same node.

Both keep as many bookings in flight, on a fresh calendar for each turn. What differs is the edge: a frame in and
a frame out instead of a request and a response with their headers.
"""

from contextlib import AsyncExitStack

from bench import integrity
from bench.book_live_load import LiveJob
from bench.children import Generator
from bench.load import Bookings, Job, Outcome, request_text
from bench.report import Row
from bench.rows import cpu_row, detail_rows, ratio_row
from bench.runner import GRACE_SECONDS, Bench, Contender, accept, run_job
from bench.scenarios import booking
from bench.slotcast import Slotcast

NAME = "book-live"
GOAL = 2.0
SOCKETS = 16
# Two years of five-minute slots, less the days at either end that notice and horizon may cut.
DAYS = 720
STARTS = DAYS * booking.DAY // booking.STEP


async def run(bench: Bench) -> list[Row]:
    repetitions, seconds = (1, min(bench.seconds, 1.0)) if bench.quick else (bench.repetitions, bench.seconds)
    slotcast = await bench.node()
    service, client = await slotcast.service(booking.MINUTES), await slotcast.client()
    calendars = iter(await slotcast.professionals(2 * repetitions, service, "00:00", "24:00"))
    watch = {"server": slotcast.server.pid, "postgres": bench.postgres.pid}

    def rest(_: int) -> Job:
        return rest_job(bench, slotcast, service, client, next(calendars), seconds, watch)

    live, over_rest = Contender("live", slotcast.server, rest), Contender("rest", slotcast.server, rest)
    async with AsyncExitStack() as stack:
        generator = await Generator.start("bench.book_live_load")
        stack.push_async_callback(generator.stop)
        for repetition in range(repetitions):
            for side in (live, over_rest) if repetition % 2 == 0 else (over_rest, live):
                await bench.settle()
                if side is live:
                    job = live_job(bench, slotcast, service, client, next(calendars), seconds, watch)
                    outcome = await generator.ask(job, Outcome, job.warmup + job.seconds + GRACE_SECONDS)
                else:
                    outcome = await run_job(side.job(repetition))
                accept(NAME, side.name, outcome)
                side.outcomes.append(outcome)
                bench.say(
                    f"{NAME} {repetition + 1}/{repetitions} {side.name}: {outcome.rate:,.0f}/s  "
                    f"p50 {outcome.p50:.1f} ms  p99 {outcome.p99:.1f} ms"
                )
    await integrity.check(NAME, slotcast.dsn, integrity.SLOTCAST, live.acknowledged() + over_rest.acknowledged())
    return [
        ratio_row(NAME, live, over_rest, GOAL),
        cpu_row(NAME, live, over_rest),
        *detail_rows(NAME, [live, over_rest]),
    ]


def live_job(
    bench: Bench,
    slotcast: Slotcast,
    service: str,
    client: str,
    calendar: str,
    seconds: float,
    watch: dict[str, int],
) -> LiveJob:
    """As many bookings in flight as REST has connections, shared out among the sockets."""
    return LiveJob(
        port=slotcast.port,
        token=slotcast.token,
        professional_id=calendar,
        service_id=service,
        client_id=client,
        first=booking.midnight_in(2),
        step=booking.STEP,
        count=STARTS,
        sockets=SOCKETS,
        in_flight=max(1, bench.connections // SOCKETS),
        seconds=seconds,
        warmup=bench.warmup,
        watch=watch,
    )


def rest_job(
    bench: Bench,
    slotcast: Slotcast,
    service: str,
    client: str,
    calendar: str,
    seconds: float,
    watch: dict[str, int],
) -> Job:
    """The same bookings as requests."""
    body = (
        f'{{"professional_id":"{calendar}","service_id":"{service}","start":"{booking.START}","client_id":"{client}"}}'
    )
    text = request_text("POST", "/api/v1/bookings", slotcast.port, slotcast.token, body)
    head, tail = text.split(booking.START)
    return Job(
        port=slotcast.port,
        expect=201,
        seconds=seconds,
        warmup=bench.warmup,
        connections=bench.connections,
        bookings=Bookings(heads=[head], tail=tail, first=booking.midnight_in(2), step=booking.STEP, count=STARTS),
        keep_ids=True,
        watch=watch,
    )

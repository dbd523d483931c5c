"""Durable bookings over a few pipelined WebSockets, against the REST of the same node.

Both keep as many bookings in flight, on a fresh calendar for each turn. What differs is the edge: a frame in and
a frame out instead of a request and a response with their headers. The floor takes frames too, and does nothing beside
writing what Slotcast writes.
"""

from contextlib import AsyncExitStack

from bench.book_live_load import LiveJob
from bench.children import Generator
from bench.load import Outcome
from bench.report import Row
from bench.rows import KEEPING, cpu_row, detail_rows, ratio_row, reach_row
from bench.runner import GRACE_SECONDS, Bench, accept, run_job
from bench.scenarios import booking
from bench.scenarios.booking import Field, Side

NAME = "book-live"
GOAL = 2.0
SOCKETS = 16
# Two years of five-minute slots, less the days at either end that notice and horizon may cut.
DAYS = 720
STARTS = DAYS * booking.DAY // booking.STEP


async def run(bench: Bench) -> list[Row]:
    repetitions = 1 if bench.quick else bench.repetitions
    slotcast = await bench.node()
    service, client = await slotcast.service(booking.MINUTES), await slotcast.client()
    calendars = await slotcast.professionals(2 * repetitions, service, "00:00", "24:00")
    rest_field, live_field = (field_of(service, client, calendars[edge::2]) for edge in range(2))
    async with AsyncExitStack() as stack:
        floor = await booking.start_contract(bench, rest_field)
        stack.push_async_callback(floor.server.stop)
        generator = await Generator.start("bench.book_live_load")
        stack.push_async_callback(generator.stop)
        ours = booking.slotcast_side(slotcast)
        sides = {"live": ours, "rest": ours, "contract live": floor}
        named = {name: booking.contender(bench, name, side, rest_field) for name, side in sides.items()}
        for repetition in range(repetitions):
            for name in sides if repetition % 2 == 0 else reversed(sides):
                contender = named[name]
                await bench.settle()
                if name.endswith("live"):
                    job = live_job(bench, sides[name], live_field, repetition)
                    outcome = await generator.ask(job, Outcome, job.warmup + job.seconds + GRACE_SECONDS)
                else:
                    outcome = await run_job(contender.job(repetition))
                accept(NAME, name, outcome)
                contender.outcomes.append(outcome)
                bench.say(
                    f"{NAME} {repetition + 1}/{repetitions} {name}: {outcome.rate:,.0f}/s  "
                    f"p50 {outcome.p50:.1f} ms  p99 {outcome.p99:.1f} ms"
                )
        await booking.verify(ours, named["live"], named["rest"])
        await booking.verify(floor, named["contract live"])
    reached = reach_row(NAME, named["contract live"], named["rest"], KEEPING)
    return [
        ratio_row(NAME, named["live"], named["rest"], GOAL, max(reached.values)),
        reached,
        cpu_row(NAME, named["live"], named["rest"]),
        *detail_rows(NAME, list(named.values())),
    ]


def field_of(service: str, client: str, calendars: list[str]) -> Field:
    """A calendar for each repetition."""
    return Field(
        service=service,
        client=client,
        calendars=lambda repetition: [calendars[repetition]],
        first=lambda _: booking.midnight_in(2),
        count=STARTS,
    )


def live_job(bench: Bench, side: Side, field: Field, repetition: int) -> LiveJob:
    """As many bookings in flight as REST has connections, shared out among the sockets."""
    like = booking.contender(bench, NAME, side, field).job(repetition)
    return LiveJob(
        port=like.port,
        token=side.token,
        professional_id=field.calendars(repetition)[0],
        service_id=field.service,
        client_id=field.client,
        first=field.first(repetition),
        step=booking.STEP,
        count=field.count,
        sockets=SOCKETS,
        in_flight=max(1, bench.connections // SOCKETS),
        seconds=like.seconds,
        warmup=like.warmup,
        watch=like.watch,
    )

"""Durable bookings per second over a thousand calendars, all as busy or some far busier, against a row lock."""

import asyncio
from contextlib import AsyncExitStack

from bench.report import Row
from bench.rows import detail_rows, ratio_row
from bench.runner import Bench, Contender, take_turns
from bench.scenarios import booking
from bench.scenarios.booking import Field, Side

NAME = "book-spread"
CALENDARS = 1000
QUICK_CALENDARS = 200
# Starts per calendar and repetition: room for 400,000 bookings in each, in a quick run for 80,000.
COUNT = 400
# The busiest of a thousand calendars gets every seventh request.
ZIPF = 1.0
ZIPF_COUNT = 15_000
POOL = 16


async def run(bench: Bench) -> list[Row]:
    async with AsyncExitStack() as stack:
        slotcast = await bench.node()
        service = await slotcast.service(booking.MINUTES)
        number = QUICK_CALENDARS if bench.quick else CALENDARS
        calendars = await slotcast.professionals(number, service, "00:00", "24:00")
        client = await slotcast.client()
        begin = booking.midnight_in(2)
        after = begin + bench.repetitions * COUNT * booking.STEP
        even = Field(
            service=service,
            client=client,
            calendars=lambda _: calendars,
            first=lambda repetition: begin + repetition * COUNT * booking.STEP,
            count=COUNT,
        )
        popular = Field(
            service=service,
            client=client,
            calendars=lambda _: calendars,
            first=lambda repetition: after + repetition * ZIPF_COUNT * booking.STEP,
            count=ZIPF_COUNT,
            zipf=ZIPF,
        )
        flags = {"rowlock": ["rowlock", f"--pool={POOL}"]}
        if not bench.quick:
            flags["rowlock-function"] = ["rowlock", f"--pool={POOL}", "--function"]
            flags["exclude"] = ["exclude", f"--pool={POOL}"]
        started = await asyncio.gather(*(booking.start_peer(bench, even, [0], *some) for some in flags.values()))
        for side in started:
            stack.push_async_callback(side.server.stop)
        sides = {"slotcast": booking.slotcast_side(slotcast), **dict(zip(flags, started, strict=True))}

        evenly = await _turns(bench, sides, even, "")
        popularly = await _turns(bench, sides, popular, ", Zipf")
        for name, side in sides.items():
            await booking.verify(side, evenly[name], popularly[name])
        peers = list(flags)
        return [
            *(ratio_row(NAME, evenly["slotcast"], evenly[peer], 5 if peer == "rowlock" else None) for peer in peers),
            *(ratio_row(NAME, popularly["slotcast"], popularly[peer], None) for peer in peers),
            *detail_rows(NAME, [*evenly.values(), *popularly.values()]),
        ]


async def _turns(bench: Bench, sides: dict[str, Side], field: Field, suffix: str) -> dict[str, Contender]:
    named = {name: booking.contender(bench, name + suffix, side, field) for name, side in sides.items()}
    await take_turns(bench, NAME, list(named.values()))
    return named

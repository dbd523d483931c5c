"""Durable bookings per second over a thousand calendars, all as busy or some far busier: a row lock and floors."""

import asyncio
from contextlib import AsyncExitStack

from bench.report import Row
from bench.rows import ANSWERING, KEEPING, LEAST, detail_rows, ratio_row, reach_row
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
ZIPF_COUNT = 25_000
POOL = 16
FLOOR = "contract"
LEAST_OF_ALL = "groupcommit"


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
            flags[LEAST_OF_ALL] = [LEAST_OF_ALL]
            flags["rowlock-function"] = ["rowlock", f"--pool={POOL}", "--function"]
            flags["exclude"] = ["exclude", f"--pool={POOL}"]
        starting = [booking.start_peer(bench, even, [0], *some) for some in flags.values()]
        starting.append(booking.start_contract(bench, even))
        if not bench.quick:
            starting.append(booking.start_bare(bench, slotcast, even, NAME))
        started = await asyncio.gather(*starting)
        for side in started:
            stack.push_async_callback(side.server.stop)
        sides = {
            "slotcast": booking.slotcast_side(slotcast),
            **dict(zip([*flags, FLOOR, "bare"], started, strict=False)),
        }

        evenly = await _turns(bench, sides, even, "")
        # What answers without booking runs out of slots that anybody might want.
        wanted = {name: side for name, side in sides.items() if side.dsn}
        popularly = {} if bench.quick else await _turns(bench, wanted, popular, ", Zipf")
        for name, side in sides.items():
            if side.dsn:
                await booking.verify(side, *(named[name] for named in (evenly, popularly) if named))
        rows: list[Row] = []
        for named in filter(None, (evenly, popularly)):
            ours, locked, floor = (named[name] for name in ("slotcast", "rowlock", FLOOR))
            reached = reach_row(NAME, floor, locked, KEEPING)
            rows += [ratio_row(NAME, ours, locked, 5 if named is evenly else None, max(reached.values)), reached]
            rows.append(ratio_row(NAME, ours, floor, None))
            if LEAST_OF_ALL in named:
                rows.append(reach_row(NAME, named[LEAST_OF_ALL], locked, LEAST))
            rows += [ratio_row(NAME, ours, named[peer], None) for peer in flags if peer != "rowlock"]
            if "bare" in named:
                rows.append(reach_row(NAME, named["bare"], locked, ANSWERING))
        return [*rows, *detail_rows(NAME, [*evenly.values(), *popularly.values()])]


async def _turns(bench: Bench, sides: dict[str, Side], field: Field, suffix: str) -> dict[str, Contender]:
    named = {name: booking.contender(bench, name + suffix, side, field) for name, side in sides.items()}
    await take_turns(bench, NAME, list(named.values()))
    return named

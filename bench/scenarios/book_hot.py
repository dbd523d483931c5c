"""Durable bookings per second on one calendar: against what others build, bare aiohttp and two floors."""

import asyncio
from contextlib import AsyncExitStack
from statistics import median

from bench.report import Row
from bench.rows import ANSWERING, KEEPING, LEAST, cpu_row, detail_rows, ratio_row, reach_row
from bench.runner import CONCURRENCY, LEVELS, Bench, by_concurrency, open_loop, take_turns
from bench.scenarios import booking

NAME = "book-hot"
# Two years of five-minute slots, less the days at either end that notice and horizon may cut.
DAYS = 720
QUICK_DAYS = 200
# Measured best on one calendar. More connections only queue on a contended row inside Postgres; without a lock
# they share a disk sync; and SQLAlchemy's processor is spent long before either.
ROW_LOCK_POOL = 2
EXCLUDE_POOL = 16
SLOT_TABLE_POOL = 3


async def run(bench: Bench) -> list[Row]:
    async with AsyncExitStack() as stack:
        slotcast = await bench.node()
        service = await slotcast.service(booking.MINUTES)
        turns = range(bench.repetitions)
        crowds = range(bench.repetitions + len(LEVELS), bench.repetitions + len(LEVELS) + len(CONCURRENCY))
        peers_turns = [*turns] if bench.quick else [*turns, *crowds]
        # A fresh calendar for each repetition, or the later ones would book on a fuller one.
        calendars = await slotcast.professionals(crowds.stop, service, "00:00", "24:00")
        field = booking.Field(
            service=service,
            client=await slotcast.client(),
            calendars=lambda repetition: [calendars[repetition]],
            first=lambda _: booking.midnight_in(2),
            count=(QUICK_DAYS if bench.quick else DAYS) * booking.DAY // booking.STEP,
        )
        starting = {
            "rowlock": booking.start_peer(bench, field, peers_turns, "rowlock", f"--pool={ROW_LOCK_POOL}"),
            "slottable": booking.start_slot_table(bench, field, peers_turns, pool=SLOT_TABLE_POOL),
            "bare": booking.start_bare(bench, slotcast, field, NAME),
            "contract": booking.start_contract(bench, field),
        }
        if not bench.quick:
            flags = (f"--pool={ROW_LOCK_POOL}", "--function")
            starting["rowlock-function"] = booking.start_peer(bench, field, peers_turns, "rowlock", *flags)
            starting["groupcommit"] = booking.start_peer(bench, field, peers_turns, "groupcommit")
            starting["exclude"] = booking.start_peer(bench, field, peers_turns, "exclude", f"--pool={EXCLUDE_POOL}")
        sides = dict(zip(starting, await asyncio.gather(*starting.values()), strict=True))
        for side in sides.values():
            stack.push_async_callback(side.server.stop)
        sides = {"slotcast": booking.slotcast_side(slotcast), **sides}

        named = {name: booking.contender(bench, name, side, field) for name, side in sides.items()}
        everyone = list(named.values())
        await take_turns(bench, NAME, everyone)
        ours, locked, slots, bare = (named[name] for name in ("slotcast", "rowlock", "slottable", "bare"))
        floor = named["contract"]
        least = [named["groupcommit"]] if not bench.quick else []
        levels = await open_loop(bench, NAME, ours, median(ours.rates()))
        await by_concurrency(bench, NAME, everyone)
        for name, side in sides.items():
            if side.dsn:
                await booking.verify(side, named[name])
        informing = [named[name] for name in ("rowlock-function", "exclude") if name in named]
        goals = {locked.name: 15.0, slots.name: 80.0, bare.name: 0.5}
        reached = [reach_row(NAME, floor, named[peer], KEEPING) for peer in goals]
        return [
            *(
                ratio_row(NAME, ours, named[p], goal, max(r.values))
                for (p, goal), r in zip(goals.items(), reached, strict=True)
            ),
            *(ratio_row(NAME, ours, peer, None) for peer in informing),
            *(reach_row(NAME, bare, peer, ANSWERING) for peer in (locked, slots)),
            *reached,
            *(reach_row(NAME, one, named[peer], LEAST) for one in least for peer in goals),
            *(ratio_row(NAME, ours, peer, None) for peer in (floor, *least)),
            *(cpu_row(NAME, ours, peer) for peer in (bare, floor, *least)),
            *levels,
            *detail_rows(NAME, everyone),
        ]

"""Durable bookings per second on one calendar, against a row lock and against bare aiohttp."""

from contextlib import AsyncExitStack

from bench import integrity
from bench.report import Row
from bench.rows import cpu_row, detail_rows, ratio_row
from bench.runner import Bench, take_turns
from bench.scenarios import booking
from bench.slotcast import Slotcast

NAME = "book-hot"
# Two years of five-minute slots, less the days at either end that notice and horizon may cut.
DAYS = 720
# Measured best for one contended row: more connections only queue on the lock inside Postgres.
POOL = 2


async def run(bench: Bench) -> list[Row]:
    async with AsyncExitStack() as stack:
        slotcast = await Slotcast.start(bench)
        stack.push_async_callback(slotcast.stop)
        service = await slotcast.service(booking.MINUTES)
        # A fresh calendar for each repetition, or the later ones would book on a fuller one.
        calendars = await slotcast.professionals(bench.repetitions, service, "00:00", "24:00")
        field = booking.Field(
            service=service,
            client=await slotcast.client(),
            calendars=lambda repetition: [calendars[repetition]],
            first=lambda _: booking.midnight_in(2),
            count=DAYS * booking.DAY // booking.STEP,
        )
        rowlock, rowlock_dsn = await booking.start_row_lock(bench, field, bench.repetitions, pool=POOL, function=False)
        stack.push_async_callback(rowlock.stop)
        function, function_dsn = await booking.start_row_lock(bench, field, bench.repetitions, pool=POOL, function=True)
        stack.push_async_callback(function.stop)
        bare = await booking.start_bare(bench, slotcast, field, NAME)
        stack.push_async_callback(bare.stop)

        ours = booking.contender(bench, "slotcast", slotcast.server, slotcast, field, keep=True)
        locked = booking.contender(bench, "rowlock", rowlock, slotcast, field, keep=True)
        stored = booking.contender(bench, "rowlock-function", function, slotcast, field, keep=True)
        floor = booking.contender(bench, "bare", bare, slotcast, field, keep=False)
        everyone = [ours, locked, stored, floor]
        await take_turns(bench, NAME, everyone)
        await booking.verify(ours, slotcast.dsn, integrity.SLOTCAST)
        await booking.verify(locked, rowlock_dsn, integrity.ROW_LOCK)
        await booking.verify(stored, function_dsn, integrity.ROW_LOCK)
        return [
            ratio_row(NAME, ours, locked, 10, 15),
            ratio_row(NAME, ours, floor, 0.4, 0.5),
            ratio_row(NAME, ours, stored, None),
            cpu_row(NAME, ours, floor),
            *detail_rows(NAME, everyone),
        ]

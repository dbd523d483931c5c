"""Durable bookings per second over a thousand calendars, against a row lock."""

from contextlib import AsyncExitStack

from bench import integrity
from bench.report import Row
from bench.rows import detail_rows, ratio_row
from bench.runner import Bench, take_turns
from bench.scenarios import booking
from bench.slotcast import Slotcast

NAME = "book-spread"
CALENDARS = 1000
# Starts per calendar and repetition: room for 400,000 bookings in each.
COUNT = 400
POOL = 16


async def run(bench: Bench) -> list[Row]:
    async with AsyncExitStack() as stack:
        slotcast = await Slotcast.start(bench)
        stack.push_async_callback(slotcast.stop)
        service = await slotcast.service(booking.MINUTES)
        calendars = await slotcast.professionals(CALENDARS, service, "00:00", "24:00")
        field = booking.Field(
            service=service,
            client=await slotcast.client(),
            calendars=lambda _: calendars,
            first=lambda repetition: booking.midnight_in(2) + repetition * COUNT * booking.STEP,
            count=COUNT,
        )
        rowlock, rowlock_dsn = await booking.start_row_lock(bench, field, 1, pool=POOL, function=False)
        stack.push_async_callback(rowlock.stop)
        function, function_dsn = await booking.start_row_lock(bench, field, 1, pool=POOL, function=True)
        stack.push_async_callback(function.stop)

        ours = booking.contender(bench, "slotcast", slotcast.server, slotcast, field, keep=True)
        locked = booking.contender(bench, "rowlock", rowlock, slotcast, field, keep=True)
        stored = booking.contender(bench, "rowlock-function", function, slotcast, field, keep=True)
        everyone = [ours, locked, stored]
        await take_turns(bench, NAME, everyone)
        await booking.verify(ours, slotcast.dsn, integrity.SLOTCAST)
        await booking.verify(locked, rowlock_dsn, integrity.ROW_LOCK)
        await booking.verify(stored, function_dsn, integrity.ROW_LOCK)
        return [
            ratio_row(NAME, ours, locked, 5),
            ratio_row(NAME, ours, stored, None),
            *detail_rows(NAME, everyone),
        ]

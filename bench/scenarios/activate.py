"""Calendars brought into memory per second: each asked once that was never asked before, then all once more."""

from contextlib import AsyncExitStack

from bench.load import Outcome
from bench.report import Row
from bench.rows import disturbance_row, spread_row
from bench.runner import Bench
from bench.scenarios.idle import ask_each, filled_calendars
from bench.slotcast import Slotcast
from bench.stats import ratios, spread

NAME = "activate"
CALENDARS, CALENDARS_QUICK = 5000, 500
BOOKINGS = 20
# Counted in the node, for answers and everything else it asks the database.
STATEMENTS = "slotcast_query_seconds_count"
ACTIVATIONS = "slotcast_activations_total"


async def run(bench: Bench) -> list[Row]:
    count = CALENDARS_QUICK if bench.quick else CALENDARS
    cold: list[Outcome] = []
    warm: list[Outcome] = []
    statements: list[float] = []
    async with AsyncExitStack() as stack:
        # One of its own: calendars that other scenarios left active would make loading dearer or cheaper.
        slotcast = await Slotcast.start(bench)
        stack.push_async_callback(slotcast.stop)
        _, calendars = await filled_calendars(slotcast, count * bench.repetitions, BOOKINGS)
        for repetition in range(bench.repetitions):
            part = calendars[repetition * count : (repetition + 1) * count]
            paths = [f"/api/v1/professionals/{id_}/schedule" for id_ in part]
            await bench.settle()
            asked, loaded = await slotcast.counter(STATEMENTS), await slotcast.counter(ACTIVATIONS)
            cold.append(await ask_each(slotcast, paths))
            loaded = await slotcast.counter(ACTIVATIONS) - loaded
            statements.append((await slotcast.counter(STATEMENTS) - asked) * 1000 / max(1.0, loaded))
            warm.append(await ask_each(slotcast, paths))
            bench.say(
                f"{NAME} {repetition + 1}/{bench.repetitions}: cold {cold[-1].rate:,.0f}/s, warm {warm[-1].rate:,.0f}/s"
            )
    rows: list[Row] = []
    for name, outcomes in (("cold", cold), ("warm", warm)):
        rows.append(spread_row(NAME, f"{name} calendars", spread([o.rate for o in outcomes]), unit="/s", digits=0))
        rows.append(spread_row(NAME, f"{name} p50 (closed loop)", spread([o.p50 for o in outcomes]), unit="ms"))
        rows.append(spread_row(NAME, f"{name} p99 (closed loop)", spread([o.p99 for o in outcomes]), unit="ms"))
    cpu = [o.cpu_per_thousand("server") * 1000 for o in cold]
    return [
        *rows,
        spread_row(NAME, "rate, cold / warm", ratios([o.rate for o in cold], [o.rate for o in warm]), unit="x"),
        spread_row(NAME, "SQL statements per 1,000 activations", spread(statements), unit=""),
        spread_row(NAME, "server CPU per 1,000 activations and answers", spread(cpu), unit="ms", digits=1),
        disturbance_row(NAME, [*cold, *warm]),
    ]

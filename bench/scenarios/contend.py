"""A crowd for every slot: many bookers ask for the same few, one gets each, and the others must be told at once."""

import asyncio
from contextlib import AsyncExitStack

from bench.load import Outcome
from bench.report import Row
from bench.rows import detail_rows, ratio_row, spread_row
from bench.runner import Bench, Contender, take_turns
from bench.scenarios import booking
from bench.stats import ratios, spread

NAME = "contend"
CALENDARS = 8
# Bookers for each slot: all connections fight for eight slots, and soon for the next eight.
ATTEMPTS = 20
# Room for 640,000 requests in each repetition.
COUNT = 4000
BOOKED, TAKEN = 201, 409
# Measured best: beyond one connection for each contended row, a row lock only queues inside Postgres.
ROW_LOCK_POOL = 8
EXCLUDE_POOL = 16


async def run(bench: Bench) -> list[Row]:
    async with AsyncExitStack() as stack:
        slotcast = await bench.node()
        service = await slotcast.service(booking.MINUTES)
        calendars = await slotcast.professionals(CALENDARS, service, "00:00", "24:00")
        begin = booking.midnight_in(2)
        field = booking.Field(
            service=service,
            client=await slotcast.client(),
            calendars=lambda _: calendars,
            first=lambda repetition: begin + repetition * COUNT * booking.STEP,
            count=COUNT,
            attempts=ATTEMPTS,
            accept=(TAKEN,),
        )
        flags = {"rowlock": ["rowlock", f"--pool={ROW_LOCK_POOL}"]}
        if not bench.quick:
            flags["exclude"] = ["exclude", f"--pool={EXCLUDE_POOL}", "--look-first"]
        started = await asyncio.gather(*(booking.start_peer(bench, field, [0], *some) for some in flags.values()))
        for side in started:
            stack.push_async_callback(side.server.stop)
        sides = {"slotcast": booking.slotcast_side(slotcast), **dict(zip(flags, started, strict=True))}

        named = {name: booking.contender(bench, name, side, field) for name, side in sides.items()}
        await take_turns(bench, NAME, list(named.values()))
        for name, side in sides.items():
            await booking.verify(side, named[name])
            await booking.verify_nothing_else(side, named[name], calendars)
        ours = named["slotcast"]
        rows: list[Row] = []
        for peer in flags:
            rows.append(ratio_row(NAME, ours, named[peer], None))
            goodput = ratios(ours.goodputs(), named[peer].goodputs())
            rows.append(spread_row(NAME, f"bookings vs {peer}", goodput, unit="x"))
        for contender in named.values():
            rows += _crowd_rows(contender)
        return [*rows, *detail_rows(NAME, list(named.values()))]


def _crowd_rows(contender: Contender) -> list[Row]:
    outcomes = contender.outcomes
    refused = [outcome.answers.get(str(TAKEN), 0) / outcome.seconds for outcome in outcomes]
    rows = [
        spread_row(NAME, f"{contender.name} refusals", spread(refused), unit="/s", digits=0),
        spread_row(NAME, f"{contender.name} evenness of wins (Jain)", spread([*map(evenness, outcomes)]), unit="x"),
    ]
    for status, what in ((BOOKED, "booked"), (TAKEN, "refused")):
        waits = spread([outcome.p50_by_status.get(str(status), 0.0) for outcome in outcomes])
        rows.append(spread_row(NAME, f"{contender.name} p50 until {what}", waits, unit="ms", digits=1))
    return rows


def evenness(outcome: Outcome) -> float:
    """Jain's index of wins over bookers: 1 when all won as often, 1/n when one of n won all.

    Chance alone leaves it at about w / (w + 1) where each won w times.
    """
    wins = outcome.wins
    squares = sum(won * won for won in wins)
    return sum(wins) ** 2 / (len(wins) * squares) if squares else 0.0

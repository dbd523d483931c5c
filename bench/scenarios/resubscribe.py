"""Everybody comes back at once after a break: each is told what they missed from memory, without one SQL query.

Sockets open in waves, log in, and subscribe with the version they held. Each must be recovered and replayed the
very frames that a socket which stayed has seen. Statements are counted twice: by the server, and by Postgres, where
every connection tells what it was asked last and when.
"""

import asyncio
import os
import time
from contextlib import AsyncExitStack
from datetime import datetime
from types import TracebackType
from typing import Any

import asyncpg

from bench.live import Change, Changed, Storm, Subscribe, Subscribed, Weathered
from bench.report import DISTURBANCE, Row, goal_row
from bench.rows import spread_row
from bench.runner import GRACE_SECONDS, Bench
from bench.scenarios import watching
from bench.scenarios.watching import ask, live_generator, make_view
from bench.slotcast import Slotcast
from bench.stats import spread

NAME = "resubscribe"
RECONNECTS = 10_000
RECONNECTS_QUICK = 1_000
AT_ONCE = 500
CHANGES = 12
MISSED = 8
# Postgres adds up what a connection did up to a second late, as long as the connection is in use.
FLUSH_SECONDS = 1.2

# The node asks once a second whether the database is still its own; anything else on its connections is work.
TOUCHED = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
  AND query <> 'SELECT 1' AND query_start >= $1
"""
TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
COUNTERS = ("slotcast_query_seconds_count", "slotcast_commit_seconds_count")


class Statements:
    """What was asked of the node's database while a `with` block ran."""

    def __init__(self, slotcast: Slotcast, watcher: asyncpg.Connection) -> None:
        self._slotcast = slotcast
        self._watcher = watcher
        self.counted = 0
        """By the server: queries and commits."""
        self.connections = 0
        """By Postgres: connections of the node that were asked anything but the heartbeat."""
        self.transactions = 0
        """By Postgres: all of them, the heartbeat's and those of looking included."""
        self.seconds = 0.0

    async def __aenter__(self) -> "Statements":
        self._begun, self._clock = await self._look(), time.perf_counter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._clock
        if error is not None:
            return
        counted, _, _ = await self._look()
        self.connections = await self._value(TOUCHED, self._begun[2])
        await asyncio.sleep(FLUSH_SECONDS)
        self.counted = counted - self._begun[0]
        self.transactions = (await self._look())[1] - self._begun[1]

    async def _look(self) -> tuple[int, int, datetime]:
        found = await watching.samples(self._slotcast)
        await self._watcher.execute("SELECT pg_stat_force_next_flush()")
        transactions: int = await self._value(TRANSACTIONS)
        moment: datetime = await self._value("SELECT clock_timestamp()")
        return sum(int(found[name]) for name in COUNTERS), transactions, moment

    async def _value(self, query: str, *args: object) -> Any:
        return await self._watcher.fetchval(query, *args)


async def run(bench: Bench) -> list[Row]:
    count, repetitions = (RECONNECTS_QUICK, 1) if bench.quick else (RECONNECTS, bench.repetitions)
    slotcast = await bench.node()
    storms: list[tuple[Weathered, Statements, Statements]] = []
    watcher = await asyncpg.connect(slotcast.dsn)
    try:
        for repetition in range(repetitions):
            async with AsyncExitStack() as stack:
                storms.append(await storm(bench, slotcast, watcher, stack, count))
            weathered, asked, quiet = storms[-1]
            bench.say(
                f"{NAME} {repetition + 1}/{repetitions}: {weathered.rate:,.0f} reconnects/s  "
                f"p99 {weathered.p99:.0f} ms  {asked.counted} queries, {asked.transactions} transactions "
                f"({quiet.transactions} in as quiet a time)"
            )
    finally:
        await watcher.close()
    return _rows(storms)


async def storm(
    bench: Bench, slotcast: Slotcast, watcher: asyncpg.Connection, stack: AsyncExitStack, count: int
) -> tuple[Weathered, Statements, Statements]:
    """One storm on a fresh view, and what was asked of the database during it and during as long a quiet time: the
    busier one of two, because what the node asks by itself falls now into the one and now into the other.
    """
    view = await make_view(slotcast)
    generator = await live_generator(stack)
    await ask(NAME, generator, Subscribe(view=view, count=1), Subscribed, GRACE_SECONDS)
    changes = Change(client_id=await slotcast.client(), starts=watching.starts(), count=CHANGES)
    await ask(NAME, generator, changes, Changed, GRACE_SECONDS)
    # What follows of the changes is no part of the storm, and what they asked of Postgres must be in its sums before.
    await slotcast.drop_backlog()
    await asyncio.sleep(FLUSH_SECONDS)
    watch = {"server": slotcast.server.pid, "postgres": bench.postgres.pid}
    command = Storm(count=count, at_once=min(AT_ONCE, count), missed=MISSED, watch=watch)
    async with Statements(slotcast, watcher) as asked:
        weathered = await ask(NAME, generator, command, Weathered, GRACE_SECONDS)
    quiet: list[Statements] = []
    for _ in range(2):
        async with Statements(slotcast, watcher) as statements:
            await asyncio.sleep(asked.seconds)
        quiet.append(statements)
    return weathered, asked, max(quiet, key=lambda s: s.counted)


def _rows(storms: list[tuple[Weathered, Statements, Statements]]) -> list[Row]:
    weathered = [storm for storm, _, _ in storms]
    # The node looks for jobs, forgotten holds and old keys every second or so, which is none of the storms' doing:
    # what it asks in as quiet a time is taken off. A query of theirs would be in each of them, by the thousand.
    asked = [float(max(0, asked.counted - quiet.counted)) for _, asked, quiet in storms]
    beyond = [max(0, asked.transactions - quiet.transactions) / storm.count * 1000 for storm, asked, quiet in storms]
    last = [max(storm.wave_seconds) * 1000 for storm in weathered]
    cpu = {
        process: spread([storm.cpu[process] / storm.count * 1e6 for storm in weathered]) for process in weathered[0].cpu
    }
    generator = spread([storm.generator_cpu / storm.count * 1e6 for storm in weathered])
    worst = max(storm.others_cpu / storm.seconds / (os.cpu_count() or 1) for storm in weathered)
    return [
        goal_row(
            NAME, "SQL queries in the quietest storm", min(asked), 0, direction="<=", unit="queries", values=asked
        ),
        Row(scenario=NAME, metric="reconnects in a storm", measured=weathered[0].count),
        spread_row(NAME, "transactions beyond a quiet time, per 1,000", spread(beyond), unit=""),
        spread_row(NAME, "reconnects", spread([storm.rate for storm in weathered]), unit="/s", digits=0),
        spread_row(NAME, "all back", spread([storm.seconds for storm in weathered]), unit="s"),
        spread_row(NAME, f"slowest wave of {AT_ONCE}", spread(last), unit="ms", digits=0),
        spread_row(NAME, "connect to caught up p50", spread([s.p50 for s in weathered]), unit="ms", digits=1),
        spread_row(NAME, "connect to caught up p99", spread([s.p99 for s in weathered]), unit="ms", digits=1),
        spread_row(NAME, "frames replayed to each", spread([s.replayed / s.count for s in weathered]), unit=""),
        *(spread_row(NAME, f"CPU of {name} for each", used, unit="µs", digits=0) for name, used in cpu.items()),
        spread_row(NAME, "CPU of generator for each", generator, unit="µs", digits=0),
        Row(scenario=NAME, metric=DISTURBANCE, measured=worst * 100, unit="%"),
    ]

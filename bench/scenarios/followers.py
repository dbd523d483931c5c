"""What happens after a booking: how much it costs the booking, how far it lags behind, and how fast it catches up.

Both sides are nodes of their own that book the same over as many calendars. One follows its journal with everything
that the server has: the client has an e-mail address, so each booking is confirmed by mail and has two reminders
coming, and a webhook of the business goes to a server here. After each turn it is left to catch up, so that the other
side's turn is its own.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import msgspec
from aiohttp import web

from bench.report import Refused, Row
from bench.rows import cpu_row, detail_rows, goal_row
from bench.runner import Bench, Contender, accept, run_job
from bench.scenarios import booking
from bench.slotcast import Slotcast
from bench.stats import ratios, spread

NAME = "followers"
GOAL = 0.95
CALENDARS = 64
DAYS = 60
# What a longer turn leaves to follow takes minutes to catch up with.
SECONDS = 2.0
CATCH_UP_SECONDS = 600.0
LOOK_SECONDS = 0.05

UNREAD = """
SELECT coalesce(sum(s.seq - f.seq), 0)::bigint AS events,
    coalesce(extract(epoch FROM now() - min(e.at)), 0)::float8 AS seconds
FROM followers f JOIN shards s ON s.id = f.shard LEFT JOIN events e ON e.shard = f.shard AND e.seq = f.seq + 1
"""
DUE = """
SELECT count(*) FILTER (WHERE state = 'done') AS done, count(*) FILTER (WHERE state = 'dead') AS dead,
    count(*) FILTER (WHERE state IN ('behind', 'working') OR (state = 'waiting' AND run_at <= now())) AS due
FROM jobs
"""


class Aftermath(msgspec.Struct, frozen=True):
    """What one turn left behind: unread events and their age when it ended, and jobs done per second until all were."""

    unread: int
    lag_s: float
    done: int
    seconds: float


async def run(bench: Bench) -> list[Row]:
    async with AsyncExitStack() as stack:
        hooks = await stack.enter_async_context(_receiver())
        following, quiet = await asyncio.gather(
            Slotcast.start(bench, environment={"SLOTCAST_WEBHOOK_INSECURE": "true",
                                               "SLOTCAST_WEBHOOK_ALLOW_PRIVATE": "127.0.0.0/8"}),
            Slotcast.start(bench, module="bench.quiet_node"),
        )  # fmt: skip
        for node in (following, quiet):
            stack.push_async_callback(node.stop)
        await following.call("POST", "/api/v1/webhooks", {"url": hooks.url, "events": ["booking.created"]})
        sides = {"following": following, "quiet": quiet}
        contenders = {name: await _contender(bench, name, node) for name, node in sides.items()}
        db = await asyncpg.connect(following.dsn)
        stack.push_async_callback(db.close)
        await _catch_up(db)
        left = await _take_turns(bench, contenders, lambda: _catch_up(db))
        for name, node in sides.items():
            await booking.verify(booking.slotcast_side(node), contenders[name])
        ours, theirs = contenders["following"], contenders["quiet"]
        ratio = ratios(ours.rates(), theirs.rates())
        booked = len(ours.acknowledged())
        if hooks.received < booked:
            raise Refused(f"{NAME}: {hooks.received} webhooks came of {booked} bookings")
        return [
            goal_row(NAME, "booking rate, following / not", ratio.median, GOAL, spread=ratio.text(),
                     values=ratio.values),
            cpu_row(NAME, ours, theirs),
            *_of(left),
            *detail_rows(NAME, [ours, theirs]),
        ]  # fmt: skip


def _of(left: Sequence[Aftermath]) -> list[Row]:
    told = {
        "events unread at the end of a turn": ("", [float(a.unread) for a in left]),
        "age of the first unread event then": ("s", [a.lag_s for a in left]),
        "jobs done per second, catching up": ("/s", [a.done / a.seconds for a in left if a.done]),
        "time to catch up": ("s", [a.seconds for a in left]),
    }
    return [
        Row(scenario=NAME, metric=metric, measured=(found := spread(values)).median, unit=unit,
            spread=found.text(), values=values, direction=">=" if unit == "/s" else "<=")
        for metric, (unit, values) in told.items() if values
    ]  # fmt: skip


async def _contender(bench: Bench, name: str, node: Slotcast) -> Contender:
    service = await node.service(booking.MINUTES)
    calendars = await node.professionals(CALENDARS * bench.repetitions, service, "00:00", "24:00")
    client = await node.call("POST", "/api/v1/clients", {"first_name": "Bench", "email": "bench@example.com"})
    field = booking.Field(
        service=service,
        client=client["id"],
        calendars=lambda repetition: calendars[repetition * CALENDARS : (repetition + 1) * CALENDARS],
        first=lambda _: booking.midnight_in(3),
        count=DAYS * booking.DAY // booking.STEP,
    )
    return booking.contender(bench, name, booking.slotcast_side(node), field)


async def _take_turns(
    bench: Bench, contenders: dict[str, Contender], catch_up: Callable[[], Awaitable[Aftermath]]
) -> list[Aftermath]:
    left: list[Aftermath] = []
    for repetition in range(bench.repetitions):
        turn = list(contenders.values())
        for contender in turn if repetition % 2 == 0 else turn[::-1]:
            await bench.settle()
            job = contender.job(repetition)
            outcome = await run_job(msgspec.structs.replace(job, seconds=min(job.seconds, SECONDS)))
            accept(NAME, contender.name, outcome)
            contender.outcomes.append(outcome)
            bench.say(f"{NAME} {repetition + 1}/{bench.repetitions} {contender.name}: {outcome.rate:,.0f}/s")
            if contender.name == "following":
                left.append(await catch_up())
                bench.say(f"{NAME} {left[-1]}")
    return left


async def _catch_up(db: asyncpg.Connection) -> Aftermath:
    """Until everything is read and everything due is done."""
    started = time.perf_counter()
    first = await db.fetchrow(UNREAD)
    before = (await db.fetchrow(DUE))["done"]
    while time.perf_counter() - started < CATCH_UP_SECONDS:
        unread, jobs = await db.fetchrow(UNREAD), await db.fetchrow(DUE)
        if jobs["dead"]:
            raise Refused(f"{NAME}: {jobs['dead']} jobs are dead")
        if not unread["events"] and not jobs["due"]:
            seconds = time.perf_counter() - started
            return Aftermath(first["events"], first["seconds"], jobs["done"] - before, seconds)
        await asyncio.sleep(LOOK_SECONDS)
    raise Refused(f"{NAME}: not caught up in {CATCH_UP_SECONDS:.0f} s")


class _Hooks:
    def __init__(self) -> None:
        self.url = ""
        self.ids: set[str] = set()

    @property
    def received(self) -> int:
        return len(self.ids)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        await request.read()
        self.ids.add(request.headers["webhook-id"])
        return web.Response(status=204)


@asynccontextmanager
async def _receiver() -> AsyncIterator[Any]:
    hooks = _Hooks()
    runner = web.ServerRunner(web.Server(hooks.handle))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        hooks.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        yield hooks
    finally:
        await runner.cleanup()

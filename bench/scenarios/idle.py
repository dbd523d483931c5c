"""Memory of one idle subscriber and of one idle active calendar."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from bench.children import Generator
from bench.live import Subscribe, Subscribed
from bench.load import Job, Outcome, request_text
from bench.report import Refused, Row, goal_row
from bench.runner import GRACE_SECONDS, Bench, run_job
from bench.scenarios.booking import midnight_in
from bench.scenarios.fanout import make_view
from bench.slotcast import Slotcast
from bench.usage import resident_bytes

NAME = "idle"
SOCKETS = 2000
BOOKINGS = 20
MINUTES = 30
CALENDARS, CALENDARS_QUICK = 2000, 500
# A large site's calendars, most of them with little in them; a full run only.
MANY_CALENDARS = 100_000
MANY_BOOKINGS = 2
# What the first of anything costs (imports, pools, caches) is not what each further one costs.
FIRST_SOCKETS = 100
FIRST_CALENDARS = 100
SETTLE_SECONDS, SETTLE_SECONDS_QUICK = 2.0, 0.5
ASKING_SECONDS = 900.0
ASKING_CONNECTIONS = 128
KILOBYTE = 1024
SUBSCRIBER_KILOBYTES = 14.0
CALENDAR_KILOBYTES = 6.0


async def run(bench: Bench) -> list[Row]:
    rows = await _subscribers(bench)
    rows += await _calendars(bench, CALENDARS_QUICK if bench.quick else CALENDARS, BOOKINGS)
    if bench.quick:
        bench.skip(NAME, f"{MANY_CALENDARS:,} active calendars", "a quick run")
    else:
        rows += await _calendars(bench, MANY_CALENDARS, MANY_BOOKINGS)
    return rows


async def _subscribers(bench: Bench) -> list[Row]:
    async with AsyncExitStack() as stack:
        slotcast = await Slotcast.start(bench)
        stack.push_async_callback(slotcast.stop)
        view = await make_view(slotcast)
        seen: list[int] = []
        for count in (FIRST_SOCKETS, SOCKETS):
            generator = await Generator.start("bench.live_load")
            stack.push_async_callback(generator.stop)
            await generator.ask(Subscribe(view=view, count=count), Subscribed, GRACE_SECONDS)
            seen.append(await _settled(bench, slotcast))
        each = (seen[1] - seen[0]) / SOCKETS / KILOBYTE
        return [
            _goal("memory per idle subscriber", each, SUBSCRIBER_KILOBYTES),
            _whole(f"with {FIRST_SOCKETS + SOCKETS:,} subscribers", seen[1]),
        ]


async def _calendars(bench: Bench, count: int, bookings: int) -> list[Row]:
    """Weighs calendars that nobody has used before; they stay active, because the server drops none for 20 minutes."""
    async with AsyncExitStack() as stack:
        slotcast = await Slotcast.start(bench)
        stack.push_async_callback(slotcast.stop)
        service, calendars = await filled_calendars(slotcast, FIRST_CALENDARS + count, bookings)
        day = datetime.now(UTC).date() + timedelta(days=2)
        first, rest = calendars[:FIRST_CALENDARS], calendars[FIRST_CALENDARS:]
        seen: list[int] = []
        # Reading hours makes a calendar active; reading slots would weigh the encoded answer with it.
        for asked, query in (
            (first, "schedule"),
            (rest, "schedule"),
            (rest, f"slots?from={day}&to={day}&service_id={service}"),
        ):
            await ask_each(slotcast, [f"/api/v1/professionals/{id_}/{query}" for id_ in asked])
            seen.append(await _settled(bench, slotcast))
            if len(seen) == 2:
                active = await slotcast.counter("slotcast_actors_active")
                if active < len(calendars):
                    raise Refused(f"{NAME}: {active:,.0f} of {len(calendars):,} calendars are active")
        each, answer = ((after - before) / count / KILOBYTE for before, after in pairwise(seen))
        which = f"{bookings} bookings, {count:,} calendars"
        return [
            _goal(f"memory per idle active calendar ({which})", each, CALENDAR_KILOBYTES),
            Row(scenario=NAME, metric=f"more once a day's slots were read ({which})", measured=answer, unit="KB"),
            _whole(f"with {len(calendars):,} active calendars", seen[1]),
        ]


async def filled_calendars(slotcast: Slotcast, count: int, bookings: int) -> tuple[str, list[str]]:
    """A service, and calendars of so many half-hour bookings that the server has not loaded yet."""
    service, client = await slotcast.service(MINUTES), await slotcast.client()
    [made] = await slotcast.professionals(1, service, "00:00", "24:00")
    # What is put into the tables the server must not know yet, and it knows the one made over REST.
    [template] = await slotcast.clone(made, 1)
    starts = [midnight_in(2) + number * MINUTES * 60 for number in range(bookings)]
    await slotcast.put_bookings(template, service, client, starts, MINUTES)
    return service, [template, *await slotcast.clone(template, count - 1)]


async def ask_each(slotcast: Slotcast, paths: list[str]) -> Outcome:
    """Every path once, as fast as the server answers."""
    requests = [request_text("GET", path, slotcast.port, slotcast.token) for path in paths]
    outcome = await run_job(
        Job(
            port=slotcast.port,
            expect=200,
            seconds=ASKING_SECONDS,
            warmup=0,
            connections=ASKING_CONNECTIONS,
            cycle=requests,
            once=True,
            watch={"server": slotcast.server.pid, "postgres": slotcast.postgres_pid},
        )
    )
    if outcome.errors or outcome.operations != len(paths):
        raise Refused(f"{outcome.operations:,} of {len(paths):,} answers, {outcome.errors} {outcome.sample_error}")
    return outcome


async def _settled(bench: Bench, slotcast: Slotcast) -> int:
    await asyncio.sleep(SETTLE_SECONDS_QUICK if bench.quick else SETTLE_SECONDS)
    return resident_bytes(slotcast.server.pid)


def _goal(metric: str, measured: float, goal: float) -> Row:
    return goal_row(NAME, metric, measured, goal, direction="<=", unit="KB", values=[measured])


def _whole(metric: str, size: int) -> Row:
    return Row(scenario=NAME, metric=f"server {metric}", measured=size / KILOBYTE / KILOBYTE, unit="MB")

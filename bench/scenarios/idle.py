"""Memory of one idle subscriber and of one idle active calendar of twenty bookings."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from bench.children import Generator
from bench.live import Subscribe, Subscribed
from bench.load import Bookings, Job, request_text
from bench.report import Refused, Row, goal_row
from bench.runner import GRACE_SECONDS, Bench, run_job
from bench.scenarios.fanout import make_view
from bench.slotcast import Slotcast, at_once
from bench.usage import resident_bytes

NAME = "idle"
SOCKETS = 2000
BOOKINGS = 20
MINUTES = 30
# What the first of anything costs (imports, pools, caches) is not what each further one costs.
FIRST_SOCKETS = 100
FIRST_CALENDARS = 100
SETTLE_SECONDS = 2.0
KILOBYTE = 1024


async def run(bench: Bench) -> list[Row]:
    return [*await _subscribers(bench), *await _calendars(bench)]


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
            await asyncio.sleep(SETTLE_SECONDS)
            seen.append(resident_bytes(slotcast.server.pid))
        each = (seen[1] - seen[0]) / SOCKETS / KILOBYTE
        return [_row("memory per idle subscriber", each, 16, 14), _whole("with 2,100 subscribers", seen[1])]


async def _calendars(bench: Bench) -> list[Row]:
    count = 500 if bench.quick else 2000
    async with AsyncExitStack() as stack:
        slotcast = await Slotcast.start(bench)
        stack.push_async_callback(slotcast.stop)
        service = await slotcast.service(MINUTES)
        calendars = await slotcast.professionals(FIRST_CALENDARS + count, service, "00:00", "24:00")
        await _fill(slotcast, calendars, service)
        # Whatever making the bookings left in memory goes; only reading them back is weighed.
        await slotcast.restart()
        # Reading hours makes a calendar active; reading slots would weigh the encoded answer with it.
        paths = [f"/api/v1/professionals/{c}/schedule" for c in calendars]
        day = datetime.now(UTC).date() + timedelta(days=2)
        days = [f"/api/v1/professionals/{c}/slots?from={day}&to={day}&service_id={service}" for c in calendars]
        seen: list[int] = []
        for part in (paths[:FIRST_CALENDARS], paths[FIRST_CALENDARS:], days[FIRST_CALENDARS:]):
            await at_once(slotcast.raw("GET", path) for path in part)
            await asyncio.sleep(SETTLE_SECONDS)
            seen.append(resident_bytes(slotcast.server.pid))
        each, answer = ((after - before) / count / KILOBYTE for before, after in pairwise(seen))
        return [
            _row("memory per idle active calendar", each, 8, 6),
            Row(scenario=NAME, metric="more once a day's slots were read", measured=answer, unit="KB"),
            _whole(f"with {len(calendars):,} active calendars", seen[2]),
        ]


async def _fill(slotcast: Slotcast, calendars: list[str], service: str) -> None:
    """Twenty bookings on each calendar, over REST."""
    client, mark = await slotcast.client(), "1970-01-01T00:00:00Z"
    heads, tail = [], ""
    for calendar in calendars:
        body = f'{{"professional_id":"{calendar}","service_id":"{service}","start":"{mark}","client_id":"{client}"}}'
        text = request_text("POST", "/api/v1/bookings", slotcast.port, slotcast.token, body)
        head, tail = text.split(mark)
        heads.append(head)
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = int((midnight + timedelta(days=2)).timestamp())
    plan = Bookings(heads=heads, tail=tail, first=first, step=MINUTES * 60, count=BOOKINGS)
    outcome = await run_job(Job(port=slotcast.port, expect=201, seconds=300, warmup=0, connections=64, bookings=plan))
    if outcome.errors or not outcome.exhausted:
        raise Refused(f"{NAME}: filling calendars gave {outcome.errors} {outcome.sample_error}")


def _row(metric: str, measured: float, goal: float, long_term: float) -> Row:
    return goal_row(NAME, metric, measured, goal, long_term=long_term, direction="<=", unit="KB")


def _whole(metric: str, size: int) -> Row:
    return Row(scenario=NAME, metric=f"server {metric}", measured=size / KILOBYTE / KILOBYTE, unit="MB")

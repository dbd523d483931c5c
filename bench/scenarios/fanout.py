"""Deliveries of one view's changes to 2,000 sockets, against a bare loop of `transport.write`.

The goal row compares deliveries per second: frames counted where they arrive, driven as fast as they
arrive. CPU of the server process per delivery stands beside it, because on few cores the receiving
generator takes part in the first and not in the second.
"""

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import msgspec

from bench import integrity
from bench.children import Generator
from bench.live import Drive, Driven, Subscribe, Subscribed, View
from bench.report import Refused, Row, goal_row
from bench.rows import disturbance_row
from bench.runner import GRACE_SECONDS, Bench
from bench.slotcast import Slotcast
from bench.stats import ratios, spread

NAME = "fanout"
SOCKETS = 2000
# Enough changes under way that the server never waits for the next, few enough that frames stay small.
WORKERS = 4
MINUTES = 30
DAYS = 7


async def run(bench: Bench) -> list[Row]:
    async with AsyncExitStack() as stack:
        slotcast = await Slotcast.start(bench)
        stack.push_async_callback(slotcast.stop)
        view = await make_view(slotcast)
        client = await slotcast.client()
        ours = await Generator.start("bench.live_load")
        stack.push_async_callback(ours.stop)
        opened = await ours.ask(Subscribe(view=view, count=SOCKETS), Subscribed, GRACE_SECONDS)
        watch = {"server": slotcast.server.pid, "postgres": bench.postgres.pid}
        pilot = await _drive(ours, _command(bench, client, watch, seconds=1.0))

        # The floor sends frames of the size Slotcast really sends, so it starts after a look at them.
        floor_server = await bench.peer("writeloop", "--frame-bytes", str(round(pilot.frame_bytes)))
        stack.push_async_callback(floor_server.stop)
        floor = await Generator.start("bench.live_load")
        stack.push_async_callback(floor.stop)
        floor_view = msgspec.structs.replace(view, port=floor_server.port)
        await floor.ask(Subscribe(view=floor_view, count=SOCKETS), Subscribed, GRACE_SECONDS)

        sides = {
            "slotcast": (ours, _command(bench, client, watch)),
            "writeloop": (floor, _command(bench, client, {"server": floor_server.pid})),
        }
        driven: dict[str, list[Driven]] = {name: [] for name in sides}
        for repetition in range(bench.repetitions):
            for name in list(sides) if repetition % 2 == 0 else list(sides)[::-1]:
                generator, command = sides[name]
                outcome = await _drive(generator, command)
                driven[name].append(outcome)
                bench.say(
                    f"{NAME} {repetition + 1}/{bench.repetitions} {name}: {outcome.rate:,.0f} deliveries/s  "
                    f"{outcome.changes / max(1, outcome.frames):.1f} changes a frame"
                )
        await integrity.check("slotcast", slotcast.dsn, integrity.SLOTCAST, [])
        return _rows(driven, opened)


async def make_view(slotcast: Slotcast) -> View:
    """A week of half-hour slots of a new professional."""
    service = await slotcast.service(MINUTES)
    [professional] = await slotcast.professionals(1, service, "09:00", "17:00")
    first = _first_day()
    return View(
        port=slotcast.port,
        token=slotcast.token,
        professional_id=professional,
        service_id=service,
        from_date=f"{first:%Y-%m-%d}",
        to_date=f"{first + timedelta(days=DAYS - 1):%Y-%m-%d}",
    )


def _command(bench: Bench, client: str, watch: dict[str, int], seconds: float | None = None) -> Drive:
    starts = [
        f"{_first_day() + timedelta(days=day):%Y-%m-%d}T{hour:02}:00:00Z"
        for day in range(DAYS)
        for hour in range(9, 17)
    ]
    return Drive(
        client_id=client,
        starts=starts,
        workers=WORKERS,
        seconds=seconds or bench.seconds,
        warmup=bench.warmup,
        watch=watch,
    )


async def _drive(generator: Generator, command: Drive) -> Driven:
    outcome = await generator.ask(command, Driven, command.warmup + command.seconds + GRACE_SECONDS)
    if outcome.failure or not outcome.frames:
        raise Refused(f"{NAME}: {outcome.failure or 'nothing was delivered'}")
    return outcome


def _rows(driven: dict[str, list[Driven]], opened: Subscribed) -> list[Row]:
    ours, floor = driven["slotcast"], driven["writeloop"]
    rate = ratios([d.rate for d in ours], [d.rate for d in floor])
    # The floor's CPU over ours, so that here too more is better and 1 means no overhead.
    cpu = ratios(
        [d.cpu_per_hundred_thousand("server") for d in floor],
        [d.cpu_per_hundred_thousand("server") for d in ours],
    )
    rows = [
        goal_row(NAME, "deliveries/s vs writeloop", rate.median, 0.8, long_term=0.9, spread=rate.text()),
        Row(
            scenario=NAME,
            metric="CPU per delivery, writeloop / slotcast",
            measured=cpu.median,
            spread=cpu.text(),
        ),
        Row(scenario=NAME, metric="snapshot frame", measured=opened.snapshot_bytes, unit="bytes"),
        Row(scenario=NAME, metric="opening 2,000 sockets", measured=opened.seconds, unit="s"),
    ]
    for name, outcomes in driven.items():
        deliveries = spread([d.rate for d in outcomes])
        figures = {
            "deliveries": (deliveries.median, "/s"),
            "frame": (spread([d.frame_bytes for d in outcomes]).median, "bytes"),
            "changes per frame": (spread([d.changes / d.frames for d in outcomes]).median, "x"),
            "change to last subscriber p50": (spread([d.p50 for d in outcomes]).median, "ms"),
            "change to last subscriber p99": (spread([d.p99 for d in outcomes]).median, "ms"),
        }
        for process in (*outcomes[0].cpu, "generator"):
            used = spread([d.cpu_per_hundred_thousand(process) for d in outcomes]).median
            figures[f"CPU of {process} per 100,000"] = (used, "s")
        busy = spread([d.generator_cpu / d.seconds for d in outcomes]).median
        figures["generator busy"] = (busy * 100, "%")
        rows += [
            Row(scenario=NAME, metric=f"{name} {metric}", measured=value, unit=unit)
            for metric, (value, unit) in figures.items()
        ]
    rows.append(disturbance_row(NAME, (outcome for outcomes in driven.values() for outcome in outcomes)))
    return rows


def _first_day() -> datetime:
    return datetime.now(UTC) + timedelta(days=2)

"""One view's changes to many sockets, against a bare loop of `transport.write` and the usual libraries.

The goals compare deliveries per second to 2,000 sockets: frames counted where they arrive, driven as fast as
they arrive. CPU of the server process per delivery stands beside it, because on few cores the receiving
generator takes part in the first and not in the second. Then changes come at a fixed rate to more and more
sockets, and it is the wait of the last viewer that is compared.
"""

import resource
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import msgspec

from bench import histogram, integrity
from bench.children import Generator
from bench.live import Drive, Driven, Subscribe, Subscribed, View
from bench.peers import ws
from bench.report import Curve, Refused, Row, goal_row
from bench.rows import disturbance_row, spread_row
from bench.runner import GRACE_SECONDS, Bench
from bench.scenarios import watching
from bench.scenarios.watching import ask, live_generator, make_view
from bench.stats import Spread, ratios, spread

__all__ = ["make_view", "run"]

NAME = "fanout"
SOCKETS = 2000
# Enough changes under way that the server never waits for the next, few enough that frames stay small.
WORKERS = 8
GOALS = {"writeloop": 0.9, "ws": 1.2, "socketio": 6.0}

MATRIX_SOCKETS = (100, 500, 2000, 5000)
MATRIX_RATES = (10, 50)
MATRIX_WORKERS = 28
# What a process needs beside its viewers' sockets.
OTHER_FILES = 500


@dataclass(slots=True)
class Side:
    """A server, what its viewers watch, and the generator that holds them."""

    name: str
    view: View
    generator: Generator
    watch: dict[str, int]
    opened: list[Subscribed] = field(default_factory=list)
    driven: list[Driven] = field(default_factory=list)

    async def subscribe(self, count: int) -> None:
        command = Subscribe(view=self.view, count=count)
        self.opened.append(await ask(f"{NAME} {self.name}", self.generator, command, Subscribed, GRACE_SECONDS))

    async def drive(self, command: Drive) -> Driven:
        command = msgspec.structs.replace(command, watch=self.watch)
        seconds = command.warmup + command.seconds
        driven = await ask(f"{NAME} {self.name}", self.generator, command, Driven, seconds)
        if not driven.frames:
            raise Refused(f"{NAME} {self.name}: nothing was delivered")
        return driven


async def run(bench: Bench) -> list[Row]:
    async with AsyncExitStack() as stack:
        slotcast = await bench.node()
        view = await make_view(slotcast)
        watch = {"server": slotcast.server.pid, "postgres": bench.postgres.pid}
        ours = Side("slotcast", view, await live_generator(stack), watch)
        await ours.subscribe(SOCKETS)
        command = _command(bench, await slotcast.client())
        pilot = await ours.drive(msgspec.structs.replace(command, seconds=0.5))

        # Peers send frames of the size Slotcast really sends, so they start after a look at them.
        sides = [ours, *await _peers(bench, stack, view, round(pilot.frame_bytes))]
        for side in sides[1:]:
            await side.subscribe(SOCKETS)
        # A quick run has no time for more than one turn of four contenders.
        repetitions = 1 if bench.quick else bench.repetitions
        for repetition in range(repetitions):
            for side in sides if repetition % 2 == 0 else sides[::-1]:
                await bench.settle()
                side.driven.append(driven := await side.drive(command))
                bench.say(
                    f"{NAME} {repetition + 1}/{repetitions} {side.name}: {driven.rate:,.0f} deliveries/s  "
                    f"{driven.changes / driven.frames:.1f} changes a frame"
                )
        rows = _rows(sides)
        if not bench.quick:
            rows += await _matrix(bench, sides, command)
        await integrity.check("slotcast", slotcast.dsn, integrity.SLOTCAST, [])
        return rows


async def _peers(bench: Bench, stack: AsyncExitStack, view: View, frame_bytes: int) -> list[Side]:
    sides: list[Side] = []
    for name in GOALS:
        if name == "ws" and (why := ws.missing()):
            bench.skip(NAME, name, why)
            continue
        server = await bench.peer(name, "--frame-bytes", str(frame_bytes))
        stack.push_async_callback(server.stop)
        carrier = "engine.io" if name == "socketio" else "slotcast"
        theirs = msgspec.structs.replace(view, port=server.port, carrier=carrier)
        sides.append(Side(name, theirs, await live_generator(stack), {"server": server.pid}))
    return sides


def _command(bench: Bench, client: str) -> Drive:
    return Drive(
        client_id=client,
        starts=watching.starts(),
        workers=WORKERS,
        seconds=min(bench.seconds, 1.0) if bench.quick else bench.seconds,
        warmup=bench.warmup,
        watch={},
    )


async def _matrix(bench: Bench, sides: list[Side], command: Drive) -> list[Row]:
    """Open loop: every number of viewers at every rate of changes, contender after contender."""
    rows: list[Row] = []
    lines: dict[int, dict[str, list[tuple[float, float]]]] = {
        rate: {side.name: [] for side in sides} for rate in MATRIX_RATES
    }
    for count in MATRIX_SOCKETS:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files < count + OTHER_FILES:
            bench.skip(NAME, f"{count:,} sockets", f"a process may open {files:,} files here")
            continue
        for side in sides:
            await side.subscribe(count)
            for rate in MATRIX_RATES:
                paced = msgspec.structs.replace(command, workers=MATRIX_WORKERS, rate=float(rate))
                await bench.settle()
                driven = await side.drive(paced)
                rows.append(_cell(side.name, count, rate, driven))
                lines[rate][side.name].append((float(count), rows[-1].measured))
            # An audience that has been measured is let go: it would cost the next contender its heartbeats.
            await side.subscribe(1)
    for rate, series in lines.items():
        bench.plot(
            Curve(
                scenario=NAME,
                title=f"fan-out over subscribers, {rate} changes/s",
                x="subscribers",
                y="change due to last viewer, p99 ms",
                series=series,
                log_x=True,
                log_y=True,
            )
        )
    return rows


def _cell(name: str, count: int, rate: int, driven: Driven) -> Row:
    waits = histogram.decode(driven.hdr)
    return Row(
        scenario=NAME,
        metric=f"{name} {count:,} sockets, {rate} changes/s: change due to last viewer p99",
        measured=histogram.percentile_ms(waits, 0.99),
        unit="ms",
        note=f"p50 {histogram.percentile_ms(waits, 0.5):.1f} ms, {driven.rate:,.0f} deliveries/s",
    )


def _rows(sides: list[Side]) -> list[Row]:
    ours, *peers = sides
    rows: list[Row] = []
    by_name = {peer.name: peer for peer in peers}
    for peer in peers:
        rate, reached = _ratio(ours, peer), None
        if peer.name == "ws":
            floor = _ratio(by_name["writeloop"], peer)
            reached = max(floor.values)
            rows.append(spread_row(NAME, "writeloop vs ws: a loop of writes and nothing else", floor, unit="x"))
        rows.append(
            goal_row(
                NAME,
                f"deliveries/s vs {peer.name}",
                rate.median,
                GOALS[peer.name],
                spread=rate.text(),
                values=rate.values,
                floor=reached,
            )
        )
        # Their CPU over ours, so that here too more is better and 1 means no overhead.
        cpu = ratios(
            [d.cpu_per_hundred_thousand("server") for d in peer.driven],
            [d.cpu_per_hundred_thousand("server") for d in ours.driven],
        )
        rows.append(spread_row(NAME, f"server CPU per delivery, {peer.name} / slotcast", cpu, unit="x"))
    rows.append(Row(scenario=NAME, metric="snapshot frame", measured=ours.opened[0].snapshot_bytes, unit="bytes"))
    for side in sides:
        rows += _detail_rows(side)
    rows.append(disturbance_row(NAME, (driven for side in sides for driven in side.driven)))
    return rows


def _ratio(side: Side, peer: Side) -> Spread:
    return ratios([d.rate for d in side.driven], [d.rate for d in peer.driven])


def _detail_rows(side: Side) -> list[Row]:
    outcomes = side.driven
    figures: dict[str, tuple[list[float], str]] = {
        f"opening {SOCKETS:,} sockets": ([side.opened[0].seconds], "s"),
        "deliveries": ([d.rate for d in outcomes], "/s"),
        "frame": ([d.frame_bytes for d in outcomes], "bytes"),
        "changes per frame": ([d.changes / d.frames for d in outcomes], "x"),
        "change to last subscriber p50": ([d.p50 for d in outcomes], "ms"),
        "change to last subscriber p99": ([d.p99 for d in outcomes], "ms"),
        **{
            f"CPU of {process} per 100,000": ([d.cpu_per_hundred_thousand(process) for d in outcomes], "s")
            for process in (*outcomes[0].cpu, "generator")
        },
        "generator busy": ([d.generator_cpu / d.seconds * 100 for d in outcomes], "%"),
    }
    return [
        spread_row(NAME, f"{side.name} {metric}", spread(values), unit=unit)
        for metric, (values, unit) in figures.items()
    ]

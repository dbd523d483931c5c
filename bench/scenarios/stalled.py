"""A tenth of the viewers stop reading while changes go on: the others must not notice.

With and without stalled viewers in turns: what reaches those who read, how soon, and what the server keeps for
those who do not. Big changes first fill what the kernel takes in for a stalled socket, so that in the measured
window they are behind. Then they read again and must catch up by a snapshot, or stay away and are cut.
"""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from bench import integrity
from bench.children import Generator
from bench.live import Drive, Driven, Lag, Lagging, Resume, Stall, Subscribe, Subscribed, View
from bench.report import Refused, Row, goal_row
from bench.rows import disturbance_row, spread_row
from bench.runner import GRACE_SECONDS, Bench
from bench.scenarios import watching
from bench.scenarios.watching import ask, live_generator, make_view, samples
from bench.slotcast import Slotcast
from bench.stats import ratios, spread
from bench.usage import peak_memory, resident_bytes
from protocol import limits

NAME = "stalled"
SOCKETS = 1000
STALLED = 100
RECEIVE_BYTES = 4096
WORKERS = 4
MINUTES = 10
# Bookings change the first days of a view; time off over the others makes frames of some 15 KB.
BOOKED_DAYS = 4
BIG_CHANGES_MAX = 60
CUT_SECONDS = limits.socket_cut_s + 5
BEHIND, CUT = ('slotcast_slow_sockets_total{what="behind"}', 'slotcast_slow_sockets_total{what="cut"}')
# A socket may be behind by so much before it gets nothing more; twice that leaves room for what keeps it.
GOAL_KB = 2 * limits.socket_behind_bytes / 1024


@dataclass(slots=True)
class Audience:
    """Viewers of one view: those who read, and those of whom it is found out."""

    slotcast: Slotcast
    view: View
    generator: Generator
    client: str
    reading: int
    stalling: int

    async def open(self) -> None:
        await ask(NAME, self.generator, Subscribe(view=self.view, count=self.reading), Subscribed, GRACE_SECONDS)

    async def lag(self) -> None:
        """Opens those who will stall, in place of earlier ones; for now they read."""
        command = Lag(count=self.stalling, receive_bytes=RECEIVE_BYTES)
        await ask(NAME, self.generator, command, Lagging, GRACE_SECONDS)

    async def stall(self) -> int:
        """Stops them, and makes big changes until so many fell behind; how many changes that took.

        A kernel that makes room after all lets a socket catch up, and fall behind once more.
        """
        before = (await samples(self.slotcast)).get(BEHIND, 0.0)
        await ask(NAME, self.generator, Stall(), Lagging, GRACE_SECONDS)
        path = f"/api/v1/professionals/{self.view.professional_id}/time-off"
        span = {"start": watching.midnight(BOOKED_DAYS), "end": watching.midnight(watching.DAYS)}
        for number in range(0, BIG_CHANGES_MAX, 2):
            made = await self.slotcast.call("POST", path, span)
            await self.slotcast.call("DELETE", f"{path}/{made['id']}")
            if (await samples(self.slotcast)).get(BEHIND, 0.0) - before >= self.stalling:
                return number + 2
        raise Refused(f"{NAME}: stalled sockets are not behind after {BIG_CHANGES_MAX} changes of many slots")

    async def drive(self, seconds: float, warmup: float, watch: dict[str, int]) -> Driven:
        command = Drive(
            client_id=self.client,
            starts=watching.starts(BOOKED_DAYS),
            workers=WORKERS,
            seconds=seconds,
            warmup=warmup,
            watch=watch,
        )
        return await ask(NAME, self.generator, command, Driven, seconds + warmup)

    async def resume(self) -> Lagging:
        """They read again: each must end up where the others are, without a gap, or find itself cut."""
        back = await ask(NAME, self.generator, Resume(), Lagging, GRACE_SECONDS)
        if back.caught_up + back.cut < back.count:
            raise Refused(f"{NAME}: {back.count - back.caught_up - back.cut} that read again were never put right")
        return back

    async def cut(self) -> float:
        """Waits until the server has cut all that are stalled; seconds that took. Too late refuses the run."""
        begun = time.perf_counter()
        before = (await samples(self.slotcast)).get(CUT, 0.0)
        while (cut := (await samples(self.slotcast)).get(CUT, 0.0) - before) < self.stalling:
            if time.perf_counter() - begun > CUT_SECONDS:
                raise Refused(f"{NAME}: of {self.stalling} stalled sockets {cut:.0f} were cut in {CUT_SECONDS:.0f} s")
            await asyncio.sleep(0.1)
        return time.perf_counter() - begun


async def run(bench: Bench) -> list[Row]:
    repetitions, seconds = (1, min(bench.seconds, 1.0)) if bench.quick else (bench.repetitions, bench.seconds)
    # Its memory is looked at, so the node is its own.
    async with AsyncExitStack() as stack:
        slotcast = await Slotcast.start(bench)
        stack.push_async_callback(slotcast.stop)
        view = await make_view(slotcast, MINUTES)
        generator = await live_generator(stack)
        reading = SOCKETS - STALLED
        audience = Audience(slotcast, view, generator, await slotcast.client(), reading, STALLED)
        await audience.open()
        watch = {"server": slotcast.server.pid, "postgres": bench.postgres.pid}
        driven: dict[str, list[Driven]] = {"all reading": [], "a tenth stalled": []}
        grown: list[float] = []
        back: list[Lagging] = []
        for repetition in range(repetitions):
            for name in list(driven) if repetition % 2 == 0 else list(driven)[::-1]:
                await audience.lag()
                if name == "all reading":
                    driven[name].append(await audience.drive(seconds, bench.warmup, watch))
                else:
                    before = resident_bytes(slotcast.server.pid)
                    async with peak_memory({"server": slotcast.server.pid}) as peak:
                        changes = await audience.stall()
                        bench.say(f"{NAME}: all {STALLED} behind after {changes} changes of many slots")
                        driven[name].append(await audience.drive(seconds, bench.warmup, watch))
                    grown.append((peak["server"] - before) / STALLED / 1024)
                    back.append(await audience.resume())
                bench.say(f"{NAME} {repetition + 1}/{repetitions} {name}: {driven[name][-1].rate:,.0f} deliveries/s")
        rows = _rows(driven, grown, back)
        if not bench.quick:
            await audience.lag()
            await audience.stall()
            rows.append(Row(scenario=NAME, metric="behind until cut", measured=await audience.cut(), unit="s"))
            await audience.resume()
        await integrity.check("slotcast", slotcast.dsn, integrity.SLOTCAST, [])
        return rows


def _rows(driven: dict[str, list[Driven]], grown: list[float], back: list[Lagging]) -> list[Row]:
    without, stalled = driven.values()
    rate = ratios([d.rate for d in stalled], [d.rate for d in without])
    wait = ratios([d.p99 for d in stalled], [d.p99 for d in without])
    memory = spread(grown)
    rows = [
        goal_row(
            NAME,
            "server memory for each stalled socket",
            # Later turns find the heap grown already, so the worst is the one that measures.
            memory.high,
            GOAL_KB,
            direction="<=",
            unit="KB",
            spread=memory.text(0),
            values=memory.values,
        ),
        # A window in which anybody misses anything is refused, so these are all that were measured.
        spread_row(NAME, "deliveries/s to the healthy, with stalled / without", rate, unit="x"),
        spread_row(NAME, "change to last healthy viewer p99, with stalled / without", wait, unit="x", direction="<="),
    ]
    for metric, counts in {
        "stalled that caught up": [float(b.caught_up) for b in back],
        "stalled that needed a snapshot": [float(b.snapshots) for b in back],
    }.items():
        rows.append(spread_row(NAME, metric, spread(counts), unit="", digits=0))
    for name, outcomes in driven.items():
        figures = {
            "deliveries to the healthy": ([d.rate for d in outcomes], "/s"),
            "change to last healthy viewer p50": ([d.p50 for d in outcomes], "ms"),
            "change to last healthy viewer p99": ([d.p99 for d in outcomes], "ms"),
            "CPU of server per 100,000": ([d.cpu_per_hundred_thousand("server") for d in outcomes], "s"),
            "CPU of generator per 100,000": ([d.cpu_per_hundred_thousand("generator") for d in outcomes], "s"),
        }
        rows += [
            spread_row(NAME, f"{name}: {metric}", spread(values), unit=unit)
            for metric, (values, unit) in figures.items()
        ]
    rows.append(disturbance_row(NAME, (d for outcomes in driven.values() for d in outcomes)))
    return rows

"""What every scenario is handed, how contenders take turns, and how they are loaded at a given rate."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console

from bench import histogram
from bench.children import Generator, Listener, free_port, listen
from bench.load import Job, Outcome
from bench.postgres import Postgres
from bench.progress import Progress
from bench.report import Curve, Refused, Row, skipped_row
from bench.usage import peak_memory

if TYPE_CHECKING:
    from bench.slotcast import Slotcast

# On top of the window: connecting, draining, and decoding what was kept.
GRACE_SECONDS = 60.0
# Parts of a contender's ceiling at which it is loaded openly, and what of its latencies becomes rows.
LEVELS = (0.5, 0.7, 0.9)
QUICK_LEVELS = (0.7,)
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
CONCURRENCY = (1, 8, 32, 128, 512)
CONCURRENCY_SECONDS = 2.0


@dataclass(slots=True)
class Bench:
    """One run: its Postgres and shared node, its scratch folder, how long to measure, and what is told beside rows."""

    repetitions: int
    seconds: float
    quick: bool
    connections: int = 256
    warmup: float = 1.0
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="slotcast-bench-")))
    """For logs and data of the run's processes."""
    console: Console = field(default_factory=lambda: Console(stderr=True))
    curves: list[Curve] = field(default_factory=list)
    skipped: list[Row] = field(default_factory=list)
    nodes: "list[Slotcast]" = field(default_factory=list)
    """Slotcast nodes that run."""
    _postgres: Postgres | None = field(default=None, init=False)
    _node: "Slotcast | None" = field(default=None, init=False)
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _progress: Progress | None = field(default=None, init=False)

    @property
    def postgres(self) -> Postgres:
        """The run's Postgres, started at first use: measuring a server elsewhere needs none."""
        if self._postgres is None:
            self._postgres = Postgres()
        return self._postgres

    @property
    def progress(self) -> Progress:
        """Bars on a terminal, nothing elsewhere."""
        if self._progress is None:
            self._progress = Progress(self.console)
        return self._progress

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def skip(self, scenario: str, what: str, why: str) -> None:
        """Tell in the report that a part of a scenario cannot run here; the rest of it goes on."""
        self.skipped.append(skipped_row(scenario, what, why))
        self.say(f"{scenario} skips {what}: {why}")

    def plot(self, curve: Curve) -> None:
        """Keep a curve for the report."""
        self.curves.append(curve)

    async def node(self) -> "Slotcast":
        """The Slotcast node that scenarios share: started at first use, stopped at the end of the run.

        A scenario that restarts, starves or weighs its server starts one of its own.
        """
        from bench.slotcast import Slotcast

        async with self._starting:
            if self._node is not None and self._node.server.process.returncode is not None:
                # Whatever ended it has been told by the scenario that saw it; the next ones are not to blame.
                await self._node.stop()
                self._node = None
            if self._node is None:
                self._node = await Slotcast.start(self)
            return self._node

    def shared(self) -> set[int]:
        """Ids of processes that outlive a scenario."""
        return set() if self._node is None else {self._node.server.pid}

    async def peer(self, module: str, *arguments: str, environment: dict[str, str] | None = None) -> Listener:
        """Start a peer's server process on a free port."""
        port = free_port()
        return await listen(
            [f"bench.peers.{module}", "--port", str(port), *arguments],
            port,
            self.folder / f"{module}-{port}.log",
            environment or {},
            "/readyz",
        )

    async def settle(self) -> None:
        """Write out and drop what earlier measurements left behind, so that nobody pays for another's."""
        for node in self.nodes:
            await node.drop_backlog()
        if self._postgres is not None:
            await self._postgres.checkpoint()

    async def stop(self) -> None:
        """End the shared node and the progress bars; children and Postgres are ended by `end`."""
        if self._progress is not None:
            self._progress.stop()
        if self._node is not None:
            node, self._node = self._node, None
            await node.stop()

    def end(self, keep_logs: bool = False) -> None:
        """Stop Postgres, if it was ever started, and remove what the run wrote."""
        if self._postgres is not None:
            self._postgres.stop()
        if keep_logs:
            self.say(f"logs: {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(slots=True)
class Contender:
    """One side of a comparison: where it listens and the job for each repetition."""

    name: str
    server: Listener
    job: Callable[[int], Job]
    outcomes: list[Outcome] = field(default_factory=list)
    extra: list[Outcome] = field(default_factory=list)
    """Runs at a given rate or concurrency: no part of the ratios, but as much to be verified as the others."""

    def rates(self) -> list[float]:
        return [outcome.rate for outcome in self.outcomes]

    def goodputs(self) -> list[float]:
        return [outcome.goodput for outcome in self.outcomes]

    def acknowledged(self) -> list[str]:
        """Ids of everything this contender has said it booked, in turns and extra runs alike."""
        return [id_ for outcome in (*self.outcomes, *self.extra) for id_ in outcome.ids]


async def take_turns(bench: Bench, scenario: str, contenders: Sequence[Contender]) -> None:
    """A B, B A, A B …: drift of the machine falls on every side alike. Any error refuses the run."""
    with bench.progress.steps(scenario, bench.repetitions * len(contenders)) as step:
        for repetition in range(bench.repetitions):
            turn = contenders if repetition % 2 == 0 else contenders[::-1]
            for contender in turn:
                step(contender.name)
                await bench.settle()
                outcome = await run_job(contender.job(repetition))
                accept(scenario, contender.name, outcome)
                contender.outcomes.append(outcome)
                bench.say(
                    f"{scenario} {repetition + 1}/{bench.repetitions} {contender.name}: "
                    f"{outcome.rate:,.0f}/s  p50 {outcome.p50:.1f} ms  p99 {outcome.p99:.1f} ms"
                )


async def open_loop(bench: Bench, scenario: str, contender: Contender, ceiling: float) -> list[Row]:
    """Latency at parts of the ceiling (answers per second), counted from the moment each request was due.

    Runs the jobs of the repetitions after the last, one for each level, and keeps their outcomes in `extra`.
    """
    levels = QUICK_LEVELS if bench.quick else LEVELS
    rows: list[Row] = []
    series: dict[str, list[tuple[float, float]]] = {}
    with bench.progress.steps(f"{scenario} open loop", len(levels)) as step:
        for level, share in enumerate(levels):
            step(f"{contender.name} at {share:.0%}")
            await bench.settle()
            job = contender.job(bench.repetitions + level)
            job = msgspec.structs.replace(job, rate=ceiling * share, seed=level + 1)
            outcome = await run_job(job)
            accept(scenario, f"{contender.name}, open loop at {share:.0%}", outcome)
            contender.extra.append(outcome)
            rows += level_rows(scenario, f"{contender.name} at {share * 100:.0f} %", outcome)
            series[f"{share * 100:.0f} %, {job.rate:,.0f}/s"] = histogram.spectrum(histogram.decode(outcome.hdr))
            bench.say(
                f"{scenario} {contender.name} open loop at {share:.0%}, {job.rate:,.0f}/s due: "
                f"p50 {outcome.p50:.1f} ms  p99 {outcome.p99:.1f} ms  worst {outcome.worst:.1f} ms"
            )
    bench.plot(
        Curve(
            scenario=scenario,
            title=f"{contender.name}: latency at parts of its ceiling",
            x="percentile",
            y="latency from the intended moment, ms",
            series=series,
            log_x=True,
            log_y=True,
        )
    )
    return rows


def level_rows(scenario: str, level: str, outcome: Outcome) -> list[Row]:
    """What one open-loop run says."""
    latencies = histogram.decode(outcome.hdr)
    measured: dict[str, tuple[float, str]] = {
        f"{level} {name}": (histogram.percentile_ms(latencies, share), "ms") for name, share in PERCENTILES.items()
    }
    measured[f"{level} max"] = histogram.worst_ms(latencies), "ms"
    measured[f"{level} offered"] = outcome.offered, "/s"
    measured[f"{level} goodput"] = outcome.goodput, "/s"
    measured[f"{level} generator late p99"] = outcome.late, "ms"
    return [
        Row(scenario=scenario, metric=metric, measured=value, unit=unit, values=[value])
        for metric, (value, unit) in measured.items()
    ]


async def by_concurrency(bench: Bench, scenario: str, contenders: Sequence[Contender]) -> None:
    """A curve of answers per second over closed-loop connections; too long for a quick run.

    Runs the jobs of the repetitions after those of `open_loop`, and keeps their outcomes in `extra`.
    """
    if bench.quick:
        return
    series: dict[str, list[tuple[float, float]]] = {contender.name: [] for contender in contenders}
    with bench.progress.steps(f"{scenario} by concurrency", len(CONCURRENCY) * len(contenders)) as step:
        for level, connections in enumerate(CONCURRENCY):
            for contender in contenders:
                step(f"{contender.name}, {connections} connections")
                await bench.settle()
                job = contender.job(bench.repetitions + len(LEVELS) + level)
                seconds = min(job.seconds, CONCURRENCY_SECONDS)
                outcome = await run_job(msgspec.structs.replace(job, connections=connections, seconds=seconds))
                accept(scenario, f"{contender.name}, {connections} connections", outcome)
                contender.extra.append(outcome)
                series[contender.name].append((float(connections), outcome.rate))
            reached = ", ".join(f"{name} {points[-1][1]:,.0f}/s" for name, points in series.items())
            bench.say(f"{scenario} {connections} connections: {reached}")
    bench.plot(
        Curve(
            scenario=scenario,
            title="throughput by concurrency",
            x="connections",
            y="answers per second",
            series=series,
            log_x=True,
        )
    )


async def run_job(job: Job) -> Outcome:
    """One job in a generator process of its own, while the memory of what it watches is sampled from here."""
    generator = await Generator.start("bench.http_load")
    try:
        async with peak_memory(job.watch) as peak:
            outcome = await generator.ask(job, Outcome, job.warmup + job.seconds + GRACE_SECONDS)
        return msgspec.structs.replace(outcome, peak_memory=peak)
    finally:
        await generator.stop()


def accept(scenario: str, name: str, outcome: Outcome) -> None:
    """Refuse a run with errors, without answers, or that had nothing left to send."""
    if outcome.errors:
        raise Refused(f"{scenario} {name}: answers other than expected {outcome.errors}\n{outcome.sample_error}")
    if outcome.exhausted:
        raise Refused(f"{scenario} {name}: ran out of distinct slots; create more calendars")
    if outcome.operations == 0:
        raise Refused(f"{scenario} {name}: nothing was answered")

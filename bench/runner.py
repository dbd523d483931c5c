"""What every scenario is handed, and how contenders take turns."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from bench.children import Generator, Listener, free_port, listen
from bench.load import Job, Outcome
from bench.postgres import Postgres
from bench.report import Refused

# On top of the window: connecting, draining, and decoding what was kept.
GRACE_SECONDS = 60.0


@dataclass(slots=True)
class Bench:
    """One run: its Postgres, its scratch folder and how long to measure."""

    postgres: Postgres
    repetitions: int
    seconds: float
    quick: bool
    connections: int = 128
    warmup: float = 1.0
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="slotcast-bench-")))
    console: Console = field(default_factory=lambda: Console(stderr=True))

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False)

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


@dataclass(slots=True)
class Contender:
    """One side of a comparison: where it listens and the job for each repetition."""

    name: str
    server: Listener
    job: Callable[[int], Job]
    outcomes: list[Outcome] = field(default_factory=list)

    def rates(self) -> list[float]:
        return [outcome.rate for outcome in self.outcomes]


async def take_turns(bench: Bench, scenario: str, contenders: Sequence[Contender]) -> None:
    """A B, B A, A B …: drift of the machine falls on every side alike. Any error refuses the run."""
    for repetition in range(bench.repetitions):
        turn = contenders if repetition % 2 == 0 else contenders[::-1]
        for contender in turn:
            await bench.postgres.checkpoint()
            outcome = await run_job(contender.job(repetition))
            _accept(scenario, contender.name, outcome)
            contender.outcomes.append(outcome)
            bench.say(
                f"{scenario} {repetition + 1}/{bench.repetitions} {contender.name}: "
                f"{outcome.rate:,.0f}/s  p50 {outcome.p50:.1f} ms  p99 {outcome.p99:.1f} ms"
            )


async def run_job(job: Job) -> Outcome:
    """One job in a generator process of its own."""
    generator = await Generator.start("bench.http_load")
    try:
        return await generator.ask(job, Outcome, job.warmup + job.seconds + GRACE_SECONDS)
    finally:
        await generator.stop()


def _accept(scenario: str, name: str, outcome: Outcome) -> None:
    if outcome.errors:
        raise Refused(f"{scenario} {name}: answers other than expected {outcome.errors}\n{outcome.sample_error}")
    if outcome.exhausted:
        raise Refused(f"{scenario} {name}: ran out of distinct slots; create more calendars")
    if outcome.operations == 0:
        raise Refused(f"{scenario} {name}: nothing was answered")

"""What the parts of `cluster` share: the nodes, their generator, the calendars, and what was acknowledged."""

import os
from dataclasses import dataclass, field
from typing import TypeVar

from bench.children import Generator
from bench.cluster_jobs import Answer, Command, Measured, Together
from bench.cluster_nodes import Nodes
from bench.live import Failed
from bench.load import Job, Outcome
from bench.report import Refused, Row
from bench.rows import spread_row
from bench.runner import GRACE_SECONDS, Bench, accept
from bench.stats import spread

NAME = "cluster"
Wanted = TypeVar("Wanted", bound=Answer)


@dataclass(slots=True)
class Ground:
    bench: Bench
    nodes: Nodes
    generator: Generator
    service: str
    client: str
    calendars: list[str]
    """For throughput and the cost of a hop."""
    booked: list[str]
    """Those that are booked while nodes come and go."""
    acknowledged: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """Ids of bookings of `booked`; there are no others of these."""
    others_cpu: list[float] = field(default_factory=list)
    """What processes outside took of the machine in each window, as a share."""

    async def ask(self, command: Command, wanted: type[Wanted], seconds: float = 0.0) -> Wanted:
        """What the generator answers; what it found wrong refuses the run."""
        answer = await self.generator.ask(command, Failed | wanted, seconds + GRACE_SECONDS)  # type: ignore[arg-type]
        if isinstance(answer, Failed):
            raise Refused(f"{NAME}: {answer.failure}")
        return answer

    async def carry_out(self, name: str, jobs: list[Job]) -> Outcome:
        """These jobs at the same time, as one outcome; its bookings are kept for the check at the end."""
        await self.bench.settle()
        command = Together(jobs=jobs, watch=self.nodes.watch())
        outcome = (await self.ask(command, Measured, jobs[0].warmup + jobs[0].seconds)).outcome
        accept(NAME, name, outcome)
        self.acknowledged += outcome.ids
        self.note_others(outcome.others_cpu, outcome.seconds)
        return outcome

    def note_others(self, cpu: float, seconds: float) -> None:
        self.others_cpu.append(cpu / seconds / (os.cpu_count() or 1))


def cpu_us(cpu: dict[str, float], operations: int) -> dict[str, float]:
    """Microseconds of the nodes, of Redis and of Postgres for each operation."""
    sums = {"nodes": 0.0, "redis": 0.0, "postgres": 0.0}
    for name, seconds in cpu.items():
        sums["nodes" if name.startswith("node ") else name] += seconds
    return {name: seconds * 1e6 / max(1, operations) for name, seconds in sums.items()}


def outcome_rows(what: str, unit: str, outcomes: list[Outcome]) -> list[Row]:
    """Rate, latency and CPU of one thing asked in one way; medians over the turns."""
    rows = [spread_row(NAME, f"{what}: rate", spread([o.rate for o in outcomes]), unit="/s", digits=0)]
    for label, values in (("p50", [o.p50 for o in outcomes]), ("p99", [o.p99 for o in outcomes])):
        rows.append(spread_row(NAME, f"{what}: {label} (closed loop)", spread(values), unit="ms"))
    return rows + cpu_rows(what, unit, [cpu_us(o.cpu, o.operations) for o in outcomes])


def cpu_rows(what: str, unit: str, spent: list[dict[str, float]]) -> list[Row]:
    return [
        spread_row(NAME, f"{what}: CPU of {name} per {unit}", spread([s[name] for s in spent]), unit="µs", digits=1)
        for name in spent[0]
    ]

"""Rows out of contenders that took turns."""

import os
from collections.abc import Iterable, Sequence
from typing import Literal

from bench.live import Driven
from bench.load import Outcome
from bench.report import DISTURBANCE, Row, goal_row
from bench.runner import Contender
from bench.stats import Spread, ratios, spread

ANSWERING = "answering and nothing else"
LEAST = "the least that is durable and guarded"
KEEPING = "all that Slotcast writes, and nothing else"


def ratio_row(scenario: str, ours: Contender, theirs: Contender, goal: float | None, floor: float | None = None) -> Row:
    """Our rate over theirs, within each repetition; without a goal it informs only. `floor` is the floor's best."""
    ratio = ratios(ours.rates(), theirs.rates())
    metric = f"rate vs {theirs.name}"
    if goal is None:
        return spread_row(scenario, metric, ratio, unit="x")
    return goal_row(scenario, metric, ratio.median, goal, spread=ratio.text(), values=ratio.values, floor=floor)


def spread_row(
    scenario: str, metric: str, value: Spread, *, unit: str, digits: int = 2, direction: Literal[">=", "<="] = ">="
) -> Row:
    """A row without a goal: the median of the repetitions and their range. `direction` tells which way is better."""
    return Row(
        scenario=scenario,
        metric=metric,
        measured=value.median,
        unit=unit,
        spread=value.text(digits),
        values=list(value.values),
        direction=direction,
    )


def reach_row(scenario: str, floor: Contender, theirs: Contender, what: str) -> Row:
    """How far ahead of them a server is that does only what `what` says: about the most that can be had here."""
    ratio = ratios(floor.rates(), theirs.rates())
    return spread_row(scenario, f"{floor.name} vs {theirs.name}: {what}", ratio, unit="x")


def cpu_row(scenario: str, ours: Contender, theirs: Contender) -> Row:
    """Their server's CPU for an operation over ours: what the rates' ratio would be with a core to itself."""
    ratio = ratios(
        [o.cpu_per_thousand("server") for o in theirs.outcomes],
        [o.cpu_per_thousand("server") for o in ours.outcomes],
    )
    return spread_row(scenario, f"server CPU per answer, {theirs.name} / {ours.name}", ratio, unit="x")


def disturbance_row(scenario: str, outcomes: Iterable[Outcome | Driven]) -> Row:
    """The most that processes outside the measurement took of the machine in any window.

    Idle contenders and the kernel are in it, so a few percent are normal; much more and the run is void.
    """
    worst = max(o.others_cpu / o.seconds / (os.cpu_count() or 1) for o in outcomes)
    return Row(scenario=scenario, metric=DISTURBANCE, measured=worst * 100, unit="%")


def detail_rows(scenario: str, contenders: Sequence[Contender]) -> list[Row]:
    """Rate, latency, CPU and memory of each contender; medians over repetitions."""
    rows: list[Row] = []
    for contender in contenders:
        name, outcomes = contender.name, contender.outcomes
        rows.append(spread_row(scenario, f"{name} rate", spread(contender.rates()), unit="/s", digits=0))
        if any(outcome.good != outcome.operations for outcome in outcomes):
            rows.append(spread_row(scenario, f"{name} goodput", spread(contender.goodputs()), unit="/s", digits=0))
        for label, values in (
            ("p50", [o.p50 for o in outcomes]),
            ("p99", [o.p99 for o in outcomes]),
        ):
            rows.append(spread_row(scenario, f"{name} {label} (closed loop)", spread(values), unit="ms", digits=1))
        for process in (*outcomes[0].cpu, "generator"):
            cpu = spread([outcome.cpu_per_thousand(process) * 1000 for outcome in outcomes])
            rows.append(spread_row(scenario, f"{name} CPU of {process} per 1,000", cpu, unit="ms", digits=1))
        for process in outcomes[0].peak_memory:
            memory = spread([outcome.peak_memory[process] / 1e6 for outcome in outcomes])
            rows.append(spread_row(scenario, f"{name} peak memory of {process}", memory, unit="MB", digits=1))
    rows.append(disturbance_row(scenario, (o for c in contenders for o in (*c.outcomes, *c.extra))))
    return rows

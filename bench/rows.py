"""Rows out of contenders that took turns."""

import os
from collections.abc import Iterable, Sequence
from statistics import median

from bench.live import Driven
from bench.load import Outcome
from bench.report import DISTURBANCE, Row, goal_row
from bench.runner import Contender
from bench.stats import ratios, spread


def ratio_row(
    scenario: str, ours: Contender, theirs: Contender, goal: float | None, long_term: float | None = None
) -> Row:
    """Our rate over theirs, within each repetition; without a goal it informs only."""
    ratio = ratios(ours.rates(), theirs.rates())
    metric = f"rate vs {theirs.name}"
    if goal is None:
        return Row(scenario=scenario, metric=metric, measured=ratio.median, unit="x", spread=ratio.text())
    return goal_row(scenario, metric, ratio.median, goal, long_term=long_term, spread=ratio.text())


def cpu_row(scenario: str, ours: Contender, theirs: Contender) -> Row:
    """Their server's CPU for an operation over ours: what the rates' ratio would be with a core to itself."""
    ratio = ratios(
        [o.cpu_per_thousand("server") for o in theirs.outcomes],
        [o.cpu_per_thousand("server") for o in ours.outcomes],
    )
    return Row(
        scenario=scenario,
        metric=f"server CPU per answer, {theirs.name} / {ours.name}",
        measured=ratio.median,
        spread=ratio.text(),
    )


def disturbance_row(scenario: str, outcomes: Iterable[Outcome | Driven]) -> Row:
    """The most that processes outside the measurement took of the machine in any window.

    Idle contenders and the kernel are in it, so a few percent are normal; much more and the run is void.
    """
    worst = max(o.others_cpu / o.seconds / (os.cpu_count() or 1) for o in outcomes)
    return Row(scenario=scenario, metric=DISTURBANCE, measured=worst * 100, unit="%")


def detail_rows(scenario: str, contenders: Sequence[Contender]) -> list[Row]:
    """Rate, latency and CPU of each contender; medians over repetitions."""
    rows: list[Row] = []
    for contender in contenders:
        rate = spread(contender.rates())
        name = contender.name
        rows.append(
            Row(
                scenario=scenario,
                metric=f"{name} rate",
                measured=rate.median,
                unit="/s",
                spread=rate.text(0),
            )
        )
        for label, values in (
            ("p50", [o.p50 for o in contender.outcomes]),
            ("p99", [o.p99 for o in contender.outcomes]),
        ):
            value = spread(values)
            rows.append(
                Row(
                    scenario=scenario,
                    metric=f"{name} {label} (closed loop)",
                    measured=value.median,
                    unit="ms",
                    spread=value.text(1),
                )
            )
        for process in (*contender.outcomes[0].cpu, "generator"):
            cpu = median(outcome.cpu_per_thousand(process) for outcome in contender.outcomes)
            rows.append(
                Row(
                    scenario=scenario,
                    metric=f"{name} CPU of {process} per 1,000",
                    measured=cpu * 1000,
                    unit="ms",
                )
            )
    rows.append(disturbance_row(scenario, (o for c in contenders for o in c.outcomes)))
    return rows

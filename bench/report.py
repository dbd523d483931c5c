"""Rows of results, their table and their JSON."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table


class Refused(Exception):
    """A run whose numbers must not be reported: errors, lost acknowledgements or broken invariants."""


# Idle contenders and the kernel take a little; more than this and a ratio is about somebody else.
DISTURBED_PERCENT = 10.0
DISTURBANCE = "CPU taken by others, worst window"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One measured thing; `measured` and `goal` share `unit`, and `met` is absent without a goal."""

    scenario: str
    metric: str
    measured: float
    unit: str = ""
    spread: str = ""
    goal: float | None = None
    long_term: float | None = None
    direction: Literal[">=", "<="] = ">="
    met: bool | None = None


def goal_row(
    scenario: str,
    metric: str,
    measured: float,
    goal: float,
    *,
    long_term: float | None = None,
    direction: Literal[">=", "<="] = ">=",
    unit: str = "x",
    spread: str = "",
) -> Row:
    """A row with a verdict: measured against the goal in the given direction."""
    met = measured >= goal if direction == ">=" else measured <= goal
    return Row(
        scenario=scenario,
        metric=metric,
        measured=measured,
        unit=unit,
        spread=spread,
        goal=goal,
        long_term=long_term,
        direction=direction,
        met=met,
    )


def print_rows(rows: Iterable[Row]) -> None:
    """The closing tables: verdicts first, what they rest on after them."""
    rows = list(rows)
    console = Console(width=None if Console().is_terminal else 120)
    goals = Table("scenario", "metric", title="goals")
    for name in ("measured", "min..max", "goal", "long term"):
        goals.add_column(name, justify="right")
    goals.add_column("verdict")
    for row in (r for r in rows if r.goal is not None):
        goals.add_row(
            row.scenario,
            row.metric,
            _number(row.measured, row.unit),
            row.spread,
            f"{row.direction} {_number(row.goal or 0, row.unit)}",
            "" if row.long_term is None else f"{row.direction} {_number(row.long_term, row.unit)}",
            "[green]met[/]" if row.met else "[red]short[/]",
        )
    details = Table("scenario", "metric", title="measured")
    details.add_column("value", justify="right")
    details.add_column("min..max", justify="right")
    for row in (r for r in rows if r.goal is None):
        details.add_row(row.scenario, row.metric, _number(row.measured, row.unit), row.spread)
    for table in (details, goals):
        if table.row_count:
            console.print(table)
    for row in rows:
        if row.metric == DISTURBANCE and row.measured > DISTURBED_PERCENT:
            console.print(f"{row.scenario}: others took {row.measured:.0f} % of the machine; run it again")


def write_json(path: Path, rows: Iterable[Row], refused: dict[str, str]) -> None:
    """All rows and the scenarios refused, with why, as one JSON document."""
    document = {"rows": list(rows), "refused": refused}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2))


def _number(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2
    return f"{value:,.{digits}f}{'' if unit == 'x' or not unit else ' ' + unit}"

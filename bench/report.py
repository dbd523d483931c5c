"""Rows of results, their tables and their JSON."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table


class Refused(Exception):
    """A run whose numbers must not be reported: errors, lost acknowledgements or broken invariants."""


class Skipped(Exception):
    """What cannot run here, with a reason of one line; told in the report, and no failure."""


# Idle contenders and the kernel take a little; more than this and a ratio is about somebody else.
DISTURBED_PERCENT = 10.0
DISTURBANCE = "CPU taken by others, worst window"
REFUSED = "refused"
SKIPPED = "skipped"
MACHINE = "machine"

Direction = Literal[">=", "<="]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One measured thing; `measured` and `goal` share `unit`, and `met` is absent without a goal."""

    scenario: str
    metric: str
    measured: float
    unit: str = ""
    spread: str = ""
    goal: float | None = None
    direction: Direction = ">="
    """Of the goal; without one, "<=" says that less is better where the unit does not."""
    met: bool | None = None
    floor: float | None = None
    """The most that the least server that does the same has reached in any turn of this run, in `unit`."""
    values: list[float] = []
    """One value per repetition; how far they lie apart is the noise of this row."""
    note: str = ""


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """Something to plot: points (x, y) by the name of their line."""

    scenario: str
    title: str
    x: str
    y: str
    series: dict[str, list[tuple[float, float]]]
    log_x: bool = False
    log_y: bool = False


def goal_row(
    scenario: str,
    metric: str,
    measured: float,
    goal: float,
    *,
    direction: Direction = ">=",
    unit: str = "x",
    spread: str = "",
    values: Sequence[float] = (),
    note: str = "",
    floor: float | None = None,
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
        direction=direction,
        met=met,
        floor=floor,
        values=list(values),
        note=note,
    )


def refused_row(scenario: str, why: str) -> Row:
    """Stands for a scenario whose numbers must not be reported."""
    return Row(scenario=scenario, metric=REFUSED, measured=0.0, met=False, note=why)


def skipped_row(scenario: str, what: str, why: str) -> Row:
    """Stands for something that could not run here."""
    return Row(scenario=scenario, metric=f"{SKIPPED}: {what}", measured=0.0, note=why)


def is_refused(row: Row) -> bool:
    return row.metric == REFUSED


def is_skipped(row: Row) -> bool:
    return row.metric.startswith(f"{SKIPPED}: ")


def is_measured(row: Row) -> bool:
    return not is_refused(row) and not is_skipped(row)


def disturbed(rows: Iterable[Row]) -> list[str]:
    """A warning for each scenario that somebody else's work has spoilt."""
    return [
        f"{row.scenario}: others took {row.measured:.0f} % of the machine; run it again"
        for row in rows
        if row.metric == DISTURBANCE and row.measured > DISTURBED_PERCENT
    ]


def print_rows(rows: Iterable[Row], console: Console | None = None) -> None:
    """The closing tables: what was measured, the verdicts, and what is missing from them."""
    rows = list(rows)
    console = console or Console(width=None if Console().is_terminal else 120)
    details = Table("scenario", "metric", title="measured", title_justify="left")
    details.add_column("value", justify="right")
    details.add_column("min..max", justify="right")
    goals = Table("scenario", "metric", title="goals", title_justify="left")
    for name in ("measured", "min..max", "goal", "floor"):
        goals.add_column(name, justify="right")
    goals.add_column("verdict")
    for row in filter(is_measured, rows):
        if row.goal is None:
            details.add_row(escape(row.scenario), escape(row.metric), escape(value_text(row)), row.spread)
            continue
        colour = "green" if row.met else "yellow" if beyond_floor(row) else "red"
        told = (row.scenario, row.metric, value_text(row), row.spread, goal_text(row), floor_text(row))
        goals.add_row(*map(escape, told), f"[{colour}]{verdict(row)}[/]")
    for table in (details, goals):
        if table.row_count:
            console.print(table)
    lines = [f"SKIPPED {r.scenario}, {r.metric.removeprefix(SKIPPED + ': ')}: {r.note}" for r in rows if is_skipped(r)]
    lines += [f"REFUSED {r.scenario}: {r.note}" for r in rows if is_refused(r)]
    for line in (*disturbed(rows), *lines):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def write_json(path: Path, rows: Iterable[Row]) -> None:
    """All rows as one JSON list, refused and skipped ones among them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(list(rows)), indent=2) + b"\n")


def value_text(row: Row) -> str:
    """The measured value with its unit, or the note of a row that has no number."""
    if row.note and not row.unit and not row.measured:
        return row.note
    return number(row.measured, row.unit) + (f" ({row.note})" if row.note else "")


def goal_text(row: Row) -> str:
    return "" if row.goal is None else f"{row.direction} {number(row.goal, row.unit)}"


def floor_text(row: Row) -> str:
    return "" if row.floor is None else number(row.floor, row.unit)


def verdict(row: Row) -> str:
    """Of a row with a goal. A goal that even the floor misses is still missed, but not for what the server does."""
    if row.met:
        return "met"
    return "short, as is the floor" if beyond_floor(row) else "short"


def beyond_floor(row: Row) -> bool:
    """Whether the goal lies beyond what the least that does the same has reached in this run."""
    if row.goal is None or row.floor is None:
        return False
    return row.floor < row.goal if row.direction == ">=" else row.floor > row.goal


def number(value: float, unit: str) -> str:
    """A number with as many digits as it deserves."""
    count = not unit and value == int(value)
    digits = 0 if count or abs(value) >= 1000 else 1 if abs(value) >= 100 else 2
    return f"{value:,.{digits}f}{'' if unit == 'x' or not unit else ' ' + unit}"

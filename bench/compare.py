"""`python -m bench compare OLD.json NEW.json`: what changed between two runs beyond their noise."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Literal

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.report import MACHINE, Row, is_measured, is_refused, number

# Medians nearer than this are the same, however steady the repetitions were.
NEAR = 0.05
# A row measured once shows no noise of its own, so it has to differ by a factor before it counts.
ONCE = 1.5
LOWER_IS_BETTER = {"ms", "us", "µs", "s", "KB", "MB", "bytes", "%"}

Verdict = Literal["better", "worse", "changed"]


class Unreadable(Exception):
    """A file that holds no rows, with what is wrong with it."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference between two runs."""

    scenario: str
    metric: str
    old: str
    new: str
    verdict: str


def read(path: Path) -> list[Row]:
    """The rows that a run left behind."""
    try:
        rows = msgspec.json.decode(path.read_bytes(), type=list[Row])
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path} is no list of rows from --json: {error}") from error
    if not rows:
        raise Unreadable(f"{path} holds no rows")
    return rows


def changes(old: Sequence[Row], new: Sequence[Row]) -> list[Change]:
    """What is better, worse, newly met or missed, and what only one of the runs has."""
    before, after = _by_name(old), _by_name(new)
    # A scenario that one run left out, or that was refused there, is one line and not one for each of its rows.
    whole = {row.scenario for row in before.values() if is_measured(row)}
    whole ^= {row.scenario for row in after.values() if is_measured(row)}
    found: list[Change] = []
    for name, row in after.items():
        earlier = before.get(name)
        if earlier is not None and is_measured(row):
            found += _both(earlier, row)
        elif earlier is None and row.scenario not in whole:
            found.append(_change(row, "", _text(row), "refused now" if is_refused(row) else "only in new"))
    for name, row in before.items():
        if name not in after and row.scenario not in whole:
            found.append(_change(row, _text(row), "", "no longer refused" if is_refused(row) else "only in old"))
    for scenario in sorted(whole):
        found.append(_alone(scenario, before.values(), after.values()))
    return found


def _alone(scenario: str, before: Iterable[Row], after: Iterable[Row]) -> Change:
    """A scenario with rows in one run only, and why the other has none if it says so."""
    old, new = ([row for row in rows if row.scenario == scenario] for rows in (before, after))
    lost = any(map(is_measured, old))
    without = new if lost else old
    what = ("refused now" if lost else "no longer refused") if any(map(is_refused, without)) else ""
    why, rows = "; ".join(map(_text, without)), f"{sum(map(is_measured, old if lost else new))} rows"
    return Change(
        scenario=scenario,
        metric="all of it",
        old=rows if lost else why,
        new=why if lost else rows,
        verdict=what or ("only in old" if lost else "only in new"),
    )


def verdict(old: Row, new: Row) -> Verdict | None:
    """Better or worse, or nothing when the difference is within the noise of the two."""
    a, b = old.values or [old.measured], new.values or [new.measured]
    middle, now = median(a), median(b)
    if min(a) <= max(b) and min(b) <= max(a):
        return None
    if len(a) < 2 or len(b) < 2:
        low, high = sorted((abs(middle), abs(now)))
        if high <= low * ONCE:
            return None
    elif abs(now - middle) <= NEAR * abs(middle):
        return None
    lower = _lower_is_better(new)
    if lower is None:
        return "changed"
    return "better" if (now < middle) == lower else "worse"


def _lower_is_better(row: Row) -> bool | None:
    if row.direction == "<=" or row.unit in LOWER_IS_BETTER:
        return True
    if row.goal is not None or row.unit == "x" or row.unit.endswith("/s"):
        return False
    return None


def _both(old: Row, new: Row) -> list[Change]:
    found: list[Change] = []
    judged = verdict(old, new)
    if old.met is not None and new.met is not None and old.met != new.met:
        found.append(_change(new, _text(old), _text(new), "goal met now" if new.met else "goal missed now"))
    if judged is not None:
        share = f" by {abs(new.measured / old.measured - 1):.0%}" if old.measured else ""
        once = " (measured once)" if min(len(old.values), len(new.values)) < 2 else ""
        found.append(_change(new, _text(old), _text(new), f"{judged}{share}{once}"))
    return found


def _by_name(rows: Sequence[Row]) -> dict[tuple[str, str], Row]:
    # Facts about the machine are shown above the table, not compared.
    return {(row.scenario, row.metric): row for row in rows if row.scenario != MACHINE}


def _change(row: Row, old: str, new: str, what: str) -> Change:
    return Change(scenario=row.scenario, metric=row.metric, old=old, new=new, verdict=what)


def _text(row: Row) -> str:
    if not is_measured(row):
        return row.note.splitlines()[0] if row.note else row.metric
    return number(row.measured, row.unit) + (f" [{row.spread}]" if row.spread else "")


def machines(old: Sequence[Row], new: Sequence[Row]) -> list[str]:
    """Facts in which the two runs differ: across machines, a comparison says little."""
    was, now = (
        {row.metric: row.note or number(row.measured, row.unit) for row in rows if row.scenario == MACHINE}
        for rows in (old, new)
    )
    return [f"{name}: {was[name]} -> {now[name]}" for name in was if name in now and was[name] != now[name]]


def main(arguments: list[str]) -> int:
    """0, or 1 with `--fail` when something got worse; 2 for files that hold no rows."""
    parser = argparse.ArgumentParser(prog="python -m bench compare", description=main.__doc__)
    parser.add_argument("old", type=Path, metavar="OLD.json")
    parser.add_argument("new", type=Path, metavar="NEW.json")
    parser.add_argument("--fail", action="store_true", help="exit with 1 when something got worse")
    options = parser.parse_args(arguments)
    try:
        old, new = read(options.old), read(options.new)
    except Unreadable as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    found = changes(old, new)
    console = Console(width=None if Console().is_terminal else 140)
    for line in machines(old, new):
        console.print(line, markup=False, highlight=False)
    if not found:
        console.print("nothing changed beyond the noise")
        return 0
    table = Table("scenario", "metric", "old", "new", "")
    for change in found:
        table.add_row(*(escape(text) for text in msgspec.structs.astuple(change)))
    console.print(table)
    return 1 if options.fail and any(is_worse(change) for change in found) else 0


def is_worse(change: Change) -> bool:
    return change.verdict.startswith(("worse", "goal missed", "refused now"))

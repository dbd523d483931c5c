"""A run as `report.md` with its plots beside it."""

import re
from collections.abc import Sequence
from pathlib import Path

from bench.report import (
    MACHINE,
    SKIPPED,
    Curve,
    Row,
    disturbed,
    floor_text,
    goal_text,
    is_measured,
    is_refused,
    is_skipped,
    number,
    value_text,
    verdict,
)


def write_report(folder: Path, rows: Sequence[Row], curves: Sequence[Curve]) -> Path:
    """Write the report and an SVG for each curve into the folder, and give the path of the text."""
    folder.mkdir(parents=True, exist_ok=True)
    plots: list[tuple[Curve, str]] = []
    if curves:
        # Only a report needs matplotlib, which takes a second to import.
        from bench.plots import draw

        for curve, name in zip(curves, plot_names(curves), strict=True):
            draw(curve, folder / name)
            plots.append((curve, name))
    path = folder / "report.md"
    path.write_text(text(rows, plots))
    return path


def text(rows: Sequence[Row], plots: Sequence[tuple[Curve, str]] = ()) -> str:
    """The report's text: goals, what is missing, then each scenario with its rows and plots."""
    facts = [row for row in rows if is_measured(row) and row.scenario == MACHINE]
    measured = [row for row in rows if is_measured(row) and row.scenario != MACHINE]
    parts = ["# Measurements of Slotcast"]
    if facts:
        parts.append("\n".join(f"- {row.metric}: {value_text(row)}" for row in facts))
    goals = [row for row in measured if row.goal is not None]
    if goals:
        parts.append("## Goals")
        parts.append(
            _table(
                ("scenario", "metric", "measured", "min..max", "goal", "floor", "verdict"),
                "llrrrrl",
                [
                    (r.scenario, r.metric, value_text(r), r.spread, goal_text(r), floor_text(r), _verdict(r))
                    for r in goals
                ],
            )
        )
    missing = [f"- {row.scenario} refused: {_line(row.note)}" for row in rows if is_refused(row)]
    missing += [
        f"- {row.scenario} skipped {row.metric.removeprefix(SKIPPED + ': ')}: {_line(row.note)}"
        for row in rows
        if is_skipped(row)
    ]
    missing += [f"- {line}" for line in disturbed(rows)]
    if missing:
        parts += ["## Not measured, or not to be trusted", "\n".join(missing)]
    for scenario in dict.fromkeys([row.scenario for row in measured] + [curve.scenario for curve, _ in plots]):
        parts.append(f"## {scenario}")
        parts += [f"![{curve.title}]({name})" for curve, name in plots if curve.scenario == scenario]
        own = [row for row in measured if row.scenario == scenario]
        if own:
            cells = [(r.metric, number(r.measured, r.unit), r.spread, goal_text(r), r.note) for r in own]
            parts.append(_table(("metric", "measured", "min..max", "goal", ""), "lrrrl", cells))
    return "\n\n".join(parts) + "\n"


def plot_names(curves: Sequence[Curve]) -> list[str]:
    """A file name for each curve, out of its scenario and title, no two alike."""
    names: list[str] = []
    for curve in curves:
        stem = re.sub(r"[^a-z0-9]+", "-", f"{curve.scenario} {curve.title}".lower()).strip("-")
        name, number_ = f"{stem}.svg", 2
        while name in names:
            name, number_ = f"{stem}-{number_}.svg", number_ + 1
        names.append(name)
    return names


def _table(head: Sequence[str], align: str, rows: Sequence[Sequence[str]]) -> str:
    rule = ["---:" if side == "r" else "---" for side in align]
    return "\n".join("| " + " | ".join(_line(cell) for cell in row) + " |" for row in (head, rule, *rows))


def _verdict(row: Row) -> str:
    return verdict(row) if row.met else f"**{verdict(row)}**"


def _line(cell: str) -> str:
    return " ".join(cell.replace("|", "\\|").split())

"""Curves as pictures; imported only when a report is asked for."""

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from bench.report import Curve

INCHES = (8.0, 4.5)
COLOURS = ("#0b6e99", "#d1495b", "#3a7d44", "#8d5a97", "#e0a100", "#555555", "#00a6a6", "#a0522d")
# A curve whose x axis is called so holds 1/(1-p) there; the axis shows p.
PERCENTILE = "percentile"
# Few points are told apart better when each is marked.
MARKED = 15
# Beyond this factor between ends, ticks at every value would overlap.
TICKS = 10


def draw(curve: Curve, path: Path) -> None:
    """Write one curve; the suffix of the path says as what."""
    # A figure of its own, without pyplot, draws with Agg and needs no display.
    figure = Figure(figsize=INCHES, layout="constrained")
    axes: Axes = figure.subplots()
    for number, (name, points) in enumerate(curve.series.items()):
        xs, ys = [x for x, _ in points], [y for _, y in points]
        style = "o-" if len(points) <= MARKED else "-"
        axes.plot(xs, ys, style, label=name, color=COLOURS[number % len(COLOURS)], linewidth=1.8, markersize=4)
    axes.set_title(f"{curve.scenario}: {curve.title}", fontsize=11, loc="left")
    axes.set_xlabel(curve.x)
    axes.set_ylabel(curve.y)
    _scale(axes, curve)
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if len(curve.series) > 1 or next(iter(curve.series), ""):
        axes.legend(frameon=False, fontsize=9)
    # Without a date or random ids in it, the same curve gives the same file.
    metadata = {"Date": None} if path.suffix == ".svg" else None
    with matplotlib.rc_context({"svg.hashsalt": "slotcast"}):
        figure.savefig(path, metadata=metadata, dpi=110)


def _scale(axes: Axes, curve: Curve) -> None:
    points = [point for line in curve.series.values() for point in line]
    xs = sorted({x for x, _ in points})
    if curve.log_x and xs and xs[0] > 0:
        axes.set_xscale("log")
        if curve.x == PERCENTILE:
            axes.xaxis.set_major_formatter(FuncFormatter(_percentile))
        elif len(xs) <= TICKS:
            axes.xaxis.set_major_locator(FixedLocator(xs))
            axes.xaxis.set_major_formatter(FuncFormatter(_plain))
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    if curve.log_y and points and min(y for _, y in points) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(FuncFormatter(_one_two_five))
    else:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))


def _percentile(x: float, _: int | None) -> str:
    """1 is the lowest value, 10 is 90 %, 1,000 is 99.9 %."""
    return f"{(1 - 1 / x) * 100:.10g} %" if x >= 1 else ""


def _plain(value: float, _: int | None) -> str:
    return f"{value:,.10g}"


def _one_two_five(value: float, _: int | None) -> str:
    first = f"{value:e}"[0]
    return _plain(value, None) if first in "25" else ""

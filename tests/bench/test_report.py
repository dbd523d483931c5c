"""What a run leaves behind: rows as JSON, a report, an exit code; and which options it takes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench import __main__ as main
from bench import machine, markdown
from bench.report import (
    Curve,
    Direction,
    Refused,
    Row,
    Skipped,
    goal_row,
    print_rows,
    refused_row,
    skipped_row,
    verdict,
    write_json,
)
from bench.runner import Bench

ROWS = [
    Row(scenario="machine", metric="processor", measured=0.0, note="a | fast one"),
    goal_row("book-hot", "rate vs rowlock", 14.2, 15.0, spread="13.9..14.5", values=[13.9, 14.2, 14.5]),
    goal_row("book-hot", "rate vs slottable", 19.0, 80.0, floor=49.0),
    goal_row("idle", "memory per subscriber", 13.5, 14.0, direction="<=", unit="KB"),
    Row(scenario="book-hot", metric="slotcast rate", measured=13500.0, unit="/s", spread="13000..14000"),
    Row(scenario="book-hot", metric="CPU taken by others, worst window", measured=31.0, unit="%"),
    refused_row("contend", "3 active bookings overlap\nanother on their calendar"),
    skipped_row("fanout", "Node ws", "node is not installed"),
]
CURVES = [
    Curve(scenario="book-hot", title="by concurrency", x="connections", y="/s", series={"a": [(1, 2), (8, 9)]}),
    Curve(
        scenario="book-hot", title="by concurrency", x="percentile", y="ms", log_x=True, log_y=True, series={"a": []}
    ),
]


def test_json_is_a_list_of_rows(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "rows.json", ROWS)
    rows = json.loads((tmp_path / "new" / "rows.json").read_text())
    assert len(rows) == len(ROWS)
    for row in rows:
        assert {"scenario", "metric", "measured", "unit", "goal", "met", "direction", "spread", "values"} <= row.keys()
        assert isinstance(row["measured"], float)
    goal = next(row for row in rows if row["metric"] == "rate vs rowlock")
    assert (goal["goal"], goal["met"], goal["values"]) == (15.0, False, [13.9, 14.2, 14.5])
    assert goal["floor"] is None
    assert next(row for row in rows if row["metric"] == "rate vs slottable")["floor"] == 49.0
    refused = next(row for row in rows if row["metric"] == "refused")
    assert (refused["scenario"], refused["measured"], refused["met"]) == ("contend", 0.0, False)
    skipped = next(row for row in rows if row["metric"] == "skipped: Node ws")
    assert (skipped["met"], skipped["note"]) == (None, "node is not installed")


def test_a_goal_may_lie_on_either_side() -> None:
    assert goal_row("a", "b", 15.0, 15.0).met
    assert not goal_row("a", "b", 14.99, 15.0).met
    assert goal_row("a", "b", 14.0, 14.0, direction="<=").met
    assert not goal_row("a", "b", 14.01, 14.0, direction="<=").met


@pytest.mark.parametrize(
    ("measured", "goal", "direction", "floor", "told"),
    [
        (16.0, 15.0, ">=", 14.0, "met"),
        (5.0, 15.0, ">=", 14.0, "short, as is the floor"),
        (5.0, 15.0, ">=", 15.0, "short"),
        (5.0, 15.0, ">=", None, "short"),
        (9.0, 5.0, "<=", 6.0, "short, as is the floor"),
        (9.0, 5.0, "<=", 5.0, "short"),
    ],
)
def test_a_verdict_says_whether_the_floor_misses_the_goal_too(
    measured: float, goal: float, direction: Direction, floor: float | None, told: str
) -> None:
    row = goal_row("a", "b", measured, goal, direction=direction, floor=floor)
    assert verdict(row) == told
    assert row.met == (told == "met"), "what the floor misses is short all the same"


def test_the_tables_tell_verdicts_and_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS)
    told = capsys.readouterr().out
    assert "short" in told
    assert "met" in told
    assert "short, as is the floor" in told
    assert "13.9..14.5" in told
    assert "SKIPPED fanout, Node ws: node is not installed" in told
    assert "REFUSED contend: 3 active bookings overlap" in told
    assert "others took 31 % of the machine" in told


def test_the_report_has_every_row_and_a_plot_for_every_curve(tmp_path: Path) -> None:
    path = markdown.write_report(tmp_path / "report", ROWS, CURVES)
    text = path.read_text()
    for row in ROWS[1:]:
        assert row.scenario in text
        assert row.metric.removeprefix("skipped: ") in text
    assert "- processor: a | fast one" in text
    assert "| book-hot | rate vs rowlock | 14.20 | 13.9..14.5 | >= 15.00 |  | **short** |" in text
    assert "| book-hot | rate vs slottable | 19.00 |  | >= 80.00 | 49.00 | **short, as is the floor** |" in text
    assert "| idle | memory per subscriber | 13.50 KB |  | <= 14.00 KB |  | met |" in text
    assert "contend refused: 3 active bookings overlap another on their calendar" in text
    plots = sorted(tmp_path.glob("report/*.svg"))
    assert [plot.name for plot in plots] == ["book-hot-by-concurrency-2.svg", "book-hot-by-concurrency.svg"]
    for plot in plots:
        assert f"({plot.name})" in text
        assert plot.read_text().startswith("<?xml")


async def fine(bench: Bench) -> list[Row]:
    bench.skip("fine", "Node ws", "node is not installed")
    bench.plot(CURVES[0])
    return [ROWS[1]]


left_behind: list[asyncio.Task[None]] = []


async def broken(bench: Bench) -> list[Row]:
    bench.plot(CURVES[1])
    left_behind.append(asyncio.create_task(asyncio.sleep(60)))
    await asyncio.sleep(0)
    raise ZeroDivisionError("no requests")


async def overlapping(_: Bench) -> list[Row]:
    raise Refused("2 active bookings overlap")


async def elsewhere(_: Bench) -> list[Row]:
    raise Skipped("needs four cores")


async def no_postgres(_: Bench, __: str) -> list[Row]:
    raise Refused("Postgres runs with fsync = off")


async def no_machine(_: Bench, __: str) -> list[Row]:
    return []


async def test_one_broken_scenario_does_not_cost_the_rows_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenarios = {"broken": broken, "overlapping": overlapping, "elsewhere": elsewhere, "fine": fine}
    monkeypatch.setattr(main, "SCENARIOS", scenarios)
    monkeypatch.setattr(machine, "rows", no_machine)
    monkeypatch.setattr(main, "pin", lambda: "nothing is pinned")
    monkeypatch.setattr(main, "raise_file_limit", lambda: None)
    options = main.parse(["--json", str(tmp_path / "rows.json"), "--report", str(tmp_path / "report")])
    assert await run(options) == 2
    assert left_behind.pop().cancelled(), "a peer that one of its tasks starts would disturb the others"
    found = {(row["scenario"], row["metric"]): row for row in json.loads((tmp_path / "rows.json").read_text())}
    assert found["broken", "refused"]["note"] == "ZeroDivisionError: no requests"
    assert found["overlapping", "refused"]["note"] == "2 active bookings overlap"
    assert found["elsewhere", "skipped: all of it"]["note"] == "needs four cores"
    assert found["fine", "skipped: Node ws"]["met"] is None
    assert found["book-hot", "rate vs rowlock"]["measured"] == 14.2
    # What a refused scenario drew is not shown either.
    assert [path.name for path in tmp_path.glob("report/*.svg")] == ["book-hot-by-concurrency.svg"]
    options = main.parse(["--only", "fine"])
    assert await run(options) == 0
    # Nor does a machine that will not tell about itself.
    monkeypatch.setattr(machine, "rows", no_postgres)
    options = main.parse(["--only", "fine", "--json", str(tmp_path / "rows.json")])
    assert await run(options) == 2
    told = [(row["scenario"], row["note"]) for row in json.loads((tmp_path / "rows.json").read_text())]
    assert told[0] == ("machine", "Postgres runs with fsync = off")
    assert "fine" in {scenario for scenario, _ in told}


async def run(options: object) -> int:
    """A run in a task of its own, whose signal handlers go with it."""
    try:
        return await asyncio.create_task(main.run(options))  # type: ignore[arg-type]
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--repetitions", "0"], "at least 1"),
        (["--repetitions", "two"], "invalid"),
        (["--seconds", "0"], "above 0"),
        (["--seconds", "nan"], "above 0"),
        (["--connections", "10001"], "1..10000"),
        (["--connections", "0"], "1..10000"),
        (["--only", "nothing"], "no scenario is called 'nothing'"),
        (["--token", "t"], "needs --url"),
        (["--business", "demo"], "needs --url"),
        (["--url", "slots.example", "--token", "t"], "must begin with http"),
        (["--url", "http://slots.example"], "needs --token"),
        (["--json", "/dev/null/rows.json"], "cannot write"),
        (["--json", "/tmp"], "names a file"),
        (["--report", "/dev/null/report"], "cannot write"),
    ],
)
def test_nonsense_is_refused_before_anything_starts(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main.parse(arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_quick_measures_less_unless_told_otherwise() -> None:
    told = ["--quick", "--repetitions", "7", "--seconds", "0.2", "--connections", "9"]
    wanted = {(): (3, 4.0, 256, False), ("--quick",): (2, 0.5, 256, True), tuple(told): (7, 0.2, 9, True)}
    for arguments, found in wanted.items():
        bench = main.bench_of(main.parse(list(arguments)))
        assert (bench.repetitions, bench.seconds, bench.connections, bench.quick) == found
        bench.end()
        assert not bench.folder.exists()


ENDLESS = """
import asyncio, sys
from bench import __main__ as main, machine
from bench.children import Generator

async def endless(bench):
    generator = await Generator.start("bench.http_load")
    print(generator.pid, flush=True)
    await asyncio.sleep(60)

async def no_machine(bench, pinned):
    return []

main.SCENARIOS.clear()
main.SCENARIOS["endless"] = endless
machine.rows = no_machine
sys.argv = ["bench"]
main.main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_children_too(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        os.kill(child, 0)
        process.send_signal(number)
        _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted; nothing is reported" in told
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)

"""`python -m bench`: run the scenarios, print the ratios, leave them as JSON and as a report."""

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from pathlib import Path

from bench import compare, machine
from bench.children import end_all, pin, raise_file_limit
from bench.report import MACHINE, Refused, Row, Skipped, is_refused, print_rows, refused_row, skipped_row, write_json
from bench.runner import Bench
from bench.scenarios import NOT_QUICK, SCENARIOS, Scenario

INTERRUPTED = 130


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options of a run; what makes no sense ends the process with a line on stderr and 2."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure Slotcast against its peers, in ratios taken within one run.",
        epilog="python -m bench compare OLD.json NEW.json tells what changed between two runs beyond their noise.",
    )
    parser.add_argument("--only", action="append", metavar="SCENARIO", help=f"repeatable; {', '.join(SCENARIOS)}")
    parser.add_argument("--quick", action="store_true", help="short windows, under 90 s in all, noisier")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where to write the rows")
    parser.add_argument("--report", type=Path, metavar="DIR", help="where to write report.md and its plots")
    parser.add_argument("--repetitions", type=_whole, help="turns of each contender (3; quick 2)")
    parser.add_argument("--seconds", type=_seconds, help="measured seconds of each turn (4; quick 0.5)")
    parser.add_argument("--connections", type=_connections, default=256, help="connections of a generator (256)")
    parser.add_argument("--keep-logs", action="store_true", help="leave the servers' logs behind")
    remote = parser.add_argument_group("a server that runs elsewhere", "measured alone: ratios need peers beside it")
    remote.add_argument("--url", help="its base, such as https://slots.example")
    remote.add_argument("--token", help="of an owner of the business to book in")
    remote.add_argument("--business", metavar="ID", help="the business to book in, by its id, or `demo`")
    options = parser.parse_args(arguments)
    for given in ("token", "business"):
        if getattr(options, given) is not None and options.url is None:
            parser.error(f"--{given} says who to be on a server elsewhere; it needs --url")
    if options.url is not None:
        if not options.url.startswith(("http://", "https://")):
            parser.error(f"--url must begin with http:// or https://, not {options.url!r}")
        if options.token is None:
            parser.error("--url needs --token: scenarios make professionals and book")
    unknown = [name for name in options.only or () if name not in SCENARIOS]
    if unknown and options.url is None:
        parser.error(f"no scenario is called {unknown[0]!r}; there are {', '.join(SCENARIOS)}")
    for path in filter(None, (options.report, options.json and options.json.parent)):
        # An hour of measuring must not end in a folder that cannot be written to.
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            parser.error(f"cannot write to {path}: {error.strerror}")
    if options.json is not None and options.json.is_dir():
        parser.error(f"--json names a file; {options.json} is a folder")
    return options


def _whole(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 86_400:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 86400, not {text}")
    return value


def _connections(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 10_000:
        raise argparse.ArgumentTypeError(f"must lie in 1..10000, not {text}")
    return value


def bench_of(options: argparse.Namespace) -> Bench:
    """A run as the options want it; quick ones measure less, unless told otherwise."""
    return Bench(
        repetitions=options.repetitions or (2 if options.quick else 3),
        seconds=options.seconds or (0.5 if options.quick else 4.0),
        quick=options.quick,
        connections=options.connections,
        warmup=0.25 if options.quick else 1.0,
    )


async def run(options: argparse.Namespace) -> int:
    """Everything from the first process to the last row; 2 when anything was refused."""
    raise_file_limit()
    this = asyncio.current_task()
    assert this is not None
    _cancel_on_signals(this)
    bench = bench_of(options)
    before = asyncio.all_tasks()
    rows: list[Row] = []
    try:
        if options.url is not None:
            from bench import target

            await _guarded(bench, rows, "remote", lambda b: target.run_remote(options, b))
        else:
            pinned = pin()
            await _guarded(bench, rows, MACHINE, lambda b: machine.rows(b, pinned))
            bench.say(pinned)
            names = options.only or [name for name in SCENARIOS if not (options.quick and name in NOT_QUICK)]
            with bench.progress.steps("scenarios", len(names)) as step:
                for name in names:
                    step(name)
                    await _guarded(bench, rows, name, SCENARIOS[name])
    finally:
        # Whatever fails on the way, nothing may keep running and disturb the next measurement.
        try:
            await _clear(bench, before)
            await bench.stop()
        finally:
            try:
                await end_all()
            finally:
                bench.end(options.keep_logs)
    rows += bench.skipped
    print_rows(rows)
    if options.json is not None:
        write_json(options.json, rows)
    if options.report is not None:
        from bench.markdown import write_report

        print(f"report: {write_report(options.report, rows, bench.curves)}")
    return 2 if any(map(is_refused, rows)) else 0


async def _guarded(bench: Bench, rows: list[Row], name: str, scenario: Scenario) -> None:
    """One broken scenario must not cost the rows of the others."""
    begun, curves, before = time.monotonic(), len(bench.curves), asyncio.all_tasks()
    try:
        rows += await scenario(bench)
    except Skipped as why:
        rows.append(skipped_row(name, "all of it", str(why)))
        bench.say(f"{name} skipped: {why}")
    except Exception as error:
        why = str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"
        if not isinstance(error, Refused):
            bench.console.print_exception()
        rows.append(refused_row(name, why))
        bench.say(f"{name} refused: {why}")
        # What is refused must not be plotted either.
        del bench.curves[curves:]
    await _clear(bench, before)
    bench.say(f"{name} took {time.monotonic() - begun:.0f} s")


async def _clear(bench: Bench, before: set["asyncio.Task[object]"]) -> None:
    """End the tasks and processes a scenario left behind: the next one is to have the machine for itself."""
    tasks = asyncio.all_tasks() - before
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await end_all(but=bench.shared())


def _cancel_on_signals(task: "asyncio.Task[int]") -> None:
    """Cancelling runs what stops the children and Postgres; dying of the signal would leave them behind."""
    told = False

    def cancel() -> None:
        nonlocal told
        # Impatience must not interrupt the cleaning up.
        if not told:
            told = True
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, cancel)


def main() -> None:
    if sys.argv[1:2] == ["compare"]:
        sys.exit(compare.main(sys.argv[2:]))
    options = parse(sys.argv[1:])
    with contextlib.suppress(asyncio.CancelledError):
        sys.exit(asyncio.run(run(options)))
    print("interrupted; nothing is reported", file=sys.stderr)
    sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()

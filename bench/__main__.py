"""`python -m bench`: run the scenarios, print the ratios, leave them as JSON."""

import argparse
import asyncio
import shutil
import signal
import sys
import time
from pathlib import Path

from bench.children import end_all, raise_file_limit
from bench.postgres import Postgres
from bench.report import Refused, Row, print_rows, write_json
from bench.runner import Bench
from bench.scenarios import SCENARIOS


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(SCENARIOS), help="repeatable")
    parser.add_argument("--quick", action="store_true", help="short windows, under 90 s in all")
    parser.add_argument("--json", type=Path, help="where to write the rows")
    parser.add_argument("--repetitions", type=int, help="turns of each contender (3; quick 2)")
    parser.add_argument("--seconds", type=float, help="measured seconds of each turn (4; quick 1.2)")
    parser.add_argument("--connections", type=int, default=128, help="closed-loop connections")
    parser.add_argument("--keep-logs", action="store_true", help="leave the servers' logs behind")
    return parser.parse_args()


async def _run(options: argparse.Namespace) -> int:
    raise_file_limit()
    this = asyncio.current_task()
    assert this is not None
    # Cancelling runs what stops the children and Postgres; dying of the signal would leave them behind.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    bench = Bench(
        postgres=Postgres(),
        repetitions=options.repetitions or (2 if options.quick else 3),
        seconds=options.seconds or (1.2 if options.quick else 4.0),
        quick=options.quick,
        connections=options.connections,
        warmup=0.5 if options.quick else 1.0,
    )
    rows: list[Row] = []
    refused: dict[str, str] = {}
    try:
        rows.append(Row(scenario="machine", metric="fdatasync of 8 KB", measured=bench.postgres.sync_ms(), unit="ms"))
        for name in options.only or SCENARIOS:
            begun = time.monotonic()
            try:
                rows += await SCENARIOS[name](bench)
            except Refused as error:
                refused[name] = str(error)
                bench.say(f"{name} refused: {error}")
            except Exception as error:
                # One broken scenario must not cost the rows of the others.
                refused[name] = f"{type(error).__name__}: {error}"
                bench.console.print_exception()
            bench.say(f"{name} took {time.monotonic() - begun:.0f} s")
    finally:
        await end_all()
        bench.postgres.stop()
        if options.keep_logs:
            bench.say(f"logs: {bench.folder}")
        else:
            shutil.rmtree(bench.folder, ignore_errors=True)
    print_rows(rows)
    for name, why in refused.items():
        print(f"REFUSED {name}: {why}")
    if options.json is not None:
        write_json(options.json, rows, refused)
    return 2 if refused else 0


def main() -> None:
    sys.exit(asyncio.run(_run(_options())))


if __name__ == "__main__":
    main()

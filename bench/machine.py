"""What the numbers of a run were measured on."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from bench.report import MACHINE, Row
from bench.runner import Bench


async def rows(bench: Bench, pinned: str) -> list[Row]:
    """Facts as rows: those without a number have it in their note."""
    postgres = await _postgres_version(bench)
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "Python": platform.python_version(),
        "Postgres": postgres,
        "version": _described(),
        "pinned": pinned,
        "method": f"{bench.repetitions} turns of {bench.seconds:g} s each, {bench.connections} connections"
        + (", quick" if bench.quick else ""),
    }
    return [
        Row(scenario=MACHINE, metric="cores", measured=float(_cores())),
        Row(scenario=MACHINE, metric="fdatasync of 8 KB", measured=bench.postgres.sync_ms(), unit="ms"),
        *(Row(scenario=MACHINE, metric=name, measured=0.0, note=note) for name, note in facts.items() if note),
    ]


def _cores() -> int:
    return os.cpu_count() or 1


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _described() -> str:
    """The commit measured, marked when the tree differs from it; nothing outside a repository."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--tags"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


async def _postgres_version(bench: Bench) -> str:
    connection = await asyncpg.connect(await bench.postgres.create("machine"))
    try:
        return str(await connection.fetchval("SELECT current_setting('server_version')"))
    finally:
        await connection.close()

"""Running the command line as an operator does."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.postgres import TestPostgres
from tests.support.server import ROOT, SECRET


class Done(NamedTuple):
    code: int
    out: str
    err: str


Cli = Callable[..., Done]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """`python -m server …` with only the SLOTCAST_ variables given; fails when it prints a stack trace."""

    def run(*arguments: str, cwd: Path = ROOT, stdin: str = "", **environment: str) -> Done:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SLOTCAST_")}
        for name in ("DATABASE_URL", "REDIS_URL"):
            kept.pop(name, None)
        done = subprocess.run(
            [sys.executable, "-m", "server", *arguments],
            cwd=cwd, env={**kept, "SLOTCAST_DATA_DIR": str(tmp_path / "data"), "COLUMNS": "200", **environment},
            capture_output=True, text=True, timeout=60, input=stdin, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def database(postgres: TestPostgres) -> dict[str, str]:
    """The environment of a command that works on an empty database of its own."""
    return {"DATABASE_URL": asyncio.run(postgres.empty_database()), "SLOTCAST_JWT_SECRET": SECRET}


def one_line(done: Done, *words: str) -> None:
    """It failed with exit code 2 and one line that says what is wrong."""
    assert done.code == 2, done
    assert done.err.count("\n") == 1, done
    assert done.err.startswith("slotcast: "), done
    for word in words:
        assert word in done.err, done

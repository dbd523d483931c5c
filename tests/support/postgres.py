"""One embedded Postgres per test run; a database of its own for whoever asks."""

import asyncio
import itertools
from pathlib import Path

import asyncpg

from storage import embedded

_numbers = itertools.count(1)


class TestPostgres:
    __test__ = False

    def __init__(self, directory: Path) -> None:
        self.dsn = embedded.start(directory)

    async def new_database(self) -> str:
        """The DSN of an empty database."""
        name = f"t{next(_numbers)}"
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return self.dsn.replace("/postgres?", f"/{name}?")

    def new_database_sync(self) -> str:
        return asyncio.run(self.new_database())

"""One embedded Postgres per test run; a database of its own for whoever asks."""

import asyncio
import itertools
from pathlib import Path
from typing import Final

import asyncpg

from storage import embedded, migrations

_numbers = itertools.count(1)
_TEMPLATE: Final = "template_of_tests"


class TestPostgres:
    __test__ = False

    def __init__(self, directory: Path) -> None:
        self.dsn = embedded.start(directory)
        self._migrated = False

    async def new_database(self) -> str:
        """The DSN of a database with the whole schema and no rows, copied from one that was migrated once."""
        if not self._migrated:
            await migrations.up(await self._create(_TEMPLATE))
            self._migrated = True
        return await self._create(f"t{next(_numbers)}", f"TEMPLATE {_TEMPLATE}")

    def new_database_sync(self) -> str:
        return asyncio.run(self.new_database())

    async def empty_database(self) -> str:
        """The DSN of a database without a schema."""
        return await self._create(f"t{next(_numbers)}")

    async def _create(self, name: str, options: str = "") -> str:
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(f"CREATE DATABASE {name} {options}")
        finally:
            await connection.close()
        return self.dsn.replace("/postgres?", f"/{name}?")

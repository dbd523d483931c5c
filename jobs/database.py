"""What jobs need of the database: queries by name, and transactions of them. `storage.postgres` has both."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class Queries(Protocol):
    async def fetch(self, query: str, *args: object) -> Sequence[Any]: ...

    async def row(self, query: str, *args: object) -> Any: ...

    async def value(self, query: str, *args: object) -> Any: ...


class Transaction(Queries, Protocol):
    after_commit: list[Callable[[], None]]


class Database(Queries, Protocol):
    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Commits on leaving, rolls back on an exception."""
        ...

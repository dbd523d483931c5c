"""What the journal measures; the server exports it."""

from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter
from typing import Protocol


class Meter(Protocol):
    def batch(self, events: int, seconds: float) -> None:
        """One statement was answered, by success or failure."""
        ...

    def refused(self, reason: str) -> None:
        """Entries were refused by `reason`: guard, fenced, code_taken, key_taken."""
        ...

    def query(self, seconds: float) -> None:
        """One other query was answered."""
        ...

    @contextmanager
    def commit(self, events: int) -> Generator[None]:
        started = perf_counter()
        try:
            yield
        finally:
            self.batch(events, perf_counter() - started)


class NullMeter(Meter):
    def batch(self, events: int, seconds: float) -> None:
        pass

    def refused(self, reason: str) -> None:
        pass

    def query(self, seconds: float) -> None:
        pass

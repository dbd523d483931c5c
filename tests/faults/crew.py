"""Calendars of a run's own, who uses them, and what is asked of them in the end."""

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg

from tests.faults.answers import microseconds
from tests.faults.checker import behind, wrongs
from tests.faults.history import History, Terms
from tests.faults.load import Load
from tests.faults.tables import read_tables
from tests.faults.watcher import Watcher
from tests.support.server import Api, Place, new_place

DAYS: Final = 10
_PLACE_TRIES: Final = 20
_MINUTE_US: Final = 60_000_000


class Crew:
    """Everything of one run: its history has the same seed as what its users do."""

    history: History
    places: list[Place]
    load: Load
    watchers: list[Watcher]

    def __init__(self, dsn: str, directory: Path, seed: int) -> None:
        self.dsn = dsn
        self.directory = directory
        self.history = History(seed)
        self.places = []
        self.watchers = []
        self.db: asyncpg.Connection
        self._good = False

    async def begin(
        self, nodes: Sequence[Api], services: Sequence[dict[str, Any]], *, bookers: int, watchers: int
    ) -> None:
        """A calendar for each of `services`, `watchers` who look at each, and a load that has shown that it runs."""
        self.db = await asyncpg.connect(self.dsn)
        self.places = list(await asyncio.gather(*(_place(nodes[0], service) for service in services)))
        for place, service in zip(self.places, services, strict=True):
            self.history.terms[place.professional_id] = _terms(place, service)
        self.load = Load(self.history, self.places, nodes, bookers=bookers, days=DAYS)
        self.load.start()
        self.watchers = [
            Watcher(number, self.history, place, nodes, DAYS)
            for number, place in enumerate(p for p in self.places for _ in range(watchers))
        ]
        for watcher in self.watchers:
            watcher.start()
        await self.load.until_acknowledged(60)

    async def check(self, *, lost: bool = False) -> None:
        """Fails unless every promise was kept: settles the load, and asks tables, answers and replicas.

        Unless connections may have been `lost`, every request must have been answered, if only by a 503.
        """
        await self.load.settle()
        assert lost or not any(r.silences for r in self.history.requests), "a request was never answered"
        began = self.history.now()
        self.history.until = await self.converged()
        # At once: a hold may end at any time, and what is shown from now on was not compared.
        for watcher in self.watchers:
            watcher.cancel()
        for watcher in self.watchers:
            await watcher.stop()
        took = self.history.until - began
        # Shown where a test fails, and by `pytest -rA`.
        sys.stdout.write(f"{len(self.history.strikes)} faults; watchers converged {took:.2f} s after the last answer\n")
        # In a thread: proxies live on this loop.
        found = await asyncio.to_thread(wrongs, await read_tables(self.db), self.history)
        assert found == [], f"{len(found)} promises were broken; the first: {found[:5]}"
        self._good = True

    async def converged(self, timeout_s: float = 20.0) -> float:
        """Fails unless every watcher comes to see what the tables say; the time of the history at which all did."""
        deadline = time.monotonic() + timeout_s
        while True:
            at, found = await self._behind()
            if not found:
                return at
            assert time.monotonic() < deadline, f"{len(found)} differences; the first: {found[:5]}"
            await asyncio.sleep(0.1)

    async def _behind(self) -> tuple[float, list[str]]:
        replicas = [(w.number, w.place.professional_id, w.replica) for w in self.watchers]
        at = self.history.now()
        tables = await read_tables(self.db, [p.professional_id for p in self.places])
        return at, behind(tables, self.history, replicas, at)

    async def some_more(self, count: int) -> None:
        await self.load.until_acknowledged(count)

    async def dismiss(self) -> None:
        """Ends everybody; a history that was not found good is saved."""
        if not hasattr(self, "load"):
            return
        self.load.abandon()
        for watcher in self.watchers:
            await watcher.stop()
        if not self._good:
            path = self.directory / f"history-{self.history.name}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            self.history.save(path, await read_tables(self.db))
            sys.stdout.write(f"look again: python -m tests.faults.checker {path}\n")
        await self.db.close(timeout=5)


async def _place(api: Api, service: dict[str, Any]) -> Place:
    """A calendar, also where the nodes are still getting over what struck them last."""
    for _ in range(_PLACE_TRIES - 1):
        try:
            return await new_place(api, **service)
        except AssertionError:
            await asyncio.sleep(0.3)
    return await new_place(api, **service)


def _terms(place: Place, service: dict[str, Any]) -> Terms:
    return Terms(
        place.professional_id,
        place.service_id,
        microseconds(place.at(0)),
        DAYS,
        before=service.get("buffer_before_minutes", 0) * _MINUTE_US,
        after=service.get("buffer_after_minutes", 0) * _MINUTE_US,
        capacity=service.get("capacity", 1),
    )

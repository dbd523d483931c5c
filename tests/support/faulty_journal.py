"""A journal that has bad days, from one seed: the same seed, the same faults."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Literal

from actors.ports import Entry, Loss
from storage.memory import MemoryJournal
from storage.memory_database import Fenced, Guarded, MemoryDatabase

Fate = Literal["written", "late", "lost", "written after all", "lost after all"]
FATES: tuple[Fate, ...] = ("written", "late", "lost", "written after all", "lost after all")


class FaultyJournal(MemoryJournal):
    """Each batch is, by chance: written, written late, lost as unavailable, or of unknown outcome for a while.

    An unknown outcome is settled inside, as on Postgres: the journal takes nothing new, comes back with new epochs,
    reads whether the batch was written and then tells the truth. What it tells is always so; it is only late.
    `fates` are those of the first batches; later ones are drawn with `weights`, in the order of `FATES`.
    """

    def __init__(
        self,
        database: MemoryDatabase,
        seed: int = 0,
        weights: tuple[int, ...] = (12, 4, 2, 1, 1),
        fates: Sequence[Fate] = (),
    ) -> None:
        super().__init__(database)
        self._random = Random(seed)
        self._weights = weights
        self._fates = list(fates)
        self.seen: Counter[Fate] = Counter()

    async def commit(self, entries: Sequence[Entry]) -> None:
        fate = self._fates.pop(0) if self._fates else self._random.choices(FATES, self._weights)[0]
        self.seen[fate] += 1
        if fate == "lost":
            self.lose(entries, Loss.UNAVAILABLE)
        elif fate in ("written after all", "lost after all"):
            await self._unknown(entries, written=fate == "written after all")
        else:
            if fate == "late":
                await self._turns()
            await super().commit(entries)

    async def _unknown(self, entries: Sequence[Entry], *, written: bool) -> None:
        self.writing = False
        waiting = list(self._gathering)
        self._gathering.clear()
        if waiting:
            self._listener.lost(waiting, Loss.UNAVAILABLE)
        await self._turns()
        self._listener.unsettled(entries)
        # Only now: a statement whose connection is lost may still be under way.
        if written:
            try:
                self._database.write(entries, self._under)
            except (Guarded, Fenced):
                written = False
        await self._turns()
        self.retake()
        self.writing = True
        if written:
            self._listener.committed(entries)
        else:
            self.lose(entries, Loss.UNAVAILABLE)

    async def _turns(self) -> None:
        for _ in range(self._random.randrange(1, 6)):
            await asyncio.sleep(0)

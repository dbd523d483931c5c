"""The journal on Postgres: writers, and which of them has a shard."""

import asyncio
from collections.abc import Sequence

from actors.ports import Entry, JournalListener
from protocol.errors import Refused
from storage.batch import Fence
from storage.meter import Meter
from storage.writer import Writer


class PostgresJournal:
    """All writers of a node. `start` takes every shard of the node: from then on older owners are fenced."""

    def __init__(self, dsn: str, shards: Sequence[int], writers: int, meter: Meter) -> None:
        self._writers = [Writer(dsn, shards[i::writers], meter, f"writer-{i}") for i in range(writers)]
        self._by_shard = {shard: w for w in self._writers for shard in w.shards}
        self._listener: JournalListener

    async def start(self, listener: JournalListener) -> None:
        self._listener = listener
        await asyncio.gather(*(w.start(listener) for w in self._writers))

    def append(self, entry: Entry) -> None:
        writer = self._by_shard.get(entry.shard)
        if writer is None:
            raise Refused("moved")
        writer.append(entry)

    def owns(self, shard: int) -> bool:
        writer = self._by_shard.get(shard)
        return writer is not None and shard in writer.fences

    @property
    def writing(self) -> bool:
        """Whether every writer can write now."""
        return all(w.writing for w in self._writers)

    @property
    def waiting(self) -> int:
        """Entries not yet committed."""
        return sum(w.waiting for w in self._writers)

    @property
    def lost_shards(self) -> list[int]:
        """Shards of this node that were taken from it."""
        return [s for w in self._writers for s in w.shards if s not in w.fences]

    def adopt(self, fences: dict[int, Fence]) -> None:
        """Goes on with shards that were lost and whose epoch has just been advanced for this node."""
        # What was loaded since they were lost may be older than what the owner before wrote last.
        self._listener.fenced(fences.keys())
        for shard, fence in fences.items():
            self._by_shard[shard].fences[shard] = fence

    async def watch(self) -> None:
        """Raises when a writer has come to an end, which none has a right to."""
        await asyncio.gather(*(w.ended() for w in self._writers))

    async def flush(self) -> None:
        """Returns when nothing waits any more."""
        while self.waiting:  # noqa: ASYNC110 - an event would have to be set on every commit
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        await asyncio.gather(*(w.stop() for w in self._writers))

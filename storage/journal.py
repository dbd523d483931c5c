"""The group-commit journal on Postgres.

Entries gather while a batch commits; then the next batch takes them. One batch in flight per writer, one statement
per batch. Shards are divided among writers, so a calendar's events stay in order; they come and go while it runs.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from types import MappingProxyType

from actors.ports import Entry, Journal, JournalListener
from protocol import limits
from protocol.errors import Refused
from storage.batch import Fence
from storage.meter import Meter
from storage.postgres import Database
from storage.writer import Writer

log = logging.getLogger("slotcast.journal")


class PostgresJournal(Journal):
    """All writers of a node. It has no shards until some are taken; from then on their older owners are fenced.

    Shards are taken and looked at through `database`, because a writer's own connection may be busy.
    """

    def __init__(self, dsn: str, database: Database, writers: int, meter: Meter) -> None:
        self._database = database
        self._owned: dict[int, int] = {}
        self._writers = [Writer(dsn, meter, f"writer-{i}", self._owned) for i in range(writers)]
        self._wanted: set[int] = set()
        self._busy: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._listener: JournalListener
        self._owned_seen = MappingProxyType(self._owned)

    async def start(self, listener: JournalListener) -> None:
        """Raises what connecting raises: a node does not start without its database."""
        self._listener = listener
        await asyncio.gather(*(w.start(listener) for w in self._writers))

    def append(self, entry: Entry) -> None:
        self._writers[entry.shard % len(self._writers)].append(entry)

    def owns(self, shard: int) -> bool:
        return shard in self._owned

    @property
    def owned(self) -> Mapping[int, int]:
        return self._owned_seen

    @property
    def writing(self) -> bool:
        """Whether every writer can write now."""
        return all(w.writing for w in self._writers)

    @property
    def waiting(self) -> int:
        """Entries not yet committed."""
        return sum(w.waiting for w in self._writers)

    # Shards come and go

    async def take(self, shards: Collection[int]) -> dict[int, int]:
        async with self._alone_with(shards):
            missing = sorted(s for s in shards if s not in self._owned)
            if missing:
                try:
                    async with asyncio.timeout(limits.commit_timeout_s):
                        rows = await self._database.fetch("take_shards", missing)
                except TimeoutError:
                    raise Refused("unavailable") from None
                self.adopt({r["id"]: Fence(r["epoch"], r["seq"]) for r in rows})
            return {s: self._owned[s] for s in shards if s in self._owned}

    def adopt(self, fences: Mapping[int, Fence]) -> None:
        """Goes on with shards whose epoch has just been advanced for this node."""
        for shard, fence in fences.items():
            self._writer(shard).open(shard, fence)
        self._wanted |= fences.keys()

    async def release(self, shards: Collection[int]) -> None:
        async with self._alone_with(shards):
            going = set(shards)
            self._wanted -= going
            for shard in going:
                self._owned.pop(shard, None)
            self._listener.fenced(going)
            try:
                async with asyncio.timeout(limits.release_timeout_s):
                    await asyncio.gather(*(w.settle(going) for w in self._writers))
            except TimeoutError:
                log.warning("gave up %s shards with their last batch unsettled", len(going))
            finally:
                for writer in self._writers:
                    writer.drop(going)

    async def verify(self) -> set[int]:
        asked = [s for w in self._writers for s in w.fences]
        if asked:
            epochs = {r["id"]: r["epoch"] for r in await self._database.fetch("shards_now", asked)}
            for writer in self._writers:
                writer.drop_older(epochs)
        if not self.writing:
            raise Refused("unavailable", "what became of the last batch is not known yet")
        lost = set(self.lost_shards)
        self._wanted -= lost
        return lost

    @property
    def lost_shards(self) -> list[int]:
        """Shards that were taken and not released, and that others have taken since."""
        return sorted(self._wanted - self._owned.keys())

    def _writer(self, shard: int) -> Writer:
        return self._writers[shard % len(self._writers)]

    @asynccontextmanager
    async def _alone_with(self, shards: Collection[int]) -> AsyncGenerator[None]:
        """Taking and releasing the same shard wait for each other; in order, so that no two wait in a circle."""
        async with AsyncExitStack() as stack:
            for shard in sorted(set(shards)):
                await stack.enter_async_context(self._busy[shard])
            yield

    # The end

    async def watch(self) -> None:
        """Raises when a writer has come to an end, which none has a right to."""
        await asyncio.gather(*(w.ended() for w in self._writers))

    async def flush(self) -> None:
        """Returns when nothing waits any more."""
        while self.waiting:  # noqa: ASYNC110 - an event would have to be set on every commit
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        await asyncio.gather(*(w.stop() for w in self._writers))

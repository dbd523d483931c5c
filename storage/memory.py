"""The ports `Journal` and `CalendarStore` in memory: the same promises as on Postgres, without one."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence, Set

from actors.calendar.apply import apply
from actors.calendar.state import Service, new_calendar
from actors.ports import CalendarStore, Entry, Journal, JournalListener, Loaded, Loss, StoredOutcome, key_hash
from protocol import events as ev
from protocol import limits
from protocol.errors import Refused
from storage.batch import Fence
from storage.memory_database import Fenced, Guarded, MemoryDatabase


class MemoryJournal(Journal):
    """Entries gather while a batch is on its way; each batch is written on a later turn of the loop."""

    def __init__(self, database: MemoryDatabase, shards: Sequence[int]) -> None:
        self._database = database
        self._shards = tuple(shards)
        self.fences: dict[int, Fence] = {}
        self.writing = False
        self._gathering: deque[Entry] = deque()
        self._in_flight: Sequence[Entry] = ()
        self._task: asyncio.Task[None] | None = None
        self._listener: JournalListener

    async def start(self, listener: JournalListener) -> None:
        self._listener = listener
        self.fences = self._database.take(self._shards)
        self.writing = True

    def owns(self, shard: int) -> bool:
        return shard in self.fences

    @property
    def waiting(self) -> int:
        """Entries not yet committed."""
        return len(self._gathering) + len(self._in_flight)

    def append(self, entry: Entry) -> None:
        if not self.writing:
            raise Refused("unavailable")
        if entry.shard not in self.fences:
            raise Refused("moved")
        if len(self._gathering) >= limits.journal_waiting_max:
            raise Refused("overloaded")
        self._gathering.append(entry)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="memory journal")

    async def flush(self) -> None:
        """Returns when nothing waits any more."""
        while self.waiting:  # noqa: ASYNC110 - an event would have to be set on every commit
            await asyncio.sleep(0)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._gathering:
            await asyncio.sleep(0)
            count = min(len(self._gathering), limits.batch_events_max)
            self._in_flight = [self._gathering.popleft() for _ in range(count)]
            await self.commit(self._in_flight)
            self._in_flight = ()

    async def commit(self, entries: Sequence[Entry]) -> None:
        """Writes a batch and tells what became of it."""
        try:
            self._database.write(entries, self.fences)
        except Fenced as fenced:
            self._drop(fenced.shards)
            gone = [e for e in entries if e.shard not in self.fences]
            if gone:
                self.lose(gone, Loss.FENCED)
            if len(gone) < len(entries):
                await self.commit([e for e in entries if e.shard in self.fences])
        except Guarded as guarded:
            await self._split(entries, guarded.loss)
        else:
            for shard in {e.shard for e in entries}:
                self.fences[shard].seq = self._database.shards[shard].seq
            self._listener.committed(entries)

    async def _split(self, entries: Sequence[Entry], loss: Loss) -> None:
        """One by one; what a calendar decided after a poisoned entry is lost with it, to be decided again."""
        if len(entries) == 1:
            self.lose(entries, loss)
            return
        for entry in entries:
            if entry.owner.stale:
                self.lose([entry], Loss.NEIGHBOUR)
            else:
                await self.commit([entry])

    def lose(self, entries: Sequence[Entry], loss: Loss) -> None:
        """Tells the loss, and that of everything waiting that the same calendars decided since."""
        calendars = {e.work.calendar_id for e in entries}
        later = [e for e in self._gathering if e.work.calendar_id in calendars]
        self._gathering = deque(e for e in self._gathering if e.work.calendar_id not in calendars)
        self._listener.lost(entries, loss)
        if later:
            self._listener.lost(later, loss if loss is Loss.UNAVAILABLE else Loss.NEIGHBOUR)

    def _drop(self, shards: Set[int]) -> None:
        for shard in shards:
            del self.fences[shard]
        self._listener.fenced(shards)
        waiting = [e for e in self._gathering if e.shard in shards]
        if waiting:
            self._gathering = deque(e for e in self._gathering if e.shard not in shards)
            self._listener.lost(waiting, Loss.FENCED)


class MemoryCalendars(CalendarStore):
    """Calendars by folding their events."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def load(self, calendar_ids: Sequence[str]) -> dict[str, Loaded]:
        await asyncio.sleep(0)
        return {c: self._load(c) for c in calendar_ids if c in self._database.calendars}

    def _load(self, calendar_id: str) -> Loaded:
        database = self._database
        row = database.calendars[calendar_id]
        calendar = new_calendar(calendar_id, row.time_zone)
        for stored in database.events.get(calendar_id, ()):
            apply(calendar, ev.decode(stored.data))
        calendar.services = self._offer(calendar_id)
        keys = [key_hash(*k) for k, outcome in database.outcomes.items() if outcome.calendar_id == calendar_id]
        return Loaded(calendar, row.business_id, row.shard, keys)

    def _offer(self, calendar_id: str) -> dict[str, Service]:
        offered = self._database.calendars[calendar_id].service_ids
        return {s: self._database.services[s] for s in sorted(offered)}

    async def services_of(self, calendar_ids: Sequence[str]) -> dict[str, Mapping[str, Service]]:
        await asyncio.sleep(0)
        return {c: self._offer(c) for c in calendar_ids if c in self._database.calendars}

    async def find_outcome(self, scope: str, key: str) -> StoredOutcome | None:
        await asyncio.sleep(0)
        return self._database.outcomes.get((scope, key))

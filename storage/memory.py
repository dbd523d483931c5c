"""The ports `Journal` and `CalendarStore` in memory: the same promises as on Postgres, without one."""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence, Set
from types import MappingProxyType

from actors.calendar.apply import apply
from actors.calendar.hours import hours_of
from actors.calendar.state import Service, new_calendar
from actors.ports import CalendarStore, Entry, Journal, JournalListener, Loaded, Loss, StoredOutcome, Terms, key_hash
from protocol import events as ev
from protocol import limits
from protocol.errors import Refused
from storage.batch import Fence
from storage.memory_database import Fenced, Guarded, MemoryDatabase


class MemoryJournal(Journal):
    """Entries gather while a batch is on its way; each batch is written on a later turn of the loop."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self.fences: dict[int, Fence] = {}
        self.writing = False
        self._owned: dict[int, int] = {}
        self._wanted: set[int] = set()
        self._busy = asyncio.Lock()
        self._gathering: deque[Entry] = deque()
        self._in_flight: Sequence[Entry] = ()
        self._under: dict[int, Fence] = {}
        self._task: asyncio.Task[None] | None = None
        self._listener: JournalListener
        self._owned_seen = MappingProxyType(self._owned)

    async def start(self, listener: JournalListener) -> None:
        self._listener = listener
        self.writing = True

    def owns(self, shard: int) -> bool:
        return shard in self._owned

    @property
    def owned(self) -> Mapping[int, int]:
        return self._owned_seen

    @property
    def waiting(self) -> int:
        """Entries not yet committed."""
        return len(self._gathering) + len(self._in_flight)

    def append(self, entry: Entry) -> None:
        if entry.shard not in self._owned:
            raise Refused("moved")
        if not self.writing:
            raise Refused("unavailable")
        if len(self._gathering) >= limits.journal_waiting_max:
            raise Refused("overloaded")
        self._gathering.append(entry)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="memory journal")

    async def take(self, shards: Collection[int]) -> dict[int, int]:
        async with self._busy:
            missing = [s for s in shards if s not in self._owned]
            self.fences |= self._database.take(missing)
            self._owned |= {s: self.fences[s].epoch for s in missing}
            self._wanted |= set(missing)
            return {s: self._owned[s] for s in shards}

    async def release(self, shards: Collection[int]) -> None:
        async with self._busy:
            going = set(shards)
            self._wanted -= going
            for shard in going:
                self._owned.pop(shard, None)
            self._listener.fenced(going)
            try:
                while any(e.shard in going for e in (*self._in_flight, *self._gathering)):  # noqa: ASYNC110 - as flush
                    await asyncio.sleep(0)
            finally:
                self._drop(going)

    async def verify(self) -> set[int]:
        await asyncio.sleep(0)
        if not self.writing:
            raise Refused("unavailable")
        self._drop({s for s, fence in self.fences.items() if self._database.shards[s].epoch > fence.epoch})
        lost = self._wanted - self._owned.keys()
        self._wanted -= lost
        return lost

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
            self._under = {e.shard: self.fences[e.shard] for e in self._in_flight}
            await self.commit(self._in_flight)
            self._in_flight = ()

    async def commit(self, entries: Sequence[Entry]) -> None:
        """Writes a batch and tells what became of it."""
        if not all(map(self._stands, entries)):
            await self._commit_standing(entries)
            return
        try:
            self._database.write(entries, self._under)
        except Fenced as fenced:
            self._drop(fenced.shards)
            await self._commit_standing(entries)
        except Guarded as guarded:
            await self._split(entries, guarded.loss)
        else:
            for shard in {e.shard for e in entries}:
                self._under[shard].seq = self._database.shards[shard].seq
            self._listener.committed(entries)

    async def _commit_standing(self, entries: Sequence[Entry]) -> None:
        gone = [e for e in entries if not self._stands(e)]
        if gone:
            self.lose(gone, Loss.FENCED)
        if len(gone) < len(entries):
            await self.commit([e for e in entries if self._stands(e)])

    def _stands(self, entry: Entry) -> bool:
        """Whether its shard was this journal's from its decision until now."""
        return self.fences.get(entry.shard) is self._under[entry.shard]

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

    def retake(self) -> None:
        """New epochs, as after an unknown outcome; what others have taken is dropped."""
        standing = {s for s, fence in self.fences.items() if self._database.shards[s].epoch == fence.epoch}
        for shard, now in self._database.take(sorted(standing)).items():
            fence = self.fences[shard]
            fence.epoch, fence.seq = now.epoch, now.seq
            if shard in self._owned:
                self._owned[shard] = now.epoch
        self._drop(self.fences.keys() - standing)

    def _drop(self, shards: Set[int]) -> None:
        for shard in shards:
            self.fences.pop(shard, None)
            self._owned.pop(shard, None)
        if shards:
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
        calendar.hours = hours_of(calendar.hours.schedule, row.holidays)
        for stored in database.events.get(calendar_id, ()):
            apply(calendar, ev.decode(stored.data))
        calendar.services = self._offer(calendar_id)
        keys = [key_hash(*k) for k, outcome in database.outcomes.items() if outcome.calendar_id == calendar_id]
        return Loaded(calendar, row.business_id, row.shard, keys)

    def _offer(self, calendar_id: str) -> dict[str, Service]:
        offered = self._database.calendars[calendar_id].service_ids
        return {s: self._database.services[s] for s in sorted(offered)}

    async def terms_of(self, calendar_ids: Sequence[str]) -> dict[str, Terms]:
        await asyncio.sleep(0)
        known = self._database.calendars
        return {c: Terms(self._offer(c), known[c].holidays) for c in calendar_ids if c in known}

    async def business_of(self, calendar_id: str) -> str | None:
        calendar = self._database.calendars.get(calendar_id)
        return calendar.business_id if calendar else None

    async def find_outcome(self, scope: str, key: str) -> StoredOutcome | None:
        await asyncio.sleep(0)
        return self._database.outcomes.get((scope, key))

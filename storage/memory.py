"""The ports `Journal` and `CalendarStore` in memory: the same promises as on Postgres, without one.

For tests and for trying rules out. Nothing outlives the process, and what only Postgres reads back (notes, guests,
text of time off) is not kept.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

import msgspec

from actors.calendar.apply import apply
from actors.calendar.state import Service, new_calendar
from actors.ports import CalendarStore, Entry, Journal, JournalListener, Loaded, Loss, StoredOutcome, key_hash
from protocol import events as ev
from protocol import limits
from protocol.errors import Refused
from storage.batch import Fence

ACTIVE = ("held", "pending", "confirmed")


class MemoryRow(msgspec.Struct):
    """A hold or booking as the guards see it."""

    calendar_id: str
    status: str
    start: int
    blocked_from: int
    blocked_to: int
    session: str
    capacity: int
    places: int
    code: str | None = None


class MemoryCalendar(msgspec.Struct):
    business_id: str
    shard: int
    time_zone: str
    service_ids: set[str]


class StoredEvent(NamedTuple):
    shard: int
    seq: int
    version: int
    epoch: int
    data: bytes


class Fenced(Exception):
    """Carries the shards that have another epoch or position than the writer thought."""

    def __init__(self, shards: Set[int]) -> None:
        super().__init__(shards)
        self.shards = shards


class Guarded(Exception):
    """A guard refused a batch; `loss` says which."""

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss)
        self.loss = loss


class MemoryDatabase:
    """What is durable. `write` does all of a batch or nothing, and trusts no decision: it checks the rows."""

    def __init__(self, shard_count: int = 4) -> None:
        self.shards = {i: Fence(0, 0) for i in range(shard_count)}
        self.calendars: dict[str, MemoryCalendar] = {}
        self.services: dict[str, Service] = {}
        self.events: dict[str, list[StoredEvent]] = {}
        self.rows: dict[str, MemoryRow] = {}
        self.outcomes: dict[tuple[str, str], StoredOutcome] = {}

    def take(self, shards: Sequence[int]) -> dict[int, Fence]:
        """Advances the epochs: from now on older owners are fenced."""
        for shard in shards:
            self.shards[shard].epoch += 1
        return {s: Fence(self.shards[s].epoch, self.shards[s].seq) for s in shards}

    def write(self, entries: Sequence[Entry], fences: Mapping[int, Fence]) -> None:
        """Raises `Fenced` or `Guarded`, and has written nothing then."""
        wrong = {e.shard for e in entries if self.shards[e.shard] != fences[e.shard]}
        if wrong:
            raise Fenced(wrong)
        rows, outcomes = dict(self.rows), dict(self.outcomes)
        added: list[tuple[str, StoredEvent]] = []
        seq = {e.shard: fences[e.shard].seq for e in entries}
        touched: set[str] = set()
        for entry in entries:
            calendar_id, key = entry.work.calendar_id, entry.work.key
            for version, event in enumerate(entry.events, entry.first_version):
                seq[entry.shard] += 1
                epoch = fences[entry.shard].epoch
                stored = StoredEvent(entry.shard, seq[entry.shard], version, epoch, ev.encode(event))
                added.append((calendar_id, stored))
                _project(rows, calendar_id, event)
                touched.add(calendar_id)
            if key is not None:
                if (key.scope, key.key) in outcomes:
                    raise Guarded(Loss.KEY_TAKEN)
                outcomes[key.scope, key.key] = StoredOutcome(calendar_id, key.fingerprint, entry.outcome)
        self._check(rows, touched)
        self._check_versions(added)
        self.rows, self.outcomes = rows, outcomes
        for calendar_id, stored in added:
            self.events.setdefault(calendar_id, []).append(stored)
        for shard, position in seq.items():
            self.shards[shard].seq = position

    def _check(self, rows: Mapping[str, MemoryRow], touched: Set[str]) -> None:
        codes = [r.code for r in rows.values() if r.code is not None]
        if len(codes) != len(set(codes)):
            raise Guarded(Loss.CODE_TAKEN)
        for calendar_id in touched:
            active = [r for r in rows.values() if r.calendar_id == calendar_id and r.status in ACTIVE]
            active.sort(key=lambda r: r.blocked_from)
            for i, row in enumerate(active):
                for other in active[i + 1 :]:
                    if other.blocked_from < row.blocked_to and other.session != row.session:
                        raise Guarded(Loss.GUARD)
            for session in {r.session for r in active if r.capacity > 1}:
                members = [r for r in active if r.session == session]
                if sum(r.places for r in members) > members[0].capacity:
                    raise Guarded(Loss.GUARD)

    def _check_versions(self, added: Sequence[tuple[str, StoredEvent]]) -> None:
        last = {c: self.version_of(c) for c, _ in added}
        for calendar_id, stored in added:
            if stored.version != last[calendar_id] + 1:
                raise Guarded(Loss.GUARD)
            last[calendar_id] = stored.version

    def version_of(self, calendar_id: str) -> int:
        events = self.events.get(calendar_id)
        return events[-1].version if events else 0


def _project(rows: dict[str, MemoryRow], calendar_id: str, event: ev.Event) -> None:
    """What an event does to the rows. Those that stand before the batch are replaced, never changed."""
    if isinstance(event, ev.HoldPlaced | ev.Booked) and not (isinstance(event, ev.Booked) and event.from_hold):
        booked = isinstance(event, ev.Booked)
        rows[event.id] = MemoryRow(
            calendar_id, event.status if booked else "held", event.start, event.start - event.before,
            event.start + event.duration + event.after, event.session or event.id, event.capacity, event.places,
            event.code if booked else None,
        )  # fmt: skip
    elif isinstance(event, ev.Booked):
        rows[event.id] = msgspec.structs.replace(rows[event.id], status=event.status, code=event.code)
    elif isinstance(event, ev.HoldReleased | ev.HoldExpired):
        del rows[event.id]
    elif isinstance(event, ev.Rescheduled):
        rows[event.id] = msgspec.structs.replace(
            rows[event.id], start=event.start, blocked_from=event.start - event.before,
            blocked_to=event.start + event.duration + event.after, session=event.session or event.id,
            capacity=event.capacity,
        )  # fmt: skip
    elif isinstance(event, ev.Confirmed | ev.Cancelled | ev.Rejected | ev.Completed | ev.NoShow | ev.Expired):
        rows[event.id] = msgspec.structs.replace(rows[event.id], status=ev.tag_of(event).removeprefix("booking."))


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

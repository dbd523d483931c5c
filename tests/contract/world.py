"""The same small world on Postgres and in memory: calendars to book, journals to write, rows to look at."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import asyncpg

from actors.calendar.commands import Command
from actors.calendar.state import Calendar, Service
from actors.placement import shard_of
from actors.ports import (
    NO_DETAILS,
    CalendarStore,
    Caller,
    Details,
    Entry,
    IdempotencyKey,
    Loss,
    Outcome,
    StoredOutcome,
    Work,
)
from actors.questions import Question
from actors.runtime import Runtime
from protocol import events as ev
from protocol.ids import new_id
from protocol.times import DAY, HOUR, MINUTE
from storage.calendars import PostgresCalendars
from storage.journal import PostgresJournal
from storage.memory import MemoryCalendars, MemoryJournal
from storage.memory_database import MemoryCalendar, MemoryDatabase
from storage.meter import NullMeter
from storage.postgres import Database
from storage.queries import sql

SHARDS = 4
_WEEK = 7 * DAY
_MONDAY = 4 * DAY
"""The first one of our count of time."""
NOON = ((time.time_ns() // 1000 - _MONDAY) // _WEEK + 1) * _WEEK + _MONDAY + 12 * HOUR
"""Of next Monday, because the database has a clock of its own; default hours are 05:00 to 23:00, in UTC here."""


class RowSeen(NamedTuple):
    """What both sides can say of a booking's row."""

    status: str
    start: int
    blocked_from: int
    blocked_to: int
    session: str
    capacity: int
    places: int
    code: str | None


class EventSeen(NamedTuple):
    shard: int
    seq: int
    version: int
    epoch: int
    event: ev.Event


class FixedClock:
    def __init__(self, now: int = NOON) -> None:
        self.now = now

    def now_us(self) -> int:
        return self.now


class World(Protocol):
    business: str
    store: CalendarStore

    async def calendar(self, *services: Service, shard: int | None = None) -> str: ...
    async def offer(self, calendar_id: str, *services: Service) -> None: ...
    def journal(self) -> Any: ...
    async def rows(self, calendar_id: str) -> dict[str, RowSeen]: ...
    async def events(self, calendar_id: str) -> list[EventSeen]: ...
    async def position(self, shard: int) -> int: ...
    async def epoch(self, shard: int) -> int: ...


def service(**more: Any) -> Service:
    """Half an hour, on the half hour; a fresh id. Lengths in microseconds; `horizon` is a year."""
    return Service(new_id(), "", 30 * MINUTE, 30 * MINUTE, **{"horizon": 365 * DAY, **more})


class MemoryWorld:
    def __init__(self) -> None:
        self.database = MemoryDatabase(SHARDS)
        self.store: CalendarStore = MemoryCalendars(self.database)
        self.business = new_id()

    async def calendar(self, *services: Service, shard: int | None = None) -> str:
        id_ = new_id()
        where = shard_of(id_, SHARDS) if shard is None else shard
        self.database.calendars[id_] = MemoryCalendar(self.business, where, "UTC", set())
        await self.offer(id_, *services)
        return id_

    async def offer(self, calendar_id: str, *services: Service) -> None:
        self.database.services |= {s.id: s for s in services}
        self.database.calendars[calendar_id].service_ids = {s.id for s in services}

    def journal(self) -> MemoryJournal:
        return MemoryJournal(self.database)

    async def rows(self, calendar_id: str) -> dict[str, RowSeen]:
        return {
            id_: RowSeen(r.status, r.start, r.blocked_from, r.blocked_to, r.session, r.capacity, r.places, r.code)
            for id_, r in self.database.rows.items()
            if r.calendar_id == calendar_id
        }

    async def events(self, calendar_id: str) -> list[EventSeen]:
        return [EventSeen(*e[:4], ev.decode(e.data)) for e in self.database.events.get(calendar_id, ())]

    async def position(self, shard: int) -> int:
        return self.database.shards[shard].seq

    async def epoch(self, shard: int) -> int:
        return self.database.shards[shard].epoch


class PostgresWorld:
    def __init__(self, dsn: str, database: Database, connection: asyncpg.Connection) -> None:
        self.dsn = dsn
        self.connection = connection
        self.database = database
        self.store: CalendarStore = PostgresCalendars(database)
        self.business = new_id()

    @classmethod
    async def open(cls, dsn: str) -> "PostgresWorld":
        connection = await asyncpg.connect(dsn)
        world = cls(dsn, await Database.open(dsn, 4, NullMeter()), connection)
        await connection.execute(sql("ensure_shards").replace("$1::int", str(SHARDS)))
        await connection.execute(
            "INSERT INTO businesses (id, slug, name, time_zone) VALUES ($1, $2, 'Test', 'UTC')",
            world.business,
            world.business,
        )
        return world

    async def close(self) -> None:
        await self.connection.close()
        await self.database.close()

    async def calendar(self, *services: Service, shard: int | None = None) -> str:
        id_ = new_id()
        where = shard_of(id_, SHARDS) if shard is None else shard
        await self.connection.execute(
            "INSERT INTO professionals (id, business_id, display_name) VALUES ($1, $2, 'Dr Test')", id_, self.business
        )
        await self.connection.execute(
            "INSERT INTO calendars (id, business_id, shard, time_zone) VALUES ($1, $2, $3, 'UTC')",
            id_,
            self.business,
            where,
        )
        await self.offer(id_, *services)
        return id_

    async def offer(self, calendar_id: str, *services: Service) -> None:
        await self.connection.execute("DELETE FROM professional_services WHERE professional_id = $1", calendar_id)
        for s in services:
            if s.guard != "none":
                await self._publish(calendar_id, s)
                continue
            await self.connection.execute(
                """INSERT INTO services (id, business_id, name, duration_minutes, step_minutes, buffer_before_minutes,
                    buffer_after_minutes, notice_minutes, horizon_days, capacity, confirmation)
                VALUES ($1, $2, 'A', $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO UPDATE SET
                    duration_minutes = EXCLUDED.duration_minutes, step_minutes = EXCLUDED.step_minutes,
                    buffer_before_minutes = EXCLUDED.buffer_before_minutes, capacity = EXCLUDED.capacity,
                    buffer_after_minutes = EXCLUDED.buffer_after_minutes""",
                s.id, self.business, s.duration // MINUTE, s.step // MINUTE, s.before // MINUTE, s.after // MINUTE,
                s.notice // MINUTE, s.horizon // DAY, s.capacity, "approval" if s.approval else "instant",
            )  # fmt: skip
            await self.connection.execute(
                "INSERT INTO professional_services VALUES ($1, $2, $3)", self.business, calendar_id, s.id
            )

    async def _publish(self, calendar_id: str, s: Service) -> None:
        """Terms that only offerings have: this one is open all day, all year."""
        await self.connection.execute(
            """INSERT INTO offerings (id, business_id, professional_id, code, type, title, start_date, end_date,
                day_start, day_end, time_zone, duration_minutes, max_attendees, anti_scalping)
            VALUES ($1, $2, $3, $4, 'single', 'A', now() - interval '1 day', now() + interval '1 year', 0, 1440,
                'UTC', $5, 1, $6)""",
            s.id, self.business, calendar_id, s.id, s.duration // MINUTE, s.guard,
        )  # fmt: skip

    def journal(self) -> PostgresJournal:
        return PostgresJournal(self.dsn, self.database, 2, NullMeter())

    async def rows(self, calendar_id: str) -> dict[str, RowSeen]:
        found = await self.connection.fetch(
            """SELECT id::text, status, to_us(start_at), to_us(lower(blocked)), to_us(upper(blocked)),
                session_id::text, capacity, attendees, code FROM bookings WHERE calendar_id = $1""",
            calendar_id,
        )
        return {r[0]: RowSeen(*list(r)[1:]) for r in found}

    async def events(self, calendar_id: str) -> list[EventSeen]:
        found = await self.connection.fetch(
            "SELECT shard, seq, version, epoch, data::text FROM events WHERE calendar_id = $1 ORDER BY seq", calendar_id
        )
        return [EventSeen(*list(r)[:4], ev.decode(r[4])) for r in found]

    async def position(self, shard: int) -> int:
        return int(await self.connection.fetchval("SELECT seq FROM shards WHERE id = $1", shard))

    async def epoch(self, shard: int) -> int:
        return int(await self.connection.fetchval("SELECT epoch FROM shards WHERE id = $1", shard))


class Owner:
    """Stands for the actor in tests of the journal alone."""

    def __init__(self) -> None:
        self.stale = False


class Told:
    """A listener that writes down what it is told, and does what every listener must: mark owners stale."""

    def __init__(self) -> None:
        self.batches: list[list[Entry]] = []
        self.losses: list[tuple[Entry, Loss]] = []
        self.fenced_shards: set[int] = set()
        self._changed = asyncio.Event()

    @property
    def committed_entries(self) -> list[Entry]:
        return [e for batch in self.batches for e in batch]

    def committed(self, entries: Sequence[Entry]) -> None:
        self.batches.append(list(entries))
        self._changed.set()

    def lost(self, entries: Sequence[Entry], loss: Loss) -> None:
        for entry in entries:
            entry.owner.stale = True
            self.losses.append((entry, loss))
        self._changed.set()

    def unsettled(self, entries: Sequence[Entry]) -> None:
        pass

    def fenced(self, shards: Any) -> None:
        self.fenced_shards |= set(shards)

    async def until(self, count: int) -> None:
        """Waits until the fate of so many entries is known."""
        async with asyncio.timeout(20):
            while len(self.committed_entries) + len(self.losses) < count:
                self._changed.clear()
                await self._changed.wait()


class Scribe:
    """Makes journal entries of one calendar by hand, forged ones too."""

    def __init__(self, world: World, calendar_id: str, shard: int) -> None:
        self.world = world
        self.calendar_id = calendar_id
        self.shard = shard
        self.owner = Owner()
        self.version = 0

    def entry(self, *events: ev.Event, key: IdempotencyKey | None = None) -> Entry:
        caller = Caller(self.world.business, "test:scribe", "req-1")
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        work = Work(self.calendar_id, Command(), caller, future, 0.0, key)
        first = self.version + 1
        self.version += len(events)
        answer: Any = events[-1] if events else None
        return Entry(work, self.shard, events, first, Outcome(self.version, NOON, answer, None, 1), self.owner)


def booked(minutes: int, *, code: str = "", id_: str = "", **more: Any) -> ev.Booked:
    """Half an hour, so many minutes after noon."""
    made = id_ or new_id()
    fields: dict[str, Any] = {"before": 0, "after": 0, "places": 1, **more}
    return ev.Booked(
        made, code or f"BK-{made}", "confirmed", new_id(), NOON + minutes * MINUTE, 30 * MINUTE,
        fields.pop("before"), fields.pop("after"), fields.pop("places"), **fields,
    )  # fmt: skip


class House:
    """A runtime on a world, with a journal of its own and a clock to move."""

    def __init__(self, world: World, journal: Any, clock: FixedClock, store: CalendarStore | None = None) -> None:
        self.world = world
        self.journal = journal
        self.clock = clock
        self.runtime = Runtime(journal, store or world.store, clock, SHARDS)

    async def start(self) -> "House":
        await self.journal.start(self.runtime)
        await self.journal.take(range(SHARDS))
        return self

    def work(
        self,
        calendar_id: str,
        command: Command,
        key: IdempotencyKey | None = None,
        deadline_s: float = 10.0,
        details: Details = NO_DETAILS,
    ) -> Work:
        loop = asyncio.get_running_loop()
        caller = Caller(self.world.business, "test:house", new_id())
        return Work(calendar_id, command, caller, loop.create_future(), loop.time() + deadline_s, key, details)

    def ask(
        self, calendar_id: str, command: Command, key: IdempotencyKey | None = None, **more: Any
    ) -> "asyncio.Future[Outcome]":
        return self.runtime.ask(self.work(calendar_id, command, key, **more))

    async def live(self, calendar_id: str) -> Calendar:
        loop = asyncio.get_running_loop()
        return (await self.runtime.roster.activate(calendar_id, self.world.business, loop.time() + 10)).calendar


class HowMany(Question, frozen=True):
    """How many reservations there are; `salt` makes it another question."""

    salt: int = 0

    def answer(self, calendar: Calendar, now: int) -> tuple[bytes, int]:
        return b"%d" % len(calendar.reservations), now + DAY


class SlowStore:
    """Counts loads, and holds them back while `gate` is closed."""

    def __init__(self, store: CalendarStore) -> None:
        self._store = store
        self.gate = asyncio.Event()
        self.gate.set()
        self.loads: list[list[str]] = []
        self.failing: Exception | None = None

    async def load(self, calendar_ids: Sequence[str]) -> Any:
        self.loads.append(list(calendar_ids))
        await self.gate.wait()
        if self.failing is not None:
            raise self.failing
        return await self._store.load(calendar_ids)

    async def terms_of(self, calendar_ids: Sequence[str]) -> Any:
        return await self._store.terms_of(calendar_ids)

    async def find_outcome(self, scope: str, key: str) -> StoredOutcome | None:
        return await self._store.find_outcome(scope, key)

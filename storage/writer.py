"""A writer of the journal: group commit, with the next batch under way before the last one has committed.

Entries gather while batches commit. A writer has two lanes, each a connection, so that the database finds the next
batch waiting when it has committed one; the fence row makes it wait, see `append_batch`. Shards are divided among
writers and batches land in the order in which they took off, so a calendar's events stay in order.

A writer's life:

    writing ──batch refused by the fence──► writing, without the lost shards
       │    ──batch refused by a constraint──► writing, after the batch was split
       └─────outcome unknown──► recovering ──new epoch, fate read from `shards.seq`──► writing

Whatever goes wrong, the batches behind it are called back first: they rest on it, and the fence has refused them. While
a writer recovers, new entries are refused with `unavailable`: nothing is acknowledged, nothing queues up.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence, Set
from typing import Final

import asyncpg

from actors.ports import Entry, JournalListener, Loss
from protocol import limits
from protocol.errors import Refused
from storage.batch import Batch, Fence
from storage.lane import Flight, Lane, retake
from storage.meter import Meter
from storage.postgres import CLIENT_ERRORS, sqlstate
from storage.queries import sql

log = logging.getLogger("slotcast.writer")

_LANES: Final = 2
_BEHIND_MIN: Final = 16
"""Fewer entries than this do not follow a batch under way: a statement of their own would cost more than they wait."""
_NEVER: Final = limits.journal_waiting_max + 1
_FENCED: Final = "SC001"
_KEY_TAKEN: Final = "SC002"
_RETRY_FIRST_S: Final = 0.05
_RETRY_MAX_S: Final = 1.0
_TELL_EVERY_S: Final = 0.25


class Writer:
    def __init__(self, dsn: str, shards: Sequence[int], meter: Meter, name: str) -> None:
        self.shards = tuple(shards)
        self.fences: dict[int, Fence] = {}
        """`seq` is where a shard will be once everything under way has landed."""
        self.writing = False
        self._meter = meter
        self._name = name
        self._lanes = [Lane(dsn, f"{name}{letter}") for letter in "ab"[:_LANES]]
        self._tasks: list[asyncio.Task[None]] = []
        self._gathering: deque[Entry] = deque()
        self._flights: deque[Flight] = deque()
        self._mending: Sequence[Entry] | None = None
        """What is being settled after a failure; nothing takes off meanwhile."""
        self._enough = 1
        """So many gathered entries wake a lane."""
        self._listener: JournalListener

    @property
    def waiting(self) -> int:
        return len(self._gathering) + sum(len(f.entries) for f in self._flights) + len(self._mending or ())

    async def start(self, listener: JournalListener) -> None:
        """Raises what connecting raises: a node does not start without its database."""
        self._listener = listener
        for lane in self._lanes:
            await lane.connect()
        for row in await self._connection.fetch(sql("take_shards"), list(self.shards)):
            self.fences[row["id"]] = Fence(row["epoch"], row["seq"])
        self.writing = True
        self._tasks = [asyncio.create_task(self._serve(lane), name=lane.name) for lane in self._lanes]

    async def ended(self) -> None:
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        self.writing = False
        for task in done:
            if not task.cancelled():
                task.result()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for lane in self._lanes:
            lane.disconnect()

    @property
    def _connection(self) -> asyncpg.Connection:
        """The one for everything but batches under way."""
        connection = self._lanes[0].connection
        if connection is None:
            raise asyncpg.InterfaceError("not connected")
        return connection

    def append(self, entry: Entry) -> None:
        if not self.writing:
            raise Refused("unavailable")
        if entry.shard not in self.fences:
            raise Refused("moved")
        if len(self._gathering) >= limits.journal_waiting_max:
            raise Refused("overloaded")
        self._gathering.append(entry)
        if len(self._gathering) >= self._enough:
            self._wake()

    # Batches take off and land

    async def _serve(self, lane: Lane) -> None:
        while True:
            flight = self._take_off()
            if flight is None:
                lane.waiter = asyncio.get_running_loop().create_future()
                await lane.waiter
                continue
            if flight.batch is not None:
                try:
                    with self._meter.commit(flight.batch.events):
                        await lane.write(flight.batch.arguments)
                except Exception as error:
                    flight.error = error
            flight.landed.set_result(None)
            self._land()
            if self._flights and self._flights[0].error is not None and self._mending is None:
                await self._mend()

    def _take_off(self) -> Flight | None:
        """The next batch, if there is enough for one and nothing is broken. The first one waits for nobody."""
        self._enough = self._enough_for_next()
        if len(self._gathering) < self._enough:
            return None
        flight = self._make(self._next_entries())
        if flight.batch is not None:
            self._advance(flight.batch)
        self._flights.append(flight)
        self._enough = self._enough_for_next()
        if len(self._gathering) >= self._enough:
            self._wake()
        return flight

    def _enough_for_next(self) -> int:
        if self._mending is not None or any(f.error is not None for f in self._flights):
            return _NEVER
        if not self._flights:
            return 1
        if len(self._flights) == _LANES:
            return _NEVER
        return max(_BEHIND_MIN, len(self._flights[-1].entries) // 2)

    def _wake(self) -> None:
        for lane in self._lanes:
            if lane.wake():
                # It looks for itself once it runs; until then nobody else needs to be woken.
                self._enough = _NEVER
                return

    def _next_entries(self) -> list[Entry]:
        entries: list[Entry] = []
        events = 0
        while self._gathering and events < limits.batch_events_max:
            entry = self._gathering.popleft()
            # A stored refusal has no events but costs a row all the same.
            events += max(1, len(entry.events))
            entries.append(entry)
        return entries

    def _make(self, entries: Sequence[Entry]) -> Flight:
        try:
            return Flight(entries, Batch(entries, self.fences), None)
        except Exception as error:
            # A row that cannot even be made is poison like any other; the writer must live on.
            log.exception("a batch could not be made")
            return Flight(entries, None, error)

    def _advance(self, batch: Batch) -> None:
        for shard, seq in batch.seq_after.items():
            self.fences[shard].seq = seq

    def _rewind(self, batch: Batch) -> None:
        for shard, seq in batch.seq_before.items():
            self.fences[shard].seq = seq

    def _land(self) -> None:
        """Tells of what has come through, in the order in which it took off."""
        if self._mending is not None:
            return
        while self._flights and self._flights[0].landed.done() and self._flights[0].error is None:
            self._listener.committed(self._flights.popleft().entries)

    # Something went wrong

    async def _mend(self) -> None:
        """Settles every flight, the oldest of which has failed."""
        self._mending = ()
        try:
            await asyncio.wait([f.landed for f in self._flights])
            flights = list(self._flights)
            self._flights.clear()
            came = [f for f in flights if f.error is None]
            failed = [f for f in flights if f.error is not None]
            for flight in reversed(failed):
                if flight.batch is not None:
                    self._rewind(flight.batch)
            for flight in came:
                # It had no shard in common with the failed one.
                assert flight.batch is not None
                self._advance(flight.batch)
                self._listener.committed(flight.entries)
            if any(f.unknown for f in failed):
                self._mending = [e for f in failed for e in f.entries]
                await self._recover(failed)
                return
            first, *behind = failed
            for flight in reversed(behind):
                self._gathering.extendleft(reversed(flight.entries))
            self._mending = first.entries
            assert first.error is not None
            await self._refused(first.entries, first.error)
        finally:
            self._mending = None
            for lane in self._lanes:
                lane.wake()

    async def _refused(self, entries: Sequence[Entry], error: Exception) -> None:
        if sqlstate(error) == _FENCED:
            await self._drop_fenced_shards(entries)
        else:
            await self._split(entries, error)

    async def _commit(self, entries: Sequence[Entry]) -> None:
        """Writes a part of what has failed, while nothing else is under way."""
        gone = [e for e in entries if e.shard not in self.fences]
        if gone:
            self._lose(gone, Loss.FENCED)
            entries = [e for e in entries if e.shard in self.fences]
        if not entries:
            return
        flight = self._make(entries)
        if flight.batch is not None:
            try:
                with self._meter.commit(flight.batch.events):
                    await self._lanes[0].write(flight.batch.arguments)
            except Exception as error:
                flight.error = error
        if flight.error is None:
            assert flight.batch is not None
            self._advance(flight.batch)
            self._listener.committed(entries)
        elif flight.unknown:
            await self._recover([flight])
        else:
            await self._refused(entries, flight.error)

    # A constraint refused the batch

    async def _split(self, entries: Sequence[Entry], error: Exception) -> None:
        """Writes the entries calendar by calendar; one that fails alone is poison.

        What its calendar decided afterwards rests on it and is lost with it, to be decided again.
        """
        if len(entries) == 1:
            self._lose(entries, _loss_of(error))
            return
        calendars: dict[str, list[Entry]] = {}
        for entry in entries:
            calendars.setdefault(entry.work.calendar_id, []).append(entry)
        if len(calendars) > 1:
            for group in calendars.values():
                await self._commit(group)
            return
        # One calendar: the longest prefix that commits does; halving keeps that to a few statements.
        half = len(entries) // 2
        first, second = entries[:half], entries[half:]
        await self._commit(first)
        if first[-1].owner.stale:
            self._lose(second, Loss.NEIGHBOUR)
        else:
            await self._commit(second)

    def _lose(self, entries: Sequence[Entry], loss: Loss) -> None:
        """Tells the loss, and that of everything waiting that the same calendars decided since."""
        calendars = {e.work.calendar_id for e in entries}
        later = [e for e in self._gathering if e.work.calendar_id in calendars]
        if later:
            self._gathering = deque(e for e in self._gathering if e.work.calendar_id not in calendars)
        if loss in (Loss.GUARD, Loss.CODE_TAKEN, Loss.KEY_TAKEN):
            self._meter.refused(loss.value)
        self._listener.lost(entries, loss)
        if later:
            self._listener.lost(later, loss if loss is Loss.UNAVAILABLE else Loss.NEIGHBOUR)

    # The fence moved

    async def _drop_fenced_shards(self, entries: Sequence[Entry]) -> None:
        try:
            rows = await self._connection.fetch(sql("shards_now"), list(self.fences), timeout=limits.commit_timeout_s)
        except (*CLIENT_ERRORS, asyncpg.PostgresError) as error:
            await self._recover([Flight(entries, None, error)])
            return
        lost = {r["id"] for r in rows if r["epoch"] != self.fences[r["id"]].epoch}
        for r in rows:
            if r["id"] not in lost:
                self.fences[r["id"]].seq = r["seq"]
        self._forget_shards(lost)
        gone = [e for e in entries if e.shard in lost]
        kept = [e for e in entries if e.shard not in lost]
        if gone:
            self._meter.refused(Loss.FENCED.value)
            self._lose(gone, Loss.FENCED)
        if kept:
            await self._commit(kept)

    def _forget_shards(self, shards: Set[int]) -> None:
        """Nothing that was decided under the old epochs may be written under later ones."""
        if not shards:
            return
        log.error("%s shards were taken by another epoch: %s", len(shards), sorted(shards))
        for shard in shards:
            del self.fences[shard]
        self._listener.fenced(shards)
        waiting = [e for e in self._gathering if e.shard in shards]
        if waiting:
            self._gathering = deque(e for e in self._gathering if e.shard not in shards)
            self._listener.lost(waiting, Loss.FENCED)

    # The outcome is unknown

    async def _recover(self, flights: Sequence[Flight]) -> None:
        """Comes back with new epochs, then says what became of each batch."""
        self.writing = False
        for flight in flights:
            if not isinstance(flight.error, (*CLIENT_ERRORS, asyncpg.PostgresError)):
                log.error("a batch went wrong", exc_info=flight.error)
        log.warning("lost the database with %s entries in flight", sum(len(f.entries) for f in flights))
        waiting = list(self._gathering)
        self._gathering.clear()
        if waiting:
            self._listener.lost(waiting, Loss.UNAVAILABLE)
        telling = asyncio.create_task(self._tell_unsettled(), name=f"{self._name} unsettled")
        try:
            written = await self._come_back([f.batch for f in flights if f.batch is not None])
        finally:
            telling.cancel()
        self.writing = True
        log.warning(
            "the database is back; of %s batches in flight %s were written", len(flights), sum(written.values())
        )
        for flight in flights:
            if flight.batch is not None and written[flight.batch]:
                self._listener.committed(flight.entries)
            else:
                self._lose(flight.entries, Loss.UNAVAILABLE)

    async def _come_back(self, batches: Sequence[Batch]) -> dict[Batch, bool]:
        """Tries until it can tell of each batch whether it was written."""
        epochs = {shard: fence.epoch for shard, fence in self.fences.items()}
        pause = _RETRY_FIRST_S
        while True:
            try:
                for lane in self._lanes:
                    lane.disconnect()
                for lane in self._lanes:
                    await lane.connect()
                written, now = await retake(self._connection, batches, epochs)
            except Exception as error:
                # Whatever it is, the writer must live on: without it nothing is ever written again.
                log.warning("still without the database: %s: %s", type(error).__name__, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _RETRY_MAX_S)
            else:
                # An earlier attempt may have taken them, and its answer been lost: then they are ours and yet to be
                # taken again, as when another node has them. Only who may own shards can tell; see `storage.ownership`.
                self._forget_shards(epochs.keys() - now.keys())
                self.fences.update(now)
                return written

    async def _tell_unsettled(self) -> None:
        """Callers have deadlines; the database may stay away for longer. What was split off waits too."""
        while True:
            await asyncio.sleep(_TELL_EVERY_S)
            self._listener.unsettled(self._mending or ())


def _loss_of(error: Exception) -> Loss:
    constraint = getattr(error, "constraint_name", None)
    if sqlstate(error) == _KEY_TAKEN or constraint == "idempotency_keys_once":
        return Loss.KEY_TAKEN
    if constraint == "bookings_code":
        return Loss.CODE_TAKEN
    log.error("the database refused an entry: %s", error)
    return Loss.GUARD

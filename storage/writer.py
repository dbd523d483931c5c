"""One connection that writes batches, and the shards it writes for.

A writer's life:

    writing ──batch refused by the fence──► writing, without the lost shards
       │    ──batch refused by a constraint──► writing, after the batch was split
       └─────outcome unknown──► recovering ──new epoch, fate read from `shards.seq`──► writing

While it recovers, new entries are refused with `unavailable`: nothing is acknowledged, nothing queues up.

A `Fence` object stands for one time of owning a shard: recovering changes it in place, taking the shard again makes
another. What was decided under one is never written under another.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

import asyncpg

from actors.ports import Entry, JournalListener, Loss
from protocol import limits
from protocol.errors import Refused
from storage.batch import Batch, Fence
from storage.meter import Meter
from storage.postgres import CLIENT_ERRORS, connect_writer, is_lost_connection, sqlstate
from storage.queries import sql

log = logging.getLogger("slotcast.journal")

_FENCED: Final = "SC001"
_KEY_TAKEN: Final = "SC002"
_RETRY_FIRST_S: Final = 0.05
_RETRY_MAX_S: Final = 1.0
_TELL_EVERY_S: Final = 0.25


class Writer:
    """`owned` has the shards that entries are taken for, with their epochs; it is shared by the writers of a journal,
    each minding its own. `fences` has those that are being given up as well.
    """

    def __init__(self, dsn: str, meter: Meter, name: str, owned: dict[int, int]) -> None:
        self.fences: dict[int, Fence] = {}
        self._owned = owned
        self._dsn = dsn
        self._meter = meter
        self._name = name
        self._gathering: deque[Entry] = deque()
        self._in_flight: Sequence[Entry] = ()
        self._under: dict[int, Fence] = {}
        """The fences that what is in flight was decided under."""
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._connection: asyncpg.Connection | None = None
        self._statement: Any = None
        self._task: asyncio.Task[None] | None = None
        self._listener: JournalListener
        self.writing = False

    @property
    def waiting(self) -> int:
        return len(self._gathering) + len(self._in_flight)

    async def start(self, listener: JournalListener) -> None:
        """Raises what connecting raises: a node does not start without its database."""
        self._listener = listener
        await self._connect()
        self.writing = True
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def ended(self) -> None:
        assert self._task is not None
        await asyncio.wait([self._task])
        self.writing = False
        if not self._task.cancelled():
            self._task.result()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._disconnect()

    # Shards come and go

    def open(self, shard: int, fence: Fence) -> None:
        """Takes entries for a shard whose epoch has just been advanced."""
        self.fences[shard] = fence
        self._owned[shard] = fence.epoch

    async def settle(self, shards: Set[int]) -> None:
        """Returns when the fate of everything that was taken for them has been told."""
        while any(e.shard in shards for e in (*self._in_flight, *self._gathering)):
            self._settled.clear()
            await self._settled.wait()

    def drop(self, shards: Set[int]) -> None:
        """Takes and sends nothing more for them. What is in flight may be written all the same, until it is fenced."""
        for shard in shards:
            self.fences.pop(shard, None)
            self._owned.pop(shard, None)
        waiting = [e for e in self._gathering if e.shard in shards]
        if waiting:
            self._gathering = deque(e for e in self._gathering if e.shard not in shards)
            self._listener.lost(waiting, Loss.FENCED)
        self._settled.set()

    def drop_older(self, epochs: Mapping[int, int]) -> None:
        """Drops the shards that have a later epoch than this writer knows, unless it is finding that out itself."""
        if self.writing:
            self._forget_shards({s for s, f in self.fences.items() if epochs.get(s, f.epoch) > f.epoch})

    def append(self, entry: Entry) -> None:
        if entry.shard not in self._owned:
            raise Refused("moved")
        if not self.writing:
            raise Refused("unavailable")
        if len(self._gathering) >= limits.journal_waiting_max:
            raise Refused("overloaded")
        self._gathering.append(entry)
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._gathering:
                batch = self._next_batch()
                self._in_flight = batch
                self._under = {e.shard: self.fences[e.shard] for e in batch}
                await self._commit(batch)
                self._in_flight = ()
                self._settled.set()

    def _next_batch(self) -> list[Entry]:
        batch: list[Entry] = []
        events = 0
        while self._gathering and events < limits.batch_events_max:
            entry = self._gathering.popleft()
            # A stored refusal has no events but costs a row all the same.
            events += max(1, len(entry.events))
            batch.append(entry)
        return batch

    async def _commit(self, entries: Sequence[Entry]) -> None:
        # Also what was decided before its shard was lost and taken again.
        gone = [e for e in entries if self.fences.get(e.shard) is not self._under[e.shard]]
        if gone:
            self._lose(gone, Loss.FENCED)
            entries = [e for e in entries if self.fences.get(e.shard) is self._under[e.shard]]
        if not entries:
            return
        try:
            batch = Batch(entries, self.fences)
            arguments = batch.arguments()
        except Exception as error:
            # A row that cannot even be made is poison like any other; the writer must live on.
            log.exception("a batch could not be made")
            await self._split(entries, error)
            return
        try:
            await self._write(batch, arguments)
        except asyncpg.PostgresError as error:
            if is_lost_connection(error):
                await self._recover(entries)
            elif sqlstate(error) == _FENCED:
                await self._drop_fenced_shards(entries)
            else:
                await self._split(entries, error)
        except Exception as error:
            # Lost, or in a state that nobody foresaw: in any case it may have been written.
            if not isinstance(error, CLIENT_ERRORS):
                log.exception("a batch went wrong")
            await self._recover(entries)
        else:
            self._advance(batch)
            self._listener.committed(entries)

    async def _write(self, batch: Batch, arguments: Sequence[Any]) -> None:
        if self._statement is None:
            raise asyncpg.InterfaceError("not connected")
        with self._meter.commit(batch.events):
            await self._statement.fetch(*arguments, timeout=limits.commit_timeout_s)

    def _advance(self, batch: Batch) -> None:
        for shard, seq in batch.seq_after.items():
            self._under[shard].seq = seq

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
        assert self._connection is not None
        asked = dict(self.fences)
        try:
            rows = await self._connection.fetch(sql("shards_now"), list(asked), timeout=limits.commit_timeout_s)
        except (*CLIENT_ERRORS, asyncpg.PostgresError):
            await self._recover(entries)
            return
        lost: set[int] = set()
        for r in rows:
            fence = asked[r["id"]]
            if self.fences.get(r["id"]) is not fence:
                continue  # given up in the meantime
            if r["epoch"] != fence.epoch:
                lost.add(r["id"])
            else:
                fence.seq = r["seq"]
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
            self._owned.pop(shard, None)
        self._listener.fenced(shards)
        self.drop(shards)

    # The outcome is unknown

    async def _recover(self, entries: Sequence[Entry]) -> None:
        """Comes back with new epochs, then says what became of the batch."""
        self.writing = False
        log.warning("lost the database with %s entries in flight", len(entries))
        before = self.fences | self._under
        waiting = list(self._gathering)
        self._gathering.clear()
        if waiting:
            self._listener.lost(waiting, Loss.UNAVAILABLE)
            self._settled.set()
        telling = asyncio.create_task(self._tell_unsettled(), name=f"{self._name} unsettled")
        try:
            written = await self._come_back(entries, before)
        finally:
            telling.cancel()
        self.writing = True
        log.warning("the database is back; the batch in flight was %s", "written" if written else "not written")
        if written:
            self._listener.committed(entries)
        else:
            self._lose(entries, Loss.UNAVAILABLE)

    async def _come_back(self, entries: Sequence[Entry], before: dict[int, Fence]) -> bool:
        """Tries until it can tell whether the batch was written."""
        pause = _RETRY_FIRST_S
        while True:
            try:
                await self._disconnect()
                await self._connect()
                return await self._retake(entries, before)
            except Exception as error:
                # Whatever it is, the writer must live on: without it nothing is ever written again.
                log.warning("still without the database: %s: %s", type(error).__name__, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _RETRY_MAX_S)

    async def _tell_unsettled(self) -> None:
        """Callers have deadlines; the database may stay away for longer. What was split off waits too."""
        while True:
            await asyncio.sleep(_TELL_EVERY_S)
            self._listener.unsettled(self._in_flight)

    async def _retake(self, entries: Sequence[Entry], before: dict[int, Fence]) -> bool:
        """Takes new epochs, and tells whether the batch had been written: all of it was, or nothing."""
        assert self._connection is not None
        rows = await self._connection.fetch(
            sql("retake_shards"),
            list(before),
            [f.epoch for f in before.values()],
            timeout=limits.commit_timeout_s,
        )
        now = {r["id"]: Fence(r["epoch"], r["seq"]) for r in rows}
        written = await self._was_written(entries, before, now)
        # One that was dropped in the meantime stays so, and one that was taken anew has a fence of its own.
        standing = {s for s, fence in before.items() if self.fences.get(s) is fence}
        for shard in standing & now.keys():
            fence = before[shard]
            fence.epoch, fence.seq = now[shard].epoch, now[shard].seq
            if shard in self._owned:
                self._owned[shard] = fence.epoch
        # An earlier attempt may have taken them, and its answer been lost: then they are ours and yet to be taken
        # again, as when another node has them. Only who may own shards can tell; see `storage.ownership`.
        self._forget_shards(standing - now.keys())
        return written

    async def _was_written(self, entries: Sequence[Entry], before: dict[int, Fence], now: dict[int, Fence]) -> bool:
        """One shard whose position the batch would have moved tells it for the whole."""
        expected = {e.shard: before[e.shard].seq for e in entries}
        for entry in entries:
            expected[entry.shard] += len(entry.events)
        for shard, seq in expected.items():
            if seq == before[shard].seq:
                continue
            if shard in now:
                return now[shard].seq == seq
            assert self._connection is not None
            return bool(
                await self._connection.fetchval(
                    sql("written_by"), shard, seq, before[shard].epoch, timeout=limits.commit_timeout_s
                )
            )
        return False

    async def _connect(self) -> None:
        self._connection = await connect_writer(self._dsn, self._name)
        self._statement = await self._connection.prepare(sql("append_batch"))

    async def _disconnect(self) -> None:
        connection, self._connection, self._statement = self._connection, None, None
        if connection is not None:
            # A polite close would wait for the statement whose fate is unknown.
            connection.terminate()


def _loss_of(error: Exception) -> Loss:
    constraint = getattr(error, "constraint_name", None)
    if sqlstate(error) == _KEY_TAKEN or constraint == "idempotency_keys_once":
        return Loss.KEY_TAKEN
    if constraint == "bookings_code":
        return Loss.CODE_TAKEN
    log.error("the database refused an entry: %s", error)
    return Loss.GUARD

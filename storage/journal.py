"""The group-commit journal on Postgres.

Entries gather while a batch commits; then the next batch takes them. One batch in flight per writer, one statement
per batch. Shards are divided among writers, so a calendar's events stay in order.

A writer's life:

    writing ──batch refused by the fence──► writing, without the lost shards
       │    ──batch refused by a constraint──► writing, after the batch was split
       └─────outcome unknown──► recovering ──new epoch, fate read from `shards.seq`──► writing

While it recovers, new entries are refused with `unavailable`: nothing is acknowledged, nothing queues up.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence, Set
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


class Writer:
    def __init__(self, dsn: str, shards: Sequence[int], meter: Meter, name: str) -> None:
        self.shards = tuple(shards)
        self.fences: dict[int, Fence] = {}
        self._dsn = dsn
        self._meter = meter
        self._name = name
        self._gathering: deque[Entry] = deque()
        self._in_flight: Sequence[Entry] = ()
        self._wake = asyncio.Event()
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
        assert self._connection is not None
        for row in await self._connection.fetch(sql("take_shards"), list(self.shards)):
            self.fences[row["id"]] = Fence(row["epoch"], row["seq"])
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

    def append(self, entry: Entry) -> None:
        if not self.writing:
            raise Refused("unavailable")
        if entry.shard not in self.fences:
            raise Refused("moved")
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
                await self._commit(batch)
                self._in_flight = ()

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
        gone = [e for e in entries if e.shard not in self.fences]
        if gone:
            self._lose(gone, Loss.FENCED)
            entries = [e for e in entries if e.shard in self.fences]
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
            self.fences[shard].seq = seq

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
        try:
            rows = await self._connection.fetch(sql("shards_now"), list(self.fences), timeout=limits.commit_timeout_s)
        except (*CLIENT_ERRORS, asyncpg.PostgresError):
            await self._recover(entries)
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

    async def _recover(self, entries: Sequence[Entry]) -> None:
        """Comes back with new epochs, then says what became of the batch."""
        self.writing = False
        log.warning("lost the database with %s entries in flight", len(entries))
        before = {shard: Fence(f.epoch, f.seq) for shard, f in self.fences.items()}
        waiting = list(self._gathering)
        self._gathering.clear()
        if waiting:
            self._listener.lost(waiting, Loss.UNAVAILABLE)
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
        expected = {e.shard: before[e.shard].seq for e in entries if e.shard in before}
        for entry in entries:
            expected[entry.shard] += len(entry.events)
        rows = await self._connection.fetch(
            sql("retake_shards"),
            list(before),
            [f.epoch for f in before.values()],
            timeout=limits.commit_timeout_s,
        )
        now = {r["id"]: Fence(r["epoch"], r["seq"]) for r in rows}
        written = False
        for shard, seq in expected.items():
            if seq == before[shard].seq:
                continue
            if shard in now:
                written = now[shard].seq == seq
            else:
                written = bool(
                    await self._connection.fetchval(
                        sql("written_by"), shard, seq, before[shard].epoch, timeout=limits.commit_timeout_s
                    )
                )
            break
        # An earlier attempt may have taken them, and its answer been lost: then they are ours and yet to be taken
        # again, as when another node has them. Only who may own shards can tell; see `storage.ownership`.
        self._forget_shards(before.keys() - now.keys())
        self.fences.update(now)
        return written

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

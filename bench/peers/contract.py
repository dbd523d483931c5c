"""What a booking leaves behind in Slotcast, written by its own statement: the event under the fence of its shard, and
the row under every guard and in every index.
"""

from collections import Counter
from collections.abc import Sequence

import asyncpg
import msgspec
from asyncpg.prepared_stmt import PreparedStatement

from bench.peers.batches import Booked, Writer
from protocol import events as ev
from protocol.ids import new_id
from protocol.times import to_us
from storage import migrations
from storage.batch import Added, Fence
from storage.postgres import connect_writer
from storage.queries import sql

SHARD = 0
BY = f"user:{new_id()}"
NOTHING = "[]"


class JournalWriter(Writer):
    """For calendars that nobody else writes."""

    def __init__(self, connection: asyncpg.Connection, statement: PreparedStatement, fence: Fence) -> None:
        super().__init__(connection)
        self._statement = statement
        self._fence = fence
        self._versions: Counter[str] = Counter()
        self._business = new_id()
        self._encode = msgspec.json.Encoder().encode

    @classmethod
    async def open(cls, dsn: str) -> "JournalWriter":
        await migrations.up(dsn)
        connection = await connect_writer(dsn, "floor")
        await connection.execute(sql("ensure_shards"), 1)
        (row,) = await connection.fetch(sql("take_shards"), [SHARD])
        return cls(connection, await connection.prepare(sql("append_batch")), Fence(row["epoch"], row["seq"]))

    async def _store(self, bookings: Sequence[Booked]) -> None:
        fence = self._fence
        until = fence.seq + len(bookings)
        added = [self._added(seq, booking) for seq, booking in enumerate(bookings, fence.seq + 1)]
        await self._statement.fetch(
            [SHARD], [fence.epoch], [fence.seq], [until], self._encode(added).decode(),
            [], NOTHING, NOTHING, NOTHING, [], NOTHING, NOTHING, 0,
        )  # fmt: skip
        fence.seq = until

    async def _store_one(self, booking: Booked) -> None:
        await self._store([booking])

    def _added(self, seq: int, booking: Booked) -> Added:
        calendar_id, start = booking.professional_id, to_us(booking.start)
        self._versions[calendar_id] += 1
        event = ev.Booked(
            booking.id, booking.code, "confirmed", booking.service_id, start, to_us(booking.end) - start, 0, 0, 1,
            booking.client_id,
        )  # fmt: skip
        return Added(
            SHARD, seq, calendar_id, self._versions[calendar_id], self._business, to_us(booking.created_at), BY,
            booking.id, msgspec.Raw(ev.encode(event)), makes_row=True,
        )  # fmt: skip

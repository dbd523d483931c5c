"""Who may serve a database: one node that owns every shard, or any number that share them out over Redis."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

import asyncpg

from protocol.errors import Refused
from protocol.ids import new_id
from storage.batch import Fence
from storage.journal import PostgresJournal
from storage.postgres import CLIENT_ERRORS, CONNECT_TIMEOUT_S, Database
from storage.queries import sql

log = logging.getLogger("slotcast.ownership")

_CHECK_EVERY_S: Final = 1.0
_CLAIM_TRIES: Final = 10
_CLAIM_PAUSE_S: Final = 0.3


class AlreadyRunning(Exception):
    """The database is served by a node that cannot share it, or by some that this one would not share it with."""


class DatabaseLock:
    """Holds an advisory lock for as long as the node lives: alone, or together with others that are in a cluster.

    The lock keeps a node from starting beside the wrong others, and says who may take shards again that were fenced.
    What protects the data is the fence.
    """

    def __init__(self, dsn: str, lost: Callable[[], None], *, shared: bool = False) -> None:
        self._query = "share_database" if shared else "claim_database"
        self._dsn = dsn
        self._lost = lost
        self._name = f"slotcast ownership {new_id()}"
        self._connection: asyncpg.Connection | None = None

    async def claim(self) -> None:
        """Raises `AlreadyRunning` when the lock stays taken; a node that was just killed frees it in a moment."""
        connection = self._connection = await asyncpg.connect(
            self._dsn,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=CONNECT_TIMEOUT_S,
            server_settings={"application_name": self._name},
        )
        # After a cut, Postgres may not have noticed that this node's earlier session is gone.
        await connection.fetch(sql("end_earlier_sessions"), self._name)
        for _ in range(_CLAIM_TRIES):
            if await connection.fetchval(sql(self._query)):
                return
            await asyncio.sleep(_CLAIM_PAUSE_S)
        raise AlreadyRunning(
            "another node without SLOTCAST_REDIS_URL is running on this database, or nodes with it while this has none"
        )

    async def watch(self, journal: PostgresJournal | None = None) -> None:
        """Sees to it that this node may serve the database, or stops.

        Claims again after a lost connection, and calls `lost` when another node was faster. Shards of `journal` whose
        epoch was advanced by somebody else, while the lock is this node's alone, are taken again.
        """
        while True:
            await asyncio.sleep(_CHECK_EVERY_S)
            try:
                assert self._connection is not None
                await self._connection.fetchval("SELECT 1")
                if journal is not None and (lost := journal.lost_shards):
                    await self._take_again(self._connection, journal, lost)
            except (*CLIENT_ERRORS, asyncpg.PostgresError):
                if not await self._claim_again():
                    self._lost()
                    return

    async def _take_again(
        self, connection: asyncpg.Connection, journal: PostgresJournal, shards: Sequence[int]
    ) -> None:
        """In the session that holds the lock, so that nobody else can have it at that moment."""
        rows = await connection.fetch(sql("take_shards"), shards)
        journal.adopt({r["id"]: Fence(r["epoch"], r["seq"]) for r in rows})
        log.warning("took %s shards again", len(rows))

    async def _claim_again(self) -> bool:
        """Whether the node may go on."""
        if self._connection is not None:
            self._connection.terminate()
        try:
            await self.claim()
        except AlreadyRunning:
            log.critical("another node has taken this database; stopping")
            return False
        except (*CLIENT_ERRORS, asyncpg.PostgresError) as error:
            log.warning("cannot claim the database yet: %s", error)
        return True

    async def release(self) -> None:
        if self._connection is not None:
            self._connection.terminate()


async def choose_shard_count(database: Database, wanted: int) -> int:
    """The number of shards: chosen once per database, whatever the settings say later."""
    await database.value("choose_shard_count", str(wanted))
    count = await database.value("shard_count")
    if count is None:
        raise Refused("unavailable")
    await database.value("ensure_shards", count)
    return int(count)

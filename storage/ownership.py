"""One node, one database: who owns every shard when there is no Redis to share them out."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import asyncpg

from protocol.errors import Refused
from storage.postgres import CONNECT_TIMEOUT_S, Database
from storage.queries import sql

log = logging.getLogger("slotcast.ownership")

_CHECK_EVERY_S: Final = 2.0
_CLAIM_TRIES: Final = 10
_CLAIM_PAUSE_S: Final = 0.3


class AlreadyRunning(Exception):
    """Another node without Redis serves this database."""


class SingleNode:
    """Holds an advisory lock for as long as the node lives. The lock only keeps a second node from starting; what
    protects the data is the fence.
    """

    def __init__(self, dsn: str, lost: Callable[[], None]) -> None:
        self._dsn = dsn
        self._lost = lost
        self._connection: asyncpg.Connection | None = None

    async def claim(self) -> None:
        """Raises `AlreadyRunning` when the lock stays taken; a node that was just killed frees it in a moment."""
        connection = self._connection = await asyncpg.connect(
            self._dsn,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=CONNECT_TIMEOUT_S,
            server_settings={"application_name": "slotcast ownership"},
        )
        for _ in range(_CLAIM_TRIES):
            if await connection.fetchval(sql("claim_database")):
                return
            await asyncio.sleep(_CLAIM_PAUSE_S)
        raise AlreadyRunning("another node without SLOTCAST_REDIS_URL is running on this database")

    async def watch(self) -> None:
        """Claims again after a lost connection; calls `lost` when another node was faster."""
        while True:
            await asyncio.sleep(_CHECK_EVERY_S)
            try:
                assert self._connection is not None
                await self._connection.fetchval("SELECT 1")
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await self._claim_again()

    async def _claim_again(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        try:
            await self.claim()
        except AlreadyRunning:
            log.critical("another node has taken this database; stopping")
            self._lost()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("cannot claim the database yet: %s", error)

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

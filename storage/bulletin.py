"""Notices that reach every node of a database, with or without Redis: Postgres's LISTEN and NOTIFY.

A notice says what has changed, by kind and ids, and never how: whoever needs it reads the tables. It is posted in the
transaction of the change, so it is told once that is committed and never otherwise, to the node that posted it as well.
Those told while the connection was lost are missed; `on_gap` runs when it is back.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

import asyncpg
import msgspec

from storage.postgres import CLIENT_ERRORS, CONNECT_TIMEOUT_S

log = logging.getLogger("slotcast.bulletin")

_CHANNEL: Final = "slotcast"
_IDS_BYTES_MAX: Final = 7_000
"""Of the ids in one notice: Postgres takes payloads of less than 8000 bytes."""
_KEEPALIVE_S: Final = 5.0
_RETRY_FIRST_S: Final = 0.05
_RETRY_MAX_S: Final = 2.0


class Queries(Protocol):
    async def value(self, query: str, *args: object) -> Any: ...


class Notice(msgspec.Struct, frozen=True, rename={"sender": "from"}):
    """`sender` is the node that posted it."""

    kind: str
    ids: list[str]
    sender: str


_decode = msgspec.json.Decoder(Notice).decode
_encode = msgspec.json.Encoder().encode


class Bulletin:
    """Holds a connection of its own. `node` is the name that goes with what is posted here."""

    def __init__(self, dsn: str, node: str) -> None:
        self._dsn = dsn
        self._node = node
        self._connection: asyncpg.Connection | None = None
        self._lost = asyncio.Event()
        self._callbacks: defaultdict[str, list[Callable[[list[str]], None]]] = defaultdict(list)
        self._gap_callbacks: list[Callable[[], None]] = []

    @property
    def connected(self) -> bool:
        return self._connection is not None and not self._lost.is_set()

    def subscribe(self, kind: str, callback: Callable[[list[str]], None]) -> None:
        """`callback` gets the ids of each notice of that kind."""
        self._callbacks[kind].append(callback)

    def on_gap(self, callback: Callable[[], None]) -> None:
        """`callback` runs when notices of any kind may have been missed."""
        self._gap_callbacks.append(callback)

    async def post(self, queries: Queries, kind: str, ids: Sequence[str]) -> None:
        """Tells all nodes when the transaction of `queries` commits; several notices when the ids do not fit in one."""
        for some in _portions(ids):
            await queries.value("post_notice", _encode(Notice(kind, some, self._node)).decode())

    async def start(self) -> None:
        """Listens from here on. Raises what connecting raises: a node does not start without its database."""
        await self._connect()

    async def run(self) -> None:
        """Keeps listening until cancelled, whatever becomes of the connection."""
        pause = _RETRY_FIRST_S
        while True:
            await self._until_lost()
            try:
                await self._connect()
            except (*CLIENT_ERRORS, asyncpg.PostgresError) as error:
                log.warning("not listening for notices: %s: %s", type(error).__name__, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _RETRY_MAX_S)
                continue
            pause = _RETRY_FIRST_S
            log.warning("listening for notices again")
            for callback in self._gap_callbacks:
                _call(callback)

    async def stop(self) -> None:
        self._disconnect()

    async def _connect(self) -> None:
        self._disconnect()
        connection = await asyncpg.connect(
            self._dsn,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=CONNECT_TIMEOUT_S,
            server_settings={"application_name": "slotcast bulletin"},
        )
        self._connection = connection
        self._lost.clear()
        connection.add_termination_listener(self._terminated)
        try:
            await connection.add_listener(_CHANNEL, self._hear)
        except BaseException:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    def _terminated(self, connection: Any) -> None:
        # That of an earlier connection may come late.
        if connection is self._connection:
            self._lost.set()

    async def _until_lost(self) -> None:
        """A connection that was cut without a word is noticed by the next query."""
        while self.connected:
            try:
                await asyncio.wait_for(self._lost.wait(), _KEEPALIVE_S)
            except TimeoutError:
                await self._ask()

    async def _ask(self) -> None:
        assert self._connection is not None
        try:
            await self._connection.fetchval("SELECT 1")
        except (*CLIENT_ERRORS, asyncpg.PostgresError):
            self._lost.set()

    def _hear(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        try:
            notice = _decode(str(payload))
        except (msgspec.DecodeError, UnicodeEncodeError):
            log.warning("a notice that is none was ignored: %.100r", payload)
            return
        for callback in self._callbacks.get(notice.kind, ()):
            _call(callback, notice.ids)


def _call(callback: Callable[..., None], *args: object) -> None:
    try:
        callback(*args)
    except Exception:
        # The others who listen have nothing to do with it.
        log.exception("a notice could not be followed")


def _portions(ids: Sequence[str]) -> Iterator[list[str]]:
    """As many as fit into a notice each."""
    portion: list[str] = []
    size = 0
    for id_ in ids:
        length = len(_encode(id_)) + 1
        if portion and size + length > _IDS_BYTES_MAX:
            yield portion
            portion, size = [], 0
        portion.append(id_)
        size += length
    if portion:
        yield portion

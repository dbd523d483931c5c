"""The bus on Redis pub/sub: one channel for each node, one PUBLISH for all that goes to it in a turn of the loop.

    silent ──own ping heard──► connected ──answer missing, own ping not heard, connection closed──► silent
       └──────────────────────────pause, new connections──────────────────────────────────────────────┘

One write is under way at a time; what comes meanwhile gathers for the next. Nothing is ever sent twice.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from actors.cluster.ports import Bus
from protocol import limits
from storage.redis_client import LOST, Backoff, RedisServer, describe

log = logging.getLogger("slotcast.bus")

_PING_EVERY_S: Final = 1.0
_SILENCE_S: Final = 1.25
_SILENCES_MAX: Final = 2
"""A node hears itself every second; after two silences something between is dead, whatever the sockets say. One alone
may be the node's own: it was paused, and has not read yet what came.
"""
_FLUSH_S: Final = 0.5
_OVERHEAD_BYTES: Final = 64
"""What a message costs beside its own bytes, so that empty ones are bounded too."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[str, list[bytes]]).decode


class Parcel(NamedTuple):
    """What one PUBLISH carries. Without messages it is a ping to oneself."""

    receiver: str
    messages: list[bytes]


class RedisBus(Bus):
    """`lost` counts messages of which nobody knows whether they were delivered."""

    def __init__(self, server: RedisServer, prefix: str) -> None:
        self._sending = server.link("bus-send")
        self._hearing = server.link("bus-hear")
        self._prefix = prefix + "bus:"
        self._node = ""
        self._receive: Callable[[str, bytes], None]
        self._undelivered: Callable[[str, Sequence[bytes]], None]
        self._outbox: deque[tuple[str, bytes]] = deque()
        self._outbox_bytes = 0
        self._in_flight: deque[Parcel] = deque()
        self._wake = asyncio.Event()
        self._ping_due = False
        self._heard_self = asyncio.Event()
        self._stopping = False
        self._backoff = Backoff()
        self._task: asyncio.Task[None] | None = None
        self.lost = 0

    @property
    def connected(self) -> bool:
        return self._heard_self.is_set()

    async def start(
        self,
        node: str,
        receive: Callable[[str, bytes], None],
        undelivered: Callable[[str, Sequence[bytes]], None],
    ) -> None:
        """Waits a moment for the connection, and goes on without."""
        self._node, self._receive, self._undelivered = node, receive, undelivered
        self._task = asyncio.create_task(self._run(), name="bus")
        with suppress(TimeoutError):
            async with asyncio.timeout(limits.directory_timeout_s):
                await self._heard_self.wait()

    def send(self, node: str, message: bytes) -> None:
        cost = len(message) + _OVERHEAD_BYTES
        full = self._outbox_bytes + cost > limits.bus_outbox_bytes_max
        if full or len(message) > limits.bus_message_bytes_max or not self.connected:
            # Not before `send` has returned: the caller may not be ready for it.
            asyncio.get_running_loop().call_soon(self._return, Parcel(node, [message]))
            return
        self._outbox.append((node, message))
        self._outbox_bytes += cost
        self._wake.set()

    async def stop(self) -> None:
        """Gives what was sent before half a second to leave. Whoever sends to this node afterwards is told so."""
        if self._task is None:
            return
        self._stopping = True
        with suppress(*LOST):
            async with asyncio.timeout(_FLUSH_S):
                while self.connected and (self._outbox or self._in_flight):  # noqa: ASYNC110 - rare, and short
                    await asyncio.sleep(0.005)
                await self._hearing.send([("UNSUBSCRIBE",)])
                await asyncio.wait([self._task])
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    # The connections

    async def _run(self) -> None:
        while not self._stopping:
            try:
                await self._session()
            except LOST as error:
                log.log(logging.WARNING if self.connected else logging.DEBUG, "the bus is cut off: %s", describe(error))
            except Exception:
                log.exception("the bus went wrong")
            finally:
                self._settle()
                await self._sending.close()
                await self._hearing.close()
            if not self._stopping:
                await self._backoff.pause()

    async def _session(self) -> None:
        """Raises when one of the two connections is not what it should be; returns only when stopped."""
        async with asyncio.timeout(2 * limits.directory_timeout_s):
            await self._sending.open()
            await self._hearing.open()
            await self._hearing.call("SUBSCRIBE", self._prefix + self._node)
        tasks = [asyncio.create_task(part) for part in (self._hear(), self._write(), self._ping())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ping(self) -> None:
        while True:
            self._ping_due = True
            self._wake.set()
            await asyncio.sleep(_PING_EVERY_S)

    def _settle(self) -> None:
        """After the connections: what had no answer is lost, what was not written is not delivered."""
        self._heard_self.clear()
        self.lost += sum(len(p.messages) for p in self._in_flight)
        self._in_flight.clear()
        while self._outbox:
            for parcel in self._next_parcels():
                self._return(parcel)

    # Sending

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._outbox or self._ping_due:
                parcels = self._next_parcels()
                if self._ping_due:
                    self._ping_due = False
                    parcels.append(Parcel(self._node, []))
                await self._publish(parcels)

    def _next_parcels(self) -> list[Parcel]:
        """Of the oldest messages, as many as one write should carry."""
        found: dict[str, list[bytes]] = {}
        taken = 0
        while self._outbox:
            receiver, message = self._outbox[0]
            cost = len(message) + _OVERHEAD_BYTES
            if taken and taken + cost > limits.bus_message_bytes_max:
                break
            taken += cost
            found.setdefault(receiver, []).append(message)
            self._outbox.popleft()
        self._outbox_bytes -= taken
        return [Parcel(receiver, messages) for receiver, messages in found.items()]

    async def _publish(self, parcels: Sequence[Parcel]) -> None:
        self._in_flight.extend(parcels)
        await self._sending.send(
            ("PUBLISH", self._prefix + p.receiver, _encode((self._node, p.messages))) for p in parcels
        )
        while self._in_flight:
            try:
                receivers = await self._sending.receive()
            except ResponseError as error:
                log.warning("Redis refused to publish: %s", error)
                receivers = 0
            parcel = self._in_flight.popleft()
            if receivers:
                continue
            if not parcel.messages:
                raise RedisConnectionError("nobody listens to this node's own channel")
            self._return(parcel)

    def _return(self, parcel: Parcel) -> None:
        try:
            self._undelivered(*parcel)
        except Exception:
            log.exception("undelivered messages were not taken back well")

    # Hearing

    async def _hear(self) -> None:
        silences = 0
        while silences < _SILENCES_MAX:
            heard = await self._hearing.message(_SILENCE_S)
            silences = silences + 1 if heard is None else 0
            if heard is None:
                continue
            if heard[0] == b"message":
                self._deliver(heard[2])
            elif heard[0] == b"unsubscribe":
                return
        raise TimeoutError("the subscription is silent")

    def _deliver(self, packed: bytes) -> None:
        try:
            sender, messages = _decode(packed)
        except msgspec.MsgspecError as error:
            log.warning("dropped what cannot be read: %s", error)
            return
        if not messages and sender == self._node and not self.connected:
            log.info("the bus is connected")
            self._backoff.reset()
            self._heard_self.set()
        for message in messages:
            try:
                self._receive(sender, message)
            except Exception:
                log.exception("a message was not taken well")

"""Requests and answers over the bus: who waits for what, and what is known when no answer comes."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final, NamedTuple

import msgspec

from actors.cluster import messages as m
from actors.cluster.ports import Bus
from protocol import limits
from protocol.errors import Refused

log = logging.getLogger("slotcast.post")

_LAST_WORD_S: Final = 0.3


class Undelivered(Exception):
    """Certainly nobody has read the request."""


class Unanswered(Exception):
    """The request may have been read, and no answer will come."""


class _Waiting(NamedTuple):
    node: str
    answer: "asyncio.Future[m.Reply]"


class Post:
    """`receive(sender, message)` gets everything but replies. `unheard(node)` is told when what this node says of the
    views it follows there has reached nobody.
    """

    def __init__(
        self,
        node: str,
        bus: Bus,
        receive: Callable[[str, m.AnyMessage], None],
        unheard: Callable[[str], None],
    ) -> None:
        self.node = node
        self._bus = bus
        self._receive = receive
        self._unheard = unheard
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, _Waiting] = {}
        self._ids = count(1)
        self._connected_at = self._loop.time()
        self.lag_s = 0.0
        """How long the last message to oneself took over the bus."""

    async def start(self) -> None:
        await self._bus.start(self.node, self._arrived, self._undelivered)

    async def stop(self) -> None:
        await self._bus.stop()

    @property
    def connected(self) -> bool:
        return self._bus.connected

    @property
    def cut_off_s(self) -> float:
        """For how long the bus has been away, as far as `measure` has noticed."""
        return 0.0 if self._bus.connected else self._loop.time() - self._connected_at

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def lost(self) -> int:
        return self._bus.lost

    def measure(self) -> None:
        """To be called about once a second."""
        if self._bus.connected:
            self._connected_at = self._loop.time()
        self.send(self.node, m.Echo(self._loop.time()))

    def send(self, node: str, message: m.AnyMessage) -> None:
        self._bus.send(node, m.encode(message))

    async def request(self, node: str, make: Callable[[int], m.AnyMessage], deadline: float) -> m.Reply:
        """The reply, whose problem is raised as `Refused`. Raises `Undelivered` or `Unanswered` without one."""
        if len(self._waiting) >= limits.forwarded_waiting_max:
            raise Refused("overloaded")
        number = next(self._ids)
        answer: asyncio.Future[m.Reply] = self._loop.create_future()
        self._waiting[number] = _Waiting(node, answer)
        try:
            self.send(node, make(number))
            # The owner keeps the same deadline; what it says of that is on its way a little later.
            async with asyncio.timeout_at(deadline + _LAST_WORD_S):
                reply = await answer
        except TimeoutError:
            raise Unanswered from None
        finally:
            self._waiting.pop(number, None)
        if reply.problem is not None:
            raise m.refused_of(reply.problem)
        return reply

    def gone(self, node: str) -> None:
        """That member is no more: whoever waits for it waits in vain."""
        for waiting in tuple(self._waiting.values()):
            if waiting.node == node and not waiting.answer.done():
                waiting.answer.set_exception(Unanswered())

    def _arrived(self, sender: str, raw: bytes) -> None:
        try:
            message = m.decode(raw)
        except msgspec.MsgspecError as error:
            self._not_understood(sender, raw, error)
            return
        if isinstance(message, m.Reply):
            waiting = self._waiting.get(message.id)
            if waiting is not None and waiting.node == sender and not waiting.answer.done():
                waiting.answer.set_result(message)
        elif isinstance(message, m.Echo):
            self.lag_s = self._loop.time() - message.at
        else:
            self._receive(sender, message)

    def _not_understood(self, sender: str, raw: bytes, error: msgspec.MsgspecError) -> None:
        """Of a node of another version, most likely: whoever waits for an answer need not wait until the deadline."""
        log.warning("member %s says what cannot be read here: %s", sender, error)
        try:
            head = m.decode_head(raw)
        except msgspec.MsgspecError:
            return
        waiting = self._waiting.get(head.id)
        if head.m != m.REPLY:
            if head.id:
                detail = "the calendar's node cannot read the request; it may be of another version"
                self.send(sender, m.Reply(head.id, problem=m.Problem("unavailable", detail)))
        elif waiting is not None and waiting.node == sender and not waiting.answer.done():
            waiting.answer.set_exception(Unanswered())

    def _undelivered(self, node: str, raws: Sequence[bytes]) -> None:
        for raw in raws:
            message = m.decode(raw)
            if isinstance(message, m.Keep):
                self._unheard(node)
            elif isinstance(message, m.Ask | m.Read | m.Watch):
                waiting = self._waiting.get(message.id)
                if waiting is not None and not waiting.answer.done():
                    waiting.answer.set_exception(Undelivered())

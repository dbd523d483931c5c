"""What other nodes ask of this one: commands and questions about its calendars, and to be told its views."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from actors.broadcast import Broadcast, Sink, ViewKey
from actors.cluster import messages as m
from actors.cluster.post import Post
from actors.ports import Outcome, Work
from actors.questions import Question
from protocol import limits
from protocol.errors import Refused
from protocol.frames import Frame

log = logging.getLogger("slotcast.host")


class Desk(Protocol):
    """What it needs of the calendars of this node; each raises `Refused(moved)` for one that is not."""

    def ask(self, work: Work) -> "asyncio.Future[Outcome]": ...

    @property
    def in_doubt(self) -> bool: ...

    async def confirm(self, calendar_id: str) -> None: ...

    async def read(self, calendar_id: str, business_id: str, question: Question) -> bytes: ...

    async def watch(self, key: ViewKey, business_id: str) -> Broadcast: ...


class Relay(Sink):
    """A member that follows a view of this node: a `Sink` that numbers what it passes on."""

    __slots__ = ("_post", "heard_at", "node", "number", "settled_number", "view")

    def __init__(self, view: Broadcast, node: str, post: Post, now_s: float) -> None:
        self.view = view
        self.node = node
        self.number = 0
        self.settled_number = 0
        """What it had been told when it last said what it has: that much must have arrived by the next time."""
        self.heard_at = now_s
        self._post = post

    def deliver(self, view: Broadcast, frame: Frame) -> None:
        self.number += 1
        self._post.send(self.node, m.Told(view.id, self.number, view.version, frame.payload))

    def rehomed(self, old: Broadcast, new: Broadcast) -> None:
        # It looks for the calendar itself.
        self._post.send(self.node, m.Gone([old.id]))

    def state(self) -> m.State:
        view = self.view
        return m.State(view.id, self.number, view.version, view.snapshot().payload)


class Host:
    def __init__(
        self, desk: Desk, post: Post, spawn: Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]
    ) -> None:
        self._desk = desk
        self._post = post
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._relays: dict[tuple[str, str], Relay] = {}
        self.under_way = 0
        self.served = 0

    @property
    def relays(self) -> int:
        return len(self._relays)

    def received(self, sender: str, message: m.AnyMessage) -> None:
        if isinstance(message, m.Ask):
            self._ask(sender, message)
        elif isinstance(message, m.Read):
            self._begin(sender, message.id, self._read(message))
        elif isinstance(message, m.Watch):
            self._begin(sender, message.id, self._watch(sender, message))
        elif isinstance(message, m.Keep):
            self._keep(sender, message)
        elif isinstance(message, m.Missed):
            relay = self._relays.get((sender, message.view))
            if relay is not None:
                self._post.send(sender, relay.state())

    def member_gone(self, node: str) -> None:
        for relay in [r for r in self._relays.values() if r.node == node]:
            self._drop(relay)

    def tick(self) -> None:
        """Forgets whom nobody has heard of for a while."""
        limit = self._loop.time() - limits.relay_forgotten_s
        for relay in [r for r in self._relays.values() if r.heard_at < limit]:
            self._drop(relay)

    # Requests

    def _ask(self, sender: str, ask: m.Ask) -> None:
        if self.under_way >= limits.forwarded_waiting_max:
            self._post.send(sender, m.Reply(ask.id, problem=m.Problem("overloaded")))
            return
        self.under_way += 1
        future: asyncio.Future[Outcome] = self._loop.create_future()
        future.add_done_callback(partial(self._asked, sender, ask))
        deadline = self._loop.time() + _bounded(ask.left_s)
        self._desk.ask(Work(ask.calendar_id, ask.command, ask.caller, future, deadline, ask.key, ask.details))

    def _asked(self, sender: str, ask: m.Ask, future: "asyncio.Future[Outcome]") -> None:
        error = future.exception()
        if error is None and future.result().event is None and self._desk.in_doubt:
            self._spawn(self._finish(sender, ask.id, self._confirmed(ask, future.result())), "refusal in doubt")
            return
        self.under_way -= 1
        self.served += 1
        if error is None:
            self._post.send(sender, m.Reply(ask.id, outcome=future.result()))
        else:
            self._fail(sender, ask.id, error)

    async def _confirmed(self, ask: m.Ask, outcome: Outcome) -> m.Reply:
        await self._desk.confirm(ask.calendar_id)
        return m.Reply(ask.id, outcome=outcome)

    def _begin(self, sender: str, request: int, work: Coroutine[Any, Any, m.Reply]) -> None:
        if self.under_way >= limits.forwarded_waiting_max:
            work.close()
            self._post.send(sender, m.Reply(request, problem=m.Problem("overloaded")))
            return
        self.under_way += 1
        self._spawn(self._finish(sender, request, work), "forwarded request")

    async def _finish(self, sender: str, request: int, work: Coroutine[Any, Any, m.Reply]) -> None:
        try:
            self._post.send(sender, await work)
        except Exception as error:
            self._fail(sender, request, error)
        finally:
            self.under_way -= 1
            self.served += 1

    def _fail(self, sender: str, request: int, error: BaseException) -> None:
        if isinstance(error, TimeoutError):
            error = Refused("deadline_exceeded")
        elif not isinstance(error, Refused):
            log.error("a forwarded request failed", exc_info=error)
            error = Refused("internal_error")
        self._post.send(sender, m.Reply(request, problem=m.problem_of(error)))

    async def _read(self, read: m.Read) -> m.Reply:
        async with asyncio.timeout(_bounded(read.left_s)):
            return m.Reply(read.id, body=await self._desk.read(read.calendar_id, read.business_id, read.question))

    # Views

    async def _watch(self, sender: str, watch: m.Watch) -> m.Reply:
        async with asyncio.timeout(_bounded(watch.left_s)):
            view = await self._desk.watch(watch.key, watch.business_id)
        if view.gone:
            raise Refused("moved")
        earlier = self._relays.get((sender, view.id))
        if earlier is not None:
            self._drop(earlier)
        relay = self._relays[sender, view.id] = Relay(view, sender, self._post, self._loop.time())
        view.join(relay)
        # Before anything that follows it, and before the reply.
        self._post.send(sender, relay.state())
        return m.Reply(watch.id)

    def _keep(self, sender: str, keep: m.Keep) -> None:
        unknown: list[str] = []
        for view, number in keep.views.items():
            relay = self._relays.get((sender, view))
            if relay is None or relay.view.gone or relay not in relay.view.subscribers:
                unknown.append(view)
                continue
            relay.heard_at = self._loop.time()
            if number < relay.settled_number:
                self._post.send(sender, relay.state())
            relay.settled_number = relay.number
        if unknown:
            self._post.send(sender, m.Gone(unknown))

    def _drop(self, relay: Relay) -> None:
        self._relays.pop((relay.node, relay.view.id), None)
        relay.view.leave(relay)
        if not relay.view.subscribers:
            relay.view.idle_since = self._loop.time()


def _bounded(left_s: float) -> float:
    """Whatever the asker says, nothing waits for ever."""
    return max(0.0, min(limits.request_deadline_s, left_s))

"""The switchboard of one of several nodes: a calendar is here, on another node, or on its way between two.

What nobody owns at the moment waits, within a bound, until the directory shows an owner or the caller's time is over.
So a planned move costs a pause and a crash costs the lease; neither costs a request.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from actors.broadcast import Broadcast, Sink, ViewKey
from actors.cluster import messages as m
from actors.cluster.keeper import Keeper
from actors.cluster.ports import Member
from actors.cluster.post import Post, Unanswered, Undelivered
from actors.cluster.relays import Relays
from actors.placement import shard_of
from actors.ports import CalendarStore, Outcome, Work
from actors.questions import Question
from actors.runtime import Runtime
from actors.switchboard import Switchboard, answered_by
from protocol import limits
from protocol.errors import Refused

T = TypeVar("T")

_PAUSE_FIRST_S: Final = 0.005
_PAUSE_MAX_S: Final = 0.25
_ANSWER_S: Final = 3.0
"""After so long without an answer it is taken for lost, where asking again does no harm."""
_CUT_OFF_S: Final = 2.0
"""How long a request waits for another node when the bus is away: it may be back in a moment, or not for hours."""


class ClusterSwitchboard(Switchboard):
    def __init__(self, me: str, runtime: Runtime, store: CalendarStore, keeper: Keeper, shard_count: int) -> None:
        super().__init__(runtime, store)
        self._me = me
        self._keeper = keeper
        self._shard_count = shard_count
        self._post: Post
        self._rerouting = 0
        self._changed = asyncio.Event()
        self.relays: Relays
        self.forwarded: Counter[tuple[str, str]] = Counter()
        """Requests sent to other nodes, by kind and what came of them."""

    def connect(self, post: Post, relays: Relays) -> None:
        self._post = post
        self.relays = relays

    @property
    def waiting(self) -> int:
        """Requests that wait for another node's answer."""
        return self._post.waiting

    @property
    def certain_until(self) -> float:  # type: ignore[override] - a constant where there are no others
        return self._keeper.certain_until

    @property
    def rerouting(self) -> int:
        """Requests that wait for a calendar to have an owner."""
        return self._rerouting

    async def ask(self, work: Work) -> Outcome:
        if work.calendar_id in self._runtime.roster.actors:
            try:
                return await self.ask_here(work)
            except Refused as refused:
                if refused.code != "moved":
                    raise
                # Who watches it here is moved once it is certain that it has gone.
                self._keeper.suspect()
                work.future = self._loop.create_future()

        async def here() -> Outcome:
            if work.future.done():
                work.future = self._loop.create_future()
            return await self.ask_here(work)

        async def there(node: str, until: float) -> Outcome:
            left_s = work.deadline - self._loop.time()
            command: Any = work.command
            reply = await self._post.request(
                node,
                lambda i: m.Ask(i, work.calendar_id, command, work.caller, left_s, work.key, work.details),
                until,
            )
            assert reply.outcome is not None
            return reply.outcome

        # With a key the outcome is stored, so the same request again brings the same answer and does nothing twice.
        return await self._route("ask", work.calendar_id, work.deadline, here, there, again=work.key is not None)

    async def read(self, calendar_id: str, business_id: str, question: Question) -> bytes:
        deadline = self._deadline()

        async def here() -> bytes:
            return await self.read_here(calendar_id, business_id, question)

        async def there(node: str, until: float) -> bytes:
            left_s = deadline - self._loop.time()
            reply = await self._post.request(
                node,
                lambda i: m.Read(i, calendar_id, business_id, question, left_s),  # type: ignore[arg-type] - all of them
                until,
            )
            assert reply.body is not None
            return reply.body

        return await self._route("read", calendar_id, deadline, here, there, again=True)

    async def watch(self, key: ViewKey, business_id: str) -> Broadcast:
        deadline = self._deadline()
        # What another business follows already is found here without asking the owner.
        await self.require(key.calendar_id, business_id)

        async def here() -> Broadcast:
            return await self.watch_here(key, business_id)

        async def there(_node: str, _until: float) -> Broadcast:
            # Relays ask for themselves, and again.
            return await self.relays.watch(key, business_id, deadline)

        return await self._route("watch", key.calendar_id, deadline, here, there, again=True)

    def join(self, view: Broadcast, sink: Sink) -> Broadcast:
        super().join(view, sink)
        # It may have left while whoever asked for it did something else.
        return self.relays.adopt(view) if view.gone else view

    async def ask_here(self, work: Work) -> Outcome:
        """As `ask`, of a calendar of this node. Raises `Refused(moved)` when it is none."""
        outcome = await self._runtime.ask(work)
        if outcome.event is None and self.in_doubt:
            await self.confirm(work.calendar_id)
        return outcome

    @property
    def in_doubt(self) -> bool:
        return self._loop.time() >= self._keeper.certain_until

    async def confirm(self, calendar_id: str) -> None:
        """Returns when what was just said from memory of a calendar of this node was true. Raises `Refused(moved)`.

        What is decided is written under the epoch, and so true; a refusal is written nowhere.
        """
        actors = self._runtime.roster.actors
        actor = actors.get(calendar_id)
        await self._keeper.certain()
        if actor is None or actor.stale or actors.get(calendar_id) is not actor:
            raise Refused("moved")

    async def watch_here(self, key: ViewKey, business_id: str) -> Broadcast:
        """As `watch`, of a calendar of this node. Raises `Refused(moved)` when it is none."""
        await self._certain()
        return await super().watch(key, business_id)

    async def read_here(self, calendar_id: str, business_id: str, question: Question) -> bytes:
        """As `read`, of a calendar of this node. Raises `Refused(moved)` when it is none."""
        await self._certain()
        return await super().read(calendar_id, business_id, question)

    async def _certain(self) -> None:
        if self.in_doubt:
            await self._keeper.certain()

    def owner_of(self, calendar_id: str) -> Member | None:
        """Who has the calendar, as far as is known."""
        return self._keeper.owner_of(shard_of(calendar_id, self._shard_count))

    def owners_changed(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self.relays.owners_changed()

    def left(self, view: Broadcast) -> None:
        """Its calendar has left this node: who watched it here goes on watching it from afar."""
        self.relays.adopt(view)

    async def _route(
        self,
        kind: str,
        calendar_id: str,
        deadline: float,
        here: Callable[[], Awaitable[T]],
        there: Callable[[str, float], Awaitable[T]],
        *,
        again: bool,
    ) -> T:
        """Runs `here` or `there`, and once more as often as it is certain, or made so by `again`, that nothing was
        done and the calendar is to be looked for elsewhere.
        """
        pause, perhaps_done = _PAUSE_FIRST_S, False
        while True:
            owner = self.owner_of(calendar_id)
            elsewhere = owner is not None and owner.id != self._me
            answered_by.set(owner.name if owner is not None and elsewhere else "")
            try:
                if owner is not None and not elsewhere:
                    return await here()
                if owner is not None:
                    until = min(deadline, self._loop.time() + _ANSWER_S) if again else deadline
                    result = await there(owner.id, until)
                    self.forwarded[kind, "ok"] += 1
                    return result
            except Undelivered:
                self.forwarded[kind, "undelivered"] += 1
            except Unanswered:
                self.forwarded[kind, "unanswered"] += 1
                perhaps_done = kind == "ask"
                if not again or self._loop.time() >= deadline:
                    raise _honest(Refused("unavailable"), perhaps_done) from None
            except Refused as refused:
                if elsewhere:
                    self.forwarded[kind, refused.code] += 1
                if refused.code != "moved":
                    raise _honest(refused, perhaps_done) from None
            try:
                await self._wait(deadline, pause)
            except Refused as refused:
                raise _honest(refused, perhaps_done) from None
            pause = min(pause * 2, _PAUSE_MAX_S)

    async def _wait(self, deadline: float, pause: float) -> None:
        """Until the directory shows something new, or a moment has passed. Raises `Refused` at the deadline."""
        if self._rerouting >= limits.rerouting_max:
            raise Refused("overloaded")
        now = self._loop.time()
        if now >= deadline:
            raise Refused("unavailable", "the calendar has no node at the moment")
        if self._post.cut_off_s > _CUT_OFF_S:
            raise Refused("unavailable", "the calendar's node cannot be reached")
        self._rerouting += 1
        try:
            async with asyncio.timeout(min(pause, deadline - now)):
                await self._changed.wait()
        except TimeoutError:
            pass
        finally:
            self._rerouting -= 1


def _honest(refused: Refused, perhaps_done: bool) -> Refused:
    """Whoever was asked before and did not answer may have done it, so nobody can say that nothing was changed."""
    return Refused("unknown_outcome") if perhaps_done and refused.kind.may_retry else refused

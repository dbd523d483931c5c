"""The actor runtime: finds or loads a calendar's actor, lets it decide, and tells the answer once it is durable.

Everything here runs on one event loop and, between two awaits, in one piece; that is what serialises a
calendar's bookings. A command for an active calendar is decided within the call to `ask`: no queue, no task.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence, Set
from typing import Final

import msgspec

from actors.activation import Activation, Waiter
from actors.actor import Actor, Answer, Parked
from actors.calendar.apply import apply
from actors.calendar.commands import Book
from actors.calendar.decide import Refusal, decide
from actors.calendar.state import Calendar
from actors.ports import (
    CalendarStore,
    Clock,
    Entry,
    IdempotencyKey,
    Journal,
    Loaded,
    Loss,
    Outcome,
    Work,
    key_hash,
)
from actors.statistics import Statistics
from actors.timers import Timers
from actors.watch import Watch
from protocol import events as ev
from protocol import limits
from protocol.errors import Refused
from protocol.ids import booking_code

log = logging.getLogger("slotcast.runtime")

_TRIES_MAX: Final = 3

Build = Callable[[Calendar, int], tuple[bytes, int]]
"""Makes an answer from a calendar and `now`: the bytes, and the instant until which they stay true."""


class Runtime:
    def __init__(self, journal: Journal, store: CalendarStore, clock: Clock) -> None:
        self._journal = journal
        self._store = store
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refreshing = asyncio.Lock()
        self.actors: dict[str, Actor] = {}
        self.statistics = Statistics()
        self.activation = Activation(store, self._may_load, self._take_in)
        self.watch = Watch(clock)
        self.timers = Timers(self, clock)

    # Commands

    def ask(self, work: Work) -> "asyncio.Future[Outcome]":
        """Decides `work` now if its calendar is active, else once it is loaded.

        The future fails with `Refused` when nothing was decided (`not_found`, `overloaded`, `unavailable`,
        `deadline_exceeded`, `idempotency_mismatch`); a calendar's own refusal is an `Outcome`. Cancelling it
        does not undo what was decided.
        """
        actor = self.actors.get(work.calendar_id)
        if actor is None or actor.stale:
            self._enqueue(
                work.calendar_id,
                Waiter(lambda: self._run(work), lambda refused: _fail(work, refused), work.deadline),
            )
        else:
            self._run_on(actor, work)
        return work.future

    def _run(self, work: Work) -> None:
        self.ask(work)

    def _enqueue(self, calendar_id: str, waiter: Waiter) -> None:
        try:
            self.activation.enqueue(calendar_id, waiter)
        except Refused as refused:
            waiter.fail(refused)

    def _run_on(self, actor: Actor, work: Work) -> None:
        if work.future.done():
            return
        now_s = self._loop.time()
        actor.last_used = now_s
        try:
            if actor.business_id != work.caller.business_id:
                raise Refused("not_found")
            if now_s > work.deadline:
                raise Refused("deadline_exceeded")
            if actor.pending >= limits.mailbox_depth_max:
                raise Refused("overloaded")
            if work.key is None or self._is_first(actor, work, work.key):
                self._decide(actor, work)
        except Refused as refused:
            _fail(work, refused)
            self._count(work, refused.code)
        except Exception:
            # A bug in the rules costs one command, not the node: the state may be half changed, so load it anew.
            log.exception("%s on calendar %s failed", type(work.command).__name__, work.calendar_id)
            actor.stale = True
            _fail(work, Refused("internal_error"))
            self._count(work, "internal_error")

    def _decide(self, actor: Actor, work: Work) -> None:
        calendar = actor.calendar
        now = self._clock.now_us()
        decision = decide(calendar, work.command, now)
        if isinstance(decision, Refusal):
            self._refuse(actor, work, decision, now)
            return
        if not decision:
            _tell(work, Outcome(calendar.version, now))
            return
        last = decision[-1]
        outcome = Outcome(
            calendar.version + len(decision),
            now,
            last,  # type: ignore[arg-type] - decide makes only the union's members
            booking_version=_booking_version(calendar, last),
        )
        entry = Entry(work, actor.shard, decision, calendar.version + 1, outcome, actor)
        # The journal may refuse the entry, so the state changes only after it was taken.
        self._journal.append(entry)
        actor.pending += 1
        if work.key is not None:
            _remember_in_flight(actor, work, work.key)
        if actor.views:
            entry.changes = self.watch.apply(actor, decision, now)
        else:
            for event in decision:
                apply(calendar, event)
        if type(last) is ev.HoldPlaced:
            self.timers.at(last.expires_at, calendar.id)

    def _refuse(self, actor: Actor, work: Work, refusal: Refusal, now: int) -> None:
        outcome = Outcome(actor.calendar.version, now, refusal=refusal)
        if work.key is not None:
            # The same key shall be refused the same way, so the refusal is stored under it.
            self._journal.append(Entry(work, actor.shard, (), actor.calendar.version + 1, outcome, actor))
            actor.pending += 1
            _remember_in_flight(actor, work, work.key)
        elif actor.pending:
            # It may rest on events that are not durable yet; it is told when they are, or decided again.
            actor.park(Parked(outcome.version, lambda: self._answer(work, outcome), lambda: self._run(work), work))
        else:
            self._answer(work, outcome)

    def _answer(self, work: Work, outcome: Outcome) -> None:
        _tell(work, outcome)
        self._count(work, outcome.refusal.code if outcome.refusal else "ok")

    def _count(self, work: Work, code: str) -> None:
        self.statistics.commands[type(work.command).__name__, code] += 1

    # Idempotency keys

    def _is_first(self, actor: Actor, work: Work, key: IdempotencyKey) -> bool:
        """Whether this key was not seen before; otherwise sees to it that `work` gets the first one's outcome."""
        earlier = (actor.inflight_keys or {}).get((key.scope, key.key))
        if earlier is not None and earlier is not work:
            if earlier.key is None or earlier.key.fingerprint != key.fingerprint:
                raise Refused("idempotency_mismatch")
            self.statistics.replayed += 1
            earlier.future.add_done_callback(lambda f: _copy(f, work.future))
            return False
        if actor.keys is not None and key_hash(key.scope, key.key) in actor.keys:
            self._spawn(self._replay(actor, work, key), "replay")
            return False
        return True

    async def stored(self, key: IdempotencyKey) -> Outcome | None:
        """The outcome of an earlier request with this key, for callers who no longer know its calendar.

        Raises `Refused(idempotency_mismatch)` when the key was used with another request.
        """
        found = await self._store.find_outcome(key.scope, key.key)
        if found is not None and found.fingerprint != key.fingerprint:
            raise Refused("idempotency_mismatch")
        return found.outcome if found else None

    async def _replay(self, actor: Actor | None, work: Work, key: IdempotencyKey) -> None:
        try:
            stored = await self._store.find_outcome(key.scope, key.key)
        except Refused as refused:
            _fail(work, refused)
            return
        except Exception:
            log.exception("looking up an idempotency key failed")
            _fail(work, Refused("internal_error"))
            return
        if stored is None:
            # Another key with the same hash, or one older than a day.
            if actor is not None and actor.keys is not None:
                actor.keys.discard(key_hash(key.scope, key.key))
            self._run(work)
        elif stored.fingerprint != key.fingerprint:
            _fail(work, Refused("idempotency_mismatch"))
        else:
            self.statistics.replayed += 1
            _tell(work, stored.outcome)

    # What the journal tells

    def committed(self, entries: Sequence[Entry]) -> None:
        """Replies first, then deltas: one per view for the whole batch."""
        changed: list[Entry] = []
        busy: set[Actor] = set()
        for entry in entries:
            actor: Actor = entry.owner
            work = entry.work
            actor.pending -= 1
            if entry.events:
                actor.committed = entry.first_version + len(entry.events) - 1
            if work.key is not None:
                _remember_stored(actor, work.key)
            if entry.changes:
                changed.append(entry)
            if actor.parked:
                busy.add(actor)
            self._answer(work, entry.outcome)
        if changed:
            self.watch.publish(changed)
        for actor in busy:
            actor.release_parked()
        if any(e.owner.stale for e in entries):
            self.activation.pump()

    def lost(self, entries: Sequence[Entry], loss: Loss) -> None:
        """Forgets what was decided; decides again where the loss was not the command's fault."""
        actors: set[Actor] = set()
        for entry in entries:
            actor: Actor = entry.owner
            actor.pending -= 1
            actor.stale = True
            actors.add(actor)
            self.statistics.lost[loss.value] += 1
            if entry.work.key is not None and actor.inflight_keys:
                actor.inflight_keys.pop((entry.work.key.scope, entry.work.key.key), None)
        if loss is Loss.GUARD:
            self.statistics.guard_violations += len(entries)
            for entry in entries:
                log.error("guard violated by %s", [ev.tag_of(e) for e in entry.events])
        for entry in entries:
            self._again(entry.work, loss)
        for actor in actors:
            actor.retry_parked()
            self._reload_if_watched(actor)
        self.activation.pump()

    def unsettled(self, entries: Sequence[Entry]) -> None:
        """Nobody waits past their deadline; the same key tells later what became of it."""
        now_s = self._loop.time()
        for entry in entries:
            work = entry.work
            if work.deadline < now_s and not work.future.done():
                _fail(work, Refused("unknown_outcome"))
                self._count(work, "unknown_outcome")
        for actor in {e.owner for e in entries}:
            for work in actor.take_overdue(now_s):
                _fail(work, Refused("deadline_exceeded"))
                self._count(work, "deadline_exceeded")

    def fenced(self, shards: Set[int]) -> None:
        for actor in self.actors.values():
            if actor.shard in shards:
                actor.stale = True

    def _again(self, work: Work, loss: Loss) -> None:
        work.tries += 1
        if loss is Loss.UNAVAILABLE:
            _fail(work, Refused("unavailable"))
            self._count(work, "unavailable")
        elif work.tries >= _TRIES_MAX:
            code = "internal_error" if loss is Loss.GUARD else "overloaded"
            _fail(work, Refused(code))
            self._count(work, code)
        elif loss is Loss.FENCED:
            _fail(work, Refused("moved"))
            self._count(work, "moved")
        elif loss is Loss.KEY_TAKEN and work.key is not None:
            # Used on another calendar, or by a request that another node answered.
            self._spawn(self._replay(None, work, work.key), "replay")
        else:
            if loss is Loss.CODE_TAKEN and isinstance(work.command, Book):
                work.command = msgspec.structs.replace(work.command, code=booking_code())
            self._run(work)

    # Activation and passivation

    def reload_watched(self) -> None:
        """Tries again where a calendar that is watched could not be loaded anew."""
        for actor in self.watch.watched:
            if actor.stale:
                self._reload_if_watched(actor)

    def _reload_if_watched(self, actor: Actor) -> None:
        """Viewers wait for the true state even if nobody asks for it."""
        calendar_id = actor.calendar.id
        if actor.views and not self.activation.awaits(calendar_id):
            deadline = self._loop.time() + limits.request_deadline_s
            self._enqueue(calendar_id, Waiter(_nothing, lambda _: None, deadline))

    def _may_load(self, calendar_id: str) -> bool:
        actor = self.actors.get(calendar_id)
        return actor is None or actor.pending == 0

    def _take_in(self, loaded: Loaded) -> None:
        now_s = self._loop.time()
        calendar = loaded.calendar
        actor = self.actors.get(calendar.id)
        self.statistics.activations += 1
        if actor is None:
            self.actors[calendar.id] = Actor(loaded, now_s)
        elif actor.stale:
            actor.replace_state(loaded)
            self.watch.refresh(actor)
        if calendar.holds:
            for r in calendar.reservations.values():
                if r.status == "held":
                    self.timers.at(r.expires_at, calendar.id)

    async def activate(self, calendar_id: str, business_id: str | None, deadline: float) -> Actor:
        """The active actor of a calendar. Raises `Refused`: `not_found` also when it is another business's."""
        actor = self.actors.get(calendar_id)
        if actor is None or actor.stale:
            ready: asyncio.Future[None] = self._loop.create_future()
            self._enqueue(
                calendar_id,
                Waiter(lambda: _set(ready), lambda refused: _set(ready, refused), deadline),
            )
            await ready
            actor = self.actors.get(calendar_id)
        if actor is None or (business_id is not None and actor.business_id != business_id):
            raise Refused("not_found")
        actor.last_used = self._loop.time()
        return actor

    def passivate_idle(self) -> None:
        """Drops actors that nobody uses or watches and that have nothing to wait for."""
        limit = self._loop.time() - limits.passivate_after_s
        idle = [
            c
            for c, a in self.actors.items()
            if a.last_used < limit and not (a.pending or a.views or a.parked or a.calendar.holds)
        ]
        for calendar_id in idle:
            del self.actors[calendar_id]
        self.statistics.passivations += len(idle)

    async def refresh_services(self, calendar_ids: Sequence[str]) -> None:
        """Takes in changed terms of service for those of the calendars that are active."""
        self.activation.load_again(calendar_ids)
        # One after the other, so that an older answer never comes after a newer one.
        async with self._refreshing:
            active = [c for c in calendar_ids if c in self.actors]
            for i in range(0, len(active), limits.activation_batch_max):
                found = await self._store.services_of(active[i : i + limits.activation_batch_max])
                for calendar_id, services in found.items():
                    actor = self.actors.get(calendar_id)
                    if actor is not None:
                        actor.calendar.services = services
                        actor.answers = None
                        self.watch.refresh(actor)

    def forget_services(self, calendar_ids: Sequence[str]) -> None:
        """For when changed terms could not be read: the calendars are loaded anew before they answer again."""
        self.activation.load_again(calendar_ids)
        for calendar_id in calendar_ids:
            actor = self.actors.get(calendar_id)
            if actor is not None:
                actor.stale = True

    # Reading

    async def read(self, actor: Actor, name: str, build: Build) -> bytes:
        """An encoded answer from the calendar's state, never ahead of the database.

        Built once per version and `name`; while tentative events are on their way, it waits for them.
        """
        while True:
            if actor.stale:
                deadline = self._loop.time() + limits.request_deadline_s
                actor = await self.activate(actor.calendar.id, actor.business_id, deadline)
            now = self._clock.now_us()
            answer = (actor.answers or {}).get(name)
            if answer is None or answer.version < actor.committed or now >= answer.valid_until:
                body, valid_until = build(actor.calendar, now)
                answer = Answer(actor.calendar.version, valid_until, body)
                if actor.answers is None or len(actor.answers) >= limits.answers_per_actor_max:
                    actor.answers = {}
                actor.answers[name] = answer
            if answer.version <= actor.committed or await self.settled(actor, answer.version):
                return answer.body

    async def settle(self, actor: Actor, version: int) -> None:
        """Waits until what was read at `version` is committed. Raises `Refused(unavailable)` when it never will be."""
        if not await self.settled(actor, version):
            raise Refused("unavailable", "the calendar is being loaded anew")

    async def settled(self, actor: Actor, version: int) -> bool:
        """Waits until `version` is committed; `False` when it never will be.

        Raises `Refused(deadline_exceeded)` when that cannot be known in time.
        """
        if version <= actor.committed:
            return True
        if not actor.pending:
            return False
        fate: asyncio.Future[bool] = self._loop.create_future()
        actor.park(Parked(version, lambda: _set_result(fate, True), lambda: _set_result(fate, False)))
        late = self._loop.call_later(limits.request_deadline_s, _set_late, fate)
        try:
            return await fate
        finally:
            late.cancel()

    # Housekeeping

    def _spawn(self, coroutine: Coroutine[None, None, None], name: str) -> None:
        task = self._loop.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _booking_version(calendar: Calendar, event: ev.Event) -> int:
    booking_id = getattr(event, "id", None)
    reservation = calendar.reservations.get(booking_id) if booking_id else None
    return reservation.version + 1 if reservation else 1


def _remember_in_flight(actor: Actor, work: Work, key: IdempotencyKey) -> None:
    if actor.inflight_keys is None:
        actor.inflight_keys = {}
    actor.inflight_keys[key.scope, key.key] = work


def _remember_stored(actor: Actor, key: IdempotencyKey) -> None:
    if actor.inflight_keys:
        actor.inflight_keys.pop((key.scope, key.key), None)
    if actor.keys is None:
        actor.keys = set()
    actor.keys.add(key_hash(key.scope, key.key))


def _tell(work: Work, outcome: Outcome) -> None:
    if not work.future.done():
        work.future.set_result(outcome)


def _fail(work: Work, refused: Refused) -> None:
    if not work.future.done():
        work.future.set_exception(refused)


def _copy(source: "asyncio.Future[Outcome]", target: "asyncio.Future[Outcome]") -> None:
    if target.done():
        return
    if source.cancelled():
        target.set_exception(Refused("unknown_outcome"))
        return
    error = source.exception()
    if error is not None:
        target.set_exception(error)
    else:
        target.set_result(source.result())


def _set(future: "asyncio.Future[None]", refused: Refused | None = None) -> None:
    if future.done():
        return
    if refused is None:
        future.set_result(None)
    else:
        future.set_exception(refused)


def _set_result(future: "asyncio.Future[bool]", result: bool) -> None:
    if not future.done():
        future.set_result(result)


def _set_late(future: "asyncio.Future[bool]") -> None:
    if not future.done():
        future.set_exception(Refused("deadline_exceeded"))


def _nothing() -> None:
    pass

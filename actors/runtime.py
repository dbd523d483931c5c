"""The actor runtime: finds or loads a calendar's actor, lets it decide, and tells the answer once it is durable.

Everything here runs on one event loop and, between two awaits, in one piece; that is what serialises a
calendar's bookings. A command for an active calendar is decided within the call to `ask`: no queue, no task.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence, Set
from typing import Final

import msgspec

from actors.activation import Waiter
from actors.actor import Actor, Parked
from actors.calendar.apply import apply
from actors.calendar.commands import Book, BookSeries, Command, Settle
from actors.calendar.decide import Refusal, decide
from actors.calendar.state import Calendar, version_of
from actors.futures import copy, fail, tell
from actors.ports import (
    CalendarStore,
    Clock,
    Entry,
    IdempotencyKey,
    Journal,
    Loss,
    Outcome,
    StoredOutcome,
    Work,
    key_hash,
)
from actors.reader import Reader
from actors.roster import Roster
from actors.statistics import Statistics
from actors.timers import Timers
from actors.watch import Watch
from protocol import events as ev
from protocol import limits
from protocol.errors import Refused
from protocol.ids import booking_code

log = logging.getLogger("slotcast.runtime")

_TRIES_MAX: Final = 3
_FREEING: Final = (
    ev.HoldReleased, ev.HoldExpired, ev.Cancelled, ev.Rejected, ev.Expired, ev.Completed, ev.NoShow, ev.Rescheduled,
    ev.TimeUnblocked, ev.ScheduleChanged,
)  # fmt: skip
"""Events that may leave time to others."""


class Runtime:
    def __init__(self, journal: Journal, store: CalendarStore, clock: Clock, shard_count: int) -> None:
        self._journal = journal
        self._store = store
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self.statistics = Statistics()
        self.watch = Watch(clock)
        self.timers = Timers(self, clock)
        self.roster = Roster(store, self.watch, self.statistics, self.timers.at, journal.owns, shard_count)
        self.reader = Reader(self.roster, clock)
        self.on_freed: Callable[[set[str]], None] | None = None
        """Told of calendars in which time has been freed, once that is durable."""

    # Commands

    def ask(self, work: Work) -> "asyncio.Future[Outcome]":
        """Decides `work` now if its calendar is active, else once it is loaded.

        The future fails with `Refused` when nothing was decided (`not_found`, `moved`, `overloaded`, `unavailable`,
        `deadline_exceeded`, `idempotency_mismatch`); a calendar's own refusal is an `Outcome`. Cancelling it
        does not undo what was decided.
        """
        actor = self.roster.actors.get(work.calendar_id)
        if actor is None or actor.stale:
            self.roster.enqueue(
                work.calendar_id,
                Waiter(lambda: self._run(work), lambda refused: fail(work, refused), work.deadline),
            )
        else:
            self._run_on(actor, work)
        return work.future

    def _run(self, work: Work) -> None:
        self.ask(work)

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
            fail(work, refused)
            self._count(work, refused.code)
        except Exception:
            # A bug in the rules costs one command, not the node: the state may be half changed, so load it anew.
            log.exception("%s on calendar %s failed", type(work.command).__name__, work.calendar_id)
            actor.stale = True
            fail(work, Refused("internal_error"))
            self._count(work, "internal_error")

    def _decide(self, actor: Actor, work: Work) -> None:
        calendar = actor.calendar
        now = self._clock.now_us()
        decision = decide(calendar, work.command, now)
        if isinstance(decision, Refusal):
            self._refuse(actor, work, decision, now)
            return
        if not decision:
            outcome = Outcome(calendar.version, now, about=getattr(work.command, "id", ""))
            if work.key is None:
                self._tell_settled(actor, work, outcome)
            else:
                self._keep(actor, work, outcome)
            return
        last = decision[-1]
        outcome = Outcome(
            calendar.version + len(decision),
            now,
            last,  # type: ignore[arg-type] - decide makes only the union's members
            booking_version=_booking_version(calendar, decision),
        )
        entry = Entry(work, actor.shard, decision, calendar.version + 1, outcome, actor)
        # The journal may refuse the entry, so the state changes only after it was taken.
        self._journal.append(entry)
        actor.pending += 1
        if work.key is not None:
            _remember_in_flight(actor, work, work.key)
        try:
            if actor.views:
                entry.changes = self.watch.apply(actor, decision, now)
            else:
                for event in decision:
                    apply(calendar, event)
        except Exception:
            # The journal has the events and will tell the caller the truth; only this state is of no use any more.
            log.exception("applying to calendar %s failed", calendar.id)
            actor.stale = True
        if type(last) is ev.HoldPlaced and last.expires_at:
            self.timers.at(last.expires_at, calendar.id)

    def _refuse(self, actor: Actor, work: Work, refusal: Refusal, now: int) -> None:
        outcome = Outcome(actor.calendar.version, now, refusal=refusal)
        if work.key is not None:
            self._keep(actor, work, outcome)
        else:
            self._tell_settled(actor, work, outcome)

    def _keep(self, actor: Actor, work: Work, outcome: Outcome) -> None:
        """The same key shall be answered the same way, so what changes nothing is stored under it too."""
        assert work.key is not None
        self._journal.append(Entry(work, actor.shard, (), actor.calendar.version + 1, outcome, actor))
        actor.pending += 1
        _remember_in_flight(actor, work, work.key)

    def _tell_settled(self, actor: Actor, work: Work, outcome: Outcome) -> None:
        if actor.pending:
            # It may rest on events that are not durable yet; it is told when they are, or decided again.
            actor.park(Parked(outcome.version, lambda: self._answer(work, outcome), lambda: self._run(work), work))
        else:
            self._answer(work, outcome)

    def _answer(self, work: Work, outcome: Outcome) -> None:
        tell(work, outcome)
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
            earlier.future.add_done_callback(lambda f: copy(f, work.future))
            return False
        if actor.keys is not None and key_hash(key.scope, key.key) in actor.keys:
            self._spawn(self._replay(actor, work, key), "replay")
            return False
        return True

    async def stored(self, key: IdempotencyKey) -> Outcome | None:
        """The outcome of an earlier request with this key, for callers who no longer know its calendar.

        Raises `Refused(idempotency_mismatch)` when the key was used with another request.
        """
        found = await self.stored_at(key)
        return found.outcome if found else None

    async def stored_at(self, key: IdempotencyKey) -> StoredOutcome | None:
        """As `stored`, with the calendar."""
        found = await self._store.find_outcome(key.scope, key.key)
        if found is not None and found.fingerprint != key.fingerprint:
            raise Refused("idempotency_mismatch")
        return found

    async def _replay(self, actor: Actor | None, work: Work, key: IdempotencyKey) -> None:
        try:
            stored = await self._store.find_outcome(key.scope, key.key)
        except Refused as refused:
            fail(work, refused)
            return
        except Exception:
            log.exception("looking up an idempotency key failed")
            fail(work, Refused("internal_error"))
            return
        if stored is None:
            # Another key with the same hash, or one older than a day.
            if actor is not None and actor.keys is not None:
                actor.keys.discard(key_hash(key.scope, key.key))
            self._run(work)
        elif stored.fingerprint != key.fingerprint:
            fail(work, Refused("idempotency_mismatch"))
        else:
            self.statistics.replayed += 1
            tell(work, stored.outcome)

    # What the journal tells

    def committed(self, entries: Sequence[Entry]) -> None:
        """Replies first, then deltas: one per view for the whole batch."""
        changed: list[Entry] = []
        busy: set[Actor] = set()
        freed: set[str] = set()
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
            for event in entry.events:
                if type(event) in _FREEING:
                    freed.add(work.calendar_id)
            self._answer(work, entry.outcome)
        if changed:
            self.watch.publish(changed)
        for actor in busy:
            actor.release_parked()
        if freed and self.on_freed is not None:
            self.on_freed(freed)
        if any(e.owner.stale for e in entries):
            self.roster.activation.pump()

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
            self.roster.reload_if_watched(actor)
        self.roster.activation.pump()

    def unsettled(self, entries: Sequence[Entry]) -> None:
        """Nobody waits past their deadline; the same key tells later what became of it."""
        now_s = self._loop.time()
        for entry in entries:
            work = entry.work
            if work.deadline < now_s and not work.future.done():
                fail(work, Refused("unknown_outcome"))
                self._count(work, "unknown_outcome")
        for actor in {e.owner for e in entries}:
            for work in actor.take_overdue(now_s):
                fail(work, Refused("deadline_exceeded"))
                self._count(work, "deadline_exceeded")

    def fenced(self, shards: Set[int]) -> None:
        self.roster.distrust(shards)

    def _again(self, work: Work, loss: Loss) -> None:
        # A neighbour did nothing wrong, so it is decided again for as long as its deadline lasts.
        work.tries += loss is not Loss.NEIGHBOUR
        if loss is Loss.UNAVAILABLE:
            fail(work, Refused("unavailable"))
            self._count(work, "unavailable")
        elif work.tries >= _TRIES_MAX:
            code = "internal_error" if loss is Loss.GUARD else "overloaded"
            fail(work, Refused(code))
            self._count(work, code)
        elif loss is Loss.FENCED:
            fail(work, Refused("moved"))
            self._count(work, "moved")
        elif loss is Loss.KEY_TAKEN and work.key is not None:
            # Used on another calendar, or by a request that another node answered.
            self._spawn(self._replay(None, work, work.key), "replay")
        else:
            if loss is Loss.CODE_TAKEN:
                work.command = _with_other_codes(work.command)
            self._run(work)

    # Housekeeping

    @property
    def owned(self) -> Mapping[int, int]:
        """The shards this node decides for, and their epochs."""
        return self._journal.owned

    def forget(self, shards: Set[int]) -> None:
        """Drops everything of shards that are not this node's any more. What is on its way still gets its answer."""
        self.timers.forget(self.roster.forget(shards))

    def _spawn(self, coroutine: Coroutine[None, None, None], name: str) -> None:
        task = self._loop.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _with_other_codes(command: Command) -> Command:
    if isinstance(command, Book | Settle):
        return msgspec.structs.replace(command, code=booking_code())
    if isinstance(command, BookSeries):
        items = tuple(msgspec.structs.replace(i, code=booking_code()) for i in command.items)
        return msgspec.structs.replace(command, items=items)
    return command


def _booking_version(calendar: Calendar, decision: Sequence[ev.Event]) -> int:
    """That of the booking which the last of the events is about, after all of them."""
    last = decision[-1]
    if type(last) is ev.Booked and not last.from_hold and len(decision) == 1:
        return 1
    about = getattr(decision[-1], "id", "")
    events = 1 if len(decision) == 1 else sum(getattr(event, "id", "") == about for event in decision)
    return version_of(calendar, about) + events


def _remember_in_flight(actor: Actor, work: Work, key: IdempotencyKey) -> None:
    if actor.inflight_keys is None:
        actor.inflight_keys = {}
    actor.inflight_keys[key.scope, key.key] = work


def _remember_stored(actor: Actor, key: IdempotencyKey) -> None:
    if actor.inflight_keys:
        actor.inflight_keys.pop((key.scope, key.key), None)
    if actor.keys is None:
        actor.keys = set()
    elif len(actor.keys) >= limits.keys_per_calendar_max:
        # The database still refuses a key that is taken; remembering only makes that cheap.
        actor.keys.clear()
    actor.keys.add(key_hash(key.scope, key.key))

"""Loading calendars: many in one query, each at most once at a time, with a bound on who waits."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from actors.ports import CalendarStore, Loaded
from protocol import limits
from protocol.errors import Refused

log = logging.getLogger("slotcast.activation")


class Waiter(NamedTuple):
    """`run` is called when the calendar is active; `fail` when it is not there or cannot be read."""

    run: Callable[[], None]
    fail: Callable[[Refused], None]
    deadline: float


class Activation:
    """`may_load` says whether nothing of a calendar is still on its way to the journal; `loaded` takes it in."""

    def __init__(
        self,
        store: CalendarStore,
        may_load: Callable[[str], bool],
        loaded: Callable[[Loaded], None],
    ) -> None:
        self._store = store
        self._may_load = may_load
        self._loaded = loaded
        self._waiting: dict[str, list[Waiter]] = {}
        self._loading: set[str] = set()
        self._outdated: set[str] = set()
        self._count = 0
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def waiting(self) -> int:
        return self._count

    def awaits(self, calendar_id: str) -> bool:
        """Whether anybody waits for it already."""
        return calendar_id in self._waiting

    def load_again(self, calendar_ids: Iterable[str]) -> None:
        """What is being read of these just now may be older than what the caller knows: it is read once more."""
        self._outdated |= self._loading.intersection(calendar_ids)

    def refuse(self, those: Callable[[str], bool], refused: Refused) -> None:
        """Loads `those` for nobody: whoever waits is told, and what is being read of them is not to be used."""
        self.load_again([c for c in self._loading if those(c)])
        self._fail([c for c in self._waiting if those(c)], refused)

    def enqueue(self, calendar_id: str, waiter: Waiter) -> None:
        """Raises `Refused(overloaded)` beyond `activation_waiting_max` in all or the mailbox of one calendar."""
        waiters = self._waiting.get(calendar_id, [])
        if self._count >= limits.activation_waiting_max or len(waiters) >= limits.mailbox_depth_max:
            raise Refused("overloaded")
        self._waiting[calendar_id] = waiters
        waiters.append(waiter)
        self._count += 1
        self.pump()

    def pump(self) -> None:
        """Starts loading if anything waits that may be loaded."""
        if self._task is None and any(self._loadable()):
            self._task = self._loop.create_task(self._run(), name="activation")
            self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled():
            self.pump()

    def _loadable(self) -> list[str]:
        ready = [c for c in self._waiting if c not in self._loading and self._may_load(c)]
        return ready[: limits.activation_batch_max]

    async def _run(self) -> None:
        while batch := self._loadable():
            self._loading.update(batch)
            try:
                found = await self._store.load(batch)
            except Refused as refused:
                self._fail(batch, refused)
            except Exception:
                log.exception("loading calendars failed")
                self._fail(batch, Refused("internal_error"))
            else:
                self._hand_over(batch, found)
            finally:
                self._loading.difference_update(batch)
                self._outdated.difference_update(batch)

    def _hand_over(self, batch: list[str], found: dict[str, Loaded]) -> None:
        for calendar_id in batch:
            if calendar_id in self._outdated:
                continue  # those who wait for it stay, and so it is loadable again
            loaded = found.get(calendar_id)
            if loaded is None:
                self._fail([calendar_id], Refused("not_found"))
                continue
            try:
                self._loaded(loaded)
            except Refused as refused:
                self._fail([calendar_id], refused)
                continue
            except Exception:
                log.exception("taking in calendar %s failed", calendar_id)
                self._fail([calendar_id], Refused("internal_error"))
                continue
            for waiter in self._take(calendar_id):
                self._run_one(waiter)

    def _run_one(self, waiter: Waiter) -> None:
        try:
            waiter.run()
        except Exception:
            # One caller's trouble must not be that of those who wait behind them.
            log.exception("a waiter failed")
            waiter.fail(Refused("internal_error"))

    def _fail(self, batch: Collection[str], refused: Refused) -> None:
        for calendar_id in batch:
            for waiter in self._take(calendar_id):
                waiter.fail(refused)

    def _take(self, calendar_id: str) -> list[Waiter]:
        waiters = self._waiting.pop(calendar_id, [])
        self._count -= len(waiters)
        return waiters

    def drop_overdue(self, now_s: float) -> None:
        """Tells those whose deadline has passed that nothing was done."""
        for calendar_id, waiters in list(self._waiting.items()):
            overdue = [w for w in waiters if w.deadline < now_s]
            if not overdue:
                continue
            kept = [w for w in waiters if w.deadline >= now_s]
            self._count -= len(overdue)
            if kept:
                self._waiting[calendar_id] = kept
            else:
                del self._waiting[calendar_id]
            for waiter in overdue:
                waiter.fail(Refused("deadline_exceeded"))

"""How much of the event loop jobs may have: what bookings leave of it.

What jobs take of it is measured step by step, what everybody takes by the thread's processor time. A node that is busy
with others gives jobs a small part, and a larger one the longer they have been behind: a rush of bookings does not feel
them, and a rush without end does not stop them. While it is busy, what the database does for jobs counts like what they
do themselves: it does that with what the rush needs as well.
"""

import asyncio
import time
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

_LOOK_EVERY_S: Final = 0.05
_WEIGHT: Final = 0.3
"""Of the newest look in what is taken for true."""
_LATE_S: Final = 0.004
"""A loop that wakes later than this is full, whatever the processor says, if others have at least `_SOMETHING` of it,
and more than jobs have.
"""
_SOMETHING: Final = 0.2
_RESERVE: Final = 0.2
_LEAST: Final = 0.03
_MORE: Final = 0.22
_MORE_AFTER_S: Final = 60.0
_WAIT_MAX_S: Final = 0.25
_CREDIT_S: Final = 0.05
"""What was not used is not saved up beyond this."""
_DEBT_S: Final = 0.5
"""What was waited for is not held against jobs beyond this: a database may hang for reasons of its own."""


class Pace:
    """Without `watch` running there is nobody else, and jobs have all of the loop."""

    def __init__(self) -> None:
        self._left = 1.0
        self._others = self._own = self._late_s = 0.0
        self._spent_s = 0.0
        self._debt_s = 0.0
        self._counted_at = 0.0

    @property
    def hurried(self) -> bool:
        """Whether others need most of the loop: then what is begun at once should be short."""
        return self._left < 0.5

    def share(self, behind_s: float) -> float:
        """The part of the loop that jobs may have which have been behind for so long."""
        return max(self._left, _LEAST + _MORE * min(1.0, behind_s / _MORE_AFTER_S))

    async def turn(self, behind_s: float = 0.0) -> None:
        """Returns when it is the turn of jobs."""
        since = time.monotonic() - behind_s
        while (wait_s := self._wait_s(self.share(time.monotonic() - since))) > 0:  # noqa: ASYNC110 - a matter of time
            await asyncio.sleep(wait_s)

    def timed(self, work: Coroutine[Any, Any, T], *, of_database: bool = False) -> Awaitable[T]:
        """`work`, to be awaited in its stead; what it takes of the loop is counted. With `of_database` it waits for
        nothing else.
        """
        return _Timed(self, work, of_database)

    def spend(self, seconds: float) -> None:
        self._spent_s += seconds
        self._debt_s += seconds

    def waited(self, seconds: float) -> None:
        """For the database to do its part."""
        if self.hurried:
            self._debt_s = max(self._debt_s, min(_DEBT_S, self._debt_s + seconds))

    def _wait_s(self, share: float) -> float:
        now = time.monotonic()
        self._debt_s = max(-_CREDIT_S * share, self._debt_s - share * (now - self._counted_at))
        self._counted_at = now
        return min(_WAIT_MAX_S, self._debt_s / share)

    async def watch(self) -> None:
        """Looks at what others take, until cancelled."""
        used, spent = time.thread_time(), self._spent_s
        while True:
            begun = time.monotonic()
            await asyncio.sleep(_LOOK_EVERY_S)
            took = time.monotonic() - begun
            used_now, spent_now = time.thread_time(), self._spent_s
            own = (spent_now - spent) / took
            self.saw(max(0.0, (used_now - used) / took - own), own, took - _LOOK_EVERY_S)
            used, spent = used_now, spent_now

    def saw(self, others: float, own: float, late_s: float) -> None:
        """Parts of the loop that others and jobs had of late, and how late it woke."""
        self._others += _WEIGHT * (others - self._others)
        self._own += _WEIGHT * (own - self._own)
        self._late_s += _WEIGHT * (late_s - self._late_s)
        full = self._late_s > _LATE_S and self._others > max(_SOMETHING, self._own)
        self._left = 0.0 if full else max(0.0, 1.0 - self._others - _RESERVE)


class _Timed(Generic[T]):
    def __init__(self, pace: Pace, work: Coroutine[Any, Any, T], of_database: bool) -> None:
        self._pace = pace
        self._work = work
        self._of_database = of_database

    def __await__(self) -> Generator[Any, Any, T]:
        said: Any = None
        error: BaseException | None = None
        while True:
            started = time.perf_counter()
            try:
                waits_for = self._work.send(said) if error is None else self._work.throw(error)
            except StopIteration as stop:
                return stop.value
            finally:
                self._pace.spend(time.perf_counter() - started)
            said, error = None, None
            since = time.perf_counter()
            try:
                said = yield waits_for
            except BaseException as thrown:
                # Meant for the work: a cancellation, or what it waits for having failed.
                error = thrown
            if self._of_database:
                self._pace.waited(time.perf_counter() - since)

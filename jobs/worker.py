"""Does jobs: takes what is due, as many at a time as it has slots, and writes down what became of each.

A job is done at least once. One that outlives its worker is taken back when its lease ends, and done again under its
id.
"""

import asyncio
import logging
import random
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

from jobs.job_queue import Ending, JobQueue, Room, printable, short
from jobs.pace import Pace
from jobs.queue import Handler, Hopeless, Job, Later
from protocol import limits
from protocol.errors import Refused

log = logging.getLogger("slotcast.jobs")

_LOOK_EVERY_S: Final = 1.0
_AWAY_S: Final = 1.0
_SHARE: Final = 0.75
"""Of the slots: what one kind has of them at most, so that no other waits for what its targets do."""
_BUSINESS_SHARE: Final = 0.5
"""And what one business has: its dead targets leave slots to others of the same kind."""
_JITTER: Final = 0.25

Spawn = Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[Any]"]


def pause_s(attempt: int) -> float:
    """How long to wait after a try that failed: four times as long after each, a quarter more or less."""
    wait = min(limits.job_pause_s * 4.0 ** (attempt - 1), limits.job_pause_max_s)
    return wait * random.uniform(1 - _JITTER, 1 + _JITTER)


class Worker:
    """`handlers` are by kind; jobs of other kinds are left to others. `slots` is how many jobs it does at a time."""

    def __init__(
        self,
        queue: JobQueue,
        handlers: Mapping[str, Handler],
        slots: int,
        lease_s: float,
        spawn: Spawn,
        pace: Pace | None = None,
    ) -> None:
        self._pace = pace or Pace()
        self._caught_up = time.monotonic()
        self._queue = queue
        self._handlers = handlers
        self._slots = slots
        self._share = max(1, int(slots * _SHARE))
        self._business_share = max(1, int(slots * _BUSINESS_SHARE))
        self._lease_s = lease_s
        self._spawn = spawn
        self._hands: dict[str, tuple[Job, str, asyncio.Task[Any]]] = {}
        self._endings: dict[str, Ending] = {}
        self._awake = asyncio.Event()
        self._closing = False
        self._ended = asyncio.Event()
        self._ended.set()
        self.tries: Counter[tuple[str, str]] = Counter()
        """By kind and outcome: `done`, `again`, `dead`, `untried`."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        queue.on_put(self.wake)

    @property
    def busy(self) -> int:
        return len(self._hands)

    def wake(self) -> None:
        self._awake.set()

    async def run(self) -> None:
        """Works until cancelled, or until it was stopped."""
        renewing = self._spawn(self._keep_leases(), "job leases")
        self._ended.clear()
        try:
            while not self._closing:
                self._awake.clear()
                try:
                    await self._pace.timed(self._write_endings(), of_database=True)
                    await self._pace.turn(time.monotonic() - self._caught_up)
                    more = await self._pace.timed(self._take(), of_database=True)
                except Refused as refused:
                    log.warning("jobs are put off: %s", refused.code)
                    await asyncio.sleep(_AWAY_S)
                    continue
                if not more:
                    await _first(self._awake, _LOOK_EVERY_S)
        finally:
            renewing.cancel()
            self._ended.set()

    async def _take(self) -> bool:
        """Whether there may be more that is due, and slots for it."""
        free = self._slots - len(self._hands) - len(self._endings)
        if free <= 0:
            return bool(self._endings)
        kinds = Counter(job.kind for job, _, _ in self._hands.values())
        businesses = Counter(job.business_id for job, _, _ in self._hands.values() if job.business_id is not None)
        wanted = 1 if self._pace.hurried else free
        room = Room(
            jobs=wanted,
            kinds={kind: self._share - kinds[kind] for kind in self._handlers},
            business=self._business_share,
            businesses={b: self._business_share - count for b, count in businesses.items()},
        )
        holder, jobs = await self._queue.take(room, self._lease_s)
        for job in jobs:
            self._hands[job.id] = (job, holder, self._spawn(self._do(job, holder), f"job {job.kind}"))
        if len(jobs) < wanted:
            self._caught_up = time.monotonic()
        return len(jobs) == wanted

    async def _do(self, job: Job, holder: str) -> None:
        started = time.perf_counter()
        ending = _ended(job, holder, "waiting", "given back", tries=0)
        try:
            async with asyncio.timeout(limits.job_timeout_s):
                await self._pace.timed(self._handle(job))
            ending = _ended(job, holder, "done")
        except Later as later:
            ending = _again(job, holder, later.reason, later.seconds, tried=later.tried)
        except Hopeless as hopeless:
            ending = _ended(job, holder, "dead", hopeless.reason)
        except TimeoutError:
            ending = _again(job, holder, f"not done in {limits.job_timeout_s:g} s")
        except Refused as refused:
            ending = _again(job, holder, f"{refused.code}: {refused.detail or refused.kind.title}")
        except Exception as error:
            # An error may quote what was sent to us, which is not always text that can be written.
            log.error("job %s of kind %s failed: %s", job.id, job.kind, printable(traceback.format_exc()))
            ending = _again(job, holder, f"{type(error).__name__}: {error}")
        finally:
            self._end(job, ending, time.perf_counter() - started)

    async def _handle(self, job: Job) -> None:
        await self._handlers[job.kind](job)

    def _end(self, job: Job, ending: Ending, seconds: float) -> None:
        del self._hands[job.id]
        self._endings[job.id] = ending
        outcome = "untried" if not ending.tries else "again" if ending.state == "waiting" else ending.state
        self.tries[job.kind, outcome] += 1
        self.seconds[job.kind] += seconds
        if ending.state == "dead":
            log.warning("job %s of kind %s is dead: %s", job.id, job.kind, ending.reason)
        self._awake.set()

    async def _write_endings(self) -> None:
        """What cannot be written now is written later; if it never is, the job is done again."""
        writing = list(self._endings.values())
        if writing:
            await self._queue.finish(writing)
            for ending in writing:
                self._endings.pop(ending.id, None)

    async def _keep_leases(self) -> None:
        """Renews leases of what is in hand, ends what is somebody else's by now, and frees what the dead had."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            held = {id_: holder for id_, (_, holder, _) in self._hands.items()}
            held |= {id_: ending.holder for id_, ending in self._endings.items()}
            try:
                ours = await self._queue.renew(held, self._lease_s) if held else set[str]()
                if await self._queue.take_back():
                    self._awake.set()
            except Refused:
                continue
            for id_ in held.keys() - ours:
                if (hand := self._hands.get(id_)) is not None and hand[1] == held[id_]:
                    log.warning("job %s is somebody else's by now", id_)
                    hand[2].cancel()

    async def stop(self, within_s: float) -> None:
        """Takes nothing more; what is not done in time is given back untried."""
        self._closing = True
        self._awake.set()
        await _first(self._ended, within_s)
        tasks = [task for _, _, task in self._hands.values()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=within_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=_AWAY_S)
        try:
            await self._write_endings()
        except Refused as refused:
            log.warning("jobs in hand were not given back: %s", refused.code)


def _again(job: Job, holder: str, reason: str, seconds: float | None = None, *, tried: bool = True) -> Ending:
    if tried and job.attempt >= job.attempts_max:
        return _ended(job, holder, "dead", reason)
    wait = pause_s(job.attempt) if seconds is None else max(0.0, seconds)
    return _ended(job, holder, "waiting", reason, pause_s=wait, tries=int(tried))


def _ended(
    job: Job, holder: str, state: str, reason: str | None = None, *, pause_s: float = 0.0, tries: int = 1
) -> Ending:
    told = short(reason) if reason is not None else None
    return Ending(id=job.id, holder=holder, lane=job.lane, state=state, reason=told, pause_s=pause_s, tries=tries)


async def _first(event: asyncio.Event, timeout_s: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout_s)

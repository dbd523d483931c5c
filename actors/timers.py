"""What time does to calendars without anybody asking: holds end, slots pass, idle actors go."""

import asyncio
import heapq
from collections.abc import Set
from typing import TYPE_CHECKING, Final

from actors.calendar.commands import Sweep
from actors.ports import Caller, Clock, Outcome, Work
from protocol import limits
from protocol.ids import new_id
from protocol.times import SECOND

if TYPE_CHECKING:
    from actors.runtime import Runtime

TICK_S: Final = 0.25
_PASSIVATE_EVERY_TICKS: Final = 120
_SWEEPS_PER_TICK_MAX: Final = 500


class Timers:
    """One task, one heap of `(instant, calendar_id)`. An entry that came to nothing costs one empty sweep."""

    def __init__(self, runtime: "Runtime", clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._heap: list[tuple[int, str]] = []
        self._ticks = 0

    def at(self, instant: int, calendar_id: str) -> None:
        """Sweeps that calendar soon after `instant`, if it is active then."""
        heapq.heappush(self._heap, (instant, calendar_id))

    def forget(self, calendar_ids: Set[str]) -> None:
        """For calendars that this node no longer decides for."""
        if calendar_ids:
            self._heap = [due for due in self._heap if due[1] not in calendar_ids]
            heapq.heapify(self._heap)

    async def run(self) -> None:
        """Ticks until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self.tick()

    def tick(self) -> None:
        now = self._clock.now_us()
        for _ in range(_SWEEPS_PER_TICK_MAX):
            if not self._heap or self._heap[0][0] > now:
                break
            self.sweep(heapq.heappop(self._heap)[1])
        self._runtime.watch.tick(now)
        self._runtime.roster.reload_watched()
        self._runtime.roster.activation.drop_overdue(asyncio.get_running_loop().time())
        self._ticks += 1
        if self._ticks % _PASSIVATE_EVERY_TICKS == 0:
            self._runtime.roster.passivate_idle()

    def sweep(self, calendar_id: str) -> None:
        """Writes down the holds of an active calendar that have ended."""
        actor = self._runtime.roster.actors.get(calendar_id)
        if actor is None:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        future.add_done_callback(lambda f: self._swept(calendar_id, f))
        caller = Caller(actor.business_id, "system:timer", new_id())
        deadline = loop.time() + limits.request_deadline_s
        self._runtime.ask(Work(calendar_id, Sweep(), caller, future, deadline))

    def _swept(self, calendar_id: str, future: "asyncio.Future[Outcome]") -> None:
        # Viewers must see the hold end, so a sweep that could not be written is tried again.
        if not future.cancelled() and future.exception() is not None:
            self.at(self._clock.now_us() + SECOND, calendar_id)

"""An event loop whose time is made up: hours of waiting pass in no time, and the same way each time."""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any


class FakeLoop(asyncio.AbstractEventLoop):
    """Runs callbacks and timers, and nothing that needs a file or a socket. Time passes only while all else waits."""

    def __init__(self) -> None:
        self._now = 0.0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[asyncio.TimerHandle] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self.errors: list[dict[str, Any]] = []

    # What asyncio asks of a loop

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Any = None) -> Any:
        task = asyncio.Task(coro, loop=self, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(context)

    # What tests ask of it

    def run(self, coroutine: Coroutine[Any, Any, Any], until: float = 1e9) -> Any:
        """Its result, at the latest at that time. Whatever else was started is cancelled then."""
        before = asyncio.events._get_running_loop()
        asyncio.events._set_running_loop(self)
        try:
            main = self.create_task(coroutine)
            self._turn(main.done, until)
            if not main.done():
                raise TimeoutError(f"still waiting at {self._now:.3f} s")
            return main.result()
        finally:
            self._end()
            asyncio.events._set_running_loop(before)

    def _turn(self, done: Callable[[], bool], until: float) -> None:
        while not done():
            if not self._ready:
                if not self._timers or self._timers[0].when() > until:
                    return
                self._now = max(self._now, self._timers[0].when())
            while self._timers and self._timers[0].when() <= self._now:
                timer = heapq.heappop(self._timers)
                if not timer.cancelled():
                    self._ready.append(timer)
            for _ in range(len(self._ready)):
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()

    def _end(self) -> None:
        for _ in range(10):
            if not self._tasks:
                break
            for task in tuple(self._tasks):
                task.cancel()
            self._turn(lambda: not self._tasks, self._now + 10)
        self._timers.clear()
        self._ready.clear()

"""CPU seconds and resident bytes of process trees."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Mapping
from typing import NamedTuple

import psutil

MEMORY_EVERY_S = 0.5


def cpu_seconds(root: int) -> float:
    """User plus system CPU seconds of a process, its living descendants and those it has reaped."""
    total = 0.0
    for process in _tree(root):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            # A Postgres backend that has exited lives on only in its parent's children counters.
            total += times.user + times.system + times.children_user + times.children_system
    return total


def busy_seconds() -> float:
    """CPU seconds the whole machine has been busy, stolen time included."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


class Meter:
    """CPU seconds between two moments: of watched trees, of this process, and of everybody else."""

    def __init__(self, watch: Mapping[str, int]) -> None:
        self._watch = watch
        self._trees = {name: cpu_seconds(pid) for name, pid in watch.items()}
        self._busy, self._own, self._begun = busy_seconds(), time.process_time(), time.perf_counter()

    def read(self) -> "Usage":
        """Since construction."""
        seconds, own = time.perf_counter() - self._begun, time.process_time() - self._own
        busy = busy_seconds() - self._busy
        trees = {name: cpu_seconds(pid) - self._trees[name] for name, pid in self._watch.items()}
        others = max(0.0, busy - own - sum(trees.values()))
        return Usage(seconds, trees, own, others)


class Usage(NamedTuple):
    """Seconds of wall time, and of CPU: watched trees, the generator itself, and all other processes."""

    seconds: float
    trees: dict[str, float]
    own: float
    others: float


def resident_bytes(root: int) -> int:
    """Resident set of a process and its living descendants, in bytes (shared pages count twice)."""
    total = 0
    for process in _tree(root):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total


def footprint_bytes(root: int) -> int:
    """Memory of a process tree in bytes, pages that its processes share counted once, as those of the one with most.

    Every backend of Postgres maps the same buffers; adding them up would weigh these a dozen times.
    """
    private = shared = 0
    for process in _tree(root):
        with contextlib.suppress(psutil.NoSuchProcess):
            memory = process.memory_info()
            common = int(getattr(memory, "shared", 0))
            private += memory.rss - common
            shared = max(shared, common)
    return private + shared


@contextlib.asynccontextmanager
async def peak_memory(watch: Mapping[str, int]) -> AsyncGenerator[dict[str, int], None]:
    """Most memory of each watched tree until the block is left, in bytes, sampled twice a second.

    It belongs into the runner's process: in a generator, walking the process table would delay requests.
    """
    peak = dict.fromkeys(watch, 0)

    def sample() -> None:
        for name, pid in watch.items():
            peak[name] = max(peak[name], footprint_bytes(pid))

    async def keep_sampling() -> None:
        while True:
            sample()
            await asyncio.sleep(MEMORY_EVERY_S)

    sampling = asyncio.create_task(keep_sampling())
    try:
        yield peak
    finally:
        sampling.cancel()
        sample()


def _tree(root: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(root)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []

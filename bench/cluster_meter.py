"""CPU of several process trees while several windows are open at once."""

import contextlib
import time
from collections.abc import Mapping

import psutil

from bench.usage import Usage, busy_seconds


class QuickMeter:
    """Looks for the processes beforehand, so that the two readings take a millisecond and disturb nobody's window.

    `bench.usage.Meter` searches the process table at both, which holds the generator up for a tenth of a second with
    five trees. Processes that come in between count in full; what went away while none of them was looked at is lost.
    """

    def __init__(self, watch: Mapping[str, int]) -> None:
        self._watch = watch
        self._known = {name: _tree(pid) for name, pid in watch.items()}
        self._first: dict[int, float] = {}
        self._busy = self._own = self._begun = 0.0

    def begin(self) -> None:
        self._first = {p.pid: _seconds(p) for some in self._known.values() for p in some}
        self._busy, self._own, self._begun = busy_seconds(), time.process_time(), time.perf_counter()

    def read(self) -> Usage:
        """Since `begin`."""
        seconds, own, busy = (
            time.perf_counter() - self._begun,
            time.process_time() - self._own,
            busy_seconds() - self._busy,
        )
        trees = {
            name: sum(max(0.0, _seconds(p) - self._first[p.pid]) for p in some) for name, some in self._known.items()
        }
        for name, pid in self._watch.items():
            trees[name] += sum(_seconds(p) for p in _tree(pid) if p.pid not in self._first)
        return Usage(seconds, trees, own, max(0.0, busy - own - sum(trees.values())))


def _tree(root: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(root)
        return [process, *process.children(recursive=True)]
    return []


def _seconds(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0

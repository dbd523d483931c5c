"""Servers without the second in which Python imports everything: forked from a process that has done so.

`python -m tests.support.nursery` is that process. It reads an order a line and answers with the child's process id, and
with its exit code once it has ended. A child is then what `python -m server` is.
"""

import atexit
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_STARTED_S = 60.0


class Child:
    """What tests need of a `Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.ended = threading.Event()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if not self.ended.wait(timeout):
            raise subprocess.TimeoutExpired("server", timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """One for a run of pytest; it ends with that."""

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._children: dict[int, Child] = {}
        self._born: Child | None = None
        self._told = threading.Condition()
        self._one_at_a_time = threading.Lock()
        threading.Thread(target=self._listen, name="nursery", daemon=True).start()
        atexit.register(self._close)

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Child:
        order = {"arguments": arguments, "environment": environment, "log": str(log)}
        with self._one_at_a_time, self._told:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            assert self._told.wait_for(lambda: self._born is not None, _STARTED_S), "the nursery does not answer"
            child, self._born = self._born, None
            assert child is not None
            return child

    def _close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            pid, code = json.loads(line)
            with self._told:
                if code is None:
                    self._born = self._children[pid] = Child(pid)
                    self._told.notify()
                else:
                    child = self._children.pop(pid)
                    child.returncode = code
                    child.ended.set()


def _serve() -> dict[str, Any] | None:
    """Returns in each child with what it is to be, and in the parent when nothing more is asked."""
    hear, call = os.pipe()
    os.set_blocking(call, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(call)
    waiting = b""
    while True:
        ready, _, _ = select.select([0, hear], [], [])
        if hear in ready:
            os.read(hear, 1024)
            _bury()
        if 0 in ready:
            piece = os.read(0, 65_536)
            if not piece:
                return None
            *orders, waiting = (waiting + piece).split(b"\n")
            for order in orders:
                if pid := os.fork():
                    _tell(pid, None)
                    continue
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.close(hear)
                os.close(call)
                return json.loads(order)


def _bury() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _tell(pid, os.waitstatus_to_exitcode(status))


def _tell(pid: int, code: int | None) -> None:
    os.write(1, json.dumps([pid, code]).encode() + b"\n")


def _become(order: dict[str, Any]) -> None:
    os.setsid()
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(nothing)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv[1:] = order["arguments"]
    runpy.run_module("server", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    import server.cli
    import server.serve  # noqa: F401 - so that children have it

    assert threading.active_count() == 1, "a thread would not be there in the children"
    found = _serve()
    if found is not None:
        _become(found)

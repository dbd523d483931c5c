"""Processes the runner starts: servers that listen, and generators that answer with JSON."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from bench.report import Refused

START_SECONDS = 60.0
STOP_SECONDS = 20.0
READY_EVERY_S = 0.02
LINE_BYTES = 64 * 1024 * 1024

Answer = TypeVar("Answer")

_started: list[asyncio.subprocess.Process] = []
_generator_core: list[int] = []


def pin(at_least: int = 4) -> str:
    """Give the generators the last core and everything else the others, and say what was done.

    Servers and Postgres inherit this process's cores, so it has to be called before any of them starts.
    """
    if not hasattr(os, "sched_setaffinity"):
        return "nothing is pinned: this system cannot pin processes to cores"
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < at_least:
        return f"nothing is pinned: server, database and generator share {len(cores)} cores"
    _generator_core[:] = cores[-1:]
    os.sched_setaffinity(0, cores[:-1])
    return f"generators on core {cores[-1]}, servers and Postgres on the other {len(cores) - 1}"


def raise_file_limit() -> None:
    """Two thousand sockets need more than a usual soft limit; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port() -> int:
    """A TCP port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Listener:
    """A running server process and where it listens."""

    process: asyncio.subprocess.Process
    port: int
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def said(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    async def stop(self) -> None:
        await _end(self.process)


async def listen(
    arguments: Sequence[str], port: int, log: Path, environment: Mapping[str, str], ready: str
) -> Listener:
    """Start `python -m …` and wait until `ready` answers 200, or say what its log says."""
    with log.open("ab") as sink:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *arguments, stdout=sink, stderr=sink, env={**os.environ, **environment}
        )
    _started.append(process)
    listener = Listener(process, port, log)
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while not await _answers(port, ready):
        late = asyncio.get_running_loop().time() > deadline
        if late or process.returncode is not None:
            await listener.stop()
            raise Refused(f"{' '.join(arguments[:2])} did not become ready:\n{listener.said()}")
        await asyncio.sleep(READY_EVERY_S)
    return listener


async def _answers(port: int, path: str) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        status = await asyncio.wait_for(reader.readline(), 5)
        return b" 200 " in status
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()


class Generator:
    """A load generator process: a JSON line in, a JSON line out, as often as wanted."""

    def __init__(
        self, process: asyncio.subprocess.Process, answers: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._answers = answers
        self._writer = writer

    @property
    def pid(self) -> int:
        return self._process.pid

    @classmethod
    async def start(cls, module: str) -> "Generator":
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, stdin=asyncio.subprocess.PIPE, stdout=theirs.fileno()
            )
        _started.append(process)
        if _generator_core:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(process.pid, _generator_core)
        return cls(process, *await asyncio.open_connection(sock=ours, limit=LINE_BYTES))

    async def ask(self, command: object, answer: type[Answer], seconds: float) -> Answer:
        """Send one command and read its answer; a silent or dead generator refuses the run."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(msgspec.json.encode(command) + b"\n")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await stdin.drain()
        try:
            line = await asyncio.wait_for(self._answers.readline(), seconds)
        except TimeoutError as error:
            raise Refused(f"the load generator gave no answer within {seconds:.0f} s") from error
        if not line:
            raise Refused("the load generator died; its error is above")
        try:
            return msgspec.json.decode(line, type=answer)
        except msgspec.MsgspecError as error:
            raise Refused(f"the load generator said {line[:200]!r}") from error

    async def stop(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._writer.close()
        await _end(self._process)


async def run_once(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Standard output of `python -m …`, stripped; a failure refuses the run with its error output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    _started.append(process)
    out, err = await process.communicate()
    if process.returncode != 0:
        raise Refused(f"{' '.join(arguments)} failed:\n{err.decode(errors='replace')[-2000:]}")
    return out.decode().strip()


async def end_all(but: Collection[int] = ()) -> None:
    """What a scenario did not come to stop, except the processes with these ids."""
    ending = [process for process in _started if process.pid not in but]
    _started[:] = [process for process in _started if process.pid in but]
    await asyncio.gather(*(_end(process) for process in ending))


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

"""`serve --workers N`: several nodes behind one port, and the process that starts them, watches them and ends them.

The parent listens and the workers inherit its sockets. Connections wait in one queue for whichever worker is free, and
none is lost when a worker ends. Sockets of their own with SO_REUSEPORT would reset what waits in the queue of one that
ends, and would share the port with any second server that is started by mistake.
"""

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import structlog

from server.config import ConfigError, Settings
from server.inherited import BACKLOG, READY, STARTED

log = structlog.get_logger("slotcast")

PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Between a worker's quick deaths. One death more than there are pauses ends everything."""
QUICK_S: Final = 10.0
"""A life shorter than this counts as a quick death."""
_READY_WITHIN_S: Final = 60.0
_SETTLE_LEASES: Final = 1.5
"""How long a renewed worker is left with the others before the next: it waits for a lease before it takes what nobody
has, and the others for some beats before they hand it anything."""
_EXIT_MARGIN_S: Final = 2.0
_NAME_CHARS_MAX: Final = 61
_FAILED: Final = 1


def refuse_unusable(settings: Settings, count: int) -> None:
    """Raises `ConfigError` when several workers cannot run with these settings."""
    if sys.platform == "win32":
        raise ConfigError("--workers needs an operating system that lets processes share sockets; Windows does not")
    if not settings.redis_url:
        raise ConfigError(f"--workers {count} needs SLOTCAST_REDIS_URL: workers are nodes, and find each other there")
    ports = range(settings.metrics_port, settings.metrics_port + count)
    if settings.metrics_port and (ports[-1] > 65535 or settings.port in ports):
        raise ConfigError(
            f"SLOTCAST_METRICS_PORT: {count} workers would use {ports[0]} to {ports[-1]}; "
            f"these must be ports, and port {settings.port} none of them"
        )


def listen(host: str, port: int) -> list[socket.socket]:
    """One socket per address of the host, all on one port. Raises `OSError` naming what could not be bound."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # Where the system chooses, it does so once.
            where = (address[0], port or sockets[0].getsockname()[1], *address[2:])
            try:
                sock.bind(where)
                sock.listen(BACKLOG)
            except OSError as error:
                raise OSError(error.errno, f"cannot listen on {where[0]}:{where[1]}: {error.strerror}") from None
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


class _Life:
    """One process of a worker, from its start to its end."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        line: socket.socket,
        heard: Callable[["_Life"], None],
    ) -> None:
        self._name = name
        self._process = process
        self._line = line
        self._heard = heard
        self.asked = False
        """Whether its end is what the parent wanted."""
        self.started = asyncio.Event()
        self.ready = asyncio.Event()
        self.over = asyncio.create_task(process.wait(), name=f"{name} over")
        self._listening = asyncio.create_task(self._listen(), name=f"{name} line")

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while said := await loop.sock_recv(self._line, 16):
                for word, event in ((STARTED, self.started), (READY, self.ready)):
                    if word in said:
                        event.set()
                self._heard(self)

    async def end(self, patience_s: float) -> None:
        """SIGTERM, and SIGKILL to what is still there when patience ends."""
        self.asked = True
        self._signal(signal.SIGTERM)
        await asyncio.wait([self.over], timeout=patience_s)
        if not self.over.done():
            log.error("a worker did not end in time and is killed", worker=self._name, pid=self._process.pid)
            self._signal(signal.SIGKILL)
            await self.over

    def _signal(self, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signum)

    async def close(self) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        self._line.close()


class _Worker:
    def __init__(self, name: str, environment: dict[str, str]) -> None:
        self.name = name
        self.environment = environment
        self.life: _Life | None = None
        self.lives = 0


class Workers:
    """Keeps `count` workers alive until SIGTERM or SIGINT; SIGHUP renews them one after the other."""

    def __init__(
        self,
        settings: Settings,
        dsn: str,
        sockets: Sequence[socket.socket],
        count: int,
        command: Sequence[str],
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        self._sockets = sockets
        self._command = command
        self._pauses_s = pauses_s
        self._patience_s = settings.drain_timeout_s + _EXIT_MARGIN_S
        self._settle_s = settings.lease_ttl_s * _SETTLE_LEASES
        self._stopping = asyncio.Event()
        self._renew_asked = asyncio.Event()
        self._begun = asyncio.Event()
        """Set once a worker has started: the settings and the database will do."""
        self._news = asyncio.Event()
        """Set by whatever happens to a worker; one waits for it, who renews."""
        self._code = 0
        name = re.sub(r"[^A-Za-z0-9._-]", "-", settings.node_name or socket.gethostname())[:_NAME_CHARS_MAX]
        shared = {
            "SLOTCAST_DATABASE_URL": dsn,
            "SLOTCAST_JWT_SECRET": settings.jwt_secret,
            "SLOTCAST_PORT": str(sockets[0].getsockname()[1]),
        }
        self._workers = [
            _Worker(
                f"{name}-{number}",
                {
                    **shared,
                    "SLOTCAST_NODE_NAME": f"{name}-{number}",
                    "SLOTCAST_METRICS_PORT": str(settings.metrics_port and settings.metrics_port + number - 1),
                },
            )
            for number in range(1, count + 1)
        ]

    async def run(self) -> int:
        """The exit code."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._renew_asked.set)
        renewing = asyncio.create_task(self._renew_when_asked(), name="renewing")
        try:
            # The first makes the schema and the demo, and shows whether a node can start at all.
            first, *others = self._workers
            keeping = [asyncio.create_task(self._keep(first), name=first.name)]
            await _first_of(self._begun.wait(), self._stopping.wait())
            keeping += [asyncio.create_task(self._keep(w), name=w.name) for w in others]
            await asyncio.gather(*keeping)
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
        log.info("all workers have ended")
        return self._code

    # Keeping one alive

    async def _keep(self, worker: _Worker) -> None:
        """One life after the other."""
        loop = asyncio.get_running_loop()
        quick = 0
        while not self._stopping.is_set():
            began = loop.time()
            code = await self._live(worker)
            if code is None:
                continue
            quick = quick + 1 if loop.time() - began < QUICK_S else 1
            if not self._begun.is_set() or quick > len(self._pauses_s):
                self._give_up(worker, code, quick)
                return
            pause = self._pauses_s[quick - 1]
            log.error("a worker ended", worker=worker.name, code=_exit_code(code), started_again_in_s=pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _live(self, worker: _Worker) -> int | None:
        """One life; the exit code of one that nobody asked to end."""
        try:
            life = await self._begin(worker)
        except OSError as error:
            log.error("no process can be started", worker=worker.name, error=str(error))
            return _FAILED
        await _first_of(asyncio.shield(life.over), self._stopping.wait())
        if self._stopping.is_set():
            await life.end(self._patience_s)
        code = await life.over
        await life.close()
        self._news.set()
        if not life.asked:
            return code
        if code != 0 and (life.started.is_set() or code != -signal.SIGTERM):
            log.error("a worker ended badly", worker=worker.name, code=_exit_code(code))
            if self._stopping.is_set():
                self._code = self._code or _FAILED
        return None

    def _give_up(self, worker: _Worker, code: int, quick: int) -> None:
        # One that never began has said why, and once is enough.
        if self._begun.is_set():
            log.critical(
                "a worker ends again and again; stopping", worker=worker.name, code=_exit_code(code), in_a_row=quick
            )
        self._code = _exit_code(code) or _FAILED
        self._stop()

    async def _begin(self, worker: _Worker) -> _Life:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        fds = [theirs.fileno(), *(s.fileno() for s in self._sockets)]
        demo = worker is self._workers[0] and worker.lives == 0
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, "--worker", ",".join(map(str, fds)), *([] if demo else ["--no-demo"]),
                env={**os.environ, **worker.environment},
                pass_fds=fds,
                stdin=asyncio.subprocess.DEVNULL,
                # A terminal's Ctrl-C is for the parent, which ends them in order.
                start_new_session=True,
            )  # fmt: skip
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        worker.lives += 1
        life = worker.life = _Life(worker.name, process, ours, self._heard)
        return life

    def _heard(self, life: _Life) -> None:
        if life.started.is_set():
            self._begun.set()
        self._news.set()

    # Ending and renewing

    def _stop(self) -> None:
        self._stopping.set()
        self._news.set()
        # Workers go on accepting on theirs until they have handed over; after the last of them, nobody listens.
        for sock in self._sockets:
            sock.close()

    async def _renew_when_asked(self) -> None:
        while True:
            await self._renew_asked.wait()
            self._renew_asked.clear()
            log.info("renewing the workers one after the other")
            for worker in self._workers:
                if not await self._renew(worker):
                    break
            else:
                log.info("all workers were renewed")

    async def _renew(self, worker: _Worker) -> bool:
        """Whether a new process of the worker serves. If not, the others are better left alone."""
        old = worker.life
        if old is not None:
            await old.end(self._patience_s)
        try:
            async with asyncio.timeout(_READY_WITHIN_S):
                while worker.life is None or worker.life is old or not worker.life.ready.is_set():
                    if self._stopping.is_set():
                        return False
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            log.error("a renewed worker is not ready; the others stay as they are", worker=worker.name)
            return False
        life = worker.life
        await _first_of(self._stopping.wait(), asyncio.shield(life.over), asyncio.sleep(self._settle_s))
        return not self._stopping.is_set() and not life.over.done()


async def _first_of(*waits: Awaitable[Any]) -> None:
    """Returns when one of them is done, and forgets the others."""
    futures = [asyncio.ensure_future(w) for w in waits]
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    for future in futures:
        future.cancel()


def _exit_code(code: int) -> int:
    """As shells tell of processes that a signal ended."""
    return 128 - code if code < 0 else code


def run(settings: Settings, dsn: str, count: int) -> int:
    """Runs `count` workers with the command line of this process until they are told to stop; the exit code."""

    async def main() -> int:
        return await Workers(settings, dsn, listen(settings.host, settings.port), count, own_command()).run()

    return asyncio.run(main())


def own_command() -> list[str]:
    """How this process was started, so that workers are started the same way."""
    return [sys.executable, *sys.orig_argv[1:]]

"""Running a node until it is told to stop."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import structlog
from aiohttp import web

from protocol.errors import Refused
from protocol.events import Schedule, WeeklyRange
from protocol.ids import new_id
from server import demo as demo_business
from server.app import make_probes, make_server
from server.config import Settings
from server.desk import Asker
from server.inherited import BACKLOG, READY, STARTED, Inherited
from server.messaging import for_demo
from server.node import CLEANUP_SHARE, DRAIN_SHARE, HAND_OVER_SHARE, LAST_CALL_SHARE, Node
from server.outbox import OUTBOX
from server.principal import Principal

log = structlog.get_logger("slotcast")

_READY_CHECK_S: Final = 0.05
_LAST_CALL_CHECK_S: Final = 0.05
_DEMO_TOKEN_TTL_S: Final = 24 * 3600


async def serve(settings: Settings, dsn: str, *, demo: bool, inherited: Inherited | None = None) -> int:
    """Serves until SIGTERM or SIGINT; the exit code. A worker also ends when the process that started it has."""
    if demo:
        settings = for_demo(settings)
    node = Node(settings, dsn)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    if inherited:
        # Several write to one log.
        structlog.contextvars.bind_contextvars(node=settings.node_name)
        orphaned = node.spawn(inherited.parent_gone(), "parent gone")
        orphaned.add_done_callback(lambda _: stop.set())
    try:
        await _start(node, dsn)
        if demo:
            await _greet(node)
        runner = web.ServerRunner(
            make_server(node),
            handle_signals=False,
            shutdown_timeout=settings.drain_timeout_s * CLEANUP_SHARE,
        )
        await runner.setup()
        probes = await _listen_for_probes(node)
        sites = await _listen(runner, settings, inherited)
        port = runner.addresses[0][1]
        log.info("listening", url=f"http://{settings.host}:{port}")
        if demo:
            _print_urls(settings, port)
        if inherited:
            inherited.tell(STARTED)
            node.spawn(_tell_when_ready(node, inherited), "tell when ready")
        await _until(stop, node.lost_ownership)
        log.info("draining")
        await node.hand_over(settings.drain_timeout_s * HAND_OVER_SHARE)
        for site in sites:
            await site.stop()
        if node.leaving:
            await _send_elsewhere(runner, settings.drain_timeout_s * LAST_CALL_SHARE)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(node.drain(), settings.drain_timeout_s * DRAIN_SHARE)
        await runner.cleanup()
        await probes.cleanup()
    finally:
        await node.stop()
    log.info("stopped")
    return 1 if node.lost_ownership.is_set() else 0


async def _listen(
    runner: web.ServerRunner, settings: Settings, inherited: Inherited | None
) -> Sequence[web.SockSite | web.TCPSite]:
    """Accepts connections, on sockets that others may accept on as well."""
    sites: list[web.SockSite | web.TCPSite]
    if inherited:
        sites = [web.SockSite(runner, sock, backlog=BACKLOG) for sock in inherited.listening]
    else:
        sites = [web.TCPSite(runner, settings.host, settings.port, backlog=BACKLOG, reuse_address=True)]
    for site in sites:
        await site.start()
    return sites


async def _listen_for_probes(node: Node) -> web.ServerRunner:
    settings = node.settings
    runner = web.ServerRunner(make_probes(node), handle_signals=False, shutdown_timeout=0)
    await runner.setup()
    if settings.metrics_port:
        await web.TCPSite(runner, settings.host, settings.metrics_port, reuse_address=True).start()
    return runner


async def _tell_when_ready(node: Node, inherited: Inherited) -> None:
    while True:
        if not node.missing():
            inherited.tell(READY)
            return
        await asyncio.sleep(_READY_CHECK_S)


async def _send_elsewhere(runner: web.ServerRunner, within_s: float) -> None:
    """Closes connections that wait for a request. Other nodes are there to take the next one, so none is refused.

    One that is closed while its next request is on the way would be: so each is given time to end with an answer.
    """
    until = asyncio.get_running_loop().time() + within_s
    while runner.server is not None and runner.server.connections and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(_LAST_CALL_CHECK_S)
    if runner.server is not None:
        runner.server.pre_shutdown()


async def _start(node: Node, dsn: str) -> None:
    try:
        await node.start()
    except OSError as error:
        # The system's message names neither; an operator with several databases wants to know which.
        raise Refused("unavailable", f"no database at {_where(dsn)}: {explain(error)}") from error


def _where(dsn: str) -> str:
    """Host and port of a DSN, without user and password."""
    parts = urlsplit(dsn)
    host = parts.hostname or parse_qs(parts.query).get("host", ["the default address"])[0]
    return f"{host}:{parts.port or 5432}"


async def _until(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(e.wait()) for e in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


async def _greet(node: Node) -> None:
    found = await demo_business.ensure(node.database, node.shard_count)
    if found.password is not None:
        await _set_demo_hours(node, found.business_id)
    path = Path(node.settings.data_dir) / "demo-password"
    if found.password is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(found.password + "\n")
    password = path.read_text().strip() if path.exists() else "(not known here)"
    token = node.auth.issue(Principal("demo", found.business_id, "owner", time.time() + _DEMO_TOKEN_TTL_S))
    lines = ["", f"  login      {found.email}  {password}", f"  token      {token}"]
    sys.stdout.write("\n".join(lines) + "\n")


async def _set_demo_hours(node: Node, business_id: str) -> None:
    """Shop hours instead of the default ones, set as a person would set them."""
    row = await node.database.row("demo_calendar")
    if row is None:
        return
    weekly = tuple(WeeklyRange(day, 9 * 60, 17 * 60) for day in range(6))
    owner = Principal("demo", business_id, "owner", time.time() + _DEMO_TOKEN_TTL_S)
    await node.timekeeping.change_schedule(Asker(owner, new_id()), row["id"], Schedule(row["time_zone"], weekly))


def _print_urls(settings: Settings, port: int) -> None:
    host = settings.host
    base = f"http://{'localhost' if host in ('127.0.0.1', '0.0.0.0') else host}:{port}"  # noqa: S104 - compared, not bound
    outbox = f"  outbox     {base}/outbox\n" if settings.smtp_url == OUTBOX else ""
    sys.stdout.write(f"  demo page  {base}/\n{outbox}  docs       {base}/docs\n\n")
    sys.stdout.flush()


def explain(error: Exception) -> str:
    """One line for what kept the server from starting."""
    if isinstance(error, Refused):
        return error.detail or error.kind.title
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

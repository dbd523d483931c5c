"""The composition root: what a node is made of, in which order it starts, and how it stops.

    1 database ─ 2 schema ─ 3 ownership ─ 4 journal and runtime ─ 5 background tasks ─ 6 listening

It stops in reverse: no new work, goodbye to live clients, requests under way end, the journal is flushed, connections
close; all before `drain_timeout_s`.
"""

import asyncio
import gc
import time
from collections.abc import Coroutine, Iterable
from typing import Any, Final

import structlog
from aiohttp import web

from actors.actor import Actor
from actors.ports import Clock
from actors.reader import Build
from actors.runtime import Runtime
from jobs.messenger import ConsoleMessenger, Messenger
from jobs.upkeep import Upkeep
from protocol import limits
from protocol.errors import Refused
from server.auth import Auth
from server.businesses import Businesses
from server.config import Settings
from server.desk import Desk
from server.keys import KeyFiles, ring_of
from server.live.hub import Hub
from server.logs import AccessLog
from server.metrics import Metrics, Reading
from server.notices import Notices
from server.origins import Origins
from server.passwords import Passwords
from server.places import Places
from server.principal import Principal
from server.ready import ReadyAnswers
from server.sessions import Sessions
from server.throttle import Throttle, quotas
from server.tickets import Tickets
from server.verification import Verification
from storage import migrations
from storage.calendars import PostgresCalendars
from storage.journal import PostgresJournal
from storage.keys import Keys
from storage.ownership import SingleNode, choose_shard_count
from storage.postgres import Database
from storage.sessions import revoked
from storage.windows import windows

DRAIN_SHARE: Final = 0.5
CLEANUP_SHARE: Final = 0.15
STOP_SHARE: Final = 0.1
"""How `drain_timeout_s` is shared out: goodbye and flush; requests under way, twice: once to end, once to be cancelled;
background tasks and connections, each."""

_GC_THRESHOLDS: Final = (50_000, 50, 100)
"""Most of what a node holds lives long; collecting young garbage less often costs less."""


class SystemClock(Clock):
    def now_us(self) -> int:
        return time.time_ns() // 1000


class Node:
    """Everything handlers reach for. Made by `Node.start`."""

    database: Database
    runtime: Runtime
    desk: Desk
    live: Hub
    ready: ReadyAnswers
    businesses: Businesses
    places: Places
    sessions: Sessions
    tickets: Tickets
    origins: Origins
    verification: Verification
    shard_count: int

    def __init__(self, settings: Settings, dsn: str, messenger: Messenger | None = None) -> None:
        self.settings = settings
        self.log = structlog.get_logger("slotcast")
        self.clock: Clock = SystemClock()
        self.auth = Auth(settings.jwt_secret, ring_of(settings.jwt_keys, settings.jwt_secret))
        self.messenger = messenger or ConsoleMessenger(prints=False)
        self.windows = windows(settings.redis_url)
        self.throttle = Throttle(self.windows, quotas(settings.rate_limits))
        self.passwords = Passwords()
        self.notices = Notices()
        self.metrics = Metrics()
        self.keys = Keys()
        self.access_log = AccessLog(settings.access_log and settings.log_level in ("debug", "info"))
        self.documents: dict[str, bytes] = {}
        """The contract's descriptions, encoded when the routes are known."""
        self.draining = False
        self.lost_ownership = asyncio.Event()
        self._dsn = dsn
        self._tasks: set[asyncio.Task[Any]] = set()
        self._journal: PostgresJournal
        self._ownership: SingleNode

    async def start(self) -> None:
        """Raises what keeps it from starting: `AlreadyRunning`, or an error of the database."""
        settings, dsn = self.settings, self._dsn
        if settings.migrate_on_start:
            await migrations.up(dsn)
        self.database = await Database.open(dsn, settings.pool_size, self.metrics)
        self.businesses = Businesses(self.database, self.clock)
        self.places = Places(self.database)
        self.sessions = Sessions(self.database, self.auth, self.notices, self.businesses)
        self.tickets = Tickets(self.auth, self.database, self.spawn)
        self.origins = Origins(self.database, self.businesses)
        self.verification = Verification(self.database, self.auth, self.messenger)
        self._ownership = SingleNode(dsn, self.lost_ownership.set)
        await self._ownership.claim()
        self.shard_count = await choose_shard_count(self.database, settings.shard_count)
        shards = range(self.shard_count)
        self._journal = PostgresJournal(dsn, shards, settings.journal_writers, self.metrics)
        self.runtime = Runtime(self._journal, PostgresCalendars(self.database), self.clock)
        await self._journal.start(self.runtime)
        self.desk = Desk(self.runtime, self.database, self.auth, self.businesses, self.places)
        self.ready = ReadyAnswers(self.runtime, self.clock)
        self.live = Hub(self)
        await self._take_note()
        self.metrics.collect_from(self._readings)
        upkeep = Upkeep(self.database, self.runtime)
        for name, loop in (
            ("timers", self.runtime.timers.run()),
            ("live hub", self.live.run()),
            ("ownership", self._ownership.watch(self._journal)),
            ("journal", self._journal.watch()),
            ("upkeep", upkeep.run()),
            ("keys", KeyFiles(settings.jwt_keys, self.auth).watch()),
            ("loop lag", self.metrics.watch_loop()),
            ("access log", self.access_log.run()),
        ):
            self._guard(loop, name)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)

    async def _take_note(self) -> None:
        """Of what was revoked before the start, and of every change that makes untrue what is remembered here."""
        notices = self.notices
        notices.listen("businesses", self.businesses.forget)
        notices.listen("businesses", self.origins.forget)
        notices.listen("places", self.places.forget)
        notices.listen("calendars", self.runtime.roster.load_anew)
        notices.listen("clients", self.desk.forget_clients)
        notices.listen("tokens", self.auth.revoke)
        notices.listen("sessions", self.auth.end_sessions)
        notices.listen("tokens", self.live.end_sessions_of)
        notices.listen("sessions", self.live.end_sessions_of)
        tokens, sessions = await revoked(self.database)
        self.auth.revoke(tokens)
        self.auth.end_sessions(sessions)

    def _guard(self, loop: Coroutine[Any, Any, None], name: str) -> None:
        """A background task has no right to end: if one does, the node stops."""
        task = self.spawn(loop, name)

        def ended(task: asyncio.Task[Any]) -> None:
            if not task.cancelled() and not self.draining:
                self.log.error("background task ended", task=name, exc_info=task.exception())
                self.lost_ownership.set()

        task.add_done_callback(ended)

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> "asyncio.Task[Any]":
        """The one place where the server makes tasks: each has a name, and the node knows it until it ends."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def admit(self) -> None:
        if self.draining:
            raise Refused("draining")

    async def drain(self) -> None:
        """Says goodbye and lets what is under way end. Listening sockets are closed by then."""
        self.draining = True
        await self.live.say_goodbye()
        await self._journal.flush()

    async def stop(self) -> None:
        self.draining = True
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            # One that waits for a frozen database may take longer to notice; it ends with the process.
            await asyncio.wait(self._tasks, timeout=self.settings.drain_timeout_s * STOP_SHARE)
        if hasattr(self, "_journal"):
            await self._journal.stop()
        if hasattr(self, "_ownership"):
            await self._ownership.release()
        if hasattr(self, "database"):
            await self.database.close(self.settings.drain_timeout_s * STOP_SHARE)
        self.passwords.close()
        await self.windows.close()
        self.access_log.flush()

    # For handlers

    async def actor(self, calendar_id: str, business_id: str | None) -> Actor:
        return await self.runtime.roster.activate(
            calendar_id, business_id, asyncio.get_running_loop().time() + limits.request_deadline_s
        )

    async def read(self, request: web.BaseRequest, principal: Principal, actor: Actor, build: Build) -> bytes:
        return await self.ready.make(request.raw_path, principal, actor, build)

    def finished(self, request: web.BaseRequest, route: str, request_id: str, status: int, seconds: float) -> None:
        self.metrics.request(route, request.method, status, seconds)
        self.access_log.add(request_id, request.method, request.path, status, seconds)

    def missing(self) -> list[str]:
        """What keeps the node from serving, by name."""
        found = []
        if not self._journal.writing:
            found.append("database")
        if self._journal.lost_shards:
            found.append("shards")
        if self.draining:
            found.append("draining")
        return found

    def _readings(self) -> Iterable[Reading]:
        runtime, statistics = self.runtime, self.runtime.statistics
        actors = runtime.roster.actors
        depth = [a.pending for a in actors.values() if a.pending]
        yield "gauge", "slotcast_actors_active", "Calendars in memory", {(): len(actors)}, ()
        yield (
            "gauge",
            "slotcast_mailbox_depth_max",
            "Commands of the busiest calendar",
            {(): max(depth, default=0)},
            (),
        )
        yield (
            "gauge",
            "slotcast_activations_waiting",
            "Requests waiting for a calendar",
            {(): runtime.roster.activation.waiting},
            (),
        )
        yield (
            "gauge",
            "slotcast_journal_waiting",
            "Entries decided and not yet durable",
            {(): self._journal.waiting},
            (),
        )
        yield "gauge", "slotcast_views", "Views being watched", {(): runtime.watch.views}, ()
        yield (
            "gauge",
            "slotcast_database_connections_in_use",
            "Busy pool connections",
            {(): self.database.in_use},
            (),
        )
        yield "counter", "slotcast_commands", "Commands by outcome", {
            k: float(v) for k, v in statistics.commands.items()}, ("command", "outcome")  # fmt: skip
        yield "counter", "slotcast_entries_lost", "Decisions that were not written", {
            (k,): float(v) for k, v in statistics.lost.items()}, ("reason",)  # fmt: skip
        yield (
            "counter",
            "slotcast_guard_violations",
            "Rows that a database guard refused",
            {(): statistics.guard_violations},
            (),
        )
        yield "counter", "slotcast_activations", "Calendars loaded", {(): statistics.activations}, ()
        yield (
            "counter",
            "slotcast_passivations",
            "Calendars dropped while idle",
            {(): statistics.passivations},
            (),
        )
        yield (
            "counter",
            "slotcast_replays",
            "Requests answered by their idempotency key",
            {(): statistics.replayed},
            (),
        )
        yield "counter", "slotcast_deltas", "Delta frames made", {(): runtime.watch.deltas}, ()

"""The composition root: what a node is made of, in which order it starts, and how it stops.

    1 database ─ 2 schema ─ 3 ownership ─ 4 journal and runtime ─ 5 background tasks ─ 6 listening

It stops in reverse: no new work, goodbye to live clients, requests under way end, the journal is flushed, connections
close; all before `drain_timeout_s`.
"""

import asyncio
import gc
import time
from collections.abc import Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiohttp import web

from actors.cluster.cluster import Cluster
from actors.ports import CalendarStore, Clock
from actors.questions import Question
from actors.runtime import Runtime
from actors.shards import OwnedShards
from actors.switchboard import Switchboard
from jobs.job_queue import JobQueue
from jobs.meetings import Tender
from jobs.upkeep import Upkeep
from jobs.waitlist import Waitlist
from protocol import limits
from protocol.errors import Refused
from protocol.ids import new_id
from server.auth import Auth
from server.businesses import Businesses
from server.cluster import cluster_over_redis, reach_redis, readings
from server.config import Settings
from server.desk import Desk
from server.jobs import Jobs, Tools
from server.keys import KeyFiles, ring_of
from server.live.hub import Hub
from server.logs import SECRET_PATHS, AccessLog
from server.messaging import QueuedMessenger
from server.metrics import Metrics, Reading
from server.notices import Notices
from server.origins import Origins
from server.passwords import Passwords
from server.places import Places
from server.readings import of_node
from server.ready import ReadyAnswers
from server.series import SeriesDesk
from server.sessions import Sessions
from server.terms import ChangedTerms
from server.throttle import Throttle, quotas
from server.tickets import Tickets
from server.timed import rounds
from server.timekeeping import Timekeeping
from server.verification import Verification
from server.waiting import WaitingRoom
from storage import migrations
from storage.bulletin import Bulletin
from storage.calendars import PostgresCalendars
from storage.journal import PostgresJournal
from storage.keys import Keys
from storage.ownership import DatabaseLock, choose_shard_count
from storage.postgres import Database
from storage.sessions import revoked
from storage.windows import windows

if TYPE_CHECKING:
    from server.edge import Call

Loops = Sequence[tuple[str, Coroutine[Any, Any, None]]]

HAND_OVER_SHARE: Final = 0.2
LAST_CALL_SHARE: Final = 0.1
DRAIN_SHARE: Final = 0.2
JOBS_SHARE: Final = 0.1
CLEANUP_SHARE: Final = 0.15
STOP_SHARE: Final = 0.1
"""How `drain_timeout_s` is shared out: shards to other nodes; last requests of those who are sent there; goodbye and
flush; within it, jobs in hand; requests under way, twice: once to end, once to be cancelled; background tasks and
connections, each."""

_RETRY_S: Final = 1.0

_GC_THRESHOLDS: Final = (50_000, 50, 100)
"""Most of what a node holds lives long; collecting young garbage less often costs less."""


class SystemClock(Clock):
    def now_us(self) -> int:
        return time.time_ns() // 1000


class Node:
    """Everything handlers reach for. Made by `Node.start`."""

    database: Database
    queue: JobQueue
    jobs: Jobs
    runtime: Runtime
    switchboard: Switchboard
    desk: Desk
    timekeeping: Timekeeping
    live: Hub
    ready: ReadyAnswers
    businesses: Businesses
    places: Places
    sessions: Sessions
    tickets: Tickets
    origins: Origins
    verification: Verification
    shard_count: int

    def __init__(self, settings: Settings, dsn: str) -> None:
        self.settings = settings
        self.log = structlog.get_logger("slotcast")
        self.clock: Clock = SystemClock()
        self.auth = Auth(settings.jwt_secret, ring_of(settings.jwt_keys, settings.jwt_secret))
        self.windows = windows(settings.redis_url)
        self.throttle = Throttle(self.windows, quotas(settings.rate_limits))
        self.passwords = Passwords()
        self.metrics = Metrics()
        self.keys = Keys()
        self.access_log = AccessLog(settings.access_log and settings.log_level in ("debug", "info"))
        self.documents: dict[str, bytes] = {}
        """The contract's descriptions, encoded when the routes are known."""
        self.leaving = False
        """Still serves, but wants its clients to come to other nodes."""
        self.draining = False
        self.lost_ownership = asyncio.Event()
        self.bulletin = Bulletin(dsn, new_id())
        self.notices = Notices(self.bulletin)
        self._dsn = dsn
        self._tasks: set[asyncio.Task[Any]] = set()
        self._journal: PostgresJournal
        self._lock: DatabaseLock | None = None
        self.cluster: Cluster | None = None

    async def start(self) -> None:
        """Raises what keeps it from starting: `AlreadyRunning`, or an error of the database."""
        settings, dsn = self.settings, self._dsn
        if settings.migrate_on_start:
            await migrations.up(dsn)
        self.database = await Database.open(dsn, settings.pool_size, self.metrics)
        self.queue = JobQueue(self.database)
        self.businesses = Businesses(self.database, self.clock)
        self.places = Places(self.database)
        self.sessions = Sessions(self.database, self.auth, self.notices, self.businesses)
        self.tickets = Tickets(self.auth, self.database, self.spawn)
        self.origins = Origins(self.database, self.businesses)
        self.verification = Verification(self.database, self.auth, QueuedMessenger(self.queue, self.auth, self.clock))
        self.shard_count = await choose_shard_count(self.database, settings.shard_count)
        self._journal = PostgresJournal(dsn, self.database, settings.journal_writers, self.metrics)
        store = self.store = PostgresCalendars(self.database)
        self.runtime = Runtime(self._journal, store, self.clock, self.shard_count)
        tools = Tools(settings, self.database, self.queue, self.auth, self.clock)
        self.jobs = Jobs(tools, self.runtime.owned, self.spawn)
        await self.jobs.following.begin()
        await self._journal.start(self.jobs.overhear(self.runtime))
        loops = await (self._join(store) if settings.redis_url else self._stand_alone(store))
        self.desk = Desk(self.runtime, self.switchboard, self.database, self.auth, self.businesses, self.places)
        self.series = SeriesDesk(self.desk, self.switchboard, self.database, self.auth)
        self.waiting = WaitingRoom(self.desk, self.switchboard, self.auth, self.notices, self.clock)
        self.timekeeping = Timekeeping(self.desk, self.switchboard, self.database)
        self.ready = ReadyAnswers(self.runtime, self.switchboard, self.clock)
        self.live = Hub(self)
        self._take_note()
        await self.bulletin.start()
        await self._end_what_is_over()
        self.metrics.collect_from(self._readings)
        upkeep = Upkeep(self.database, self.runtime, self.queue)
        self.waitlist = Waitlist(self.database, self.runtime, limits.hold_ttl_max_s)
        self.notices.listen("waitlist", self.waitlist.wake)
        for name, loop in (
            ("timers", self.runtime.timers.run()),
            ("live hub", self.live.run()),
            *loops,
            ("journal", self._journal.watch()),
            ("bulletin", self.bulletin.run()),
            ("upkeep", upkeep.run()),
            ("waitlist", self.waitlist.run()),
            ("meetings", Tender(self.database, self.runtime).run()),
            *self.jobs.loops(),
            ("rounds", rounds(tools, self.runtime, self.jobs.following.names).run()),
            ("keys", KeyFiles(settings.jwt_keys, self.auth).watch()),
            ("loop lag", self.metrics.watch_loop()),
            ("access log", self.access_log.run()),
        ):
            self._guard(loop, name)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)

    async def _stand_alone(self, store: CalendarStore) -> Loops:
        """Owns every shard, under a lock that no other node can have."""
        lock = self._lock = DatabaseLock(self._dsn, self.lost_ownership.set)
        await lock.claim()
        await self._journal.take(range(self.shard_count))
        self.switchboard = Switchboard(self.runtime, store)
        return [("ownership", lock.watch(self._journal))]

    async def _join(self, store: CalendarStore) -> Loops:
        """Becomes one of the nodes that share the shards; which are its own shows in the first seconds."""
        lock = self._lock = DatabaseLock(self._dsn, self.lost_ownership.set, shared=True)
        await lock.claim()
        cluster = self.cluster = cluster_over_redis(
            await reach_redis(self.settings.redis_url),
            self.settings,
            await self.database.value("database_id", new_id()),
            self.runtime,
            store,
            OwnedShards(self._journal, self.runtime),
            self.shard_count,
            self.clock.now_us(),
            lambda: 1000 * self.metrics.lag_s,
            self.spawn,
        )
        await cluster.start()
        self.switchboard = cluster.switchboard
        return [("ownership", lock.watch()), *cluster.loops()]

    def _take_note(self) -> None:
        """Of every change that makes untrue what is remembered here."""
        notices, terms = self.notices, ChangedTerms(self)
        notices.listen("businesses", self.businesses.forget)
        notices.listen("businesses", self.origins.forget)
        notices.listen("places", self.places.forget)
        notices.listen("calendars", self.switchboard.forget)
        notices.listen("calendars", self.runtime.roster.load_anew)
        notices.listen("clients", self.desk.forget_clients)
        notices.listen("tokens", self.auth.revoke)
        notices.listen("sessions", self.auth.end_sessions)
        notices.listen("tokens", self.live.end_sessions_of)
        notices.listen("sessions", self.live.end_sessions_of)
        notices.listen("terms", terms.take_in)
        notices.listen("terms", self.desk.together.teams.forget)
        notices.listen("calendars", self.desk.together.teams.forget)
        notices.after_gap(terms.take_in_all)
        notices.after_gap(self.desk.together.teams.forget)
        notices.after_gap(self.desk.forget_all_clients)
        notices.after_gap(self._catch_up)

    async def _end_what_is_over(self) -> None:
        tokens, sessions = await revoked(self.database)
        self.notices.deliver("tokens", tokens)
        self.notices.deliver("sessions", sessions)
        removed = await self.database.fetch("professionals_removed_lately")
        self.notices.deliver("calendars", [row["id"] for row in removed])

    def _catch_up(self) -> None:
        """Businesses and places are remembered for seconds only; revoked tokens would be missed for ever."""
        self.spawn(self._read_revoked(), "revoked tokens")

    async def _read_revoked(self) -> None:
        while True:
            try:
                await self._end_what_is_over()
            except Refused:
                await asyncio.sleep(_RETRY_S)
            else:
                return

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

    async def hand_over(self, within_s: float) -> None:
        """Gives its shards to the other nodes, while it goes on answering for them and passing requests on."""
        if self.cluster is not None:
            self.leaving = True
            await self.cluster.drain(asyncio.get_running_loop().time() + within_s)

    async def drain(self) -> None:
        """Says goodbye and lets what is under way end. Listening sockets are closed by then."""
        self.draining = True
        stopping = self.spawn(self.jobs.stop(JOBS_SHARE * self.settings.drain_timeout_s), "give jobs back")
        await self.live.say_goodbye()
        await self._journal.flush()
        await stopping

    async def stop(self) -> None:
        self.draining = True
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            # One that waits for a frozen database may take longer to notice; it ends with the process.
            await asyncio.wait(self._tasks, timeout=self.settings.drain_timeout_s * STOP_SHARE)
        if hasattr(self, "jobs"):
            await self.jobs.close(self.settings.drain_timeout_s * STOP_SHARE)
        await self.bulletin.stop()
        if hasattr(self, "_journal"):
            await self._journal.stop()
        if self.cluster is not None:
            # Only now: nobody may take its shards at once while something of them could still be written.
            await self.cluster.stop()
        if self._lock is not None:
            await self._lock.release()
        if hasattr(self, "database"):
            await self.database.close(self.settings.drain_timeout_s * STOP_SHARE)
        self.passwords.close()
        await self.windows.close()
        self.access_log.flush()

    # For handlers

    async def read(self, call: "Call[Any, Any]", calendar_id: str, question: Question) -> bytes:
        """The answer, which is found by the request's path the next time."""
        body = await self.switchboard.read(calendar_id, call.business_id, question)
        self.ready.remember(call.request.raw_path, call.principal, calendar_id, question)
        return body

    def finished(self, request: web.BaseRequest, route: str, request_id: str, status: int, seconds: float) -> None:
        self.metrics.request(route, request.method, status, seconds)
        path = route if route in SECRET_PATHS else request.path
        self.access_log.add(request_id, request.method, path, status, seconds)

    def missing(self) -> list[str]:
        """What keeps the node from serving, by name."""
        found = []
        if not self._journal.writing:
            found.append("database")
        if self.cluster is not None:
            found += self.cluster.missing()
        elif self._journal.lost_shards:
            found.append("shards")
        if self.draining:
            found.append("draining")
        return found

    def _readings(self) -> Iterable[Reading]:
        yield from of_node(self.runtime, self._journal, self.database)
        yield from self.jobs.readings()
        if self.cluster is not None:
            yield from readings(self.cluster)

"""What happens after a booking, put together: who follows the journal, and who does which kind of job.

A new follower is a file in `jobs/` and a line in `followers`; a new kind of job is a handler and a line in `handlers`.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

from actors.ports import Clock, JournalListener
from jobs import deliveries
from jobs.analytics import AnalyticsFollower
from jobs.followers import DIGEST, Following, Overheard
from jobs.job_queue import JobQueue
from jobs.notifications import Notifications
from jobs.outgoing import CODE, MESSAGE
from jobs.pace import Pace
from jobs.queue import Follower, Handler, Job
from jobs.reminders import REMINDER, Reminders, Reminding
from jobs.staff import StaffNotices
from jobs.webhooks import Announcements, WebhookFollower, WebhookSender
from jobs.worker import Spawn, Worker
from protocol.errors import Refused
from server.auth import Auth
from server.config import Settings
from server.messaging import messages_of
from server.metrics import Reading
from server.readings import gauge
from server.webhooks import poster_of, secret_of
from storage.postgres import Database

log = logging.getLogger("slotcast.jobs")

_COUNT_EVERY_S: Final = 15.0
_SHARD_OF_JOBS: Final = 0
"""Jobs are of no shard; whoever owns this one tells of them."""

FROM_START: Final[frozenset[str]] = frozenset()
"""Names of followers that read the whole journal when they are new; others read what comes from then on."""


class Tools:
    """What followers and handlers are made from, in a node and in `slotcast jobs work` alike.

    What has to be closed at the end is entered into `closing`.
    """

    def __init__(self, settings: Settings, database: Database, queue: JobQueue, auth: Auth, clock: Clock) -> None:
        self.settings = settings
        self.database = database
        self.queue = queue
        self.auth = auth
        self.clock = clock
        self.closing = AsyncExitStack()
        self.poster = poster_of(settings)
        self.closing.push_async_callback(self.poster.close)
        self.announcements = Announcements(database, queue, clock)


def followers(tools: Tools) -> list[Follower]:
    return [AnalyticsFollower(), WebhookFollower(), Notifications(), StaffNotices(), Reminders(tools.clock)]


def handlers(tools: Tools) -> dict[str, Handler]:
    t = tools
    told = messages_of(t.settings, t.database, t.auth, t.clock, t.poster)
    return {
        deliveries.KIND: WebhookSender(t.database, t.queue, t.poster, partial(secret_of, t.auth), t.clock),
        MESSAGE: told.handle,
        CODE: told.handle,
        REMINDER: Reminding(t.database, t.queue, t.clock, t.announcements).handle,
    }


class Jobs:
    """The queue of a process and who works on it; in a node also the followers of its shards."""

    def __init__(self, tools: Tools, owned: Mapping[int, int], spawn: Spawn) -> None:
        self.tools = tools
        self.queue = tools.queue
        self._owned = owned
        self._pace = Pace()
        self.following = Following(tools.database, tools.queue, followers(tools), owned, FROM_START, self._pace)
        settings = tools.settings
        every: dict[str, Handler] = {**handlers(tools), DIGEST: self._digest}
        self.worker = Worker(tools.queue, every, settings.job_workers, settings.job_lease_s, spawn, self._pace)
        self._lag: dict[str, tuple[float, float]] = {}
        self._counts: dict[tuple[str, ...], float] = {}
        self._oldest_s = 0.0

    def overhear(self, listener: JournalListener) -> JournalListener:
        """Tells the followers of commits."""
        return Overheard(listener, self.following)

    def loops(self) -> Sequence[tuple[str, Coroutine[Any, Any, None]]]:
        """What a node runs."""
        working = [("jobs", self.worker.run())] if self.tools.settings.job_workers else []
        return [
            ("followers", self.following.run()),
            ("pace of jobs", self._pace.watch()),
            ("job figures", self._count()),
            *working,
        ]

    async def _digest(self, job: Job) -> None:
        event = job.payload
        await self.following.digest_again(event["follower"], event["shard"], event["seq"])

    async def stop(self, within_s: float) -> None:
        """Gives back what is not done in time."""
        await self.worker.stop(within_s)

    async def close(self, within_s: float) -> None:
        """At the end: what was cancelled is given back, and tools are put away."""
        try:
            async with asyncio.timeout(within_s):
                await self.worker.stop(0.0)
                await self.tools.closing.aclose()
        except TimeoutError:
            log.warning("jobs in hand were not given back in time")

    # Figures

    async def _count(self) -> None:
        """Looks now and then at what cannot be asked when somebody scrapes."""
        while True:
            try:
                await self.count()
            except Refused:
                self._lag, self._counts = {}, {}
            await asyncio.sleep(_COUNT_EVERY_S)

    async def count(self) -> None:
        """Each node tells of its shards; who owns the first one, of the jobs of all."""
        database = self.tools.database
        rows = await database.fetch("follower_lag", self.following.names, [*self._owned])
        self._lag = {r["name"]: (float(r["events"]), r["seconds"]) for r in rows}
        self._counts, self._oldest_s = {}, 0.0
        if _SHARD_OF_JOBS in self._owned:
            rows = await database.fetch("count_jobs")
            self._counts = {(r["state"], r["kind"]): float(r["count"]) for r in rows}
            self._oldest_s = max(0.0, await database.value("oldest_job_due") or 0.0)

    def readings(self) -> Iterable[Reading]:
        lag, worker, following = self._lag, self.worker, self.following
        yield "gauge", "slotcast_follower_lag_events", "Events a follower has not read", {
            (n,): events for n, (events, _) in lag.items()}, ("follower",)  # fmt: skip
        yield "gauge", "slotcast_follower_lag_seconds", "Age of the first event a follower has not read", {
            (n,): seconds for n, (_, seconds) in lag.items()}, ("follower",)  # fmt: skip
        yield "counter", "slotcast_follower_events", "Events read by followers", {
            (n,): float(v) for n, v in following.read.items()}, ("follower",)  # fmt: skip
        yield "counter", "slotcast_follower_failures", "Events a follower failed on, each try", {
            (n,): float(v) for n, v in following.failed.items()}, ("follower",)  # fmt: skip
        yield "gauge", "slotcast_jobs", "Jobs that are not done", self._counts, ("state", "kind")
        yield gauge("slotcast_jobs_overdue_seconds", "How long ago the oldest waiting job was due", self._oldest_s)
        yield gauge("slotcast_jobs_in_hand", "Jobs being done here", worker.busy)
        yield "counter", "slotcast_job_tries", "Tries of jobs, by what became of them", {
            k: float(v) for k, v in worker.tries.items()}, ("kind", "outcome")  # fmt: skip
        yield "counter", "slotcast_job_seconds", "Time jobs took here", {
            (k,): v for k, v in worker.seconds.items()}, ("kind",)  # fmt: skip

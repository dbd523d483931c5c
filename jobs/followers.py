"""Followers of the journal: what happens because something happened.

For each shard that a node owns, it reads what each follower has not read, and writes down what the follower makes of it
together with how far it has come. A cursor moves from where it was read or not at all, so that two nodes which both
believe that a shard is theirs double nothing.
"""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from typing import Any, Final

import orjson

from actors.ports import Entry, JournalListener, Loss
from jobs.database import Database
from jobs.job_queue import JobQueue
from jobs.pace import Pace
from jobs.queue import Follower, Hopeless, JournalEvent, NewJob
from protocol import limits
from protocol.errors import Refused

log = logging.getLogger("slotcast.followers")

_LOOK_EVERY_S: Final = 2.0
_AWAY_S: Final = 1.0
_REST_S: Final = 0.02
"""Between two passes, so that what happens meanwhile is read together."""
_TRIES_MAX: Final = 5
_PAUSE_MAX_S: Final = 60.0
_LESS: Final = 8
_HURRIED_EVENTS: Final = 64

DIGEST: Final = "digest"
"""The kind of job that stands for an event a follower failed on."""

Positions = Mapping[int, int]
"""By shard."""


class Moved(Exception):
    """Somebody else has read on meanwhile."""


class Following:
    """Runs `followers` over the shards in `owned`. When they are new, those in `from_start` read the journal from its
    first event; others what comes from then on.
    """

    def __init__(
        self,
        database: Database,
        queue: JobQueue,
        followers: Sequence[Follower],
        owned: Mapping[int, int],
        from_start: Set[str] = frozenset(),
        pace: Pace | None = None,
    ) -> None:
        self._database = database
        self._queue = queue
        self._followers = {f.name: f for f in followers}
        assert len(self._followers) == len(followers), "followers have names of their own"
        self._owned = owned
        self._from_start = from_start
        self._pace = pace or Pace()
        self._awake = asyncio.Event()
        self._failures: Counter[tuple[str, int]] = Counter()
        self._not_before: dict[tuple[str, int], float] = {}
        self._at_once: dict[str, int] = {}
        """How many events a follower gets that took too long over more."""
        self.read: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    @property
    def names(self) -> list[str]:
        return [*self._followers]

    def wake(self) -> None:
        self._awake.set()

    async def begin(self) -> None:
        """Makes cursors for followers that are new. To be done before the node can write an event."""
        for name in self._followers:
            await self._database.value("ensure_follower", name, name in self._from_start)

    async def run(self) -> None:
        """Follows until cancelled; a database that is away is met again."""
        caught_up = time.monotonic()
        while True:
            await self._pace.turn(time.monotonic() - caught_up)
            self._awake.clear()
            try:
                more = await self._pace.timed(self.once(), of_database=True)
            except Refused as refused:
                log.warning("followers are put off: %s", refused.code)
                await asyncio.sleep(_AWAY_S)
                continue
            await asyncio.sleep(_REST_S)
            if not more:
                caught_up = time.monotonic()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._awake.wait(), _LOOK_EVERY_S)

    async def once(self) -> bool:
        """Lets each follower read on, a bounded part. Whether there is more."""
        if not self._followers or not self._owned:
            return False
        rows = await self._database.fetch("behind_followers", [*self._followers], [*self._owned])
        now = asyncio.get_running_loop().time()
        behind: defaultdict[str, dict[int, int]] = defaultdict(dict)
        for row in rows:
            name, shard = row["name"], row["shard"]
            if self._not_before.get((name, shard), 0.0) <= now:
                behind[name][shard] = row["seq"]
        more, put_off = False, None
        # While others need the loop, nobody is to wait for it for long.
        most = _HURRIED_EVENTS if self._pace.hurried else limits.follower_events_max
        memory: dict[tuple[tuple[int, int], ...], list[JournalEvent]] = {}
        for name, positions in behind.items():
            where = tuple(positions.items())
            if where not in memory:
                memory[where] = await self._events(positions, most)
            at_once = self._at_once.get(name, limits.follower_events_max)
            try:
                more |= await self._follow(self._followers[name], positions, memory[where][:at_once])
            except Refused as refused:
                # The database was there a moment ago: others are not to wait for this one, which may have had too much.
                put_off = refused
                self._at_once[name] = max(1, at_once // _LESS)
            else:
                if len(memory[where]) >= at_once < limits.follower_events_max:
                    self._at_once[name] = at_once * 2
        if put_off is not None:
            raise put_off
        return more

    async def _follow(self, follower: Follower, positions: Positions, events: list[JournalEvent]) -> bool:
        """Whether it has read on. What fails together is tried shard by shard; what fails then waits."""
        try:
            await self._digest(follower, positions, events)
        except Moved:
            return True
        except Exception as error:
            if isinstance(error, Refused) and error.code == "unavailable":
                raise
            if len(positions) == 1:
                return await self._one_by_one(follower, positions, events, error)
            any_read = False
            for shard, seq in positions.items():
                any_read |= await self._follow(follower, {shard: seq}, [e for e in events if e.shard == shard])
            return any_read
        for shard in positions:
            self._failures.pop((follower.name, shard), None)
            self._not_before.pop((follower.name, shard), None)
        return bool(events)

    async def _one_by_one(
        self, follower: Follower, positions: Positions, events: list[JournalEvent], error: Exception
    ) -> bool:
        """The first event alone. One that fails again and again goes to the dead jobs, so that others can follow."""
        if len(events) > 1:
            return await self._follow(follower, positions, events[:1])
        if not events:
            raise error
        event = events[0]
        where = follower.name, event.shard
        self._failures[where] += 1
        self.failed[follower.name] += 1
        tries = self._failures[where]
        log.error("%s failed on event %s of shard %s", follower.name, event.seq, event.shard, exc_info=error)
        if tries < _TRIES_MAX:
            self._not_before[where] = asyncio.get_running_loop().time() + min(2.0 ** (tries - 1), _PAUSE_MAX_S)
            return False
        del self._failures[where]
        # Somebody else may have given it up meanwhile.
        with suppress(Moved):
            async with self._database.transaction() as transaction:
                await self._advance(follower.name, positions, events, transaction)
                reason = f"{type(error).__name__}: {error}"
                await self._queue.bury(_undigested(follower.name, event), reason, transaction)
        return True

    async def _digest(self, follower: Follower, positions: Positions, events: list[JournalEvent]) -> None:
        if not events:
            return
        async with self._database.transaction() as transaction:
            await self._advance(follower.name, positions, events, transaction)
            digest = await follower.digest(events, transaction)
            await self._queue.change(digest.jobs, digest.withdrawn, transaction)
        self.read[follower.name] += len(events)

    async def _advance(self, name: str, positions: Positions, events: list[JournalEvent], transaction: Any) -> None:
        """First of all, because who else reads these shards waits for it."""
        last = {e.shard: e.seq for e in events}
        shards = sorted(last)
        moved = await transaction.fetch(
            "advance_follower", name, shards, [positions[s] for s in shards], [last[s] for s in shards]
        )
        if len(moved) != len(shards):
            raise Moved

    async def _events(self, positions: Positions, most: int) -> list[JournalEvent]:
        each = max(1, most // len(positions))
        rows = await self._database.fetch("events_after", [*positions], [*positions.values()], each)
        return [_event(r) for r in rows]

    async def digest_again(self, name: str, shard: int, seq: int) -> None:
        """One event that a follower failed on, when somebody asks for another try."""
        follower = self._followers.get(name)
        if follower is None:
            raise Hopeless(f"nobody follows as {name} any more")
        rows = await self._database.fetch("events_after", [shard], [seq - 1], 1)
        events = [_event(r) for r in rows if r["seq"] == seq]
        if not events:
            raise Hopeless("the event is not there any more")
        async with self._database.transaction() as transaction:
            digest = await follower.digest(events, transaction)
            await self._queue.change(digest.jobs, digest.withdrawn, transaction)


class Overheard(JournalListener):
    """A listener of the journal who also hears that something was committed, at the price of one call per batch."""

    def __init__(self, listener: JournalListener, following: Following) -> None:
        self._listener = listener
        self._following = following

    def committed(self, entries: Sequence[Entry]) -> None:
        self._listener.committed(entries)
        self._following.wake()

    def lost(self, entries: Sequence[Entry], loss: Loss) -> None:
        self._listener.lost(entries, loss)

    def unsettled(self, entries: Sequence[Entry]) -> None:
        self._listener.unsettled(entries)

    def fenced(self, shards: Set[int]) -> None:
        self._listener.fenced(shards)


def _undigested(name: str, event: JournalEvent) -> NewJob:
    return NewJob(
        kind=DIGEST,
        payload={"follower": name, "shard": event.shard, "seq": event.seq},
        business_id=event.business_id,
        key=f"{DIGEST}:{name}:{event.shard}:{event.seq}",
    )


def _event(row: Any) -> JournalEvent:
    return JournalEvent(
        shard=row["shard"],
        seq=row["seq"],
        calendar_id=row["calendar_id"],
        version=row["version"],
        business_id=row["business_id"],
        at=row["at"],
        by=row["by"],
        request_id=row["request_id"],
        type=row["type"],
        data=orjson.loads(row["data"]),
    )

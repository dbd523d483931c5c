"""Keeps this node in the directory, and its shards where they belong: beats, and does what the plan says."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from typing import Final, TypeVar

import msgspec

from actors.cluster import plan
from actors.cluster.certainty import Certainty
from actors.cluster.ports import Directory, Member, Shards, Sight
from protocol.errors import Refused

log = logging.getLogger("slotcast.keeper")

_BEATS_APART: Final = 0.1
_MISSES_TO_GIVE_UP: Final = 3
_HOPELESS_LEASES: Final = 2.0

Some = TypeVar("Some", bound=Collection[int])


class Counts:
    """Plain integers, read by whoever exports them."""

    __slots__ = ("beats", "failures", "lost", "moves_out", "taken", "takeovers")

    def __init__(self) -> None:
        self.beats = 0
        self.failures = 0
        """Beats that were not answered."""
        self.moves_out = 0
        self.taken = 0
        self.takeovers = 0
        """Shards taken of which another member was the owner on record, and gone."""
        self.lost = 0
        """Shards that Postgres said were another's."""


class Keeper:
    """`run` for ever; before the node stops, `drain`, then end `run`, then `leave`.

    Beats and steps of one node reach the directory one after the other, so that what a beat shows is never older than
    what this node did before it.
    """

    def __init__(
        self,
        directory: Directory,
        shards: Shards,
        me: Member,
        shard_count: int,
        times: plan.Times,
        lag_ms: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._directory = directory
        self._shards = shards
        self._me = me
        self._times = times
        self._lag_ms = lag_ms
        self._plan = plan.Plan(shard_count, times)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._desk = asyncio.Lock()
        self._wake = asyncio.Event()
        self._left = False
        self._taking: set[int] = set()
        self._moving: set[int] = set()
        self._misses = 0
        self._beaten_at = self._loop.time()
        self._listeners: list[Callable[[], None]] = []
        self.counts = Counts()
        self.sight: Sight | None = None
        self.silence_proves = False
        """Whether a member that `sight` does not show is gone."""
        self.joined = asyncio.Event()
        """Set by the first beat that was answered."""
        self.drain_asked = asyncio.Event()
        """Set when somebody asked through the directory that this node hands over everything and stops."""
        self.certainty = Certainty(shards, times.sure_s, self._spawn, self._lost)
        directory.on_notice(self._wake.set)

    # What others ask

    @property
    def me(self) -> Member:
        """As it says of itself now: a weight of zero tells that it cannot reach Postgres and wants no shards."""
        able = self.certainty.unreachable_since is None
        return msgspec.structs.replace(self._me, weight=self._me.weight if able else 0.0, lag_ms=self._lag_ms())

    @property
    def doubtful(self) -> bool:
        """Whether another may have taken shards of this node without its knowing."""
        return self.certainty.doubtful

    @property
    def certain_until(self) -> float:
        """On the loop's clock: the same, for who wants to compare for themselves."""
        return self.certainty.until

    async def certain(self) -> None:
        await self.certainty.certain()

    @property
    def moving(self) -> frozenset[int]:
        """Shards that this node is handing over now."""
        return frozenset(self._moving)

    @property
    def beat_age_s(self) -> float:
        return self._loop.time() - self._beaten_at

    def owner_of(self, shard: int) -> Member | None:
        """Who owns the shard as far as known; `None` while it is between two owners."""
        if shard in self._shards.owned:
            return self._me
        lease = self.sight.leases.get(shard) if self.sight else None
        if lease is None or self.sight is None or lease.node == self._me.id:
            return None
        return self.sight.members.get(lease.node)

    def suspect(self) -> None:
        """Somebody was told that a shard of this node is another's: asks Postgres soon."""
        if not self._moving:
            self.certainty.verify()

    def on_change(self, callback: Callable[[], None]) -> None:
        """`callback` runs whenever `owner_of` may answer otherwise than before, and sometimes else."""
        self._listeners.append(callback)

    # The loop

    async def run(self) -> None:
        while not self._left:
            self._wake.clear()
            began = self._loop.time()
            try:
                await self._beat()
            except Refused as refused:
                self._missed(refused)
            except Exception as error:
                log.exception("a beat failed")
                self._missed(error)
            await self._rest(began)

    async def _rest(self, began: float) -> None:
        await asyncio.sleep(self._times.beat_s * _BEATS_APART)
        now = self._loop.time()
        left = began + self._times.beat_s - now
        if (grace := self._plan.grace_left(now)) > 0:
            left = min(left, grace)
        await _wait(self._wake, max(left, 0.0))

    async def _beat(self) -> None:
        async with self._desk:
            if self._left:
                return
            asked_at = self._loop.time()
            sight = await self._directory.beat(self.me, dict(self._shards.owned))
            self._misses = 0
            self._beaten_at = asked_at
            self.counts.beats += 1
            self._heard(sight, asked_at)

    def _missed(self, error: Exception) -> None:
        self._misses += 1
        self.counts.failures += 1
        if self._misses == 1:
            log.warning("the directory does not answer: %s", error)
        if self.doubtful:
            self.certainty.verify()

    def _heard(self, sight: Sight, asked_at: float) -> None:
        """Nothing is awaited from here to the last action's start, so that all of them rest on the same."""
        before, self.sight = self.sight, sight
        self.joined.set()
        if self._me.id in sight.drains and not self._me.draining:
            self._me = msgspec.structs.replace(self._me, draining=True)
            self.drain_asked.set()
        self._plan.see(sight, asked_at)
        proved, self.silence_proves = self.silence_proves, self._plan.silence_proves(asked_at)
        actions = self._plan.actions(self._mine(), asked_at)
        self.certainty.beaten(asked_at, self._plan.has_all(self._me.id, self._shards.owned))
        if self.certainty.is_stale(self._times.lease_s / 2):
            # Finds a shard that was taken past the directory, and a Postgres that this node cannot reach.
            self.certainty.verify()
        for action in actions:
            self._do(action)
        same = before is not None and (before.leases, before.members.keys()) == (sight.leases, sight.members.keys())
        if not same or proved != self.silence_proves:
            self._changed()

    def _mine(self) -> plan.Mine:
        since = self.certainty.unreachable_since
        return plan.Mine(
            self._me,
            self._shards.owned,
            self._taking | self._moving,
            len(self._moving),
            able=since is None,
            hopeless=since is not None and self._loop.time() - since > self._times.lease_s * _HOPELESS_LEASES,
        )

    # What the plan says

    def _do(self, action: plan.Action) -> None:
        match action:
            case plan.Verify():
                self.certainty.verify()
            case plan.Claim(shards):
                self._start(self._taking, shards, self._claim, "claim")
            case plan.Take(shards):
                self._start(self._taking, shards, self._take, "take")
            case plan.GiveUp(heirs):
                self._start(self._taking, heirs, self._give_up, "give up")
            case plan.Stay(shards):
                self._start(self._taking, shards, self._stay, "keep")
            case plan.Move(heirs):
                self._start(self._moving, heirs, self._move, "move")

    def _start(self, busy: set[int], shards: Some, doing: Callable[[Some], Awaitable[bool]], name: str) -> None:
        busy.update(shards)
        self._spawn(self._finish(busy, shards, doing, name), name)

    async def _finish(self, busy: set[int], shards: Some, doing: Callable[[Some], Awaitable[bool]], name: str) -> None:
        done = False
        try:
            done = await doing(shards)
        except Refused as refused:
            # What was left half done shows in the next beat.
            log.warning("could not %s shards %s: %s", name, sorted(shards), refused)
        except Exception:
            log.exception("could not %s shards %s", name, sorted(shards))
        finally:
            busy.difference_update(shards)
            self._changed()
        if done:
            self._wake.set()

    async def _claim(self, shards: tuple[int, ...]) -> bool:
        owners = self.sight.leases if self.sight else {}
        async with self._desk:
            granted = await self._directory.claim(self._me.id, shards)
            # The claim was late: these have had another owner since they were seen, who may be living.
            changed = {s for s, lease in granted.items() if lease.epoch != (owners[s].epoch if s in owners else 0)}
            if changed:
                await self._directory.release(self._me.id, changed)
        wanted = tuple(s for s in granted if s not in self._shards.owned and s not in changed)
        if not wanted or not await self._take(wanted):
            return False
        self.counts.takeovers += sum(1 for s in wanted if s in owners and owners[s].node)
        return True

    async def _take(self, shards: tuple[int, ...]) -> bool:
        if self.beat_age_s > self._times.sure_s:
            # Paused since the claim: others may have them by now, and the next beat tells.
            return False
        try:
            taken = await self._shards.take(shards)
        except Exception as error:
            self.certainty.failed(error)
            raise
        self.certainty.reached()
        self.counts.taken += len(taken)
        log.info("took shards %s", sorted(taken))
        return True

    async def _give_up(self, heirs: Mapping[int, str]) -> bool:
        async with self._desk:
            # With an heir the record stays, and with it the epoch of who may still decide for the shard.
            await self._directory.hand_over(self._me.id, heirs)
            await self._directory.release(self._me.id, heirs.keys())
        return False

    async def _stay(self, shards: tuple[int, ...]) -> bool:
        async with self._desk:
            await self._directory.hand_over(self._me.id, dict.fromkeys(shards, ""))
        return False

    async def _move(self, heirs: Mapping[int, str]) -> bool:
        async with self._desk:
            await self._directory.hand_over(self._me.id, heirs)
        try:
            await self._shards.release(heirs.keys())
        finally:
            # Also when it failed half way: nobody waits for what is still owned, only for what is not.
            gone = [s for s in heirs if s not in self._shards.owned]
            async with self._desk:
                await self._directory.release(self._me.id, gone)
        self.counts.moves_out += len(gone)
        log.info("handed over shards %s", sorted(gone))
        return True

    # The end

    async def drain(self, deadline: float) -> None:
        """Hands everything over. Returns when nothing is left, nobody is there to have it, or at the deadline.

        `run` has to go on meanwhile.
        """
        self._me = msgspec.structs.replace(self._me, draining=True)
        self._wake.set()
        handed = asyncio.Event()
        self.on_change(handed.set)
        try:
            while not self._has_drained() and self._loop.time() < deadline:
                handed.clear()
                await _wait(handed, min(self._times.beat_s, deadline - self._loop.time()))
        finally:
            self._listeners.remove(handed.set)
        if self._shards.owned:
            log.warning("%s shards have not been handed over", len(self._shards.owned))

    def _has_drained(self) -> bool:
        if self._moving or self._taking:
            return False
        if self._misses >= _MISSES_TO_GIVE_UP:
            return True
        # An older sight does not show who came last; and until others have seen this, they may hand something over.
        seen = self.sight.members.get(self._me.id) if self.sight else None
        if seen is None or not seen.draining:
            return False
        return not self._shards.owned or not self._plan.others_may_take(self._me.id)

    async def leave(self) -> None:
        """Beats no more, and tells the directory so: others need not wait until the heartbeat is gone."""
        self._left = True
        self._wake.set()
        async with self._desk:
            for task in tuple(self._tasks):
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.certainty.doubt()
        try:
            await self._directory.leave(self._me.id)
        except Refused as refused:
            log.warning("could not say goodbye to the directory: %s", refused)

    # Helpers

    def _lost(self, shards: set[int]) -> None:
        self.counts.lost += len(shards)
        log.warning("shards %s are owned by another node now", sorted(shards))
        self._changed()

    def _changed(self) -> None:
        for callback in tuple(self._listeners):
            try:
                callback()
            except Exception:
                log.exception("telling of changed owners failed")

    def _spawn(self, coroutine: Coroutine[None, None, None], name: str) -> None:
        task = self._loop.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass

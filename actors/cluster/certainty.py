"""Whether this node may still answer from memory without asking Postgres."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from math import inf

from actors.cluster.ports import Shards
from protocol.errors import Refused

log = logging.getLogger("slotcast.keeper")


class Certainty:
    """Certain for a while after each beat, because nobody can claim what a living member has on record.

    Once that has run out, a beat alone does not bring it back: others may have taken shards in the meantime. So the
    beat has to be followed by a look into Postgres. Deciding goes on in any case; there the epochs protect.

    One gap is left: a directory that has lost its memory may grant a claim before the owner's beat puts the shard back
    on record. The owner learns of it with its next beat or write.
    """

    def __init__(
        self,
        shards: Shards,
        sure_s: float,
        spawn: Callable[[Coroutine[None, None, None], str], object],
        lost: Callable[[set[int]], None],
    ) -> None:
        self._shards = shards
        self._sure_s = sure_s
        self._spawn = spawn
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._asking: asyncio.Future[None] | None = None
        self._beaten_at = -inf
        self.until = -inf
        """On the loop's clock."""
        self.verified_at = -inf
        self.unreachable_since: float | None = None
        """Since when Postgres has not answered this node."""
        self.verified = 0

    @property
    def doubtful(self) -> bool:
        return self._loop.time() > self.until

    def is_stale(self, after_s: float) -> bool:
        """Whether Postgres did not answer of late."""
        return self.unreachable_since is not None or self._loop.time() - self.verified_at > after_s

    def beaten(self, asked_at: float, undisputed: bool) -> None:
        """A beat was answered; `undisputed` when every shard of mine is on record for me."""
        if not undisputed:
            self.doubt()
        elif asked_at <= self.until:
            self._beaten_at = asked_at
            self.until = asked_at + self._sure_s
        else:
            self._beaten_at = asked_at
        if self.doubtful:
            self.verify()

    def doubt(self) -> None:
        self._beaten_at = self.until = -inf

    async def certain(self) -> None:
        """Returns when this node knows what it owns. Raises `Refused(unavailable)` when Postgres cannot tell."""
        if not self.doubtful:
            return
        if self._asking is not None:
            # What was asked before this call may be answered with what was true before it.
            await asyncio.wait([self._asking])
        await asyncio.shield(self.verify())

    def verify(self) -> "asyncio.Future[None]":
        """Asks Postgres once for all who want to know now."""
        if self._asking is None:
            self._asking = self._loop.create_future()
            self._spawn(self._ask(self._asking), "verify")
        return self._asking

    async def _ask(self, asking: "asyncio.Future[None]") -> None:
        asked_at = self._loop.time()
        try:
            lost = await self._shards.verify()
        except Exception as error:
            if not isinstance(error, Refused):
                log.exception("asking Postgres about shards failed")
            self.failed(error)
            asking.set_exception(error)
            asking.exception()  # nobody has to be waiting for it
        else:
            self._answered(asked_at, lost)
            asking.set_result(None)
        finally:
            self._asking = None
            asking.cancel()

    def _answered(self, asked_at: float, lost: set[int]) -> None:
        self.reached()
        self.verified += 1
        self.verified_at = asked_at
        if self._beaten_at <= asked_at:
            self.until = max(self.until, self._beaten_at + self._sure_s)
        if lost:
            self._lost(lost)

    # Postgres, as far as this node can reach it

    def reached(self) -> None:
        self.unreachable_since = None

    def failed(self, error: Exception) -> None:
        if self.unreachable_since is None:
            self.unreachable_since = self._loop.time()
            log.warning("cannot take shards or know what is owned: %s", error)

"""The shards of this node: what the journal writes for them and what is in memory of their calendars, as one."""

from collections.abc import Collection, Mapping, Sequence

from actors.cluster.ports import Shards
from actors.ports import Journal
from actors.runtime import Runtime


class OwnedShards(Shards):
    """Calendars are loaded only after their shard was taken, and forgotten before it is anybody else's to take.

    Whoever watched them is told by `Watch.on_gone`.
    """

    def __init__(self, journal: Journal, runtime: Runtime) -> None:
        self._journal = journal
        self._runtime = runtime

    @property
    def owned(self) -> Mapping[int, int]:
        return self._journal.owned

    async def take(self, shards: Sequence[int]) -> dict[int, int]:
        return await self._journal.take(shards)

    async def release(self, shards: Collection[int]) -> None:
        try:
            await self._journal.release(shards)
        finally:
            # Whoever cancels this has ended the intake all the same.
            self._forget(shards)

    async def verify(self) -> set[int]:
        lost = await self._journal.verify()
        self._forget(lost)
        return lost

    def _forget(self, shards: Collection[int]) -> None:
        # One whose release was cancelled before it began is still decided for.
        self._runtime.forget({s for s in shards if not self._journal.owns(s)})

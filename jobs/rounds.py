"""Timed work that comes round again: each kind at its own pace, for the shards this node owns.

What fails is told and tried again next time; it stops none of the others.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, Protocol

from actors.runtime import Runtime
from protocol.errors import Refused

log = logging.getLogger("slotcast.rounds")

_LOOK_EVERY_S: Final = 5.0
_IN_A_ROW_MAX: Final = 20
"""Then the others have their turn, and the rest waits for the next round."""


class Round(Protocol):
    """`name` is for the log. Two nodes may do it at the same time when shards move: it must bear that."""

    @property
    def name(self) -> str: ...
    @property
    def every_s(self) -> float: ...

    async def once(self, shards: Sequence[int]) -> bool:
        """Does a bounded part of what is due for these shards; whether there is more of it."""
        ...


class Rounds:
    def __init__(self, runtime: Runtime, rounds: Sequence[Round]) -> None:
        self._runtime = runtime
        self._due = [(0.0, work) for work in rounds]

    async def run(self) -> None:
        """Until cancelled."""
        now = asyncio.get_running_loop().time
        while True:
            for index, (due, work) in enumerate(self._due):
                if due <= now():
                    await self._work(work)
                    self._due[index] = (now() + work.every_s, work)
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _work(self, work: Round) -> None:
        try:
            for _ in range(_IN_A_ROW_MAX):
                if not await work.once(list(self._runtime.owned)):
                    return
        except Refused as refused:
            log.warning("%s put off: %s", work.name, refused.code)
        except Exception:
            log.exception("%s failed", work.name)

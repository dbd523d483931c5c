"""Ready answers: reads whose bytes are still true are found by their raw path, before anything is parsed."""

import asyncio
from typing import Final, NamedTuple

from actors.ports import Clock
from actors.questions import Question
from actors.runtime import Runtime
from actors.switchboard import Switchboard
from server.principal import Principal

_REMEMBERED_MAX: Final = 50_000
_PATH_CHARS_MAX: Final = 512
"""A longer path is answered all the same, and made anew each time."""


class _Place(NamedTuple):
    calendar_id: str
    question: Question


class ReadyAnswers:
    def __init__(self, runtime: Runtime, switchboard: Switchboard, clock: Clock) -> None:
        self._runtime = runtime
        self._switchboard = switchboard
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._places: dict[tuple[str, bool], _Place] = {}

    def find(self, path: str, principal: Principal) -> bytes | None:
        """The answer to this very path, if it was given before, is committed and still true."""
        place = self._places.get((path, principal.staff))
        if place is None:
            return None
        actor = self._runtime.roster.actors.get(place.calendar_id)
        answer = actor.answers.get(place.question) if actor is not None and actor.answers else None
        if (
            answer is None
            or actor is None
            or answer.version != actor.committed
            or actor.stale
            or actor.business_id != principal.business_id
            or self._clock.now_us() >= answer.valid_until
            or self._loop.time() >= self._switchboard.certain_until
        ):
            return None
        return answer.body

    def remember(self, path: str, principal: Principal, calendar_id: str, question: Question) -> None:
        """What that path asks, and of whom. Nothing of calendars that are not in memory here."""
        if len(path) > _PATH_CHARS_MAX or calendar_id not in self._runtime.roster.actors:
            return
        if len(self._places) >= _REMEMBERED_MAX:
            self._places.clear()
        self._places[path, principal.staff] = _Place(calendar_id, question)

"""Ready answers: reads whose bytes are still true are found by their raw path, before anything is parsed."""

from typing import Final, NamedTuple

from actors.actor import Actor
from actors.ports import Clock
from actors.reader import Build
from actors.runtime import Runtime
from server.principal import Principal

_REMEMBERED_MAX: Final = 50_000
_PATH_CHARS_MAX: Final = 512
"""A longer path is answered all the same, and made anew each time."""


class _Place(NamedTuple):
    calendar_id: str
    name: str


class ReadyAnswers:
    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._places: dict[tuple[str, bool], _Place] = {}

    def find(self, path: str, principal: Principal) -> bytes | None:
        """The answer to this very path, if it was given before, is committed and still true."""
        place = self._places.get((path, principal.staff))
        if place is None:
            return None
        actor = self._runtime.roster.actors.get(place.calendar_id)
        answer = actor.answers.get(place.name) if actor is not None and actor.answers else None
        if (
            answer is None
            or actor is None
            or answer.version != actor.committed
            or actor.stale
            or actor.business_id != principal.business_id
            or self._clock.now_us() >= answer.valid_until
        ):
            return None
        return answer.body

    async def make(self, path: str, principal: Principal, actor: Actor, build: Build) -> bytes:
        """Builds the answer and remembers where it lies."""
        name = f"{int(principal.staff)}{path}"
        body = await self._runtime.reader.read(actor, name, build)
        if len(path) <= _PATH_CHARS_MAX:
            if len(self._places) >= _REMEMBERED_MAX:
                self._places.clear()
            self._places[path, principal.staff] = _Place(actor.calendar.id, name)
        return body

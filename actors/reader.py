"""Reading calendars: answers made once per version, and never ahead of the database."""

import asyncio

from actors.actor import Actor, Answer, Parked
from actors.futures import refuse, settle
from actors.ports import Clock
from actors.questions import Question
from actors.roster import Roster
from protocol import limits
from protocol.errors import Refused


class Reader:
    def __init__(self, roster: Roster, clock: Clock) -> None:
        self._roster = roster
        self._clock = clock
        self._loop = asyncio.get_running_loop()

    async def read(self, actor: Actor, question: Question) -> bytes:
        """An encoded answer from the calendar's state, never ahead of the database.

        Built once per version and question; while tentative events are on their way, it waits for them.
        """
        while True:
            if actor.stale:
                deadline = self._loop.time() + limits.request_deadline_s
                actor = await self._roster.activate(actor.calendar.id, actor.business_id, deadline)
            now = self._clock.now_us()
            answer = (actor.answers or {}).get(question)
            if answer is None or answer.version < actor.committed or now >= answer.valid_until:
                body, valid_until = question.answer(actor.calendar, now)
                answer = Answer(actor.calendar.version, valid_until, body)
                if valid_until > now:
                    if actor.answers is None or len(actor.answers) >= limits.answers_per_actor_max:
                        actor.answers = {}
                    actor.answers[question] = answer
            if answer.version <= actor.committed or await self.settled(actor, answer.version):
                return answer.body

    async def settle(self, actor: Actor, version: int) -> None:
        """Waits until what was read at `version` is committed. Raises `Refused(unavailable)` when it never will be."""
        if not await self.settled(actor, version):
            raise Refused("unavailable", "the calendar is being loaded anew")

    async def settled(self, actor: Actor, version: int) -> bool:
        """Waits until `version` is committed; `False` when it never will be.

        Raises `Refused(deadline_exceeded)` when that cannot be known in time.
        """
        if version <= actor.committed:
            return True
        if not actor.pending:
            return False
        fate: asyncio.Future[bool] = self._loop.create_future()
        actor.park(Parked(version, lambda: settle(fate, True), lambda: settle(fate, False)))
        late = self._loop.call_later(limits.request_deadline_s, refuse, fate, Refused("deadline_exceeded"))
        try:
            return await fate
        finally:
            late.cancel()

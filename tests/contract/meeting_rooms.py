"""Calendars that meet, a coordinator that can be made to fail, and a look at the rows with SQL of its own."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

from actors.calendar import commands as cmd
from actors.ports import NO_DETAILS, Caller, IdempotencyKey, Outcome, Work
from actors.switchboard import Switchboard
from jobs.meetings import Tender
from protocol import events as ev
from protocol.ids import booking_code, new_id
from protocol.times import MINUTE, SECOND
from server.lineups import Wanted
from server.meetings import Asked, Meetings, Met
from storage.meetings import Team, led, team_of
from tests.contract.world import NOON, FixedClock, House, PostgresWorld, service

_ASTRAY: Final = """
SELECT 'leader ' || l.id || ' is ' || l.status || ', its part ' || coalesce(f.status, 'is not there')
FROM bookings l CROSS JOIN LATERAL jsonb_array_elements(l.parts) AS x
LEFT JOIN bookings f ON f.id = (x ->> 1)::uuid AND f.calendar_id = (x ->> 0)::uuid AND f.leader_id = l.calendar_id
    AND f.start_at = l.start_at AND f.status IN ('held', 'confirmed')
WHERE l.status IN ('pending', 'confirmed') AND f.status IS DISTINCT FROM 'confirmed' AND l.business_id = $1
UNION ALL
SELECT 'part ' || f.id || ' is ' || f.status || ' of nobody' FROM bookings f
WHERE f.leader_id IS NOT NULL AND f.status IN ('held', 'pending', 'confirmed') AND f.business_id = $1 AND NOT EXISTS (
    SELECT FROM bookings l CROSS JOIN LATERAL jsonb_array_elements(l.parts) AS x
    WHERE l.calendar_id = f.leader_id AND l.status IN ('held', 'pending', 'confirmed') AND (x ->> 1)::uuid = f.id)"""
_ACTIVE: Final = """
SELECT id::text FROM bookings
WHERE business_id = $1 AND leader_id IS NULL AND status IN ('held', 'pending', 'confirmed') ORDER BY id"""


class Crashed(Exception):
    """The coordinator is no more."""


class Unsteady(Switchboard):
    """Fails as it is told, before or after a request has been carried out."""

    def __init__(
        self, house: House, before: Callable[[], Awaitable[None]], after: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(house.runtime, house.world.store)
        self._before = before
        self._after = after

    async def ask(self, work: Work) -> Outcome:
        await self._before()
        outcome = await super().ask(work)
        await self._after()
        return outcome


class Rooms:
    """A service that needs two of three professionals and one of two rooms."""

    team: Team
    people: list[str]
    rooms: list[str]

    def __init__(self, world: PostgresWorld, house: House, clock: FixedClock) -> None:
        self.world = world
        self.house = house
        self.clock = clock

    async def open(self, people: int = 3, rooms: int = 2) -> "Rooms":
        offered = service()
        self.people = sorted([await self.world.calendar(offered) for _ in range(people)])
        self.rooms = sorted([await self.world.calendar() for _ in range(rooms)])
        db = self.world.connection
        await db.execute("UPDATE professionals SET kind = 'resource' WHERE id = ANY ($1::text[]::uuid[])", self.rooms)
        await db.execute(
            "UPDATE services SET professionals_needed = 2, resources = jsonb_build_array(to_jsonb($2::text[])) "
            "WHERE id = $1::text::uuid",
            offered.id,
            self.rooms,
        )
        found = await team_of(self.world.database, self.world.business, offered.id)
        assert found is not None
        self.team = found
        return self

    def meetings(self, switchboard: Switchboard | None = None) -> Meetings:
        known = switchboard or Switchboard(self.house.runtime, self.world.store)
        return Meetings(self.house.runtime, known, self.world.database, self.clock)

    def asked(self, key: str | None) -> Asked:
        caller = Caller(self.world.business, "test:rooms", new_id())
        return Asked(caller, IdempotencyKey("rooms", key, b"same") if key else None, None)

    def wanted(self, start: int, **more: Any) -> Wanted:
        return Wanted(self.team, start, **more)

    async def book(self, meetings: Meetings, key: str | None, start: int, **more: Any) -> Met:
        command = cmd.Book(new_id(), booking_code(), self.team.service_id, start)
        return await meetings.book(self.asked(key), self.wanted(start, **more), command, lambda _: NO_DETAILS)

    async def hold(self, meetings: Meetings, key: str | None, start: int) -> Met:
        command = cmd.Hold(new_id(), self.team.service_id, start, new_id(), 60 * SECOND)
        return await meetings.hold(self.asked(key), self.wanted(start), command)

    async def move(self, meetings: Meetings, key: str | None, met: Met, start: int) -> Outcome:
        event = met.outcome.event
        assert isinstance(event, ev.Booked)
        others = [p.calendar_id for p in met.parts]
        people = tuple(sorted([met.calendar_id, *(c for c in others if c in self.people)]))
        wanted = self.wanted(
            start,
            professional_ids=people,
            leader=met.calendar_id,
            preferred=tuple(c for c in others if c in self.rooms),
        )
        hold = cmd.Hold(new_id(), self.team.service_id, start, event.id, 30 * SECOND)
        command = cmd.Reschedule(event.id, start)
        return await meetings.move(self.asked(key), wanted, hold, command, met.parts, event.start)

    async def cancel(self, meetings: Meetings, switchboard: Switchboard, key: str | None, met: Met) -> None:
        event = met.outcome.event
        assert isinstance(event, ev.Booked)
        asked = self.asked(key)
        loop = asyncio.get_running_loop()
        work = Work(
            met.calendar_id,
            cmd.Cancel(event.id, "owner"),
            asked.caller,
            loop.create_future(),
            loop.time() + 10,
            asked.key,
        )
        await switchboard.ask(work)
        await meetings.follow(asked.caller, event.id, met.parts)

    # Afterwards

    async def tend(self) -> None:
        await Tender(self.world.database, self.house.runtime).once()

    async def later(self, minutes: int = 2) -> None:
        """Holds end, and are written down; the tender comes by."""
        self.clock.now += minutes * MINUTE
        for calendar_id in self.people:
            await self.house.ask(calendar_id, cmd.Sweep())
        await self.tend()

    async def astray(self) -> list[str]:
        return [r[0] for r in await self.world.connection.fetch(_ASTRAY, self.world.business)]

    async def active(self) -> list[str]:
        """Holds and bookings that are not parts of others."""
        return [r[0] for r in await self.world.connection.fetch(_ACTIVE, self.world.business)]

    async def led(self, id_: str) -> Any:
        return await led(self.world.database, id_)


def start(number: int) -> int:
    return NOON + (60 + 30 * number) * MINUTE


def failing_at(step: int, when: str) -> tuple[Callable[[], Awaitable[None]], Callable[[], Awaitable[None]]]:
    """The request of that number fails, before or after it was carried out; so do all that follow."""
    asked = 0

    async def before() -> None:
        nonlocal asked
        asked += 1
        if asked > step or (asked == step and when == "before"):
            raise Crashed

    async def after() -> None:
        if asked >= step:
            raise Crashed

    return before, after


def unsteady(rng: random.Random, share: float) -> Callable[[], Awaitable[None]]:
    """Takes its time, and fails now and then."""

    async def moment() -> None:
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(0)
        if rng.random() < 0.3:
            await asyncio.sleep(rng.uniform(0, 0.01))
        if rng.random() < share:
            raise Crashed

    return moment


async def opened(dsn: str) -> tuple[PostgresWorld, House, FixedClock]:
    world = await PostgresWorld.open(dsn)
    clock = FixedClock()
    house = await House(world, world.journal(), clock).start()
    return world, house, clock


async def closed(world: PostgresWorld, house: House) -> None:
    await house.journal.stop()
    await world.close()

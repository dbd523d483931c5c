"""Users who book, move and cancel meetings of several calendars on any node, until they are answered.

What they were told is held against the rows by SQL that shares nothing with the server.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
import asyncpg
import msgspec

from tests.faults.history import History
from tests.support.server import Answer, Api

_PAUSE_S: Final = (0.01, 0.1)
_ASK_AGAIN_SHARE: Final = 0.1
_TIMEOUT_S: Final = 20.0
_STARTS: Final = 16

_ASTRAY: Final = """
WITH named AS (
    SELECT l.id, l.status, l.calendar_id AS leader, l.start_at, (x ->> 0)::uuid AS calendar_id, (x ->> 1)::uuid AS part
    FROM bookings l CROSS JOIN LATERAL jsonb_array_elements(l.parts) AS x
    WHERE l.status IN ('held', 'pending', 'confirmed')
)
SELECT 'of ' || n.id || ', which is ' || n.status || ', part ' || n.part || ' is ' || coalesce(f.status, 'not there')
FROM named n LEFT JOIN bookings f ON f.id = n.part
WHERE n.status <> 'held' AND (f.status IS DISTINCT FROM 'confirmed' OR f.calendar_id <> n.calendar_id
    OR f.leader_id <> n.leader OR f.start_at <> n.start_at)
UNION ALL
SELECT 'part ' || f.id || ' is ' || f.status || ' and nobody names it' FROM bookings f
WHERE f.leader_id IS NOT NULL AND f.status IN ('held', 'pending', 'confirmed')
    AND NOT EXISTS (SELECT FROM named n WHERE n.part = f.id AND n.leader = f.leader_id)
UNION ALL
SELECT 'overlap of ' || a.id || ' and ' || b.id FROM bookings a JOIN bookings b
    ON a.calendar_id = b.calendar_id AND a.id < b.id AND a.start_at < b.end_at AND b.start_at < a.end_at
WHERE a.status IN ('held', 'pending', 'confirmed') AND b.status IN ('held', 'pending', 'confirmed')"""
_BOOKED: Final = """
SELECT id::text, to_char(start_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS start, jsonb_array_length(parts)
FROM bookings WHERE parts IS NOT NULL AND status IN ('pending', 'confirmed')"""


class Team(msgspec.Struct):
    """A service that needs `size` calendars in all."""

    service_id: str
    client_id: str
    day: str
    size: int

    def at(self, number: int) -> str:
        return f"{self.day}T{8 + number // 2:02d}:{number % 2 * 30:02d}:00Z"


class Gatherers:
    """Stands where a `Crew` does, as far as faults are concerned."""

    def __init__(self, dsn: str, seed: int, nodes: Sequence[Api], teams: Sequence[Team]) -> None:
        self.history = History(seed)
        self.db: asyncpg.Connection
        self.answered = 0
        self.booked: dict[str, str] = {}
        """What stands by what was told: id and start."""
        self.unequal: list[str] = []
        self._dsn = dsn
        self._nodes = nodes
        self._teams = teams
        self._random = random.Random(seed)
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._numbers = 0

    async def start(self, users: int) -> None:
        self.db = await asyncpg.connect(self._dsn)
        self._tasks = [asyncio.create_task(self._use(random.Random(self._random.random()))) for _ in range(users)]

    async def some_more(self, more: int, timeout_s: float = 40.0) -> None:
        """Returns when that many more requests had a definite answer."""
        wanted = self.answered + more
        async with asyncio.timeout(timeout_s):
            while self.answered < wanted:
                for task in self._tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.02)

    async def settle(self, timeout_s: float = 40.0) -> None:
        """Nothing new; whatever is open is asked until it is answered."""
        self._stopping.set()
        async with asyncio.timeout(timeout_s):
            await asyncio.gather(*self._tasks)

    async def dismiss(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.db.close(timeout=5)

    async def astray(self) -> list[str]:
        return [r[0] for r in await self.db.fetch(_ASTRAY)]

    async def differences(self) -> list[str]:
        """Between what was told and what stands."""
        rows = {r["id"]: (r["start"], r[2]) for r in await self.db.fetch(_BOOKED)}
        sizes = {team.size - 1 for team in self._teams}
        found = [
            f"{i} was told to be at {s} and is {rows.get(i)}"
            for i, s in self.booked.items()
            if rows.get(i, ("nowhere", 0))[0] != s
        ]
        found += [f"{i} stands at {row[0]} and nobody was told" for i, row in rows.items() if i not in self.booked]
        return found + [f"{i} has {row[1]} parts" for i, row in rows.items() if row[1] not in sizes]

    # One user

    async def _use(self, rng: random.Random) -> None:
        mine: list[tuple[str, Team]] = []
        while not self._stopping.is_set():
            await asyncio.sleep(rng.uniform(*_PAUSE_S))
            dice = rng.random()
            if mine and dice < 0.3:
                await self._cancel(mine.pop(rng.randrange(len(mine)))[0], rng)
            elif mine and dice < 0.55:
                await self._move(*rng.choice(mine), rng)
            else:
                booked = await (self._hold(rng) if dice > 0.8 else self._book(rng, rng.choice(self._teams)))
                if booked is not None:
                    mine.append(booked)

    async def _book(self, rng: random.Random, team: Team, **more: Any) -> tuple[str, Team] | None:
        body = {"service_id": team.service_id, "client_id": team.client_id, "start": self._start(rng, team), **more}
        answer = await self._send("POST", "bookings", body, rng)
        if answer.status != 201:
            return None
        self.booked[answer.json["id"]] = answer.json["start"]
        return answer.json["id"], team

    async def _hold(self, rng: random.Random) -> tuple[str, Team] | None:
        team = rng.choice(self._teams)
        body = {"service_id": team.service_id, "start": self._start(rng, team), "ttl_seconds": rng.choice((2, 20))}
        answer = await self._send("POST", "holds", body, rng)
        if answer.status != 201:
            return None
        held = answer.json
        if rng.random() < 0.3:
            await self._send("DELETE", f"holds/{held['id']}", None, rng)
            return None
        named = {"hold_id": held["id"], "start": held["start"], "professional_id": held["professional_id"]}
        return await self._book(rng, team, **named)

    async def _move(self, id_: str, team: Team, rng: random.Random) -> None:
        answer = await self._send("POST", f"bookings/{id_}/reschedule", {"start": self._start(rng, team)}, rng)
        if answer.status == 200:
            self.booked[id_] = answer.json["start"]

    async def _cancel(self, id_: str, rng: random.Random) -> None:
        answer = await self._send("POST", f"bookings/{id_}/cancel", {}, rng)
        assert answer.status == 200, answer
        del self.booked[id_]

    def _start(self, rng: random.Random, team: Team) -> str:
        return team.at(rng.randrange(_STARTS))

    async def _send(self, method: str, path: str, body: Any, rng: random.Random) -> Answer:
        """The definite answer, from whichever node gives one."""
        self._numbers += 1
        key = f"meeting-{self.history.name}-{self._numbers}"
        while (first := await self._try(method, path, body, key, rng)) is None:
            await asyncio.sleep(rng.uniform(0.05, 0.3))
        self.answered += 1
        if rng.random() < _ASK_AGAIN_SHARE:
            again = await self._try(method, path, body, key, rng)
            if again is not None and _said(again) != _said(first):
                self.unequal.append(f"{method} {path} {key}: {_said(first)}, then {_said(again)}")
        return first

    async def _try(self, method: str, path: str, body: Any, key: str, rng: random.Random) -> Answer | None:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                answer = await rng.choice(self._nodes).request(method, path, body, key=key)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
        assert answer.status < 500 or answer.status == 503, answer
        return None if answer.status == 503 else answer


def _said(answer: Answer) -> tuple[Any, ...]:
    said = answer.json or {}
    return answer.status, *(said.get(name) for name in ("id", "code", "professional_ids", "resource_ids", "start"))

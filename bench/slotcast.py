"""The server under test: started as its users start it, filled over its own REST API."""

import asyncio
import secrets
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import aiohttp
import asyncpg
import msgspec

from actors.placement import shard_of
from bench.children import Listener, free_port, listen, run_once
from bench.report import Refused
from bench.runner import Bench
from protocol.ids import new_id

FILLING_AT_ONCE = 16
# So many professionals are made over REST; further ones are copies of the first.
OVER_REST = 20
# Rows go in so many calendars at a time, each in a transaction of its own.
CLONED_AT_ONCE = 5000

BOOK = """
INSERT INTO bookings (id, business_id, calendar_id, service_id, client_id, code, status, start_at, end_at, blocked,
    session_id, capacity, attendees, version, created_at, updated_at)
SELECT b.id, c.business_id, c.id, $2, $3, 'BK-' || upper(replace(b.id::text, '-', '')), 'confirmed', b.start_at,
    b.end_at, tstzrange(b.start_at, b.end_at), b.id, 1, 1, 1, now(), now()
FROM calendars c, LATERAL (
    SELECT gen_random_uuid() AS id, to_timestamp(s.start) AS start_at, to_timestamp(s.start + $5) AS end_at
    FROM unnest($4::bigint[]) AS s (start) WHERE c.id IS NOT NULL) AS b
WHERE c.id = $1
"""

# Everything a professional made over REST occupies, under new ids. Their setup's events are not copied: a place in
# the journal is the server's to give, and a calendar without events is simply at version 0.
CLONES = (
    """
    INSERT INTO professionals (id, business_id, display_name, specialisation, bio)
    SELECT n.id, t.business_id, t.display_name, t.specialisation, t.bio
    FROM professionals t, unnest($2::uuid[]) AS n (id) WHERE t.id = $1
    """,
    """
    INSERT INTO calendars (id, business_id, shard, time_zone, schedule)
    SELECT n.id, t.business_id, n.shard, t.time_zone, t.schedule
    FROM calendars t, unnest($2::uuid[], $3::int[]) AS n (id, shard) WHERE t.id = $1
    """,
    """
    INSERT INTO professional_services (business_id, professional_id, service_id)
    SELECT t.business_id, n.id, t.service_id
    FROM professional_services t, unnest($2::uuid[]) AS n (id) WHERE t.professional_id = $1
    """,
    """
    INSERT INTO bookings (id, business_id, calendar_id, service_id, client_id, code, status, start_at, end_at, blocked,
        session_id, capacity, attendees, version, created_at, updated_at)
    SELECT b.id, t.business_id, n.id, t.service_id, t.client_id, 'BK-' || upper(replace(b.id::text, '-', '')),
        t.status, t.start_at, t.end_at, t.blocked, b.id, t.capacity, t.attendees, 1, t.created_at, t.updated_at
    FROM bookings t, unnest($2::uuid[]) AS n (id),
        -- Named after the row it is for, or Postgres would draw one id for all.
        LATERAL (SELECT gen_random_uuid() AS id WHERE t.id IS NOT NULL AND n.id IS NOT NULL) AS b
    WHERE t.calendar_id = $1 AND t.status IN ('pending', 'confirmed') AND t.capacity = 1
    """,
    """
    INSERT INTO time_off (id, business_id, calendar_id, start_at, end_at, description, forced, created_at)
    SELECT gen_random_uuid(), t.business_id, n.id, t.start_at, t.end_at, t.description, t.forced, t.created_at
    FROM time_off t, unnest($2::uuid[]) AS n (id) WHERE t.calendar_id = $1
    """,
)

BACKLOG = """
SELECT EXISTS (SELECT FROM jobs) OR EXISTS (SELECT FROM followers f JOIN shards s ON s.id = f.shard WHERE f.seq < s.seq)
"""
FOLLOWED = "UPDATE followers f SET seq = s.seq FROM shards s WHERE s.id = f.shard AND f.seq < s.seq"

Result = TypeVar("Result")


class Slotcast:
    """One node on a fresh database, with an owner's token for its demo business."""

    def __init__(self, bench: Bench, dsn: str, module: str = "server") -> None:
        self._bench = bench
        self._module = module
        self.dsn = dsn
        self.port = free_port()
        self.token = ""
        self._environment = {
            "SLOTCAST_PORT": str(self.port),
            "SLOTCAST_DATA_DIR": str(bench.folder / f"data-{self.port}"),
            "DATABASE_URL": dsn,
            "SLOTCAST_JWT_SECRET": secrets.token_hex(32),
            "SLOTCAST_LOG_LEVEL": "warning",
        }
        self._listener: Listener | None = None
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    async def start(
        cls, bench: Bench, *, module: str = "server", environment: Mapping[str, str] | None = None
    ) -> "Slotcast":
        """`module` is run in place of the server's own; `environment` is settings beside the usual ones."""
        slotcast = cls(bench, await bench.postgres.create("slotcast"), module)
        slotcast._environment |= environment or {}
        await slotcast._listen()
        slotcast.token = await run_once(
            ["server", "token", "--business", "demo", "--role", "owner", "--ttl", "1d"],
            slotcast._environment,
        )
        slotcast._session = aiohttp.ClientSession(
            f"http://127.0.0.1:{slotcast.port}", headers={"Authorization": f"Bearer {slotcast.token}"}
        )
        bench.nodes.append(slotcast)
        return slotcast

    @property
    def postgres_pid(self) -> int:
        """Root of the backends that serve this node, and others of the same run."""
        return self._bench.postgres.pid

    @property
    def server(self) -> Listener:
        assert self._listener is not None
        return self._listener

    async def restart(self) -> None:
        """The same data in a new process: nothing activated, nothing cached."""
        await self.server.stop()
        await self._listen()

    async def drop_backlog(self) -> None:
        """Jobs, and events that are not followed yet. A node goes on with them when nobody books any more: that
        would be while others are measured.
        """
        connection = await asyncpg.connect(self.dsn)
        try:
            if await connection.fetchval(BACKLOG):
                async with connection.transaction():
                    # In the order in which followers lock.
                    await connection.execute(FOLLOWED)
                    await connection.execute("TRUNCATE jobs")
        finally:
            await connection.close()

    async def stop(self) -> None:
        if self in self._bench.nodes:
            self._bench.nodes.remove(self)
        if self._session is not None:
            await self._session.close()
        if self._listener is not None:
            await self._listener.stop()

    async def call(self, method: str, path: str, body: object | None = None) -> Any:
        """JSON of a 2xx answer; anything else refuses the run."""
        _, _, text = await self.raw(method, path, body)
        return msgspec.json.decode(text) if text else None

    async def raw(self, method: str, path: str, body: object | None = None) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body of a 2xx answer."""
        assert self._session is not None
        try:
            async with self._session.request(method, path, json=body) as answer:
                content = await answer.read()
        except aiohttp.ClientError as error:
            raise Refused(f"{method} {path}: {error}; the server's log ends:\n{self.server.said()}") from error
        if answer.status >= 300:
            raise Refused(f"{method} {path} gave {answer.status}: {content[:600].decode(errors='replace')}")
        return answer.status, [(str(name), value) for name, value in answer.headers.items()], content

    async def service(self, minutes: int, horizon_days: int = 730) -> str:
        """Id of a service without buffers, one place, confirmed at once."""
        answer = await self.call(
            "POST",
            "/api/v1/services",
            {
                "name": f"Bench {minutes} min",
                "duration_minutes": minutes,
                "step_minutes": minutes,
                "horizon_days": horizon_days,
                "buffer_before_minutes": 0,
                "buffer_after_minutes": 0,
                "capacity": 1,
                "confirmation": "instant",
            },
        )
        return str(answer["id"])

    async def client(self) -> str:
        answer = await self.call("POST", "/api/v1/clients", {"first_name": "Bench", "last_name": "Client"})
        return str(answer["id"])

    async def professionals(self, count: int, service: str, opens: str, closes: str) -> list[str]:
        """Ids of bookable professionals who work every day between two times of day, in UTC."""
        weekly = [{"weekday": day, "start": opens, "end": closes} for day in range(7)]

        async def one(number: int) -> str:
            made = await self.call(
                "POST", "/api/v1/professionals", {"display_name": f"Bench {number}", "time_zone": "UTC"}
            )
            base = f"/api/v1/professionals/{made['id']}"
            await self.call("POST", f"{base}/services", {"service_id": service})
            await self.call("PUT", f"{base}/schedule", {"time_zone": "UTC", "weekly": weekly})
            return str(made["id"])

        first = await at_once(one(number) for number in range(min(count, OVER_REST)))
        return first + await self.clone(first[0], count - len(first)) if count > len(first) else first

    async def clone(self, template: str, count: int) -> list[str]:
        """Ids of copies of a professional, bookings included, put straight into the tables.

        The server has never heard of them and loads each at its first use, like any other. The bookings of shared
        sessions are left out.
        """
        ids = [new_id() for _ in range(count)]
        connection = await asyncpg.connect(self.dsn)
        try:
            shards = await connection.fetchval("SELECT count(*) FROM shards")
            for at in range(0, count, CLONED_AT_ONCE):
                part = ids[at : at + CLONED_AT_ONCE]
                async with connection.transaction():
                    for number, statement in enumerate(CLONES):
                        values: list[object] = [template, part]
                        if number == 1:
                            values.append([shard_of(id_, shards) for id_ in part])
                        await connection.execute(statement, *values)
            # Or Postgres would, some time while the server is measured.
            await connection.execute("VACUUM (ANALYZE) professionals, calendars, professional_services, bookings")
        finally:
            await connection.close()
        return ids

    async def put_bookings(self, calendar: str, service: str, client: str, starts: Sequence[int], minutes: int) -> None:
        """Confirmed bookings put straight into the table; the server must not have used this calendar yet.

        `starts` are Unix seconds that do not overlap.
        """
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(BOOK, calendar, service, client, list(starts), minutes * 60)
            await connection.execute("VACUUM (ANALYZE) bookings")
        finally:
            await connection.close()

    async def counter(self, name: str) -> float:
        """The sum of a metric over its labels, as the server exports it now."""
        _, _, text = await self.raw("GET", "/metrics")
        lines = [line.split() for line in text.decode().splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line[-1]) for line in lines)

    async def _listen(self) -> None:
        self._listener = await listen(
            [self._module, "serve", "--demo"],
            self.port,
            self._bench.folder / f"slotcast-{self.port}.log",
            self._environment,
            "/readyz",
        )


async def at_once(work: Iterable[Awaitable[Result]]) -> list[Result]:
    """Results in order, a few at a time."""
    gate = asyncio.Semaphore(FILLING_AT_ONCE)

    async def one(item: Awaitable[Result]) -> Result:
        async with gate:
            return await item

    return await asyncio.gather(*(one(item) for item in work))

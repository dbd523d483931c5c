"""The server under test: started as its users start it, filled over its own REST API."""

import asyncio
import secrets
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

import aiohttp
import msgspec

from bench.children import Listener, free_port, listen, run_once
from bench.report import Refused
from bench.runner import Bench

FILLING_AT_ONCE = 16

Result = TypeVar("Result")


class Slotcast:
    """One node on a fresh database, with an owner's token for its demo business."""

    def __init__(self, bench: Bench, dsn: str) -> None:
        self._bench = bench
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
    async def start(cls, bench: Bench) -> "Slotcast":
        slotcast = cls(bench, await bench.postgres.create("slotcast"))
        await slotcast._listen()
        slotcast.token = await run_once(
            ["server", "token", "--business", "demo", "--role", "owner", "--ttl", "1h"],
            slotcast._environment,
        )
        slotcast._session = aiohttp.ClientSession(
            f"http://127.0.0.1:{slotcast.port}", headers={"Authorization": f"Bearer {slotcast.token}"}
        )
        return slotcast

    @property
    def server(self) -> Listener:
        assert self._listener is not None
        return self._listener

    async def restart(self) -> None:
        """The same data in a new process: nothing activated, nothing cached."""
        await self.server.stop()
        await self._listen()

    async def stop(self) -> None:
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

        return await at_once(one(number) for number in range(count))

    async def _listen(self) -> None:
        self._listener = await listen(
            ["server", "serve", "--demo"],
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

"""People who book on any of several nodes and do not give up: for what happens while nodes come and go."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import aiohttp
import msgspec

from bench.cluster_jobs import Begin, Settled, Told
from bench.stats import percentile

GIVE_UP_SECONDS = 30.0
ANSWER_SECONDS = 15.0
IN_FLIGHT_MAX = 5000
# Who found a port closed goes to the others for so long, as somebody behind a load balancer would.
CLOSED_SECONDS = 0.5
PAUSE_S = (0.02, 0.1)
NAMES = "X-Slotcast-Node"


class Users:
    """`begin`, and later `settle`."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._random = random.Random(begin.seed)
        self._told: list[Told] = []
        self._never: Counter[str] = Counter()
        self._late: list[float] = []
        self._knocked = 0
        self._closed_until = dict.fromkeys(begin.ports, 0.0)
        self._stopping = asyncio.Event()
        self._requests: set[asyncio.Task[None]] = set()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(ANSWER_SECONDS),
            headers={"Authorization": f"Bearer {begin.token}"},
        )
        self._paces = [
            asyncio.create_task(self._pace(calendar, every_s))
            for calendars, every_s in ((begin.often, begin.often_every_s), (begin.others, begin.others_every_s))
            for calendar in calendars
        ]

    async def settle(self) -> Settled:
        self._stopping.set()
        await asyncio.gather(*self._paces)
        await asyncio.gather(*self._requests)
        await self._session.close()
        return Settled(
            told=self._told,
            never=dict(self._never),
            knocked=self._knocked,
            late=percentile(sorted(self._late), 0.99) * 1000,
        )

    async def _pace(self, calendar: str, every_s: float) -> None:
        """One request after the other falls due; none waits for an earlier one's answer."""
        due, number = time.monotonic() + self._random.uniform(0, every_s), 0
        while not await self._stopped(due - time.monotonic()):
            self._late.append(time.monotonic() - due)
            if len(self._requests) >= IN_FLIGHT_MAX:
                self._never["too many under way"] += 1
            else:
                task = asyncio.create_task(self._request(calendar, number, due))
                self._requests.add(task)
                task.add_done_callback(self._requests.discard)
            number += 1
            due += every_s

    async def _stopped(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                return await self._stopping.wait()
        except TimeoutError:
            return False

    async def _request(self, calendar: str, number: int, due: float) -> None:
        begin, errors = self._begin, list[str]()
        moment = datetime.fromtimestamp(begin.first + number * begin.step, UTC)
        body = msgspec.json.encode(
            {
                "professional_id": calendar,
                "service_id": begin.service,
                "client_id": begin.client,
                "start": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
            }
        )
        headers = {"Idempotency-Key": f"{begin.seed}-{calendar}-{number}", "Content-Type": "application/json"}
        while time.monotonic() - due < GIVE_UP_SECONDS:
            if await self._asked(calendar, due, body, headers, errors):
                return
            await asyncio.sleep(self._random.uniform(*PAUSE_S))
        self._never[errors[-1] if errors else "no node listens"] += 1

    async def _asked(self, calendar: str, due: float, body: bytes, headers: dict[str, str], errors: list[str]) -> bool:
        """Whether it was acknowledged; what came instead goes on record."""
        port = self._random.choice(self._open())
        try:
            async with self._session.post(
                f"http://127.0.0.1:{port}/api/v1/bookings", data=body, headers=headers
            ) as answer:
                content = await answer.read()
        except aiohttp.ClientConnectorError:
            # Nothing was sent.
            self._knocked += 1
            self._closed_until[port] = time.monotonic() + CLOSED_SECONDS
            return False
        except (aiohttp.ClientError, OSError):
            errors.append("connection lost")
            return False
        except TimeoutError:
            errors.append("no answer")
            return False
        if answer.status != 201:
            errors.append(_code(answer.status, content))
            return False
        node = answer.headers.get(NAMES, "").rpartition(",")[2].strip()
        told = Told(calendar, due, time.monotonic(), node, msgspec.json.decode(content)["id"], errors)
        self._told.append(told)
        return True

    def _open(self) -> Sequence[int]:
        now = time.monotonic()
        return [port for port, until in self._closed_until.items() if until <= now] or self._begin.ports


def _code(status: int, content: bytes) -> str:
    try:
        return f"{status} {msgspec.json.decode(content)['code']}"
    except (msgspec.DecodeError, KeyError, TypeError):
        return str(status)

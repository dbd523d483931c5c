"""Users who do not give up, and the history of what they were told.

Every request has a key. One that got no definite answer (503, or a lost connection) is sent again with the same key
until it gets one; some that were answered are sent again all the same. The key is the booking's `notes` and the
beginning of its `X-Request-ID`, so that the checker can find in rows and events what each request has left behind.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import aiohttp
import orjson

from tests.support.server import Api, Place

Kind = Literal["book", "hold", "release", "cancel"]
_PAUSE_S: Final = (0.02, 0.12)
_ASK_AGAIN_SHARE: Final = 0.05
_TIMEOUT: Final = aiohttp.ClientTimeout(20)


@dataclass
class Said:
    """One answer. `code` is a problem's; `retry_after` whether it said when to come back."""

    status: int
    body: Any
    retry_after: bool

    @property
    def code(self) -> str:
        return self.body.get("code", "") if self.status >= 400 and isinstance(self.body, dict) else ""


@dataclass
class Request:
    """`answers` are the definite ones; `refusals` every 503; `silences` how often the connection was lost."""

    key: str
    kind: Kind
    calendar_id: str
    target: str = ""
    start: str = ""
    hold_id: str | None = None
    answers: list[Said] = field(default_factory=list)
    refusals: list[Said] = field(default_factory=list)
    silences: int = 0

    @property
    def answer(self) -> Said | None:
        return self.answers[0] if self.answers else None

    @property
    def done(self) -> bool:
        """Whether it was acknowledged."""
        return self.answer is not None and self.answer.status < 300


@dataclass
class History:
    requests: list[Request] = field(default_factory=list)

    def of(self, kind: Kind) -> list[Request]:
        return [r for r in self.requests if r.kind == kind]

    @property
    def acknowledged(self) -> int:
        return sum(r.done for r in self.requests)

    @property
    def booked(self) -> list[Request]:
        return [r for r in self.requests if r.kind == "book" and r.done]

    @property
    def refusals(self) -> list[Said]:
        return [s for r in self.requests for s in r.refusals]


class Load:
    """Bookers, holders and cancellers on some calendars, from one seed."""

    def __init__(self, places: Sequence[Place], seed: int, *, bookers: int = 24, days: int = 10) -> None:
        self.history = History()
        self._places = places
        self._random = random.Random(seed)
        self._prefix = f"s{seed}"
        self._days = days
        self._bookers = bookers
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._cancelled: set[str] = set()
        self._numbers = 0

    def start(self) -> None:
        work = [self._book] * self._bookers + [self._hold] * (self._bookers // 6) + [self._cancel] * 4
        self._tasks = [
            asyncio.create_task(self._again_and_again(one, self._random.randrange(2**32)), name=one.__name__)
            for one in work
        ]

    async def until_acknowledged(self, more: int, timeout_s: float = 40.0) -> None:
        """Returns when that many more requests were acknowledged."""
        wanted = self.history.acknowledged + more
        deadline = time.monotonic() + timeout_s
        while self.history.acknowledged < wanted:
            for task in self._tasks:
                if task.done():
                    task.result()
            assert time.monotonic() < deadline, f"nothing is acknowledged any more; last: {self._last_words()}"
            await asyncio.sleep(0.02)

    async def settle(self, timeout_s: float = 40.0) -> None:
        """Nothing new; whatever is open is asked until it is answered."""
        self._stopping.set()
        async with asyncio.timeout(timeout_s):
            await asyncio.gather(*self._tasks)

    def abandon(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _last_words(self) -> list[str]:
        return [f"{s.status} {s.code}" for s in self.history.refusals[-5:]]

    async def _again_and_again(self, one: Any, seed: int) -> None:
        rng = random.Random(seed)
        while not self._stopping.is_set():
            await asyncio.sleep(rng.uniform(*_PAUSE_S))
            await one(rng)

    def _key(self) -> str:
        self._numbers += 1
        return f"{self._prefix}-{self._numbers}"

    def _start(self, place: Place, rng: random.Random) -> str:
        slot = rng.randrange(self._days * 48)
        return place.at(slot % 48 // 2, slot % 2 * 30, slot // 48)

    async def _book(self, rng: random.Random) -> None:
        place = rng.choice(self._places)
        await self._book_at(place, self._start(place, rng), None, rng)

    async def _book_at(self, place: Place, start: str, hold_id: str | None, rng: random.Random) -> Request:
        request = Request(self._key(), "book", place.professional_id, start=start, hold_id=hold_id)
        body = place.booking(start, notes=request.key)
        if hold_id is not None:
            body["hold_id"] = hold_id
        await self._send(place.api, request, "POST", "bookings", body, rng)
        return request

    async def _hold(self, rng: random.Random) -> None:
        place = rng.choice(self._places)
        request = Request(self._key(), "hold", place.professional_id, start=self._start(place, rng))
        body = {
            "professional_id": place.professional_id,
            "service_id": place.service_id,
            "start": request.start,
            "ttl_seconds": 60,
        }
        await self._send(place.api, request, "POST", "holds", body, rng)
        if not request.done:
            return
        hold_id = request.answers[0].body["id"]
        if rng.random() < 0.6:
            booked = await self._book_at(place, request.start, hold_id, rng)
            if booked.done:
                return
        release = Request(self._key(), "release", place.professional_id, target=hold_id)
        await self._send(place.api, release, "DELETE", f"holds/{hold_id}", None, rng)

    async def _cancel(self, rng: random.Random) -> None:
        mine = [r for r in self.history.booked if r.answers[0].body["id"] not in self._cancelled]
        if len(mine) < 20:
            return
        booked = rng.choice(mine)
        place = next(p for p in self._places if p.professional_id == booked.calendar_id)
        target = booked.answers[0].body["id"]
        self._cancelled.add(target)
        request = Request(self._key(), "cancel", booked.calendar_id, target=target)
        await self._send(place.api, request, "POST", f"bookings/{target}/cancel", {}, rng)

    async def _send(self, api: Api, request: Request, method: str, path: str, body: Any, rng: random.Random) -> None:
        self.history.requests.append(request)
        tries = 0
        while not request.answers:
            tries += 1
            await self._try(api, request, method, path, body, tries)
            if not request.answers:
                await asyncio.sleep(rng.uniform(0.05, 0.3))
        # A release or a change of a thing that is gone is looked up first, so a second answer may tell of that.
        if request.kind in ("book", "hold") and rng.random() < _ASK_AGAIN_SHARE:
            await self._try(api, request, method, path, body, tries + 1)

    async def _try(self, api: Api, request: Request, method: str, path: str, body: Any, number: int) -> None:
        headers = {"X-Request-ID": f"{request.key}.{number}"}
        try:
            async with asyncio.timeout(_TIMEOUT.total):
                answer = await api.request(method, path, body, key=request.key, headers=headers)
        except (aiohttp.ClientError, OSError, TimeoutError):
            request.silences += 1
            return
        said = Said(answer.status, answer.json, "Retry-After" in answer.headers)
        (request.refusals if answer.status == 503 else request.answers).append(said)


class Watcher:
    """Keeps a replica of a calendar's slots over WebSocket, coming back after every break."""

    def __init__(self, place: Place, days: int) -> None:
        self.place = place
        self.slots: dict[str, tuple[str, int]] = {}
        self.version: int | None = None
        self.connections = 0
        self.repairs = 0
        self._first, self._last = place.at(0)[:10], place.at(0, day=days - 1)[:10]
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="watcher")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                await self._watch_once()
            await asyncio.sleep(0.1)

    async def _watch_once(self) -> None:
        api = self.place.api
        url = f"{api.server.url}/api/v1/live"
        async with api.session.ws_connect(url, protocols=("slotcast.v1",)) as ws:
            await ws.send_json({"type": "auth", "id": "a", "token": api.token})
            await self._subscribe(ws, 0)
            number = 0
            async for frame in ws:
                if frame.type is not aiohttp.WSMsgType.TEXT:
                    return
                message = orjson.loads(frame.data)
                if message["type"] == "subscribed":
                    self.connections += 1
                if message["type"] == "reply" and not message["ok"]:
                    return
                if not self._apply(message):
                    number += 1
                    self.repairs += 1
                    await self._subscribe(ws, number)

    async def _subscribe(self, ws: aiohttp.ClientWebSocketResponse, number: int) -> None:
        await ws.send_json(
            {
                "type": "subscribe",
                "id": f"v{number}",
                "professional_id": self.place.professional_id,
                "service_id": self.place.service_id,
                "from": self._first,
                "to": self._last,
                "time_zone": "UTC",
                **({"since": self.version} if self.version is not None else {}),
            }
        )

    def _apply(self, message: Any) -> bool:
        """Whether the replica is still whole."""
        if message["type"] == "snapshot":
            self.slots = {s["start"]: (s["state"], s["remaining"]) for s in message["slots"]}
            self.version = message["version"]
        elif message["type"] == "delta":
            if self.version is None or message["from_version"] > self.version:
                return False
            for start in message.get("removed", ()):
                self.slots.pop(start, None)
            for s in message["changes"]:
                self.slots[s["start"]] = (s["state"], s["remaining"])
            self.version = max(self.version, message["version"])
        return True

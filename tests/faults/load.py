"""Users who do not give up: bookers, holders, cancellers and readers on any of the nodes, from one seed.

Most requests have an Idempotency-Key. One that got no definite answer (503, or a lost connection) is sent again with
the same key, to whichever node, until it gets one; some that were answered are sent again all the same. A request
without a key is sent once.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any, Final

import aiohttp

from tests.faults.history import History, Kind, Request, Said
from tests.support.server import Api, Place

_PAUSE_S: Final = (0.02, 0.12)
_ASK_AGAIN_SHARE: Final = 0.05
_UNKEYED_SHARE: Final = 0.2
_CROWDED_SHARE: Final = 0.4
_TIMEOUT_S: Final = 20.0


class Load:
    """`nodes` are the same API on each node; who finds one's door closed knocks at the next."""

    def __init__(
        self, history: History, places: Sequence[Place], nodes: Sequence[Api], *, bookers: int = 24, days: int = 10
    ) -> None:
        self.history = history
        self._places = places
        self._nodes = nodes
        self._random = random.Random(history.seed)
        self._days = days
        self._bookers = bookers
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._cancelled: set[str] = set()
        self._numbers = 0

    def start(self) -> None:
        work = [self._book] * self._bookers + [self._hold] * (self._bookers // 6) + [self._cancel] * 4
        work += [self._slots] * 2 + [self._look]
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

    def _request(self, kind: Kind, place: Place, rng: random.Random, **more: Any) -> Request:
        self._numbers += 1
        keyed = kind not in ("slots", "look") and rng.random() >= _UNKEYED_SHARE
        request = Request(f"{self.history.name}-{self._numbers}", kind, place.professional_id, keyed=keyed, **more)
        request.said = []
        self.history.requests.append(request)
        return request

    def _start(self, place: Place, rng: random.Random) -> str:
        crowded = rng.random() < _CROWDED_SHARE
        slot = rng.randrange(24 if crowded else self._days * 48)
        return place.at(slot % 48 // 2, slot % 2 * 30, slot // 48)

    async def _book(self, rng: random.Random) -> None:
        place = rng.choice(self._places)
        await self._book_at(place, self._start(place, rng), None, rng)

    async def _book_at(self, place: Place, start: str, hold_id: str | None, rng: random.Random) -> Request:
        request = self._request("book", place, rng, start=start, hold_id=hold_id)
        body = place.booking(start, notes=request.key)
        if hold_id is not None:
            body["hold_id"] = hold_id
        await self._send(request, "POST", "bookings", body, rng)
        return request

    async def _hold(self, rng: random.Random) -> None:
        place = rng.choice(self._places)
        request = self._request("hold", place, rng, start=self._start(place, rng))
        body = {
            "professional_id": place.professional_id,
            "service_id": place.service_id,
            "start": request.start,
            "ttl_seconds": rng.choice((2, 60)),
        }
        await self._send(request, "POST", "holds", body, rng)
        if not request.done:
            return
        hold_id = request.answers[0].body["id"]
        if rng.random() < 0.6:
            booked = await self._book_at(place, request.start, hold_id, rng)
            if booked.done:
                return
        elif rng.random() < 0.3:
            return
        release = self._request("release", place, rng, target=hold_id)
        await self._send(release, "DELETE", f"holds/{hold_id}", None, rng)

    async def _cancel(self, rng: random.Random) -> None:
        mine = [r for r in self.history.booked if r.answers[0].body["id"] not in self._cancelled]
        if len(mine) < 20:
            return
        target, place = self._choose(mine, rng)
        self._cancelled.add(target)
        # Now and then two want to cancel the same.
        await asyncio.gather(*(self._cancel_one(target, place, rng) for _ in range(1 + (rng.random() < 0.1))))

    async def _cancel_one(self, target: str, place: Place, rng: random.Random) -> None:
        request = self._request("cancel", place, rng, target=target)
        await self._send(request, "POST", f"bookings/{target}/cancel", {}, rng)

    def _choose(self, booked: Sequence[Request], rng: random.Random) -> tuple[str, Place]:
        chosen = rng.choice(booked)
        place = next(p for p in self._places if p.professional_id == chosen.calendar_id)
        return chosen.answers[0].body["id"], place

    async def _slots(self, rng: random.Random) -> None:
        place = rng.choice(self._places)
        first = rng.choice((0, 0, rng.randrange(self._days)))
        dates = place.at(0, day=first)[:10], place.at(0, day=min(first + 1, self._days - 1))[:10]
        request = self._request("slots", place, rng, start=dates[0], target=dates[1])
        query = f"service_id={place.service_id}&from={dates[0]}&to={dates[1]}&time_zone=UTC"
        await self._send(request, "GET", f"professionals/{place.professional_id}/slots?{query}", None, rng)

    async def _look(self, rng: random.Random) -> None:
        booked = self.history.booked[-50:]
        if booked:
            target, place = self._choose(booked, rng)
            request = self._request("look", place, rng, target=target)
            await self._send(request, "GET", f"bookings/{target}", None, rng)

    async def _send(self, request: Request, method: str, path: str, body: Any, rng: random.Random) -> None:
        while True:
            await self._try(request, method, path, body, rng)
            if request.answers or not request.keyed:
                break
            await asyncio.sleep(rng.uniform(0.05, 0.3))
        if request.keyed and rng.random() < _ASK_AGAIN_SHARE:
            await self._try(request, method, path, body, rng)

    async def _try(self, request: Request, method: str, path: str, body: Any, rng: random.Random) -> None:
        number = len(request.said) + 1
        api = rng.choice(self._nodes)
        headers = {"X-Request-ID": f"{request.key}.{number}"}
        said = Said(number, api.server.name, self.history.now(), 0.0)
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                answer = await api.request(
                    method, path, body, key=request.key if request.keyed else None, headers=headers
                )
            said.status, said.body = answer.status, answer.json
            said.retry_after = "Retry-After" in answer.headers
            said.through = answer.headers.get("X-Slotcast-Node", "")
        except aiohttp.ClientConnectorError:
            # Nothing was sent.
            await asyncio.sleep(rng.uniform(0.01, 0.05))
            if not request.keyed:
                self.history.requests.remove(request)
            return
        except (aiohttp.ClientError, OSError, TimeoutError):
            pass
        said.ended = self.history.now()
        request.said.append(said)

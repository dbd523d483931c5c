"""Somebody who looks at a calendar over WebSocket, comes back after every break, and keeps all that was shown."""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import Any

import aiohttp
import orjson

from tests.faults.history import Frame, History
from tests.faults.sights import Replica
from tests.support.server import Api, Place


class Watcher:
    """Each connection goes to one of `nodes`, by chance."""

    def __init__(self, number: int, history: History, place: Place, nodes: Sequence[Api], days: int) -> None:
        self.number = number
        self.place = place
        self.replica = Replica()
        self.connections = 0
        self.goodbyes: list[int] = []
        """How long to stay away, in milliseconds, as told."""
        self.node = ""
        self._history = history
        self._nodes = nodes
        self._random = random.Random(f"{history.seed} watcher {number}")
        self._first, self._last = place.at(0)[:10], place.at(0, day=days - 1)[:10]
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"watcher {self.number}")

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def stop(self) -> None:
        self.cancel()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            pause_s = 0.1
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                pause_s = await self._watch_once(self._random.choice(self._nodes))
            await asyncio.sleep(pause_s)

    async def _watch_once(self, api: Api) -> float:
        """Returns how long to stay away."""
        async with api.session.ws_connect(f"{api.server.url}/api/v1/live", protocols=("slotcast.v1",)) as ws:
            self.connections += 1
            self.node = api.server.name
            await ws.send_json({"type": "auth", "id": "a", "token": api.token})
            await self._subscribe(ws, 0)
            number = 0
            async for frame in ws:
                if frame.type is not aiohttp.WSMsgType.TEXT:
                    break
                message = orjson.loads(frame.data)
                gaps = self.replica.gaps
                self._take(api, message)
                if message["type"] == "goodbye":
                    self.goodbyes.append(message["reconnect_after_ms"])
                    return message["reconnect_after_ms"] / 1000
                if message["type"] == "reply" and not message["ok"]:
                    break
                if self.replica.gaps > gaps:
                    number += 1
                    await self._subscribe(ws, number)
        return 0.1

    def _take(self, api: Api, message: Any) -> None:
        frame = Frame(
            self.number, self.place.professional_id, self.connections, api.server.name, self._history.now(), message
        )
        self._history.frames.append(frame)
        if message["type"] in ("snapshot", "delta"):
            self.replica.take(frame)

    async def _subscribe(self, ws: aiohttp.ClientWebSocketResponse, number: int) -> None:
        since = self.replica.version
        await ws.send_json(
            {
                "type": "subscribe",
                "id": f"v{number}",
                "professional_id": self.place.professional_id,
                "service_id": self.place.service_id,
                "from": self._first,
                "to": self._last,
                "time_zone": "UTC",
                **({"since": since} if since is not None else {}),
            }
        )

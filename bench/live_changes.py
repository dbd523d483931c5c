"""Changes of a view over REST, and how long each took to reach everybody."""

import asyncio
import time
from itertools import cycle
from typing import Any

import msgspec

from bench.live import View
from bench.subscribers import Hub


class Changes:
    """Workers that book and cancel; `latencies` has when each change was due and what it took, in seconds."""

    def __init__(self, hub: Hub, client_id: str, rate: float = 0.0, count: int | None = None) -> None:
        self.hub = hub
        self.client_id = client_id
        self.latencies: list[tuple[float, float]] = []
        self._rate = rate
        self._left = count
        self._begun = time.perf_counter()
        self._taken = 0
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """No further change begins, but each start that is booked is cancelled."""
        self._stop.set()

    async def work(self, starts: list[str]) -> None:
        """Books and cancels these starts round and round."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.hub.view.port)
        try:
            for start in cycle(starts):
                due = await self._turn()
                if due is None:
                    return
                booked = await self._change(reader, writer, due, "/api/v1/bookings", self._booking(start))
                due = await self._turn()
                path = f"/api/v1/bookings/{booked['id']}/cancel"
                await self._change(reader, writer, due or time.perf_counter(), path, {"reason": "bench"})
        except (OSError, EOFError, KeyError, ValueError) as error:
            self.hub.fail(f"a change failed: {error!r}")
        finally:
            writer.close()

    async def _turn(self) -> float | None:
        """When the next change is due, once it is; nothing when there is none."""
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                self.stop()
        if self._stop.is_set() or self.hub.failure:
            return None
        now = time.perf_counter()
        if not self._rate:
            return now
        due = self._begun + self._taken / self._rate
        self._taken += 1
        if due > now:
            try:
                await asyncio.wait_for(self._stop.wait(), due - now)
            except TimeoutError:
                return due
            return None
        return due

    def _booking(self, start: str) -> dict[str, str]:
        view = self.hub.view
        return {
            "professional_id": view.professional_id,
            "service_id": view.service_id,
            "start": start,
            "client_id": self.client_id,
        }

    async def _change(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, due: float, path: str, body: dict[str, str]
    ) -> dict[str, Any]:
        """One change, from when it was due until the last subscriber has it."""
        writer.write(_request(self.hub.view, path, msgspec.json.encode(body)))
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = int(head.split("content-length: ", 1)[1].split("\r\n", 1)[0])
        answer = await reader.readexactly(size)
        if head[9] != "2":
            raise ValueError(f"{path} gave {head[9:12]}: {answer[:300]!r}")
        document: dict[str, Any] = msgspec.json.decode(answer)
        await self.hub.reached(int(document["calendar_version"]))
        self.latencies.append((due, time.perf_counter() - due))
        return document


def _request(view: View, path: str, text: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{view.port}\r\nAuthorization: Bearer {view.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    )
    return head.encode() + text

"""Targets of webhooks as they are met: those that answer, and those that hang, fail, redirect, flood or lie about where
they are.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from server.http_poster import HttpPoster
from server.remote import networks
from server.targets import Targets

LOOPBACK = "127.0.0.0/8,::1/128"


class Received:
    """One request as it came."""

    def __init__(self, path: str, headers: dict[str, str], body: bytes) -> None:
        self.path = path
        self.headers = headers
        self.body = body


class Target:
    """A server that keeps what it gets. `answer` may be changed while it runs."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answer: Callable[[web.BaseRequest], Any] = lambda _: web.Response(text="thank you")
        self.arrived = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(request.path, headers, await request.read()))
        self.arrived.set()
        answer = self.answer(request)
        return await answer if asyncio.iscoroutine(answer) else answer


@asynccontextmanager
async def serving(target: Target) -> AsyncIterator[Target]:
    server = web.Server(target.handle)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    target.port = runner.addresses[0][1]
    try:
        yield target
    finally:
        await runner.cleanup()


class Names(AbstractResolver):
    """Answers with the next of the addresses each time it is asked, and with the last one from then on."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.asked = 0

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        address = self.addresses[min(self.asked, len(self.addresses) - 1)]
        self.asked += 1
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=0)]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def posting(
    private: str = LOOPBACK, *, names: AbstractResolver | None = None, timeout_s: float = 5.0
) -> AsyncIterator[HttpPoster]:
    poster = HttpPoster(Targets(insecure=True, private=networks(private)), names, timeout_s)
    try:
        yield poster
    finally:
        await poster.close()

"""Names of targets resolved by the system, few at a time and without keeping the process from ending."""

import asyncio
import contextlib
import socket
import threading
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

AT_ONCE_MAX: Final = 64
"""More than targets whose name servers do not answer can keep waiting: look-ups outlive those who asked for them."""
ADDRESSES_MAX: Final = 8


class SystemResolver(AbstractResolver):
    """A look-up cannot be ended from outside, so each has a thread that dies with the process: a name server that does
    not answer holds up neither other threads' work nor a shut-down.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_ONCE_MAX)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises `OSError` for a name that has no address."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[Any]] = loop.create_future()
        # Freed when the thread has ended, not when nobody waits for it any more.
        settler = _Settler(loop, found, self._free)
        look_up = threading.Thread(target=settler.look_up, args=(host, port, family), name="look-up", daemon=True)
        try:
            look_up.start()
        except RuntimeError as error:
            self._free.release()
            raise OSError("no thread could be started") from error
        return [_result(host, info) for info in (await found)[:ADDRESSES_MAX]]

    async def close(self) -> None:
        pass


class _Settler:
    def __init__(
        self, loop: asyncio.AbstractEventLoop, found: "asyncio.Future[list[Any]]", free: asyncio.Semaphore
    ) -> None:
        self._loop = loop
        self._found = found
        self._free = free

    def look_up(self, host: str, port: int, family: socket.AddressFamily) -> None:
        result: list[Any] | OSError
        try:
            result = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        except OSError as error:
            result = error
        except UnicodeError:
            result = OSError(f"{host[:100]} is no name of a host")
        # The loop may have ended meanwhile, and with it everybody who waited.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._settle, result)

    def _settle(self, result: "list[Any] | OSError") -> None:
        self._free.release()
        if self._found.done():
            return
        if isinstance(result, OSError):
            self._found.set_exception(result)
        else:
            self._found.set_result(result)


def _result(host: str, info: Any) -> ResolveResult:
    family, _, proto, _, address = info
    return ResolveResult(
        hostname=host,
        # With the scope of a link-local address, which is what such an address is refused by.
        host=address[0] if len(address) < 4 or not address[3] else f"{address[0].partition('%')[0]}%{address[3]}",
        port=address[1],
        family=family,
        proto=proto,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )

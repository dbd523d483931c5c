"""Posts to addresses that businesses have chosen.

Whoever chooses a target must not reach through this server what they cannot reach themselves. So each address that a
name resolves to is judged, each connection is made to a judged address and judged once more as it is made, no redirect
is followed and no proxy used. A target may be slow, endless or broken: time and bytes are bounded.
"""

import socket
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from time import perf_counter
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from jobs.ports import NotPosted, Posted, TargetRefused
from protocol.errors import Refused
from server.lookup import SystemResolver
from server.targets import Targets

TIMEOUT_S: Final = 15.0
CONNECT_TIMEOUT_S: Final = 5.0
ANSWER_BYTES_MAX: Final = 64 * 1024
EXCERPT_CHARS: Final = 500
CONNECTIONS_MAX: Final = 200
CONNECTIONS_PER_TARGET_MAX: Final = 20
RETRY_AFTER_S_MAX: Final = 24 * 3600
_KEEP_ALIVE_S: Final = 15.0
_LINE_BYTES_MAX: Final = 8 * 1024


class _PrivateAddress(OSError):
    """Stops a connection before it is made."""


class HttpPoster:
    """Made in a running loop; `close` ends its connections."""

    def __init__(
        self, targets: Targets, resolver: AbstractResolver | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._targets = targets
        self._timeout_s = timeout_s
        connector = aiohttp.TCPConnector(
            resolver=_JudgedResolver(targets, resolver or SystemResolver()),
            socket_factory=self._socket,
            # A name may mean another address for the next connection, and that one is judged as well.
            use_dns_cache=False,
            limit=CONNECTIONS_MAX,
            limit_per_host=CONNECTIONS_PER_TARGET_MAX,
            keepalive_timeout=_KEEP_ALIVE_S,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_TIMEOUT_S),
            # What is packed small may be large.
            auto_decompress=False,
            trust_env=False,
            max_line_size=_LINE_BYTES_MAX,
            max_field_size=_LINE_BYTES_MAX,
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Posted:
        """Raises `NotPosted`."""
        try:
            checked = self._targets.check(url)
        except Refused as refused:
            raise TargetRefused(refused.errors[0].message if refused.errors else refused.detail) from None
        sent = {"User-Agent": "Slotcast", "Content-Type": "application/json", "Accept-Encoding": "identity", **headers}
        started = perf_counter()
        try:
            async with self._session.post(checked, data=body, headers=sent, allow_redirects=False) as response:
                excerpt = await _excerpt(response)
                return Posted(response.status, excerpt, perf_counter() - started, _retry_after_s(response.headers))
        except aiohttp.ConnectionTimeoutError:
            raise NotPosted("no connection could be made in time") from None
        except TimeoutError:
            raise NotPosted(f"no answer within {self._timeout_s:g} s") from None
        except _PrivateAddress as error:
            raise TargetRefused(str(error)) from None
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, _PrivateAddress):
                raise TargetRefused(str(error.os_error)) from None
            raise NotPosted(_said(error)) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NotPosted(_said(error)) from None

    async def close(self) -> None:
        await self._session.close()

    def _socket(self, info: Any) -> socket.socket:
        """For a connection that is about to be made: whatever was judged before, this is where it goes."""
        family, kind, proto, _, address = info
        if not self._targets.may_reach(ip_address(address[0])):
            raise _PrivateAddress("the target is in a private network")
        return socket.socket(family, kind, proto)


class _JudgedResolver(AbstractResolver):
    """One address that must not be reached spoils the name: who answers with it means no good."""

    def __init__(self, targets: Targets, resolver: AbstractResolver) -> None:
        self._targets = targets
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for result in found:
            if not self._targets.may_reach(ip_address(result["host"])):
                raise _PrivateAddress("the target's name leads into a private network")
        return found

    async def close(self) -> None:
        await self._resolver.close()


async def _excerpt(response: aiohttp.ClientResponse) -> str:
    """The beginning of the body. What is longer than may be read is not read, and ends the connection."""
    read = bytearray()
    # The answer counts by its status, however its body ends.
    with suppress(aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, TimeoutError):
        while len(read) < ANSWER_BYTES_MAX and (chunk := await response.content.read(ANSWER_BYTES_MAX - len(read))):
            read += chunk
    if not response.content.at_eof():
        response.close()
    text = bytes(read[: 4 * EXCERPT_CHARS]).decode(errors="replace")
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)[:EXCERPT_CHARS].strip()


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds only: of a date, the target's clock would have to be right."""
    text = headers.get("Retry-After", "").strip()
    return float(min(int(text), RETRY_AFTER_S_MAX)) if text.isascii() and text.isdigit() and len(text) < 12 else None


def _said(error: Exception) -> str:
    """What went wrong, in words that tell nothing of this machine."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the target's name has no address"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "the target's certificate is not good"
    if isinstance(error, aiohttp.ClientSSLError):
        return "no TLS connection could be made"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the target closed the connection without an answer"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "no connection could be made"
    if isinstance(error, aiohttp.ClientResponseError):
        return "the answer is not HTTP"
    if isinstance(error, aiohttp.InvalidURL):
        return "the URL names no host that could be reached"
    return "the connection broke"

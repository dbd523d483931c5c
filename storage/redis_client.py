"""Redis, as the directory and the bus need it: single connections that answer within a second or are given up.

The library's own pools, retries and subscriptions are not used: what is known of a command that was cut off differs
between the directory and the bus, and each has to decide for itself.
"""

import asyncio
import re
from collections.abc import Iterable
from contextlib import suppress
from random import random
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio.connection import Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from protocol import limits
from protocol.errors import Refused

LOST: Final = (RedisError, OSError, TimeoutError, EOFError)
"""What a connection raises that is lost, or to a server that cannot do its work now."""
_OLDEST: Final = (6, 2)
_SCHEMES: Final = ("redis", "rediss", "unix")
_BACKOFF_FIRST_S: Final = 0.05
_BACKOFF_MAX_S: Final = 1.0


class RedisUnusable(Exception):
    """Says in one line why this Redis, or its URL, cannot be used."""


class RedisServer:
    """Where Redis is. Raises `RedisUnusable` for a URL that cannot work."""

    def __init__(self, url: str) -> None:
        self._arguments = _connection_arguments(url)
        self._class: Any = self._arguments.pop("connection_class", Connection)
        try:
            self.link("check")
        except (TypeError, ValueError, RedisError) as error:
            # The library says "unexpected keyword argument 'name'".
            named = re.search(r"argument ('\w+')", str(error))
            raise RedisUnusable(
                f"the Redis URL has an option that cannot be used: {named[1] if named else error}"
            ) from None

    def link(self, name: str) -> "Link":
        """A connection of its own, not yet open; `name` is what `CLIENT LIST` shows of it."""
        return Link(self._class(**self._arguments, client_name=f"slotcast-{name}"))

    async def check(self) -> None:
        """Raises `RedisUnusable` for a server that would never do, `Refused(unavailable)` when none answers."""
        link = self.link("check")
        try:
            async with asyncio.timeout(limits.directory_timeout_s):
                await link.open()
                sections = [await link.call("INFO", section) for section in ("server", "cluster", "replication")]
        except (AuthenticationError, AuthorizationError, NoPermissionError) as error:
            raise RedisUnusable(f"Redis does not let us in: {error}") from error
        except LOST as error:
            raise Refused("unavailable", f"Redis cannot be reached: {describe(error)}") from error
        finally:
            await link.close()
        _check_info(b"".join(sections).decode(errors="replace"))


class Link:
    """One connection. Whoever sees it fail closes it; `open` makes it anew."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def open(self) -> None:
        async with asyncio.timeout(limits.directory_timeout_s):
            await self._connection.connect()

    @property
    def is_open(self) -> bool:
        return self._connection.is_connected

    async def call(self, *command: str | bytes | int) -> Any:
        """Sends one command and returns the answer. Raises one of `LOST`."""
        await self.send([command])
        return await self.receive()

    async def send(self, commands: Iterable[tuple[str | bytes | int, ...]]) -> None:
        """Writes all at once; each has to be answered by a `receive`."""
        if not self.is_open:
            raise RedisConnectionError("the connection is closed")
        async with asyncio.timeout(limits.directory_timeout_s):
            await self._connection.send_packed_command(self._connection.pack_commands(commands))

    async def receive(self) -> Any:
        """The next answer."""
        async with asyncio.timeout(limits.directory_timeout_s):
            return await self._connection.read_response()

    async def message(self, wait_s: float) -> Any:
        """The next message of a subscription; `None` when none came, and the connection is as good as before."""
        return await self._connection.read_response(timeout=wait_s)

    async def close(self) -> None:
        """At once, whatever is under way."""
        with suppress(*LOST):
            await self._connection.disconnect(nowait=True)


class Backoff:
    """Growing pauses between attempts, uneven so that nodes do not come back in step."""

    def __init__(self) -> None:
        self._next_s = _BACKOFF_FIRST_S

    async def pause(self) -> None:
        pause_s, self._next_s = self._next_s, min(2 * self._next_s, _BACKOFF_MAX_S)
        await asyncio.sleep(pause_s * (0.75 + 0.25 * random()))

    def reset(self) -> None:
        self._next_s = _BACKOFF_FIRST_S


def key_prefix(database_id: str) -> str:
    """What all keys and channels of one database begin with; the braces keep its keys in one slot."""
    return f"slotcast:{{{database_id}}}:"


def describe(error: BaseException) -> str:
    """For logs; some of the errors of lost connections have no text."""
    return str(error) or type(error).__name__


def _connection_arguments(url: str) -> dict[str, Any]:
    """Of the connection, from the URL. Never repeats the URL: it may hold a password."""
    scheme = url.partition("://")[0].lower()
    if "sentinel" in scheme or "cluster" in scheme:
        raise RedisUnusable(f"{scheme}:// is not supported: Slotcast needs the URL of one Redis primary (redis://…)")
    if scheme not in _SCHEMES:
        raise RedisUnusable("the Redis URL must begin with redis://, rediss:// or unix://")
    try:
        path = urlsplit(url).path
        arguments: dict[str, Any] = dict(parse_url(url))
    except ValueError:
        # What was wrong with it may be a piece of the password.
        raise RedisUnusable("the Redis URL cannot be read; is a sign in its password not percent-encoded?") from None
    if scheme == "unix" and not path:
        raise RedisUnusable("the Redis URL names no socket: unix:///path/to/redis.sock")
    if scheme != "unix" and not re.fullmatch(r"/?\d*", path):
        raise RedisUnusable("the Redis URL must end with the number of a database, or nothing: redis://host:6379/0")
    return arguments | {
        # `Link` has its own: the library's would, now and then, swallow that a task was cancelled.
        "socket_timeout": None,
        "socket_connect_timeout": limits.directory_timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "health_check_interval": 0,
        "decode_responses": False,
        # Messages of a subscription are plain answers in version 2.
        "protocol": 2,
        # It would cost each connection two more round trips.
        "driver_info": None,
    }


def _check_info(info: str) -> None:
    facts = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    version = facts.get("redis_version", "0")
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < _OLDEST:
        raise RedisUnusable(f"this is Redis {version}; Slotcast needs 6.2 or newer")
    if facts.get("cluster_enabled") == "1":
        # There PUBLISH tells only of receivers on the same server.
        raise RedisUnusable("this Redis runs in cluster mode; Slotcast needs a single primary")
    if facts.get("role", "master") != "master":
        raise RedisUnusable("this Redis is a replica; Slotcast needs its primary")

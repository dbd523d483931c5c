"""The directory on Redis: one script for each operation, so that each is atomic and goes by the clock of Redis alone.

A call that was not answered in time may be carried out later all the same. Nothing that rests on the directory may
mind: what it says about owners is settled by the epochs in Postgres.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from actors.cluster.ports import Directory, Lease, Member, Sight
from protocol import limits
from protocol.errors import Refused
from protocol.ids import new_id
from storage.redis_client import LOST, Backoff, Link, RedisServer, describe

log = logging.getLogger("slotcast.directory")

LUA_DIR: Final = Path(__file__).parent / "lua"
_MARKS: Final = 14
"""What stands before the member in its value: when it expires, and a mark."""
_DRAIN: Final = ord("D")
_HEARD_EVERY_S: Final = 5.0
"""After such a silence the subscription is asked whether it lives, after a second one it is made anew."""


class Record(msgspec.Struct, frozen=True, array_like=True):
    """A lease as the scripts keep it; they know of one more field."""

    epoch: int
    node: str
    heir: str


_members: Final = msgspec.msgpack.Decoder(Member)
_records: Final = msgspec.msgpack.Decoder(Record)


class Script(NamedTuple):
    text: str
    sha: str


@cache
def script(name: str) -> Script:
    text = (LUA_DIR / "common.lua").read_text() + (LUA_DIR / f"{name}.lua").read_text()
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class RedisDirectory(Directory):
    """`lease_ttl_s` is for how long a beat of this node counts; `grace_s` for how long what it releases is kept for
    the heir, two beats if not given.
    """

    def __init__(self, server: RedisServer, prefix: str, lease_ttl_s: float, grace_s: float | None = None) -> None:
        self._link = server.link("directory")
        self._subscription = server.link("notices")
        self._keys = (prefix + "members", prefix + "leases")
        self._notices = prefix + "notices"
        self._ttl_ms = round(1000 * lease_ttl_s)
        self._grace_ms = round(1000 * (0.4 * lease_ttl_s if grace_s is None else grace_s))
        self._me = new_id()
        self._lock = asyncio.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._known = ""
        self._leases: dict[int, Lease] = {}

    async def start(self) -> None:
        self._task = asyncio.create_task(self._listen(), name="directory notices")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._subscription.close()
        await self._link.close()

    def on_notice(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    async def beat(self, me: Member, owned: Mapping[int, int]) -> Sight:
        member = msgspec.msgpack.encode(me)
        fresh = new_id()
        return await self._sight("beat", me.id, member, self._ttl_ms, fresh, *chain.from_iterable(owned.items()))

    async def look(self) -> Sight:
        return await self._sight("look")

    async def claim(self, node: str, shards: Sequence[int]) -> dict[int, Lease]:
        granted = await self._run("claim", self._me, node, *shards)
        return {int(s): Lease(node, int(e)) for s, e in zip(granted[::2], granted[1::2], strict=True)}

    async def hand_over(self, node: str, heirs: Mapping[int, str]) -> None:
        await self._run("hand_over", node, *chain.from_iterable(heirs.items()))

    async def release(self, node: str, shards: Collection[int]) -> None:
        await self._run("release", self._me, node, self._grace_ms, *shards)

    async def leave(self, node: str) -> None:
        await self._run("leave", self._me, node)

    async def request_drain(self, member: str) -> bool:
        return bool(await self._run("request_drain", self._me, member))

    # Asking

    async def _run(self, name: str, *arguments: str | bytes | int) -> Any:
        try:
            async with asyncio.timeout(limits.directory_timeout_s), self._lock:
                return await self._ask(script(name), *arguments)
        except LOST as error:
            raise Refused("unavailable", f"the directory did not answer: {describe(error)}") from error

    async def _ask(self, script: Script, *arguments: str | bytes | int) -> Any:
        """Asks once more on a new connection when the old one turns out to be closed: Redis may be back for long.

        Every operation may be done twice.
        """
        rest = (len(self._keys), *self._keys, self._notices, *arguments)
        was_open = self._link.is_open
        try:
            return await self._evaluate(script, *rest)
        except RedisConnectionError:
            if not was_open:
                raise
            return await self._evaluate(script, *rest)

    async def _evaluate(self, script: Script, *rest: str | bytes | int) -> Any:
        try:
            if not self._link.is_open:
                await self._link.open()
            try:
                return await self._link.call("EVALSHA", script.sha, *rest)
            except NoScriptError:
                return await self._link.call("EVAL", script.text, *rest)
        except BaseException:
            # Its answer may still come, and would be taken for that of the next call.
            await self._link.close()
            raise

    async def _sight(self, name: str, *arguments: str | bytes | int) -> Sight:
        incarnation, change, members, leases = await self._run(name, self._known, *arguments)
        try:
            if leases is not None:
                fields = zip(leases[::2], leases[1::2], strict=True)
                self._leases = {int(f): _lease(v) for f, v in fields if not f.startswith(b".")}
        except msgspec.MsgspecError as error:
            raise Refused("unavailable", f"the directory holds what cannot be read: {error}") from error
        found = {m.id: m for m in map(_member, members[1::2]) if m is not None}
        self._known = f"{incarnation.decode()}:{change.decode()}"
        drains = frozenset(
            i.decode() for i, v in zip(members[::2], members[1::2], strict=True) if v[_MARKS - 1] == _DRAIN
        )
        return Sight(found, self._leases, incarnation.decode(), drains)

    # Notices

    async def _listen(self) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._hear(self._subscription, backoff)
            except LOST as error:
                log.debug("no notices: %s", describe(error))
            except Exception:
                log.exception("notices went wrong")
            await self._subscription.close()
            await backoff.pause()

    async def _hear(self, link: Link, backoff: Backoff) -> None:
        await link.open()
        await link.call("SUBSCRIBE", self._notices)
        backoff.reset()
        # Whatever happened while nobody listened.
        self._notify()
        asked = False
        while True:
            heard = await link.message(_HEARD_EVERY_S)
            if heard is None:
                if asked:
                    raise TimeoutError("the subscription is silent")
                await link.send([("PING",)])
            elif heard[0] == b"message" and heard[2] != self._me.encode():
                self._notify()
            asked = heard is None

    def _notify(self) -> None:
        for callback in self._callbacks:
            try:
                callback()
            except Exception:
                log.exception("a notice was not taken well")


def _member(packed: bytes) -> Member | None:
    """A node that says of itself what cannot be read here is as good as not there: it must not stop the others."""
    try:
        return _members.decode(packed[_MARKS:])
    except msgspec.MsgspecError as error:
        log.warning("a member cannot be read: %s", error)
        return None


def _lease(packed: bytes) -> Lease:
    record = _records.decode(packed)
    return Lease(record.node, record.epoch, record.heir)

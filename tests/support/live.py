"""Live clients for tests: one that keeps a replica of what it watches, and one that speaks raw frames."""

import asyncio
import base64
import os
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import jsonschema
import orjson
from aiohttp import WSMsgType

PROTOCOL = "slotcast.v1"
PATH = "/api/v1/live"
PATIENCE_S = 10.0


class Contract:
    """`/asyncapi.json`, against which one message of every shape is checked."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.seen: Counter[str] = Counter()
        self._shapes: set[tuple[str, ...]] = set()

    def check(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        self.seen[kind] += 1
        shape = (kind, *sorted(message))
        if shape in self._shapes:
            return
        self.validate(message)
        self._shapes.add(shape)

    def validate(self, message: dict[str, Any]) -> None:
        payload = self.document["components"]["messages"][message["type"]]["payload"]
        schema = {**payload, "components": self.document["components"]}
        jsonschema.Draft202012Validator(schema).validate(message)


class Replica:
    """One view, kept by the client rules of `protocol.live.Delta`."""

    def __init__(self, view: str, professional_id: str) -> None:
        self.view = view
        self.professional_id = professional_id
        self.version = -1
        self.time_zone = ""
        self.slots: dict[str, dict[str, Any]] = {}
        self.snapshots = 0
        self.deltas: list[dict[str, Any]] = []
        self.gaps: list[tuple[int, int]] = []

    def take(self, message: dict[str, Any]) -> None:
        if message["type"] == "snapshot":
            self.snapshots += 1
            self.version = message["version"]
            self.time_zone = message["time_zone"]
            starts = [slot["start"] for slot in message["slots"]]
            assert starts == sorted(set(starts)), "a snapshot lists each start once, in order"
            self.slots = {slot["start"]: slot for slot in message["slots"]}
            return
        self.deltas.append(message)
        if message["from_version"] > self.version:
            self.gaps.append((self.version, message["from_version"]))
            return
        self.version = message["version"]
        for slot in message["changes"]:
            self.slots[slot["start"]] = slot
        for start in message.get("removed", ()):
            del self.slots[start]

    def state(self, start: str) -> str | None:
        slot = self.slots.get(start)
        return slot["state"] if slot else None

    def starts(self, state: str) -> list[str]:
        return sorted(s for s, slot in self.slots.items() if slot["state"] == state)


class LiveClient:
    """A WebSocket client. `views` holds the replicas by name and survives a reconnect."""

    def __init__(
        self, http: aiohttp.ClientSession, url: str, contract: Contract | None = None, *, origin: str | None = None
    ) -> None:
        self._http = http
        self._url = url
        self._contract = contract
        self._origin = origin
        self._serial = 0
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self.ws: aiohttp.ClientWebSocketResponse
        self._sent: dict[str, dict[str, Any]] = {}
        self.messages: list[dict[str, Any]] = []
        self.views: dict[str, Replica] = {}
        self.close_code: int | None = None
        self.violations: list[str] = []

    async def connect(self, ticket: str | None = None) -> "LiveClient":
        """Connects, or connects anew; what was watched is not subscribed again by itself."""
        await self.close()
        self.messages.clear()
        self._sent.clear()
        self.close_code = None
        self.ws = await self._http.ws_connect(
            self._url + PATH,
            protocols=(PROTOCOL,),
            compress=0,
            max_msg_size=0,
            params={"ticket": ticket} if ticket is not None else None,
            origin=self._origin,
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def _read(self) -> None:
        async for message in self.ws:
            assert message.type is WSMsgType.TEXT, message
            self._take(orjson.loads(message.data))
            self._changed.set()
        self.close_code = self.ws.close_code
        self._changed.set()

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        self._check(message)
        if kind == "subscribed" or (kind == "reply" and message["ok"]):
            # What the server has accepted is what its description must allow.
            self._check(self._sent[message["id"]])
        self.messages.append(message)
        if kind == "subscribed":
            self.views.setdefault(message["view"], Replica(message["view"], message["professional_id"]))
        elif kind in ("snapshot", "delta"):
            self.views[message["view"]].take(message)

    def _check(self, message: dict[str, Any]) -> None:
        if self._contract is not None:
            try:
                self._contract.check(message)
            except jsonschema.ValidationError as error:
                self.violations.append(f"{message}: {error.message}")

    # Asking

    async def send(self, kind: str, **fields: Any) -> str:
        """Sends one message; its id."""
        message_id = fields.pop("id", None)
        if message_id is None:
            self._serial += 1
            message_id = f"m{self._serial}"
        fields = {k.rstrip("_"): v for k, v in fields.items() if v is not None}
        message = self._sent[message_id] = {"type": kind, "id": message_id, **fields}
        await self.ws.send_str(orjson.dumps(message).decode())
        return message_id

    async def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Sends one message and returns its reply."""
        before = len(self.messages)
        message_id = await self.send(kind, **fields)
        return await self.next(lambda m: m["type"] == "reply" and m["id"] == message_id, before=before)

    async def done(self, kind: str, **fields: Any) -> Any:
        """The `result` of a command that must succeed."""
        reply = await self.ask(kind, **fields)
        assert reply["ok"], reply
        return reply.get("result")

    async def problem(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The `problem` of a message that must be refused."""
        reply = await self.ask(kind, **fields)
        assert not reply["ok"], reply
        return reply["problem"]

    async def subscribe(self, **fields: Any) -> dict[str, Any]:
        """The `subscribed` of a subscription that must succeed, once its snapshot is there or it is recovered."""
        before = len(self.messages)
        message_id = await self.send("subscribe", **fields)
        found = await self.next(lambda m: m["type"] in ("subscribed", "reply") and m["id"] == message_id, before=before)
        assert found["type"] == "subscribed", found
        if not found["recovered"]:
            await self.next(lambda m: m["type"] == "snapshot" and m["view"] == found["view"], before=before)
        return found

    async def watch(self, place: Any, days: int = 1, **more: Any) -> Replica:
        """A replica of a place's service from its first day on."""
        replica, _ = await self.rewatch(place, days, **more)
        return replica

    async def rewatch(self, place: Any, days: int = 1, **more: Any) -> tuple[Replica, dict[str, Any]]:
        fields = {
            "professional_id": place.professional_id,
            "service_id": place.service_id,
            "from": place.day,
            "to": place.at(0, day=days - 1)[:10],
            **more,
        }
        told = await self.subscribe(**fields)
        return self.views[told["view"]], told

    # Waiting

    async def until(self, true: Callable[[], Any], timeout_s: float = PATIENCE_S, why: str = "") -> Any:
        """Waits until a condition holds, judged after every message."""
        try:
            async with asyncio.timeout(timeout_s):
                while not (found := true()):
                    assert self.close_code is None, f"closed with {self.close_code}; {self.messages[-3:]}"
                    self._changed.clear()
                    await self._changed.wait()
                return found
        except TimeoutError:
            raise AssertionError(f"{why or 'it'} did not come; last: {self.messages[-3:]}") from None

    async def next(
        self, wanted: Callable[[dict[str, Any]], bool], timeout_s: float = PATIENCE_S, *, before: int = 0
    ) -> dict[str, Any]:
        """The first message of this connection that is wanted, whether it has come already or not.

        The first `before` messages are left out.
        """
        at = before

        def find() -> dict[str, Any] | None:
            nonlocal at
            while at < len(self.messages):
                message = self.messages[at]
                at += 1
                if wanted(message):
                    return message
            return None

        return await self.until(find, timeout_s)

    async def closed(self, timeout_s: float = PATIENCE_S) -> int:
        """The code the server closes with."""
        assert self._reader is not None
        await asyncio.wait_for(asyncio.shield(self._reader), timeout_s)
        assert self.close_code is not None
        return self.close_code

    async def close(self) -> None:
        if self._reader is not None:
            await self.ws.close()
            await self._reader

    def drop(self) -> None:
        """The connection is gone at once, without goodbye."""
        transport = self.ws._response.connection.transport  # type: ignore[union-attr]
        transport.abort()  # type: ignore[union-attr]


class RawSocket:
    """A WebSocket client that sends whatever bytes it is told and reads only when asked."""

    TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._buffer = bytearray()
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def open(cls, url: str, *, query: str = "", receive_buffer: int | None = None) -> "RawSocket":
        """Upgraded, from a page of the server's own origin."""
        where = urlsplit(url)
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        raw = cls(sock)
        await raw._loop.sock_connect(sock, (where.hostname, where.port))
        key = base64.b64encode(os.urandom(16)).decode()
        await raw.send(
            f"GET {PATH}{query} HTTP/1.1\r\nHost: {where.netloc}\r\nOrigin: {url}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in raw._buffer:
            await raw._more()
        head, _, rest = bytes(raw._buffer).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        raw._buffer[:] = rest
        return raw

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.socket, data)

    @staticmethod
    def frame(
        opcode: int, payload: bytes, *, final: bool = True, mask: bool = True, length: int | None = None
    ) -> bytes:
        """`length` is what the header claims, where that is not the truth."""
        n = len(payload) if length is None else length
        first, bit = opcode | (0x80 if final else 0), 0x80 if mask else 0
        if n < 126:
            head = struct.pack("!BB", first, bit | n)
        elif n < 1 << 16:
            head = struct.pack("!BBH", first, bit | 126, n)
        else:
            head = struct.pack("!BBQ", first, bit | 127, n)
        # A mask of zeros leaves the payload as it is.
        return head + (b"\0\0\0\0" if mask else b"") + payload

    async def say(self, message: Any, **more: Any) -> None:
        data = message if isinstance(message, bytes) else orjson.dumps(message)
        await self.send(self.frame(self.TEXT, data, **more))

    async def _more(self, timeout_s: float = PATIENCE_S) -> None:
        data = await asyncio.wait_for(self._loop.sock_recv(self.socket, 1 << 16), timeout_s)
        if not data:
            raise ConnectionResetError("the server has hung up")
        self._buffer += data

    async def receive(self, timeout_s: float = PATIENCE_S) -> tuple[int, bytes]:
        """The next frame's opcode and payload. Raises `ConnectionError` at the end."""
        while True:
            found = self._parse()
            if found is not None:
                return found
            await self._more(timeout_s)

    def _parse(self) -> tuple[int, bytes] | None:
        b = self._buffer
        if len(b) < 2:
            return None
        assert not b[1] & 0x80, "a server does not mask"
        assert b[0] & 0x80, "this server does not fragment"
        assert not b[0] & 0x70, "nothing was negotiated that uses these bits"
        n, at = b[1] & 0x7F, 2
        if n == 126:
            n, at = int.from_bytes(b[2:4], "big"), 4
        elif n == 127:
            n, at = int.from_bytes(b[2:10], "big"), 10
        if len(b) < at + n or at > len(b):
            return None
        opcode, payload = b[0] & 0xF, bytes(b[at : at + n])
        del b[: at + n]
        return opcode, payload

    async def messages(self, timeout_s: float = PATIENCE_S) -> AsyncIterator[dict[str, Any]]:
        """The JSON messages up to a close frame."""
        while True:
            opcode, payload = await self.receive(timeout_s)
            if opcode == self.CLOSE:
                return
            if opcode == self.TEXT:
                yield orjson.loads(payload)

    async def reply(self, message_id: str = "") -> dict[str, Any]:
        async for message in self.messages():
            if message["type"] == "reply" and message["id"] == message_id:
                return message
        raise AssertionError("closed before the reply")

    async def close_code(self, timeout_s: float = PATIENCE_S) -> int | None:
        """The code the server closes with; `None` when it hangs up without one."""
        try:
            while True:
                opcode, payload = await self.receive(timeout_s)
                if opcode == self.CLOSE:
                    return int.from_bytes(payload[:2], "big")
        except ConnectionError:
            return None

    def reset(self) -> None:
        """Hangs up with RST, as a process that was killed."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

"""An answer of the edge: status, headers and a whole body, which leave in one write.

The framework's own response prepares headers in a multi-dict and asks what the body may be; here all of that is known.
"""

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

_HTTP_1_0: Final = (1, 0)
ALWAYS: Final = {"X-Content-Type-Options": "nosniff", "Vary": "Origin"}
"""Headers of every answer."""
_HSTS: Final = f"max-age={365 * 24 * 3600}"


def _status_lines() -> dict[int, str]:
    """How an answer begins, up to its date."""
    always = "".join(f"{name}: {value}\r\n" for name, value in ALWAYS.items())
    return {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\nServer: slotcast\r\n{always}Date: " for s in HTTPStatus}


_begin: Final = _status_lines()


def say_hsts(wanted: bool) -> None:
    """Whether browsers are told to come by TLS from now on. The process has one answer to that."""
    ALWAYS.pop("Strict-Transport-Security", None)
    if wanted:
        ALWAYS["Strict-Transport-Security"] = _HSTS
    _begin.update(_status_lines())


_NO_BODY: Final = (204, 304)

_second = 0
_date = ""


def _date_now() -> str:
    """The `Date` header's value; it is the same for a second."""
    global _second, _date
    now = int(time.time())
    if now != _second:
        _second, _date = now, formatdate(now, usegmt=True)
    return _date


class Answer(web.StreamResponse):
    """`headers` are those beside `ALWAYS`, `Server`, `Date`, `Content-Length` and `Connection`, which it writes."""

    def __init__(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        # What the base class would set up is for streaming, and never used here.
        self.body = body
        self.fields = headers or {}
        self._code = status
        self._close = False
        self._request: web.BaseRequest | None = None
        self._alive: bool | None = None

    def __repr__(self) -> str:
        return f"<Answer {self._code}, {len(self.body)} bytes>"

    @property
    def status(self) -> int:
        return self._code

    @property
    def keep_alive(self) -> bool | None:
        return self._alive

    def force_close(self) -> None:
        self._close = True

    @property
    def prepared(self) -> bool:
        return self._request is not None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        self._request = request
        self._alive = self.kept(request)
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        assert not data, "the body is known already"
        request = self._request
        assert request is not None
        # It waits while the peer does not read: whoever asks without reading must not fill the memory with answers.
        await request.writer.write_eof(self.whole(request))

    def kept(self, request: web.BaseRequest) -> bool:
        """Whether the connection is there for another request."""
        return bool(request.keep_alive) and not self._close

    def whole(self, request: web.BaseRequest) -> bytes:
        """Every byte of it, as an answer to that request."""
        body = self.body
        head = [_begin[self._code], _date_now()]
        for name, value in self.fields.items():
            if not value.isprintable() and ("\r" in value or "\n" in value or "\0" in value):
                raise ValueError(f"the header {name} would end early")
            head.append(f"\r\n{name}: {value}")
        if self._code not in _NO_BODY:
            head.append(f"\r\nContent-Length: {len(body)}")
        if not self.kept(request):
            head.append("\r\nConnection: close")
        elif request.version == _HTTP_1_0:
            head.append("\r\nConnection: keep-alive")
        head.append("\r\n\r\n")
        whole = "".join(head).encode("utf-8", "surrogateescape")
        if self._code not in _NO_BODY and request.method != "HEAD":
            whole += body
        return whole

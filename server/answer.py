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
_STATUS_LINES: Final = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\nServer: slotcast\r\nDate: " for s in HTTPStatus}
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
    """`headers` are those beside `Server`, `Date`, `Content-Length` and `Connection`, which it writes itself."""

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
        self._alive = request.keep_alive and not self._close
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        assert not data, "the body is known already"
        request = self._request
        assert request is not None
        body = self.body
        head = [_STATUS_LINES[self._code], _date_now()]
        for name, value in self.fields.items():
            if "\r" in value or "\n" in value or "\0" in value:
                raise ValueError(f"the header {name} would end early")
            head.append(f"\r\n{name}: {value}")
        if self._code not in _NO_BODY:
            head.append(f"\r\nContent-Length: {len(body)}")
        if not self._alive:
            head.append("\r\nConnection: close")
        elif request.version == _HTTP_1_0:
            head.append("\r\nConnection: keep-alive")
        head.append("\r\n\r\n")
        whole = "".join(head).encode("utf-8", "surrogateescape")
        if self._code not in _NO_BODY and request.method != "HEAD":
            whole += body
        # It waits while the peer does not read: whoever asks without reading must not fill the memory with answers.
        await request.writer.write_eof(whole)

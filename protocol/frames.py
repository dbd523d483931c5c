"""One message, encoded once, in the forms its carriers need: a WebSocket text frame and a server-sent event."""

import struct


def text_frame(payload: bytes) -> bytes:
    """An unmasked, unfragmented, uncompressed WebSocket text frame (RFC 6455, section 5.2)."""
    n = len(payload)
    if n < 126:
        return bytes((0x81, n)) + payload
    if n < 1 << 16:
        return struct.pack("!BBH", 0x81, 126, n) + payload
    return struct.pack("!BBQ", 0x81, 127, n) + payload


class Frame:
    """A message for many: shared by all who watch a view, in whatever way they are connected."""

    __slots__ = ("_sse", "_version", "payload", "ws")

    def __init__(self, payload: bytes, version: int | None = None) -> None:
        self.payload = payload
        self._version = version
        self.ws = text_frame(payload)
        self._sse: bytes | None = None

    @property
    def sse(self) -> bytes:
        """`data:` and the JSON, which has no line breaks; `id:` is the version, which browsers send back as
        `Last-Event-ID` (WHATWG HTML, section 9.2).
        """
        if self._sse is None:
            id_line = b"" if self._version is None else b"id: %d\n" % self._version
            self._sse = id_line + b"data: " + self.payload + b"\n\n"
        return self._sse

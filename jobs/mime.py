"""Texts as they travel in a mail (RFC 2045 to 2047): seven bits a byte, short lines, nothing that a relay would change.

Made by hand, because the mails of a server differ in a few words, and going through headers as a tree for each cost
most of what a message costs.
"""

import binascii
import re
from typing import Final

_WORD_BYTES_MAX: Final = 39
"""Of one encoded word: its line stays below 76 characters."""
_PLAIN_CHARS_MAX: Final = 60
_LINE_BYTES_MAX: Final = 900
"""SMTP takes 998."""
_BASE64_LINE_BYTES: Final = 57
_LINE_END: Final = re.compile("\r\n|\r|\n")


def pieces(data: bytes, size: int) -> list[bytes]:
    """Of UTF-8, `size` bytes each at most, which is 4 or more; no character is cut."""
    found: list[bytes] = []
    start = 0
    while start < len(data):
        end = min(start + size, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        found.append(data[start:end])
        start = end
    return found


def unstructured(text: str) -> str:
    """One line of text as the value of a header."""
    return text if text.isascii() and len(text) <= _PLAIN_CHARS_MAX else _words(text)


def phrase(text: str) -> str:
    """The name before an address."""
    if text.isascii() and len(text) <= _PLAIN_CHARS_MAX:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return _words(text)


def _words(text: str) -> str:
    encoded = (binascii.b2a_base64(p, newline=False).decode() for p in pieces(text.encode(), _WORD_BYTES_MAX))
    return "\r\n ".join(f"=?utf-8?b?{word}?=" for word in encoded)


def part(kind: str, text: str, disposition: str | None = None) -> bytes:
    """Headers and body of a part that is text: as it is where that goes, else in the shorter of two ways."""
    text = _LINE_END.sub("\r\n", text)
    body = text.encode()
    if body.isascii() and b"\0" not in body and max(map(len, body.split(b"\r\n"))) <= _LINE_BYTES_MAX:
        how = "7bit"
    elif 10 * (len(body) - len(text)) < len(body):
        how, body = "quoted-printable", binascii.b2a_qp(body)
    else:
        how, body = "base64", _base64(body)
    head = f'Content-Type: {kind}; charset="utf-8"\r\nContent-Transfer-Encoding: {how}\r\n'
    if disposition is not None:
        head += f"Content-Disposition: {disposition}\r\n"
    return head.encode() + b"\r\n" + body


def _base64(body: bytes) -> bytes:
    size = _BASE64_LINE_BYTES
    lines = (binascii.b2a_base64(body[n : n + size], newline=False) for n in range(0, len(body), size))
    return b"\r\n".join(lines)


def multipart(kind: str, boundary: str, parts: list[bytes]) -> bytes:
    head = f'Content-Type: multipart/{kind};\r\n boundary="{boundary}"\r\n\r\n'.encode()
    mark = f"--{boundary}".encode()
    return head + b"".join(mark + b"\r\n" + one + b"\r\n" for one in parts) + mark + b"--\r\n"

"""What may not stand readable in the queue: codes, and whom they go to."""

import base64
import os
from collections.abc import Mapping
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES: Final = 12


class Secret(msgspec.Struct, frozen=True):
    to: str
    fields: dict[str, str]


_decode = msgspec.json.Decoder(Secret).decode


class Sealed:
    """`key` is 32 bytes that all nodes share."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, to: str, fields: Mapping[str, str]) -> str:
        nonce = os.urandom(_NONCE_BYTES)
        text = msgspec.json.encode(Secret(to, dict(fields)))
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, text, None)).decode()

    def open(self, sealed: str) -> Secret:
        """Raises `ValueError` for what was sealed by another key."""
        raw = base64.b64decode(sealed)
        try:
            return _decode(self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None))
        except InvalidTag:
            raise ValueError("it was sealed with another secret") from None

"""Keys that sign access tokens, from PEM files: Ed25519 signs as EdDSA, RSA as RS256.

Files are read again every few seconds, so that keys change without a restart. A key that has come new verifies at once
and signs a while later: by then every other node has read it too.
"""

import asyncio
import base64
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from server.auth import Auth
from server.keyring import Key, KeyRing

log = logging.getLogger("slotcast.keys")

LOOK_EVERY_S: Final = 15.0
_LOOKS_BEFORE_SIGNING: Final = 2
"""Looks at which a new key only verifies: other nodes look as often, and may have got it up to one look later."""
_FILES_MAX: Final = 32
_FILE_BYTES_MAX: Final = 32 * 1024
_RSA_BITS_MIN: Final = 2048


def read_keys(where: str) -> list[Key]:
    """The keys of a directory, or of files by commas; the first one signs. Raises `ValueError` or `OSError`.

    Of a directory's files, `*.pem`, the last by name that holds a private key signs. Of listed files, the first does.
    """
    if not where:
        return []
    directory = Path(where)
    if directory.is_dir():
        files = sorted(directory.glob("*.pem"), reverse=True)
    else:
        files = [Path(part.strip()) for part in where.split(",") if part.strip()]
    if len(files) > _FILES_MAX:
        raise ValueError(f"more than {_FILES_MAX} files")
    keys = {key.id: key for key in map(_read, files)}
    found = sorted(keys.values(), key=lambda key: key.signs is None)
    if not found or found[0].signs is None:
        raise ValueError(f"there is no private key in {where}")
    return found


def _read(path: Path) -> Key:
    if path.stat().st_size > _FILE_BYTES_MAX:
        raise ValueError(f"{path} is no key")
    pem = path.read_bytes()
    private: Any = None
    try:
        if b"PRIVATE KEY" in pem:
            private = load_pem_private_key(pem, None)
            public: Any = private.public_key()
        else:
            public = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(f"{path} holds no key in PEM without password") from None
    if isinstance(public, RSAPublicKey) and public.key_size < _RSA_BITS_MIN:
        raise ValueError(f"{path}: RSA keys need {_RSA_BITS_MIN} bits or more")
    if not isinstance(private, Ed25519PrivateKey | RSAPrivateKey | None):
        raise ValueError(f"{path}: only Ed25519 and RSA keys can sign")
    if not isinstance(public, Ed25519PublicKey | RSAPublicKey):
        raise ValueError(f"{path}: only Ed25519 and RSA keys can sign")
    return Key(thumbprint(public), "EdDSA" if isinstance(public, Ed25519PublicKey) else "RS256", public, private)


def public_jwk(key: Key) -> dict[str, str]:
    """The public half as others read it (RFC 7517)."""
    return {**_members(key.verifies), "kid": key.id, "alg": key.algorithm, "use": "sig"}


def thumbprint(public: Ed25519PublicKey | RSAPublicKey) -> str:
    """The key's name, which is the same wherever it lies (RFC 7638)."""
    members = json.dumps(_members(public), sort_keys=True, separators=(",", ":"))
    return _encoded(hashlib.sha256(members.encode()).digest())


def _members(public: Ed25519PublicKey | RSAPublicKey) -> dict[str, str]:
    if isinstance(public, Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": _encoded(public.public_bytes(Encoding.Raw, PublicFormat.Raw))}
    numbers = public.public_numbers()
    return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}


def _number(value: int) -> str:
    return _encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def ring_of(where: str, secret: str) -> KeyRing:
    """Raises `ValueError` or `OSError`."""
    keys = read_keys(where)
    return KeyRing(keys) if keys else KeyRing.of_secret(secret)


class KeyFiles:
    """Follows the files while the node runs."""

    def __init__(self, where: str, auth: Auth) -> None:
        self._where = where
        self._auth = auth
        self._looks = {key.id: _LOOKS_BEFORE_SIGNING for key in read_keys(where)}

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._where:
                await self.look()

    async def look(self) -> None:
        """Takes the keys that are there now. Files that are wrong are told of, and what was read before stays."""
        try:
            found = await asyncio.to_thread(read_keys, self._where)
        except (ValueError, OSError) as error:
            log.error("the keys for tokens cannot be read, and stay as they are: %s", error)
            return
        before = self._looks
        self._looks = {key.id: before.get(key.id, 0) + 1 for key in found}
        ready = [key for key in found if key.signs is not None and before.get(key.id, 0) >= _LOOKS_BEFORE_SIGNING]
        # Without one that every node knows, the newest has to do.
        self._take(sorted(found, key=lambda key: key is not (ready or found)[0]))

    def _take(self, keys: Sequence[Key]) -> None:
        if [key.id for key in keys] != [key.id for key in self._auth.keys]:
            self._auth.change_keys(KeyRing(keys))
            log.warning("tokens are signed with key %s now; %s keys verify", keys[0].id, len(keys))

"""The keys that sign access tokens, and the one form those tokens have.

A key is named by its `kid`, and the key alone says which algorithm it is good for: what the token's header claims is
compared, never followed.
"""

import hashlib
import time
from collections.abc import Sequence
from typing import Any, Final

import jwt
import msgspec

from protocol import limits
from protocol.errors import Refused

ISSUER: Final = "slotcast"
AUDIENCE: Final = "slotcast-api"
TYPE: Final = "at+jwt"

_REQUIRED: Final = ["exp", "iat", "iss", "aud", "sub", "jti"]


class Key(msgspec.Struct, frozen=True):
    """`signs` is absent for a key that is kept only until the last token it signed has expired."""

    id: str
    algorithm: str
    verifies: Any
    signs: Any = None


class KeyRing:
    """The first key signs; all of them verify."""

    def __init__(self, keys: Sequence[Key]) -> None:
        assert keys[0].signs is not None, "the first key signs"
        self._first = keys[0]
        self._keys = {key.id: key for key in keys}

    @property
    def keys(self) -> list[Key]:
        return list(self._keys.values())

    @classmethod
    def of_secret(cls, secret: str) -> "KeyRing":
        """One key, shared by all nodes."""
        key = secret.encode()
        return cls([Key(hashlib.sha256(b"kid" + key).hexdigest()[:8], "HS256", key, key)])

    def sign(self, claims: dict[str, Any], kind: str = TYPE) -> str:
        """A token with these claims; issuer, audience and time of issue are added. `kind` is its type."""
        first = self._first
        whole = {"iss": ISSUER, "aud": AUDIENCE, "iat": int(time.time()), **claims}
        return jwt.encode(whole, first.signs, first.algorithm, headers={"typ": kind, "kid": first.id})

    def verify(self, token: str, kind: str = TYPE) -> dict[str, Any]:
        """The claims of a token of ours of that kind. Raises `Refused(unauthorized)`."""
        if len(token) > limits.token_chars_max:
            raise Refused("unauthorized", "the token is not valid")
        try:
            header = jwt.get_unverified_header(token)
            kid = header.get("kid")
            key = self._keys.get(kid) if isinstance(kid, str) else None
            if key is None or header.get("typ") != kind or header.get("alg") != key.algorithm:
                raise Refused("unauthorized", "the token is not one of this server's")
            return jwt.decode(
                token,
                key.verifies,
                algorithms=[key.algorithm],
                issuer=ISSUER,
                audience=AUDIENCE,
                options={"require": _REQUIRED, "verify_iat": True},
            )
        except jwt.ExpiredSignatureError:
            raise Refused("unauthorized", "the token has expired") from None
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise Refused("unauthorized", "the token is not valid") from None

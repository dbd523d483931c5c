"""Access tokens: issued, verified and revoked here. They are JWTs (RFC 7519).

A verified token is remembered until it expires, so that a busy caller costs one dictionary look-up. Revoking is told
by the session's or token's id and holds from the next request on.
"""

import hashlib
import hmac
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Final, get_args

from protocol import limits
from protocol.errors import Refused
from protocol.ids import new_id
from protocol.people import Role
from server.keyring import Key, KeyRing
from server.principal import Principal

_ROLES: Final = frozenset(get_args(Role)) - {"public"}
_BUSINESSLESS: Final = frozenset({"super_admin", "user"})
"""Roles of people who belong to no business."""
_REMEMBERED_MAX: Final = 20_000
_CLAIM_CHARS_MAX: Final = 128


class Auth:
    def __init__(self, secret: str, keys: KeyRing | None = None) -> None:
        """`secret` is behind everything but access tokens, and behind those too when there are no `keys`."""
        self._secret = secret.encode()
        self._keys = keys or KeyRing.of_secret(secret)
        self._verified: dict[str, Principal] = {}
        self._revoked: set[str] = set()
        self._ended: deque[tuple[float, str]] = deque()

    def issue(self, principal: Principal) -> str:
        """A signed token that `verify` turns back into the principal."""
        return self._keys.sign(claims_of(principal))

    def verify_header(self, header: str | None) -> Principal:
        """The principal of an `Authorization` header. Raises `Refused(unauthorized)`."""
        if header is None:
            raise Refused("unauthorized", "send Authorization: Bearer with a token")
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused("unauthorized", "send Authorization: Bearer with a token")
        return self.verify(token.strip())

    def verify(self, token: str) -> Principal:
        """The principal of a token. Raises `Refused(unauthorized)`; the detail never says more than a caller needs."""
        principal = self._verified.get(token)
        if principal is None:
            principal = principal_of(self._keys.verify(token))
            if len(self._verified) >= _REMEMBERED_MAX:
                self._verified.clear()
            self._verified[token] = principal
        if principal.expires_at <= time.time():
            self._verified.pop(token, None)
        self.check(principal)
        return principal

    def check(self, principal: Principal) -> None:
        """Raises `Refused(unauthorized)` for one whose token is good no more."""
        if principal.expires_at <= time.time():
            raise Refused("unauthorized", "the token has expired")
        if principal.token_id in self._revoked:
            raise Refused("unauthorized", "the token was revoked")

    # Revoking

    def revoke(self, ids: Iterable[str]) -> None:
        """Refuses what belongs to these tokens or sessions, from now on."""
        self._revoked.update(ids)

    def end_sessions(self, ids: Iterable[str]) -> None:
        """As `revoke`, and forgotten once their last access token has expired: nothing makes another."""
        now = time.monotonic()
        while self._ended and self._ended[0][0] < now:
            self._revoked.discard(self._ended.popleft()[1])
        for id_ in ids:
            self._revoked.add(id_)
            self._ended.append((now + limits.access_token_ttl_s, id_))

    # Keys

    @property
    def keys(self) -> list[Key]:
        return self._keys.keys

    def change_keys(self, keys: KeyRing) -> None:
        """From now on these; a token whose key is gone is refused from the next request on."""
        self._keys = keys
        self._verified.clear()

    # Other signed words

    def sign_claims(self, kind: str, claims: dict[str, Any], ttl_s: float) -> str:
        """A token that is no access token: of another kind, and good for `ttl_s`."""
        return self._keys.sign({"sub": "", **claims, "jti": new_id(), "exp": time.time() + ttl_s}, kind)

    def verify_claims(self, kind: str, token: str) -> dict[str, Any]:
        """Raises `Refused(unauthorized)`."""
        return self._keys.verify(token, kind)

    # What follows from the secret, so that it need not be kept

    def manage_token(self, booking_id: str) -> str:
        """256 bits that only this server can make for that booking: what a guest keeps to change it."""
        return self.derive(b"manage:" + booking_id.encode()).hex()

    @staticmethod
    def manage_hash(token: str) -> bytes:
        return hashlib.sha256(token.encode(errors="replace")).digest()

    def derive(self, text: bytes) -> bytes:
        """256 bits for a text that begins with its purpose."""
        return hmac.new(self._secret, text, hashlib.sha256).digest()

    def sign(self, text: str) -> str:
        """A short signature, for what the server gives out and takes back."""
        return self.derive(b"sign:" + text.encode()).hex()[:16]


def claims_of(principal: Principal) -> dict[str, Any]:
    """What a token says of whom it stands for."""
    claims: dict[str, Any] = {
        "sub": principal.subject,
        "jti": new_id() if principal.session_id or not principal.token_id else principal.token_id,
        "exp": int(principal.expires_at),
        "role": principal.role,
    }
    if principal.business_id:
        claims["business"] = principal.business_id
    if principal.session_id:
        claims["sid"] = principal.session_id
    if principal.professional_id:
        claims["professional"] = principal.professional_id
    if principal.client_id:
        claims["client"] = principal.client_id
    if principal.locations is not None:
        claims["locations"] = sorted(principal.locations)
    if principal.scopes is not None:
        claims["scope"] = " ".join(sorted(principal.scopes))
    if principal.grants:
        claims["grants"] = sorted(principal.grants)
    if principal.locale:
        claims["locale"] = principal.locale
    return claims


def principal_of(claims: dict[str, Any]) -> Principal:
    """Whom a verified token stands for. Raises `Refused(unauthorized)`."""
    role = _text(claims, "role")
    if role not in _ROLES:
        raise Refused("unauthorized", "the token is not valid")
    typed_role: Role = role  # type: ignore[assignment] - checked above
    session = _text(claims, "sid") if "sid" in claims else None
    return Principal(
        _text(claims, "sub"),
        "" if role in _BUSINESSLESS and "business" not in claims else _text(claims, "business"),
        typed_role,
        float(claims["exp"]),
        session or _text(claims, "jti"),
        _text(claims, "professional") if "professional" in claims else None,
        _text(claims, "client") if "client" in claims else None,
        session,
        _texts(claims["locations"]) if "locations" in claims else None,
        _texts(claims["scope"].split() if isinstance(claims["scope"], str) else None) if "scope" in claims else None,
        _texts(claims.get("grants", [])),
        _text(claims, "locale") if "locale" in claims else None,
    )


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value or len(value) > _CLAIM_CHARS_MAX:
        raise Refused("unauthorized", "the token is not valid")
    return value


def _texts(values: Any) -> frozenset[str]:
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise Refused("unauthorized", "the token is not valid")
    return frozenset(values)

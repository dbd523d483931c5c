"""Access tokens and tickets: issued, verified and revoked here. Access tokens are JWTs (RFC 7519).

A verified token is remembered until it expires, so that a busy caller costs one dictionary look-up. Revoking is told
by the session's or token's id and holds from the next request on.
"""

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Any, Final, get_args

from protocol import limits
from protocol.errors import Refused
from protocol.ids import new_id
from protocol.people import Role
from server.keyring import KeyRing
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
        self._tickets: OrderedDict[str, tuple[float, Principal]] = OrderedDict()
        self._revoked: set[str] = set()
        self._ended: deque[tuple[float, str]] = deque()

    def issue(self, principal: Principal) -> str:
        """A signed token that `verify` turns back into the principal."""
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
        return self._keys.sign(claims)

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
            principal = _principal(self._keys.verify(token))
            if len(self._verified) >= _REMEMBERED_MAX:
                self._verified.clear()
            self._verified[token] = principal
        if principal.expires_at <= time.time():
            self._verified.pop(token, None)
            raise Refused("unauthorized", "the token has expired")
        if principal.token_id in self._revoked:
            raise Refused("unauthorized", "the token was revoked")
        return principal

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

    # Single-use tickets: a token must not stand in a URL, where it would be logged.

    def issue_ticket(self, principal: Principal) -> str:
        now = time.monotonic()
        while self._tickets and next(iter(self._tickets.values()))[0] < now:
            self._tickets.popitem(last=False)
        if len(self._tickets) >= limits.tickets_waiting_max:
            raise Refused("overloaded", "too many tickets are waiting to be used")
        ticket = secrets.token_urlsafe(24)
        self._tickets[ticket] = (now + limits.ticket_ttl_s, principal)
        return ticket

    def redeem_ticket(self, ticket: str) -> Principal:
        until, principal = self._tickets.pop(ticket, (0.0, None))
        if principal is None or until < time.monotonic() or principal.token_id in self._revoked:
            raise Refused("unauthorized", "the ticket is not valid, was used or has expired")
        return principal

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


def _principal(claims: dict[str, Any]) -> Principal:
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

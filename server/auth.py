"""Tokens: issued, verified and revoked here. Access tokens are JWTs (RFC 7519) signed with HS256.

A verified token is remembered until it expires, so that a busy caller costs one dictionary look-up.
"""

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from typing import Any, Final

import jwt

from protocol import limits
from protocol.errors import Refused
from protocol.ids import new_id
from server.principal import Principal, Role

ISSUER: Final = "slotcast"
AUDIENCE: Final = "slotcast-api"
TYPE: Final = "at+jwt"
ALGORITHM: Final = "HS256"
USER_TOKEN_TTL_S: Final = 3600

_ROLES: Final = frozenset({"owner", "manager", "professional", "service", "client"})
_REMEMBERED_MAX: Final = 20_000
_TOKEN_CHARS_MAX: Final = 4_096


class Auth:
    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._key_id = hashlib.sha256(b"kid" + self._secret).hexdigest()[:8]
        self._verified: dict[str, Principal] = {}
        self._tickets: OrderedDict[str, tuple[float, Principal]] = OrderedDict()
        self.revoked: set[str] = set()

    def issue(self, principal: Principal) -> str:
        """A signed token that `verify` turns back into the principal."""
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": principal.subject,
            "jti": principal.token_id or new_id(),
            "iat": int(time.time()),
            "exp": int(principal.expires_at),
            "business": principal.business_id,
            "role": principal.role,
        }
        if principal.professional_id:
            claims["professional"] = principal.professional_id
        if principal.client_id:
            claims["client"] = principal.client_id
        return jwt.encode(claims, self._secret, ALGORITHM, headers={"typ": TYPE, "kid": self._key_id})

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
            principal = self._decode(token)
            if len(self._verified) >= _REMEMBERED_MAX:
                self._verified.clear()
            self._verified[token] = principal
        if principal.expires_at <= time.time():
            self._verified.pop(token, None)
            raise Refused("unauthorized", "the token has expired")
        if principal.token_id in self.revoked:
            raise Refused("unauthorized", "the token was revoked")
        return principal

    def _decode(self, token: str) -> Principal:
        if len(token) > _TOKEN_CHARS_MAX:
            raise Refused("unauthorized", "the token is not valid")
        try:
            header = jwt.get_unverified_header(token)
            if header.get("typ") != TYPE or header.get("kid") != self._key_id:
                raise Refused("unauthorized", "the token is not one of this server's")
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                options={"require": ["exp", "iat", "iss", "aud", "sub", "jti"], "verify_iat": True},
            )
        except jwt.ExpiredSignatureError:
            raise Refused("unauthorized", "the token has expired") from None
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise Refused("unauthorized", "the token is not valid") from None
        return _principal(claims)

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
        if principal is None or until < time.monotonic() or principal.token_id in self.revoked:
            raise Refused("unauthorized", "the ticket is not valid, was used or has expired")
        return principal

    # Manage tokens: what a guest keeps to change their booking. Derived, so that a repeated request gets the same.

    def manage_token(self, booking_id: str) -> str:
        """256 bits that only this server can make for that booking."""
        return hmac.new(self._secret, b"manage:" + booking_id.encode(), hashlib.sha256).hexdigest()

    @staticmethod
    def manage_hash(token: str) -> bytes:
        return hashlib.sha256(token.encode(errors="replace")).digest()

    def sign(self, text: str) -> str:
        """A short signature, for what the server gives out and takes back."""
        return hmac.new(self._secret, b"sign:" + text.encode(), hashlib.sha256).hexdigest()[:16]


def _principal(claims: dict[str, Any]) -> Principal:
    def text(name: str) -> str:
        value = claims.get(name)
        if not isinstance(value, str) or not value or len(value) > 128:
            raise Refused("unauthorized", "the token is not valid")
        return value

    role = text("role")
    if role not in _ROLES:
        raise Refused("unauthorized", "the token is not valid")
    typed_role: Role = role  # type: ignore[assignment] - checked above
    return Principal(
        text("sub"),
        text("business"),
        typed_role,
        float(claims["exp"]),
        text("jti"),
        text("professional") if "professional" in claims else None,
        text("client") if "client" in claims else None,
    )

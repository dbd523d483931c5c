"""Signing in: from a user to a session, and from its refresh token to the next.

A refresh token is the session's id, its generation, and 256 bits that follow from both, the session's own seed and the
server's secret. So none is kept, what was never given out is told from what was used already, and a refresh whose
answer got lost can be answered again with the same token.
"""

import base64
import binascii
import hmac
import secrets
import time
from typing import Final
from uuid import UUID

from protocol import limits
from protocol import people as said
from protocol.errors import Refused
from protocol.ids import is_uuid, new_id
from server.auth import Auth
from server.businesses import Businesses
from server.notices import Notices
from server.principal import Principal
from server.remote import Remote
from storage import businesses, sessions, users
from storage.businesses import Business
from storage.postgres import Database, Transaction
from storage.users import Login

_SEED_BYTES: Final = 32
_TOKEN_BYTES: Final = 16 + 4 + 32


class Sessions:
    def __init__(self, database: Database, auth: Auth, notices: Notices, known: Businesses) -> None:
        self._database = database
        self._auth = auth
        self._notices = notices
        self._businesses = known

    async def business(self, slug_or_id: str | None) -> Business | None:
        """The business that somebody names to sign in to. Raises `Refused(not_found)`."""
        if slug_or_id is None:
            return None
        by_id = is_uuid(slug_or_id)
        found = await (businesses.business_by_id if by_id else businesses.business_by_slug)(self._database, slug_or_id)
        if found is None:
            raise Refused("not_found", "there is no such business")
        return found

    async def begin(self, tx: Transaction, user: Login, business: Business | None, remote: Remote) -> said.Access:
        """A new session of somebody who has proved who they are."""
        if user.disabled:
            raise Refused("forbidden", "this login has been disabled")
        session_id, seed = new_id(), secrets.token_bytes(_SEED_BYTES)
        principal = await self._choose(tx, user, business, session_id)
        ended = await sessions.add_session(
            tx, session_id, user.id, principal.business_id or None, seed, remote.address, remote.user_agent
        )
        await self._notices.post(tx, "sessions", ended)
        return self._access(principal, seed, 0)

    async def refresh(self, token: str) -> said.Access:
        """The next tokens of a session. One that was used before ends it. Raises `Refused(unauthorized)`."""
        session_id, generation = _parts(token)
        async with self._database.transaction() as tx:
            outcome = await self._refresh(tx, token, session_id, generation)
        # Raised only now: what ended in the transaction has to stay ended.
        if isinstance(outcome, Refused):
            raise outcome
        return outcome

    async def _refresh(self, tx: Transaction, token: str, session_id: str, generation: int) -> said.Access | Refused:
        found = await sessions.session_for_refresh(tx, session_id)
        if found is None or not hmac.compare_digest(token, self._token(session_id, found.seed, generation)):
            return _not_good()
        if found.over:
            return Refused("unauthorized", "the session has ended; sign in again")
        again = generation == found.generation - 1 and found.just_used
        if generation != found.generation and not again:
            await self.end(tx, found.user_id, "a refresh token was used twice", only=session_id)
            return Refused(
                "unauthorized", "this refresh token was used before, so its session has ended; sign in again"
            )
        user = await users.login_by_id(tx, found.user_id)
        principal = None
        if user is not None and not user.disabled:
            principal = await self._as_before(tx, user, found.business_id, session_id)
        if principal is None:
            await self.end(tx, found.user_id, "no longer allowed in", only=session_id)
            return Refused("unauthorized", "the session has ended; sign in again")
        current = found.generation if again else await sessions.advance(tx, session_id)
        return self._access(principal, found.seed, current)

    async def end(
        self,
        tx: Transaction,
        user_id: str,
        why: str,
        *,
        business_id: str | None = None,
        only: str | None = None,
        but: str | None = None,
    ) -> list[str]:
        """Ends a user's sessions, with their tokens and sockets, as soon as it is durable. The ids of those ended.

        To be called whenever somebody loses or gains rights that stand in their tokens.
        """
        ended = await sessions.end_sessions(tx, user_id, why, business_id=business_id, only=only, but=but)
        await self._notices.post(tx, "sessions", ended)
        return ended

    # Who one is where

    async def _choose(self, tx: Transaction, user: Login, business: Business | None, session_id: str) -> Principal:
        """As whom a user signs in. Raises `Refused(business_required)` when there is more than one answer."""
        if business is not None:
            found = await self._as_before(tx, user, business.id, session_id)
            if found is not None:
                return found
            closed = self._businesses.closed(business)
            if closed is not None:
                raise closed
            client_id = await users.add_client_of(tx, business.id, user)
            return self._principal(user, session_id, "client", business.id, client_id=client_id)
        if user.super_admin:
            return self._principal(user, session_id, "super_admin", "")
        of = await users.memberships(tx, user.id, None, limits.businesses_per_user_max)
        if len(of) > 1:
            choices = [{"id": m.business_id, "slug": m.slug, "name": m.business_name, "role": m.role} for m in of]
            raise Refused("business_required", extra={"businesses": choices})
        if of:
            return self._member(user, session_id, of[0])
        return self._principal(user, session_id, "user", "")

    async def _as_before(
        self, tx: Transaction, user: Login, business_id: str | None, session_id: str
    ) -> Principal | None:
        """As what the user is now in the business they have signed in to; `None` when they are nothing there."""
        if business_id is None:
            return self._principal(user, session_id, "super_admin" if user.super_admin else "user", "")
        of = await users.memberships(tx, user.id, business_id, 1)
        if of:
            return self._member(user, session_id, of[0])
        client_id = await users.client_of(tx, business_id, user.id)
        if client_id is None:
            return None
        return self._principal(user, session_id, "client", business_id, client_id=client_id)

    def _member(self, user: Login, session_id: str, m: users.Membership) -> Principal:
        return self._principal(
            user,
            session_id,
            m.role,
            m.business_id,
            professional_id=m.professional_id,
            locations=frozenset(m.locations) if m.limited else None,
            grants=frozenset(m.grants),
        )

    def _principal(
        self,
        user: Login,
        session_id: str,
        role: said.Role,
        business_id: str,
        *,
        professional_id: str | None = None,
        client_id: str | None = None,
        locations: frozenset[str] | None = None,
        grants: frozenset[str] = frozenset(),
    ) -> Principal:
        return Principal(
            user.id,
            business_id,
            role,
            time.time() + limits.access_token_ttl_s,
            session_id,
            professional_id,
            client_id,
            session_id,
            locations,
            None,
            grants,
            user.locale,
        )

    # Tokens

    def _access(self, principal: Principal, seed: bytes, generation: int) -> said.Access:
        assert principal.session_id is not None
        return said.Access(
            access_token=self._auth.issue(principal),
            token_type="Bearer",  # noqa: S106 - a scheme, no password
            expires_in=limits.access_token_ttl_s,
            refresh_token=self._token(principal.session_id, seed, generation),
            refresh_expires_in=limits.refresh_token_ttl_s,
            session_id=principal.session_id,
            user_id=principal.subject,
            role=principal.role,
            business_id=principal.business_id or None,
        )

    def _token(self, session_id: str, seed: bytes, generation: int) -> str:
        head = UUID(session_id).bytes + generation.to_bytes(4, "big")
        return base64.urlsafe_b64encode(head + self._auth.derive(b"refresh:" + head + seed)).decode().rstrip("=")


def _parts(token: str) -> tuple[str, int]:
    """Session and generation of a refresh token, not yet believed. Raises `Refused(unauthorized)`."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _not_good() from None
    if len(raw) != _TOKEN_BYTES:
        raise _not_good()
    return str(UUID(bytes=raw[:16])), int.from_bytes(raw[16:20], "big")


def _not_good() -> Refused:
    return Refused("unauthorized", "the refresh token is not valid")

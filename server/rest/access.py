"""Signing in, tickets and service tokens."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from protocol import bodies, limits
from protocol.errors import Refused, invalid
from protocol.ids import new_id
from protocol.times import DAY
from server.auth import USER_TOKEN_TTL_S
from server.edge import Call, Endpoint, Reply
from server.notices import TOKENS
from server.paging import PageQuery, decode_cursor, page
from server.principal import Principal
from storage import people

_HASHES_AT_ONCE_MAX: Final = 2
_HASHES_WAITING_MAX: Final = 64
_hasher: Final = PasswordHasher()
_threads: Final = ThreadPoolExecutor(_HASHES_AT_ONCE_MAX, "argon2")
_waiting = 0
_NOBODY: Final = _hasher.hash("nobody has this password")


def hash_password(password: str) -> str:
    """Argon2id with the library's parameters (RFC 9106, low-memory profile). Takes tens of milliseconds."""
    return _hasher.hash(password)


async def _matches(password_hash: str, password: str) -> bool:
    """Off the loop, with a bound on how many hash at once and wait."""
    global _waiting  # noqa: PLW0603 - one bound for the process
    if _waiting >= _HASHES_WAITING_MAX:
        raise Refused("overloaded", "too many sign-ins at once")
    _waiting += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(_threads, _verify, password_hash, password)
    finally:
        _waiting -= 1


def _verify(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (Argon2Error, InvalidHashError, UnicodeEncodeError):
        return False


async def login(call: Call[bodies.Login, Any]) -> bodies.Access:
    b = call.body
    if sum(v is not None for v in (b.email, b.username, b.phone)) != 1:
        raise invalid("email", "give exactly one of email, username and phone")
    email = b.email.strip().lower() if b.email else None
    user = await people.user_by_login(call.node.database, email, b.username, b.phone)
    # An unknown name costs as much time as a wrong password, so that neither can be told from the other.
    known = user is not None and user.password_hash is not None
    matches = await _matches(user.password_hash if user and user.password_hash else _NOBODY, b.password)
    if user is None or not known or not matches:
        raise Refused("unauthorized", "these credentials are not right")
    if user.business_id is None or user.role is None:
        raise Refused("forbidden", "this user belongs to no business")
    role: Any = user.role
    principal = Principal(
        user.id, user.business_id, role, time.time() + USER_TOKEN_TTL_S, new_id(), user.professional_id
    )
    return bodies.Access(access_token=call.node.auth.issue(principal), token_type="Bearer", expires_in=USER_TOKEN_TTL_S)


async def ticket(call: Call[bodies.Empty, Any]) -> Reply:
    return Reply(bodies.Ticket(ticket=call.node.auth.issue_ticket(call.principal), expires_in=limits.ticket_ttl_s), 201)


async def issue_service_token(call: Call[bodies.ServiceTokenCreate, Any]) -> Reply:
    """Takes no Idempotency-Key: to answer twice, the token would have to be stored in clear."""
    token_id = new_id()
    expires_us = call.node.clock.now_us() + call.body.ttl_days * DAY
    issued = await people.add_service_token(call.tx, token_id, call.business_id, call.body, expires_us)
    role: Any = call.body.role
    issued.token = call.node.auth.issue(Principal(token_id, call.business_id, role, expires_us / 1_000_000, token_id))
    return Reply(issued, 201, {"Location": f"/api/v1/service-tokens/{token_id}"})


async def list_service_tokens(call: Call[Any, PageQuery]) -> dict[str, Any]:
    auth, q = call.node.auth, call.query
    position = decode_cursor(auth, "tokens", q.cursor)
    items = await people.list_service_tokens(
        call.node.database, call.business_id, position[0] if position else None, q.limit + 1
    )
    return page(auth, "tokens", items, q.limit)


async def revoke_service_token(call: Call[Any, Any]) -> None:
    token_id = call.id("id")
    async with call.node.database.transaction() as tx:
        if await tx.value("revoke_service_token", call.business_id, token_id) is None:
            raise Refused("not_found", "there is no such token")
        await call.node.bulletin.post(tx, TOKENS, [token_id])
    call.node.notices.revoke([token_id])


def routes(node: Any) -> list[Endpoint]:
    t = "/api/v1/service-tokens"
    return [
        Endpoint(node, "POST", "/api/v1/auth/login", login, needs=None, summary="Sign in",
                 answer=bodies.Access, body=bodies.Login, errors=("overloaded",), area="auth"),
        Endpoint(node, "POST", "/api/v1/auth/ticket", ticket, needs="live.ticket", status=201,
                 summary="A single-use ticket for the live endpoint", answer=bodies.Ticket, body=bodies.Empty,
                 area="auth"),
        Endpoint(node, "POST", t, issue_service_token, needs="tokens.manage", summary="Issue a service token",
                 answer=bodies.ServiceToken, status=201, body=bodies.ServiceTokenCreate, tx=True, keyed=False,
                 area="auth"),
        Endpoint(node, "GET", t, list_service_tokens, needs="tokens.manage", summary="List service tokens",
                 answer=list[bodies.ServiceToken], query=PageQuery, area="auth"),
        Endpoint(node, "DELETE", t + "/{id}", revoke_service_token, needs="tokens.manage", status=204,
                 summary="Revoke a service token", area="auth"),
    ]  # fmt: skip

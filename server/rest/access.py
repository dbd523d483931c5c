"""Signing up, in and out, and tickets.

None of these takes an Idempotency-Key: to answer twice, the tokens would have to be stored in clear.
"""

from typing import Any

import msgspec

from protocol import bodies, limits
from protocol import people as said
from protocol.errors import Refused, invalid
from server import identity
from server.edge import Call, Endpoint, Reply
from server.node import Node
from server.remote import network_of, remote_of
from server.speech import language_of
from storage import users
from storage.users import Login


def _names(body: said.Register | said.Login, region: str | None) -> dict[str, str | None]:
    """E-mail, username and phone in their one spelling. A username that nobody could have is simply unknown."""
    username = body.username.strip().lower() if body.username is not None else None
    return {
        "email": identity.email(body.email) if body.email is not None else None,
        "username": identity.username(username)
        if username is not None and isinstance(body, said.Register)
        else username,
        "phone": identity.phone(body.phone, region) if body.phone is not None else None,
    }


async def register(call: Call[said.Register, Any]) -> Reply:
    """The new user is signed in. Which of the names was taken is not told."""
    node, b = call.node, call.body
    business = await node.sessions.business(b.business)
    names = _names(b, business.region if business else None)
    if not any(names.values()):
        raise invalid("email", "give at least one of email, username and phone")
    if business is not None and (closed := node.businesses.closed(business)) is not None:
        raise closed
    spoken = language_of(call.request, business=business.locale if business else None)
    b = msgspec.structs.replace(b, locale=b.locale or spoken)
    password_hash = await node.passwords.hash(b.password)
    try:
        async with node.database.transaction() as tx:
            user_id = await users.add_user(tx, b, names, password_hash)
            if b.proof_token is not None:
                await node.verification.mark(tx, user_id, b.proof_token)
            user = Login(user_id, password_hash, b.name, names["email"], names["phone"], False, False, b.locale)
            access = await node.sessions.begin(tx, user, business, remote_of(call.request))
    except Refused as refused:
        if refused.code == "conflict":
            raise Refused("conflict", "somebody has that e-mail, username or phone already") from None
        raise
    return Reply(access, 201, {"Location": "/api/v1/users/me"})


async def login(call: Call[said.Login, Any]) -> said.Access:
    node, b = call.node, call.body
    if sum(v is not None for v in (b.email, b.username, b.phone)) != 1:
        raise invalid("email", "give exactly one of email, username and phone")
    business = await node.sessions.business(b.business)
    names = _names(b, business.region if business else None)
    # Counted before any work is done, and taken back once the password was right.
    account = next(f"{kind}:{name}" for kind, name in names.items() if name is not None)
    here = f"{account} {network_of(call.request)}"
    await node.throttle.spend("failures", here)
    await node.throttle.spend("account", account)
    user = await users.find_login(node.database, names["email"], names["username"], names["phone"])
    # An unknown name costs as much time as a wrong password, so that neither can be told from the other.
    matches = await node.passwords.matches(user.password_hash if user else None, b.password)
    if user is None or not matches:
        raise Refused("unauthorized", "these credentials are not right")
    await node.throttle.forgive("failures", here)
    await node.throttle.forgive("account", account)
    await _renew_hash(node, user, b.password)
    async with node.database.transaction() as tx:
        access = await node.sessions.begin(tx, user, business, remote_of(call.request))
        if b.chat_id is not None:
            await users.bind_chat(tx, user.id, b.chat_id)
    return access


async def _renew_hash(node: Node, user: Login, password: str) -> None:
    """A hash made with parameters of another time is made anew, now that the password is known."""
    assert user.password_hash is not None
    if node.passwords.outdated(user.password_hash):
        fresh = await node.passwords.hash(password)
        await node.database.value("keep_password", user.id, user.password_hash, fresh)


async def refresh(call: Call[said.Refresh, Any]) -> said.Access:
    return await call.node.sessions.refresh(call.body.refresh_token)


async def logout(call: Call[said.Logout, Any]) -> None:
    principal = call.principal
    if principal.session_id is None:
        raise Refused("forbidden", "this token belongs to no session")
    only = None if call.body.all else principal.session_id
    await call.node.sessions.end(call.tx, principal.subject, "signed out", only=only)


async def ticket(call: Call[bodies.Empty, Any]) -> Reply:
    return Reply(bodies.Ticket(ticket=call.node.tickets.issue(call.principal), expires_in=limits.ticket_ttl_s), 201)


def routes(node: Any) -> list[Endpoint]:
    a = "/api/v1/auth"
    return [
        Endpoint(node, "POST", a + "/register", register, needs=None, status=201, summary="Sign up, and in",
                 answer=said.Access, body=said.Register, limit="register", area="auth",
                 errors=("conflict", "overloaded", "business_pending", "business_suspended", "trial_over")),
        Endpoint(node, "POST", a + "/login", login, needs=None, summary="Sign in", limit="login",
                 answer=said.Access, body=said.Login, area="auth",
                 errors=("overloaded", "business_required", "business_pending", "business_suspended", "trial_over")),
        Endpoint(node, "POST", a + "/refresh", refresh, needs=None, area="auth", limit="refresh",
                 summary="The next tokens of a session; a refresh token is good once",
                 answer=said.Access, body=said.Refresh),
        Endpoint(node, "POST", a + "/logout", logout, needs="sessions.own", status=204, tx=True, keyed=False,
                 summary="End this session, or all of the user's", body=said.Logout, area="auth"),
        Endpoint(node, "POST", a + "/ticket", ticket, needs="live.connect", status=201,
                 summary="A single-use ticket for the live endpoint", answer=bodies.Ticket, body=bodies.Empty,
                 area="auth"),
    ]  # fmt: skip

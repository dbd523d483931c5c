"""Users: one's own account and sessions, and lists for those who look after others."""

from typing import Any

from msgspec import UNSET

from protocol import bodies
from protocol import people as said
from protocol.errors import Refused, invalid
from protocol.ids import is_uuid
from server import identity
from server.edge import Call, Endpoint
from server.paging import PageQuery, decode_cursor, page
from server.remote import network_of
from storage import sessions, users
from storage.users import UserFilter


class UsersQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """Owners list the members of their business; super admins everybody, or with `business_id` its members."""

    role: said.MemberRole | None = None
    email: bodies.Email | None = None
    username: said.Username | None = None
    phone: bodies.Phone | None = None
    disabled: bool | None = None
    business_id: bodies.Uuid | None = None


def _me(call: Call[Any, Any]) -> str:
    """The user's own id. Raises `Refused` for a token that stands for nobody."""
    if not is_uuid(call.principal.subject):
        raise Refused("forbidden", "this token belongs to no user")
    return call.principal.subject


async def _user(call: Call[Any, Any], user_id: str) -> said.User:
    try:
        user = await users.user_by_id(call.node.database, user_id)
    except Refused as refused:
        if refused.code == "not_found":
            raise Refused("forbidden", "this token belongs to no user") from None
        raise
    user.role = call.principal.role
    user.business_id = call.principal.business_id or None
    return user


async def read_me(call: Call[Any, Any]) -> said.User:
    return await _user(call, _me(call))


async def patch_me(call: Call[said.UserPatch, Any]) -> said.User:
    """Passwords are checked and hashed before the transaction begins: no connection waits for them."""
    node, b, user_id = call.node, call.body, _me(call)
    now = await _user(call, user_id)
    given = await _given(call, now)
    if not any((given.get("email", now.email), given.get("username", now.username), given.get("phone", now.phone))):
        raise invalid("email", "keep at least one of email, username and phone")
    checked = await _checked_hash(call, user_id, given)
    if b.password is not UNSET:
        given["password_hash"] = await node.passwords.hash(b.password)
    try:
        async with node.database.transaction() as tx:
            if not await users.update_user(tx, user_id, given, checked):
                raise invalid("current_password", "was changed meanwhile")
            if "password_hash" in given:
                but = call.principal.session_id
                await node.sessions.end(tx, user_id, "the password was changed", but=but)
    except Refused as refused:
        if refused.code == "conflict":
            raise Refused("conflict", "somebody has that e-mail, username or phone already") from None
        raise
    return await _user(call, user_id)


async def _given(call: Call[said.UserPatch, Any], now: said.User) -> dict[str, Any]:
    """The new values, in their one spelling; what is the same as before is left out."""
    b = call.body
    business = await call.node.businesses.get(call.business_id) if call.business_id else None
    given: dict[str, Any] = {
        n: v for n in ("name", "locale", "chat_id", "booking_messages") if (v := getattr(b, n)) is not UNSET
    }
    if b.email is not UNSET:
        given["email"] = b.email and identity.email(b.email)
    if b.username is not UNSET:
        given["username"] = b.username and identity.username(b.username)
    if b.phone is not UNSET:
        given["phone"] = b.phone and identity.phone(b.phone, business.region if business else None)
    return {n: v for n, v in given.items() if v != getattr(now, n)}


async def _checked_hash(call: Call[said.UserPatch, Any], user_id: str, given: dict[str, Any]) -> str | None:
    """The hash of the password, once it is proved, where the change needs that proof; else `None`."""
    b = call.body
    if b.password is UNSET and not given.keys() & {"email", "username", "phone"}:
        return None
    if b.current_password is None:
        raise invalid("current_password", "is needed to change password, e-mail, username or phone")
    # A token that was stolen must not be good for trying passwords.
    here = f"user:{user_id} {network_of(call.request)}"
    await call.node.throttle.spend("failures", here)
    user = await users.login_by_id(call.node.database, user_id)
    stored = user.password_hash if user else None
    if not await call.node.passwords.matches(stored, b.current_password):
        raise invalid("current_password", "is not right")
    await call.node.throttle.forgive("failures", here)
    return stored


async def list_my_sessions(call: Call[Any, PageQuery]) -> dict[str, Any]:
    auth, q, user_id = call.node.auth, call.query, _me(call)
    position = decode_cursor(auth, "sessions", q.cursor)
    items = await sessions.list_sessions(
        call.node.database, user_id, call.principal.session_id, position[0] if position else None, q.limit + 1
    )
    return page(auth, "sessions", items, q.limit)


async def end_my_other_sessions(call: Call[Any, Any]) -> None:
    await call.node.sessions.end(call.tx, _me(call), "ended by the user", but=call.principal.session_id)


async def end_my_session(call: Call[Any, Any]) -> None:
    if not await call.node.sessions.end(call.tx, _me(call), "ended by the user", only=call.id("id")):
        raise Refused("not_found", "there is no such session")


async def list_users(call: Call[Any, UsersQuery]) -> dict[str, Any]:
    auth, q, own = call.node.auth, call.query, call.business_id
    if own and q.business_id not in (None, own):
        raise Refused("not_found", "there is no such business")
    f = UserFilter(
        business_id=own or q.business_id,
        role=q.role,
        email=identity.email(q.email) if q.email else None,
        username=identity.username(q.username) if q.username else None,
        phone=identity.phone(q.phone) if q.phone else None,
        disabled=q.disabled,
    )
    if f.role is not None and f.business_id is None:
        raise invalid("role", "is a role in a business; name it with business_id")
    position = decode_cursor(auth, "users", q.cursor)
    items = await users.list_users(call.node.database, f, position[0] if position else None, q.limit + 1)
    return page(auth, "users", items, q.limit)


def routes(node: Any) -> list[Endpoint]:
    u, s = "/api/v1/users", "/api/v1/users/me/sessions"
    return [
        Endpoint(node, "GET", u, list_users, needs="users.read", summary="List users", answer=list[said.User],
                 query=UsersQuery, area="users"),
        Endpoint(node, "GET", u + "/me", read_me, needs="account.own", summary="Read one's own account",
                 answer=said.User, area="users"),
        Endpoint(node, "PATCH", u + "/me", patch_me, needs="account.own", summary="Change one's own account",
                 answer=said.User, body=said.UserPatch, errors=("conflict", "overloaded"), area="users"),
        Endpoint(node, "GET", s, list_my_sessions, needs="sessions.own", summary="List one's own sessions",
                 answer=list[said.Session], query=PageQuery, area="users"),
        Endpoint(node, "DELETE", s, end_my_other_sessions, needs="sessions.own", status=204, tx=True, keyed=False,
                 summary="End all sessions but this one", area="users"),
        Endpoint(node, "DELETE", s + "/{id}", end_my_session, needs="sessions.own", status=204, tx=True, keyed=False,
                 summary="End one of one's own sessions", area="users"),
    ]  # fmt: skip

"""Users and their memberships, as rows and as the bodies REST answers with."""

from typing import Any

import msgspec

from protocol import people as said
from protocol.errors import Refused
from protocol.ids import new_id
from protocol.languages import DEFAULT
from storage.people import Queries, stamp


class Login(msgspec.Struct, frozen=True):
    """A user as signing in needs them."""

    id: str
    password_hash: str | None
    name: str
    email: str | None
    phone: str | None
    super_admin: bool
    disabled: bool
    locale: str | None = None


class Membership(msgspec.Struct, frozen=True):
    """`locations` count where it is `limited`."""

    id: str
    business_id: str
    role: said.MemberRole
    professional_id: str | None
    limited: bool
    grants: list[str]
    slug: str
    business_name: str
    locations: list[str]


class UserFilter(msgspec.Struct, kw_only=True):
    """`None` is no filter; `business_id` narrows to its members."""

    business_id: str | None = None
    role: str | None = None
    email: str | None = None
    username: str | None = None
    phone: str | None = None
    disabled: bool | None = None


async def find_login(q: Queries, email: str | None, username: str | None, phone: str | None) -> Login | None:
    row = await q.row("user_for_login", email, username, phone)
    return Login(*row) if row else None


async def login_by_id(q: Queries, user_id: str) -> Login | None:
    row = await q.row("user_for_session", user_id)
    return Login(*row) if row else None


async def add_user(q: Queries, body: said.Register, names: dict[str, str | None], password_hash: str) -> str:
    """The new user's id. `names` are e-mail, username and phone in their one spelling. Raises `Refused(conflict)` when
    one of them is taken.
    """
    user_id = new_id()
    locale = body.locale or DEFAULT
    await q.value(
        "insert_user", user_id, names["email"], names["username"], names["phone"], body.name, password_hash, False,
        locale, body.chat_id,
    )  # fmt: skip
    return user_id


async def memberships(q: Queries, user_id: str, business_id: str | None, limit: int) -> list[Membership]:
    """Those that count: not removed, nor of a business that was."""
    return [Membership(*row) for row in await q.fetch("memberships_of_user", user_id, business_id, limit)]


async def client_of(q: Queries, business_id: str, user_id: str) -> str | None:
    """The id under which a user is client of a business."""
    return await q.value("client_of_user", business_id, user_id)


async def add_client_of(q: Queries, business_id: str, user: Login) -> str:
    """Makes the user a client of the business, or finds them there."""
    first, _, last = user.name.strip().partition(" ")
    return await q.value(
        "insert_client_of_user",
        new_id(),
        business_id,
        user.id,
        first or user.name,
        last.strip(),
        user.email,
        user.phone,
    )


async def bind_chat(q: Queries, user_id: str, chat_id: int) -> None:
    await q.value("bind_chat", user_id, chat_id)


def _user(row: Any) -> said.User:
    member = "membership_id" in row.keys() and row["membership_id"] is not None  # noqa: SIM118 - a record of the driver
    return said.User(
        id=row["id"],
        name=row["name"],
        email=row["email"],
        email_verified=row["email_verified_at"] is not None,
        username=row["username"],
        phone=row["phone"],
        phone_verified=row["phone_verified_at"] is not None,
        chat_id=row["chat_id"],
        locale=row["locale"],
        booking_messages=row["booking_messages"],
        super_admin=row["super_admin"],
        disabled=row["disabled_at"] is not None,
        created_at=stamp(row["created_at"]),
        business_id=row["business_id"] if member else None,
        membership_id=row["membership_id"] if member else None,
        role=row["role"] if member else None,
    )


async def user_by_id(q: Queries, user_id: str) -> said.User:
    row = await q.row("user_by_id", user_id)
    if row is None:
        raise Refused("not_found", "there is no such user")
    return _user(row)


async def list_users(q: Queries, f: UserFilter, after: str | None, limit: int) -> list[said.User]:
    rows = await q.fetch(
        "list_users", f.business_id, f.role, f.email, f.username, f.phone, f.disabled, after, limit
    )  # fmt: skip
    return [_user(row) for row in rows]


async def update_user(q: Queries, user_id: str, given: dict[str, Any], checked_hash: str | None) -> bool:
    """Whether it was done: not when the password is no longer the one that was checked.

    `given` are new values by name. Raises `Refused(conflict)` when another user has that e-mail, username or phone.
    """
    names = ("name", "locale", "chat_id", "email", "username", "phone", "password_hash", "booking_messages")
    flags, values = [n in given for n in names], [given.get(n) for n in names]
    return await q.value("update_user", user_id, *flags, *values, checked_hash) is not None

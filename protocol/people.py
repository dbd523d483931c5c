"""Bodies about people: signing in, sessions, users and their roles."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from protocol import limits
from protocol.bodies import Answer, Body, ChatId, Email, Name, Phone, Uuid
from protocol.languages import Locale

Role = Literal["super_admin", "owner", "manager", "professional", "client", "user", "service", "public"]
"""`user` is a login that has not chosen a business, `service` a program, `public` a visitor without login."""
MemberRole = Literal["owner", "manager", "professional"]
BusinessStatus = Literal["pending", "active", "suspended", "rejected"]

Password = Annotated[str, Meta(min_length=limits.password_chars_min, max_length=limits.password_chars_max)]
GivenPassword = Annotated[str, Meta(min_length=1, max_length=limits.password_chars_max)]
Username = Annotated[str, Meta(min_length=3, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]$(?!\n)")]
BusinessRef = Annotated[str, Meta(min_length=2, max_length=63, pattern=r"^[a-z0-9-]+$(?!\n)")]
"""A slug or an id."""
ProofToken = Annotated[str, Meta(min_length=1, max_length=limits.token_chars_max)]


# Signing in


class Register(Body, kw_only=True):
    """At least one of `email`, `username` and `phone`. With `business` the user becomes a client there. A `proof_token`
    of `auth/verify/confirm` has the address it is about verified at once. Without `locale` it is what the
    request accepts.
    """

    name: Name
    password: Password
    email: Email | None = None
    username: Username | None = None
    phone: Phone | None = None
    locale: Locale | None = None
    business: BusinessRef | None = None
    chat_id: ChatId | None = None
    proof_token: ProofToken | None = None


class Login(Body, kw_only=True):
    """One of `email`, `username` or `phone`.

    `business`, a slug or an id, chooses among several; whoever is no member there signs in as a client. `chat_id` is
    kept with the user.
    """

    password: GivenPassword
    email: Email | None = None
    username: Name | None = None
    phone: Phone | None = None
    business: BusinessRef | None = None
    chat_id: ChatId | None = None


class Access(Answer, kw_only=True):
    """`expires_in` and `refresh_expires_in` are in seconds. A refresh token is good once; the answer has the next."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    session_id: str
    user_id: str
    role: Role
    business_id: str | None


class Refresh(Body, kw_only=True):
    refresh_token: Annotated[str, Meta(min_length=1, max_length=512)]


class Logout(Body, kw_only=True):
    """`all` ends every session of the user, otherwise only this one."""

    all: bool = False


class Session(Answer, kw_only=True):
    """A sign-in that can be ended. `address` and `user_agent` are those it began with."""

    id: str
    business_id: str | None
    address: str | None
    user_agent: str | None
    created_at: str
    used_at: str
    expires_at: str
    current: bool


# Verifying addresses


class Verify(Body, kw_only=True):
    """One of `email` and `phone`. A number without country code is one of the `business`'s region."""

    email: Email | None = None
    phone: Phone | None = None
    business: BusinessRef | None = None


class Verification(Answer, kw_only=True):
    """The answer is the same whoever has that address. `expires_in` is in seconds."""

    verification_id: str
    expires_in: int


class VerifyConfirm(Body, kw_only=True):
    verification_id: Uuid
    code: Annotated[str, Meta(pattern=r"^[0-9]{6}$(?!\n)")]


class Verified(Answer, kw_only=True):
    """`proof_token` proves for `expires_in` seconds that its holder receives what is sent to that address."""

    kind: Literal["email", "phone"]
    proof_token: str
    expires_in: int


class DeviceTokenAsk(Body, kw_only=True):
    """With the token that the device has already it keeps it."""

    device_token: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class DeviceToken(Answer, kw_only=True):
    device_token: str


class JsonWebKeys(Answer, kw_only=True):
    """A JWK set (RFC 7517): the public keys that access tokens are verified with."""

    keys: list[dict[str, str]]


# Users


class User(Answer, kw_only=True):
    """`role` and `business_id` are those of the sign-in or, in a list of members, of the membership `membership_id`."""

    id: str
    name: str
    email: str | None
    email_verified: bool
    username: str | None
    phone: str | None
    phone_verified: bool
    chat_id: int | None
    locale: str
    booking_messages: bool
    super_admin: bool
    disabled: bool
    created_at: str
    business_id: str | None = None
    membership_id: str | None = None
    role: str | None = None


class UserPatch(Body, kw_only=True):
    """A new password, e-mail, username or phone needs the `current_password`. A new password ends all other
    sessions; a new e-mail or phone has to be verified again. `booking_messages` is whether a professional is told of
    bookings in their calendar.
    """

    name: Name | UnsetType = UNSET
    locale: Locale | UnsetType = UNSET
    chat_id: ChatId | UnsetType | None = UNSET
    booking_messages: bool | UnsetType = UNSET
    email: Email | UnsetType | None = UNSET
    username: Username | UnsetType | None = UNSET
    phone: Phone | UnsetType | None = UNSET
    password: Password | UnsetType = UNSET
    current_password: GivenPassword | None = None

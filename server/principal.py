"""Who asks. Made by `auth`, judged by `permissions`."""

from typing import Final

import msgspec

from protocol.errors import Refused
from protocol.ids import is_uuid
from protocol.people import Role

_KIND_OF_ROLE: Final[dict[Role, str]] = {"service": "service", "client": "client", "public": "guest"}
STAFF: Final = frozenset({"owner", "manager", "professional", "service"})


class Principal(msgspec.Struct, frozen=True):
    """`subject` is a user's, service token's or visitor's id; `expires_at` is in seconds since the epoch.

    `business_id` is empty for whoever belongs to none: a super admin, or a user who has not chosen one.
    `token_id` is what revoking names: the session of a user's token, or the token itself.
    `professional_id` and `client_id` bind a role to what is its own; `locations` to some locations, `None` is all of
    them; `scopes` to some permissions, `None` is all that the role has; `grants` adds permissions to the role's.
    `locale` is how a user wants to be spoken to.
    """

    subject: str
    business_id: str
    role: Role
    expires_at: float
    token_id: str = ""
    professional_id: str | None = None
    client_id: str | None = None
    session_id: str | None = None
    locations: frozenset[str] | None = None
    scopes: frozenset[str] | None = None
    grants: frozenset[str] = frozenset()
    locale: str | None = None

    @property
    def staff(self) -> bool:
        return self.role in STAFF

    @property
    def user_id(self) -> str:
        """The user behind a sign-in. Raises `Refused(forbidden)` for a token that stands for nobody."""
        if self.role == "service" or not is_uuid(self.subject):
            raise Refused("forbidden", "this token belongs to no user")
        return self.subject

    @property
    def label(self) -> str:
        """How the journal names them."""
        return f"{_KIND_OF_ROLE.get(self.role, 'user')}:{self.subject}"

    @property
    def scope(self) -> str:
        """Whose idempotency keys they are.

        Visitors without login share one scope per business: their names end with their connection, and a key has to
        outlive it. Their keys are random, as every key should be.
        """
        if self.role == "public":
            return f"{self.business_id}:public"
        return f"{self.business_id}:{self.subject}"


def role_of(principal: Principal, on_behalf_of: str | None) -> str:
    """How `cancelled_by` names the caller. Whoever speaks for others says whom; raises `Refused(forbidden)`."""
    if on_behalf_of is not None:
        if principal.role not in ("owner", "manager", "service"):
            raise Refused("forbidden", "on_behalf_of is for owners, managers and service tokens")
        return on_behalf_of
    return "guest" if principal.role == "public" else principal.role

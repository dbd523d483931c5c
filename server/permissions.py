"""What each role may do. Routes and live commands name a permission; this module alone decides.

How far it goes: `ANY` is anywhere in the business, or on the platform for a super admin; `WHOLE` the same, but only for
managers who are not limited to some locations; `LOCATION` what is in a manager's locations, anything for one who is not
limited; `OWN` the professional's own calendar, the client's own bookings, the user's own account.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Final, get_args

from protocol.errors import Refused, invalid
from protocol.people import Role
from server.principal import Principal


class Reach(Enum):
    NONE = 0
    OWN = 1
    LOCATION = 2
    WHOLE = 3
    ANY = 4


_ANY, _WHOLE, _LOC, _OWN = Reach.ANY, Reach.WHOLE, Reach.LOCATION, Reach.OWN

_PEOPLE: Final[dict[Role, Reach]] = {
    "super_admin": _OWN, "owner": _OWN, "manager": _OWN, "professional": _OWN, "client": _OWN, "user": _OWN,
}  # fmt: skip
_EVERYBODY: Final[dict[Role, Reach]] = {
    "owner": _ANY, "manager": _ANY, "professional": _ANY, "service": _ANY, "client": _ANY,
}  # fmt: skip
_STAFF: Final[dict[Role, Reach]] = {"owner": _ANY, "manager": _LOC, "professional": _OWN, "service": _ANY}
_BOOKERS: Final[dict[Role, Reach]] = {**_STAFF, "client": _OWN, "public": _OWN}
_OFFICE: Final[dict[Role, Reach]] = {"owner": _ANY, "manager": _WHOLE, "service": _ANY}
_OWNER: Final[dict[Role, Reach]] = {"owner": _ANY}
_PLATFORM: Final[dict[Role, Reach]] = {"super_admin": _ANY}

TABLE: Final[dict[str, dict[Role, Reach]]] = {
    # Oneself
    "account.own": _PEOPLE,
    "sessions.own": _PEOPLE,
    "live.connect": _EVERYBODY,
    # The platform
    "platform.read": _PLATFORM,
    "platform.write": _PLATFORM,
    "users.read": {**_OWNER, **_PLATFORM},
    "users.write": _PLATFORM,
    "audit.read": {**_OWNER, **_PLATFORM},
    # The business and its people
    "businesses.read": {**_EVERYBODY, **_PLATFORM},
    "businesses.write": {**_OWNER, **_PLATFORM},
    "locations.read": _EVERYBODY,
    "locations.write": {"owner": _ANY, "manager": _LOC},
    "memberships.read": {"owner": _ANY, "manager": _LOC, "professional": _OWN},
    "memberships.write": _OWNER,
    "permission_requests.make": {"manager": _OWN, "professional": _OWN},
    "permission_requests.read": {"owner": _ANY, "manager": _LOC, "professional": _OWN},
    "permission_requests.decide": {"owner": _ANY, "manager": _WHOLE},
    "tokens.manage": _OWNER,
    "webhooks.manage": {"owner": _ANY, "manager": _WHOLE},
    "messages.read": {"owner": _ANY, "manager": _WHOLE},
    "bans.read": _OFFICE,
    "bans.write": _OFFICE,
    # Catalogue and calendars
    "catalogue.read": _EVERYBODY,
    "catalogue.write": _OFFICE,
    "professionals.write": {"owner": _ANY, "manager": _LOC, "service": _ANY},
    "schedule.write": _STAFF,
    "offerings.write": _STAFF,
    "time_off.read": _STAFF,
    "availability.read": {**_EVERYBODY, "public": _ANY},
    "bookings.make": _BOOKERS,
    "bookings.read": _BOOKERS,
    "bookings.change": _BOOKERS,
    "bookings.decide": _STAFF,
    "bookings.double": _STAFF,
    "journal.read": _STAFF,
    "analytics.read": _STAFF,
    "feeds.write": _STAFF,
    # Clients
    "clients.read": {**_EVERYBODY, "client": _OWN},
    "clients.write": {**_EVERYBODY, "client": _OWN},
    "clients.remove": _OFFICE,
    "clients.export": {"owner": _ANY, "client": _OWN},
    "clients.erase": {"owner": _ANY, "client": _OWN},
}

GUEST: Final = Principal("", "", "public", 0.0)
"""Whoever has no login: what the role may do, before it is known who it is."""

_ROLES: Final = frozenset(get_args(Role))
assert all(role in _ROLES for row in TABLE.values() for role in row)


def reach(principal: Principal, permission: str) -> Reach:
    """How far the permission goes for this caller: `ANY`, `LOCATION` or `OWN`. Raises `Refused(forbidden)` where it
    goes nowhere.
    """
    row = TABLE[permission]
    found = row.get(principal.role, Reach.NONE)
    if permission in principal.grants:
        # What was granted to somebody goes as far as a manager's would.
        found = max(found, row.get("manager", Reach.NONE), key=lambda r: r.value)
    if found is Reach.WHOLE:
        found = Reach.ANY if principal.locations is None else Reach.NONE
    elif found is Reach.LOCATION and principal.locations is None:
        found = Reach.ANY
    if found is Reach.NONE:
        raise Refused("forbidden", f"the role {principal.role} may not do this")
    if principal.scopes is not None and permission not in principal.scopes:
        raise Refused("forbidden", f"this token's scopes do not include {permission}")
    return found


def has(principal: Principal, permission: str) -> bool:
    """Whether the permission goes anywhere at all for this caller."""
    try:
        reach(principal, permission)
    except Refused:
        return False
    return True


def may_touch_calendar(principal: Principal, permission: str, professional_id: str, place: str | None = None) -> None:
    """For what belongs to one professional, whose location is `place`.

    A client's or visitor's `OWN` is judged by the booking, not here.
    """
    how_far = reach(principal, permission)
    if how_far is Reach.ANY or principal.role in ("client", "public"):
        return
    if how_far is Reach.LOCATION:
        if not _manages(principal, place):
            raise Refused("forbidden", "this professional works at a location that is not yours")
    elif principal.professional_id != professional_id:
        raise Refused("forbidden", "this is another professional's calendar")


def may_touch_booking(
    principal: Principal,
    permission: str,
    professional_id: str,
    client_id: str | None,
    place: str | None = None,
    *,
    holds_token: bool = False,
    what: str = "booking",
) -> None:
    """For one booking or hold, at `place`. `holds_token`: the caller has shown its manage token. What is not theirs is
    not found.
    """
    how_far = reach(principal, permission)
    if how_far is Reach.ANY or holds_token:
        return
    if how_far is Reach.LOCATION and _manages(principal, place):
        return
    if principal.role == "professional" and principal.professional_id == professional_id:
        return
    if principal.role == "client" and client_id is not None and principal.client_id == client_id:
        return
    raise Refused("not_found", f"there is no such {what}")


def _manages(principal: Principal, place: str | None) -> bool:
    return principal.locations is not None and place in principal.locations


def check_grants(grants: Iterable[str], field: str = "grants") -> None:
    """Raises `Refused(validation_failed)` for what cannot be granted: a grant goes as far as a manager's right, and
    no further.
    """
    for grant in grants:
        if TABLE.get(grant, {}).get("manager", Reach.NONE) in (Reach.NONE, Reach.OWN):
            raise invalid(field, f"{grant} is no permission that can be granted")


def check_scopes(role: Role, scopes: Iterable[str]) -> None:
    """Raises `Refused(validation_failed)` for a scope that no permission has, or none of that role's."""
    for scope in scopes:
        if role not in TABLE.get(scope, {}):
            raise invalid("scopes", f"{scope} is no permission of the role {role}")

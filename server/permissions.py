"""What each role may do. Routes and live commands name a permission; this module alone decides.

`ANY` allows it anywhere in the business; `OWN` on the professional's own calendar or the client's own bookings.
"""

from enum import Enum
from typing import Final

from protocol.errors import Refused
from server.principal import Principal, Role


class Reach(Enum):
    NONE = 0
    OWN = 1
    ANY = 2


_ANY, _OWN = Reach.ANY, Reach.OWN

TABLE: Final[dict[str, dict[Role, Reach]]] = {
    "tokens.manage": {"owner": _ANY},
    "catalogue.read": {
        "owner": _ANY, "manager": _ANY, "professional": _ANY, "service": _ANY, "client": _ANY,
    },
    "catalogue.write": {"owner": _ANY, "manager": _ANY, "service": _ANY},
    "schedule.write": {"owner": _ANY, "manager": _ANY, "professional": _OWN, "service": _ANY},
    "time_off.read": {"owner": _ANY, "manager": _ANY, "professional": _OWN, "service": _ANY},
    "availability.read": {
        "owner": _ANY, "manager": _ANY, "professional": _ANY, "service": _ANY, "client": _ANY, "public": _ANY,
    },
    "bookings.make": {
        "owner": _ANY, "manager": _ANY, "professional": _OWN, "service": _ANY, "client": _OWN, "public": _OWN,
    },
    "bookings.read": {
        "owner": _ANY, "manager": _ANY, "professional": _OWN, "service": _ANY, "client": _OWN, "public": _OWN,
    },
    "bookings.change": {
        "owner": _ANY, "manager": _ANY, "professional": _OWN, "service": _ANY, "client": _OWN, "public": _OWN,
    },
    "bookings.decide": {"owner": _ANY, "manager": _ANY, "professional": _OWN, "service": _ANY},
    "clients.read": {"owner": _ANY, "manager": _ANY, "professional": _ANY, "service": _ANY, "client": _OWN},
    "clients.write": {"owner": _ANY, "manager": _ANY, "professional": _ANY, "service": _ANY, "client": _OWN},
    "journal.read": {"owner": _ANY, "manager": _ANY, "professional": _OWN, "service": _ANY},
    "live.ticket": {
        "owner": _ANY, "manager": _ANY, "professional": _ANY, "service": _ANY, "client": _ANY,
    },
}  # fmt: skip


GUEST: Final = Principal("", "", "public", 0.0)
"""Whoever has no login: what the role may do, before it is known who it is."""


def reach(principal: Principal, permission: str) -> Reach:
    """How far the permission goes for this caller. Raises `Refused(forbidden)` where it goes nowhere."""
    found = TABLE[permission].get(principal.role, Reach.NONE)
    if found is Reach.NONE:
        raise Refused("forbidden", f"the role {principal.role} may not do this")
    return found


def may_touch_calendar(principal: Principal, permission: str, professional_id: str) -> None:
    """For what belongs to one professional. A client's or visitor's `OWN` is judged by the booking, not here."""
    if reach(principal, permission) is Reach.ANY or principal.role in ("client", "public"):
        return
    if principal.professional_id != professional_id:
        raise Refused("forbidden", "this is another professional's calendar")


def may_touch_booking(
    principal: Principal,
    permission: str,
    professional_id: str,
    client_id: str | None,
    *,
    holds_token: bool = False,
) -> None:
    """For one booking. `holds_token`: the caller has shown its manage token. What is not theirs is not found."""
    how_far = reach(principal, permission)
    if how_far is Reach.ANY or holds_token:
        return
    if principal.role == "professional" and principal.professional_id == professional_id:
        return
    if principal.role == "client" and client_id is not None and principal.client_id == client_id:
        return
    raise Refused("not_found")

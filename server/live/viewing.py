"""From a `subscribe` to the views it means, and who may see them."""

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from actors.broadcast import Broadcast, ViewKey
from actors.questions import bounds
from protocol import limits
from protocol.errors import Refused, invalid
from protocol.languages import Language
from protocol.live import Subscribe
from server import permissions
from server.principal import Principal
from storage import catalogue

if TYPE_CHECKING:
    from server.node import Node

NEEDS: Final = "availability.read"
"""What watching needs."""
_DATE_CHARS: Final = 10


class Visitor(msgspec.Struct, gc=False):
    """Who is at the other end: a login, or a visitor from an allowed `Origin`."""

    name: str
    origin: str | None
    same_origin: bool
    principal: Principal | None = None
    network: str = ""
    """Whose requests without login count together."""
    accepts: Language | None = None


def is_same_origin(origin: str | None, host: str, public_hosts: frozenset[str]) -> bool:
    """Whether a page of this server asks. Both headers are the caller's word: the host must be ours."""
    if origin is None:
        return False
    try:
        split = urlsplit(origin)
        return split.netloc.lower() == host.lower() and split.hostname in public_hosts
    except ValueError:
        return False


async def principal_for(node: "Node", visitor: Visitor, calendar_id: str) -> Principal:
    """The login, or a visitor's rights in the calendar's business. What is not theirs is not found."""
    business_id = await node.switchboard.business_of(calendar_id)
    if visitor.principal is not None:
        if visitor.principal.business_id != business_id:
            raise Refused("not_found")
        return visitor.principal
    business = await node.businesses.get(business_id)
    if business is None or not (visitor.same_origin or visitor.origin in business.allowed_origins):
        raise Refused("forbidden", "this page is not on the business's list of origins")
    return Principal(visitor.name, business_id, "public", 0.0)


async def open_views(node: "Node", visitor: Visitor, message: Subscribe) -> list[Broadcast]:
    """The views a subscription means, ready to be shown and joined."""
    if visitor.principal is not None:
        permissions.reach(visitor.principal, NEEDS)
    calendars = await _calendars(node, visitor, message)
    return list(await asyncio.gather(*(_open(node, visitor, message, c) for c in calendars)))


async def _open(node: "Node", visitor: Visitor, message: Subscribe, calendar_id: str) -> Broadcast:
    principal = await principal_for(node, visitor, calendar_id)
    permissions.reach(principal, NEEDS)
    if visitor.principal is None and max(len(message.from_), len(message.to)) > _DATE_CHARS:
        # Each different range is a view of its own, and a calendar keeps only so many.
        raise invalid("from", "without login, from and to are dates")
    business_id = principal.business_id
    time_zone = message.time_zone or await node.switchboard.time_zone(calendar_id, business_id)
    key = ViewKey(calendar_id, message.service_id or "", *bounds(message.from_, message.to, time_zone), time_zone)
    return await node.switchboard.watch(key, business_id)


async def _calendars(node: "Node", visitor: Visitor, message: Subscribe) -> list[str]:
    if message.professional_id is not None:
        return [message.professional_id]
    assert message.service_id is not None
    if visitor.principal is None:
        raise invalid("professional_id", "without login, name the professional")
    business_id = visitor.principal.business_id
    await catalogue.service_by_id(node.database, business_id, message.service_id)
    ids = await catalogue.offering(node.database, business_id, message.service_id)
    if len(ids) > limits.professionals_per_service_max:
        raise Refused("limit_reached", "too many professionals offer this service; name one")
    return ids

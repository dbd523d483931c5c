"""From a `subscribe` to the views it means, and who may see them."""

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from actors.broadcast import Broadcast, ViewKey
from actors.questions import bounds
from protocol import limits
from protocol.errors import Refused, invalid
from protocol.languages import Language
from protocol.live import Subscribe
from protocol.times import MINUTE
from server import permissions
from server.principal import Principal
from storage import catalogue, meetings

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
    request: web.BaseRequest | None = None
    """The one that connected."""
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
    return await _principal_in(node, visitor, await node.switchboard.business_of(calendar_id))


async def principal_for_service(node: "Node", visitor: Visitor, service_id: str) -> Principal:
    """As `principal_for`, where no calendar is named."""
    business_id = await meetings.business_of_service(node.database, service_id)
    if business_id is None:
        raise Refused("not_found", "there is no such service")
    return await _principal_in(node, visitor, business_id)


async def _principal_in(node: "Node", visitor: Visitor, business_id: str) -> Principal:
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
    joint = await _joint(node, visitor, message)
    if joint is not None:
        return [joint]
    calendars = await _calendars(node, visitor, message)
    return list(await asyncio.gather(*(_open(node, visitor, message, c) for c in calendars)))


async def _joint(node: "Node", visitor: Visitor, message: Subscribe) -> Broadcast | None:
    """The one view of a service that takes several calendars."""
    if message.service_id is None or message.offering_code is not None:
        return None
    if visitor.principal is not None:
        business_id: str | None = visitor.principal.business_id
    else:
        business_id = await meetings.business_of_service(node.database, message.service_id)
    team = await node.desk.together.teams.of(business_id, message.service_id) if business_id is not None else None
    if business_id is None or team is None or not team.several:
        return None
    permissions.reach(await _principal_in(node, visitor, business_id), NEEDS)
    professional_id = message.professional_id or ""
    if professional_id and professional_id not in team.professional_ids:
        raise Refused("service_not_offered")
    _bound(visitor, message)
    time_zone = message.time_zone or await node.switchboard.time_zone(
        professional_id or next(iter(team.professional_ids), ""), business_id
    )
    from_us, to_us = bounds(message.from_, message.to, time_zone)
    duration = (message.duration_minutes or 0) * MINUTE
    key = ViewKey(professional_id, message.service_id, from_us, to_us, time_zone, duration)
    return await node.live.joints.open(key, business_id)


def _bound(visitor: Visitor, message: Subscribe) -> None:
    if visitor.principal is None and max(len(message.from_), len(message.to)) > _DATE_CHARS:
        # Each different range is a view of its own, and only so many are kept.
        raise invalid("from", "without login, from and to are dates")


async def _open(node: "Node", visitor: Visitor, message: Subscribe, calendar_id: str) -> Broadcast:
    principal = await principal_for(node, visitor, calendar_id)
    permissions.reach(principal, NEEDS)
    _bound(visitor, message)
    business_id = principal.business_id
    time_zone = message.time_zone or await node.switchboard.time_zone(calendar_id, business_id)
    duration = (message.duration_minutes or 0) * MINUTE
    from_us, to_us = bounds(message.from_, message.to, time_zone)
    key = ViewKey(calendar_id, message.service_id or "", from_us, to_us, time_zone, duration)
    return await node.switchboard.watch(key, business_id)


async def _calendars(node: "Node", visitor: Visitor, message: Subscribe) -> list[str]:
    if message.offering_code is not None:
        offered = await node.desk.offerings.of_code(message.offering_code)
        if {message.service_id, message.professional_id} - {None, offered.id, offered.professional_id}:
            raise invalid("offering_code", "is of another professional; leave professional_id and service_id out")
        message.professional_id, message.service_id = offered.professional_id, offered.id
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

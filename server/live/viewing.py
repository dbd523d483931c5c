"""From a `subscribe` to the views it means, and who may see them."""

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from actors.actor import Actor
from actors.views import View, ViewKey
from protocol import limits
from protocol.errors import Refused, invalid
from protocol.live import Subscribe
from server import permissions
from server.principal import Principal
from server.rest.availability import bounds
from storage import catalogue

if TYPE_CHECKING:
    from server.node import Node

NEEDS: Final = "availability.read"
"""What watching needs."""
_TRIES_MAX: Final = 3
_DATE_CHARS: Final = 10


class Visitor(msgspec.Struct, gc=False):
    """Who is at the other end: a login, or a visitor from an allowed `Origin`."""

    name: str
    origin: str | None
    same_origin: bool
    principal: Principal | None = None
    network: str = ""
    """Whose requests without login count together."""


def is_same_origin(origin: str | None, host: str, public_hosts: frozenset[str]) -> bool:
    """Whether a page of this server asks. Both headers are the caller's word: the host must be ours."""
    if origin is None:
        return False
    try:
        split = urlsplit(origin)
        return split.netloc.lower() == host.lower() and split.hostname in public_hosts
    except ValueError:
        return False


async def principal_for(node: "Node", visitor: Visitor, actor: Actor) -> Principal:
    """The login, or a visitor's rights in the calendar's business. What is not theirs is not found."""
    if visitor.principal is not None:
        if visitor.principal.business_id != actor.business_id:
            raise Refused("not_found")
        return visitor.principal
    business = await node.businesses.get(actor.business_id)
    if business is None or not (visitor.same_origin or visitor.origin in business.allowed_origins):
        raise Refused("forbidden", "this page is not on the business's list of origins")
    return Principal(visitor.name, actor.business_id, "public", 0.0)


async def open_views(node: "Node", visitor: Visitor, message: Subscribe) -> list[tuple[Actor, View]]:
    """The views a subscription means, ready to be shown: nothing in them rests on what is not committed."""
    for _ in range(_TRIES_MAX):
        opened = await _open(node, visitor, message)
        if all([await node.runtime.reader.settled(actor, version) for actor, _, version in opened]):
            return [(actor, view) for actor, view, _ in opened]
    raise Refused("unavailable")


async def _open(node: "Node", visitor: Visitor, message: Subscribe) -> list[tuple[Actor, View, int]]:
    """The views, each with the version that must be committed before it is shown."""
    if visitor.principal is not None:
        permissions.reach(visitor.principal, NEEDS)
    found: list[tuple[Actor, View, int]] = []
    for actor in await _actors(node, visitor, message):
        permissions.reach(await principal_for(node, visitor, actor), NEEDS)
        if visitor.principal is None and max(len(message.from_), len(message.to)) > _DATE_CHARS:
            # Each different range is a view of its own, and a calendar keeps only so many.
            raise invalid("from", "without login, from and to are dates")
        time_zone = message.time_zone or actor.calendar.time_zone
        from_us, to_us = bounds(message.from_, message.to, time_zone)
        key = ViewKey(actor.calendar.id, message.service_id or "", from_us, to_us, time_zone)
        view = node.runtime.watch.open(actor, key)
        found.append((actor, view, actor.calendar.version))
    return found


async def _actors(node: "Node", visitor: Visitor, message: Subscribe) -> list[Actor]:
    business_id = visitor.principal.business_id if visitor.principal else None
    if message.professional_id is not None:
        return [await node.actor(message.professional_id, business_id)]
    assert message.service_id is not None
    if business_id is None:
        raise invalid("professional_id", "without login, name the professional")
    await catalogue.service_by_id(node.database, business_id, message.service_id)
    ids = await catalogue.offering(node.database, business_id, message.service_id)
    if len(ids) > limits.professionals_per_service_max:
        raise Refused("limit_reached", "too many professionals offer this service; name one")
    return [await node.actor(i, business_id) for i in ids]

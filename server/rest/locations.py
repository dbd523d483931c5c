"""Locations of a business."""

from typing import Any

from protocol import bodies
from protocol import businesses as said
from protocol.errors import Refused
from protocol.times import zone
from server import audit
from server.edge import Call, Endpoint, Reply
from server.paging import PageQuery, decode_cursor, page
from server.permissions import Reach, reach
from storage import locations


class LocationsQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """`deleted` lists those that were removed instead, for who may bring them back."""

    deleted: bool = False


def _all(call: Call[Any, Any]) -> None:
    if reach(call.principal, "locations.write") is not Reach.ANY:
        raise Refused("forbidden", "whoever manages some locations neither adds nor removes any")


async def create_location(call: Call[said.LocationCreate, Any]) -> Reply:
    _all(call)
    time_zone = call.body.time_zone or (await call.node.businesses.existing(call.business_id)).time_zone
    zone(time_zone)
    made = await locations.add(call.tx, call.business_id, call.body, time_zone)
    await audit.record(call, "location.made", "location", made.id, after=made)
    return Reply(made, 201, {"Location": f"/api/v1/locations/{made.id}"})


async def read_location(call: Call[Any, Any]) -> said.Location:
    return await locations.by_id(call.node.database, call.business_id, call.id("id"))


async def list_locations(call: Call[Any, LocationsQuery]) -> dict[str, Any]:
    auth, q = call.node.auth, call.query
    if q.deleted:
        _all(call)
    position = decode_cursor(auth, "locations", q.cursor)
    items = await locations.list_locations(
        call.node.database, call.business_id, position[0] if position else None, q.limit + 1, deleted=q.deleted
    )
    return page(auth, "locations", items, q.limit)


async def patch_location(call: Call[said.LocationPatch, Any]) -> said.Location:
    if isinstance(call.body.time_zone, str):
        zone(call.body.time_zone)
    before = await locations.by_id(call.tx, call.business_id, call.id("id"), lock=True)
    if reach(call.principal, "locations.write") is not Reach.ANY and before.id not in (call.principal.locations or ()):
        raise Refused("forbidden", "this location is not yours")
    after = await locations.patch(call.tx, call.business_id, before, call.body)
    await audit.record(call, "location.changed", "location", after.id, before=before, after=after)
    return after


async def delete_location(call: Call[Any, Any]) -> None:
    _all(call)
    gone = await locations.delete(call.tx, call.business_id, call.id("id"))
    await audit.record(call, "location.removed", "location", gone.id, before=gone)


async def restore_location(call: Call[Any, Any]) -> said.Location:
    _all(call)
    found = await locations.restore(call.tx, call.business_id, call.id("id"))
    await audit.record(call, "location.restored", "location", found.id, after=found)
    return found


def routes(node: Any) -> list[Endpoint]:
    p, write = "/api/v1/locations", "locations.write"
    return [
        Endpoint(node, "POST", p, create_location, needs=write, status=201, tx=True, summary="Add a location",
                 answer=said.Location, body=said.LocationCreate, area="locations"),
        Endpoint(node, "GET", p, list_locations, needs="locations.read", summary="List locations",
                 answer=list[said.Location], query=LocationsQuery, area="locations"),
        Endpoint(node, "GET", p + "/{id}", read_location, needs="locations.read", summary="Read a location",
                 answer=said.Location, area="locations"),
        Endpoint(node, "PATCH", p + "/{id}", patch_location, needs=write, tx=True, summary="Change a location",
                 answer=said.Location, body=said.LocationPatch, area="locations"),
        Endpoint(node, "DELETE", p + "/{id}", delete_location, needs=write, status=204, tx=True, keyed=False,
                 summary="Remove a location at which nobody works", errors=("conflict",), area="locations"),
        Endpoint(node, "POST", p + "/{id}/restore", restore_location, needs=write, tx=True,
                 summary="Bring back a location that was removed", answer=said.Location, body=bodies.Empty,
                 area="locations"),
    ]  # fmt: skip

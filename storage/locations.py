"""Locations, as rows and as the bodies REST answers with."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from protocol import businesses as said
from protocol.errors import Refused, invalid
from protocol.ids import new_id
from storage.people import Queries, stamp


def _location(row: Any) -> said.Location:
    if row is None:
        raise Refused("not_found", "there is no such location")
    return said.Location(
        id=str(row["id"]),
        name=row["name"],
        address=row["address"],
        phone=row["phone"],
        time_zone=row["time_zone"],
        created_at=stamp(row["created_at"]),
        updated_at=stamp(row["updated_at"]),
    )


async def add(q: Queries, business_id: str, body: said.LocationCreate, time_zone: str) -> said.Location:
    return _location(
        await q.row("insert_location", new_id(), business_id, body.name, body.address, body.phone, time_zone)
    )


async def by_id(q: Queries, business_id: str, location_id: str, *, lock: bool = False) -> said.Location:
    return _location(await q.row("location_for_update" if lock else "location_by_id", business_id, location_id))


async def place_of_work(q: Queries, business_id: str, location_id: str) -> said.Location:
    """One to put somebody at: it cannot be removed before the transaction ends. Raises
    `Refused(validation_failed)` when there is none.
    """
    row = await q.row("location_for_share", business_id, location_id)
    if row is None:
        raise invalid("location_id", "is no location of this business")
    return _location(row)


async def list_locations(
    q: Queries, business_id: str, after: str | None, limit: int, *, deleted: bool = False
) -> list[said.Location]:
    return [_location(r) for r in await q.fetch("list_locations", business_id, after, limit, deleted)]


async def patch(q: Queries, business_id: str, before: said.Location, body: said.LocationPatch) -> said.Location:
    """`before` is the location as it was locked."""
    given = {f: v for f in body.__struct_fields__ if (v := getattr(body, f)) is not UNSET}
    b = msgspec.structs.replace(before, **given)
    return _location(await q.row("update_location", business_id, b.id, b.name, b.address, b.phone, b.time_zone))


async def delete(q: Queries, business_id: str, location_id: str) -> said.Location:
    gone = _location(await q.row("delete_location", business_id, location_id))
    if await q.value("is_place_of_work", location_id):
        raise Refused("conflict", "professionals work there; move them to another location first")
    return gone


async def restore(q: Queries, business_id: str, location_id: str) -> said.Location:
    return _location(await q.row("restore_location", business_id, location_id))


async def check(q: Queries, business_id: str, location_ids: Sequence[str], field: str = "location_ids") -> None:
    """Raises `Refused(validation_failed)` unless all of them are locations of the business."""
    found = {r["id"] for r in await q.fetch("locations_among", business_id, location_ids)}
    for location_id in location_ids:
        if location_id not in found:
            raise invalid(field, f"{location_id} is no location of this business")

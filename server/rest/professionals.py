"""Professionals. Each has a calendar of the same id."""

from typing import Any, Literal

from msgspec import UNSET

from protocol import bodies
from protocol.errors import Refused
from protocol.times import zone
from server import audit
from server.edge import Call, Endpoint, Reply
from server.paging import PageQuery, decode_cursor, page
from server.permissions import Reach, reach
from server.terms import take_in
from storage import locations, people

_WRITE = "professionals.write"


class ProfessionalsQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """`deleted` lists those who were removed instead, for who may bring them back."""

    location_id: bodies.Uuid | None = None
    service_id: bodies.Uuid | None = None
    kind: Literal["person", "resource"] | None = None
    deleted: bool = False


def _may_place(call: Call[Any, Any], location_id: str | None) -> None:
    """Raises `Refused(forbidden)` for a manager who puts somebody where they do not manage."""
    if reach(call.principal, _WRITE) is Reach.LOCATION and location_id not in (call.principal.locations or ()):
        raise Refused("forbidden", "whoever manages some locations puts nobody elsewhere; name one in location_id")


async def create_professional(call: Call[bodies.ProfessionalCreate, Any]) -> Reply:
    b, place = call.body, None
    _may_place(call, b.location_id)
    if b.location_id is not None:
        place = await locations.place_of_work(call.tx, call.business_id, b.location_id)
    time_zone = b.time_zone or (place or await call.node.businesses.existing(call.business_id)).time_zone
    zone(time_zone)
    made = await people.add_professional(call.tx, call.business_id, b, time_zone, call.node.shard_count)
    await audit.record(call, "professional.made", "professional", made.id, after=made)
    return Reply(made, 201, {"Location": f"/api/v1/professionals/{made.id}"})


async def read_professional(call: Call[Any, Any]) -> bodies.Professional:
    return await people.professional_by_id(call.node.database, call.business_id, call.id("id"))


async def patch_professional(call: Call[bodies.ProfessionalPatch, Any]) -> bodies.Professional:
    """Who keeps a schedule may say who they are; where they work, the business says."""
    professional_id, b = call.id("id"), call.body
    await call.may_touch("schedule.write", professional_id)
    if b.location_id is not UNSET:
        await call.may_touch(_WRITE, professional_id)
        _may_place(call, b.location_id)
        if b.location_id is not None:
            await locations.place_of_work(call.tx, call.business_id, b.location_id)
        await call.node.notices.post(call.tx, "places", [professional_id])
        # Its holidays are others, and so may be what is offered there.
        await take_in(call, [professional_id])
    before = await people.professional_by_id(call.tx, call.business_id, professional_id)
    after = await people.patch_professional(call.tx, call.business_id, professional_id, b)
    await audit.record(call, "professional.changed", "professional", professional_id, before=before, after=after)
    return after


async def delete_professional(call: Call[Any, Any]) -> None:
    """Only without bookings ahead. What was booked before stays as it is."""
    professional_id = call.id("id")
    await call.may_touch(_WRITE, professional_id)
    before = await people.professional_by_id(call.tx, call.business_id, professional_id)
    await people.delete_professional(call.tx, call.business_id, professional_id)
    await audit.record(call, "professional.removed", "professional", professional_id, before=before)
    await call.node.notices.post(call.tx, "calendars", [professional_id])


async def restore_professional(call: Call[Any, Any]) -> bodies.Professional:
    professional_id = call.id("id")
    await call.may_touch(_WRITE, professional_id)
    found = await people.restore_professional(call.tx, call.business_id, professional_id)
    await audit.record(call, "professional.restored", "professional", professional_id, after=found)
    await call.node.notices.post(call.tx, "calendars", [professional_id])
    return found


async def list_professionals(call: Call[Any, ProfessionalsQuery]) -> dict[str, Any]:
    auth, q = call.node.auth, call.query
    if q.deleted and reach(call.principal, _WRITE) is not Reach.ANY:
        raise Refused("forbidden", "whoever manages some locations does not see who was removed")
    position = decode_cursor(auth, "professionals", q.cursor)
    items = await people.list_professionals(
        call.node.database, call.business_id, position[0] if position else None, q.limit + 1,
        location_id=q.location_id, service_id=q.service_id, kind=q.kind, deleted=q.deleted,
    )  # fmt: skip
    return page(auth, "professionals", items, q.limit)


def routes(node: Any) -> list[Endpoint]:
    p = "/api/v1/professionals"
    return [
        Endpoint(node, "POST", p, create_professional, needs=_WRITE, status=201, tx=True,
                 summary="Add a professional", answer=bodies.Professional, body=bodies.ProfessionalCreate,
                 errors=("conflict",), area="professionals"),
        Endpoint(node, "GET", p, list_professionals, needs="catalogue.read", summary="List professionals",
                 answer=list[bodies.Professional], query=ProfessionalsQuery, area="professionals"),
        Endpoint(node, "GET", p + "/{id}", read_professional, needs="catalogue.read",
                 summary="Read a professional", answer=bodies.Professional, area="professionals"),
        Endpoint(node, "PATCH", p + "/{id}", patch_professional, needs="schedule.write", tx=True,
                 summary="Change a professional", answer=bodies.Professional, body=bodies.ProfessionalPatch,
                 area="professionals"),
        Endpoint(node, "DELETE", p + "/{id}", delete_professional, needs=_WRITE, status=204, tx=True, keyed=False,
                 summary="Remove a professional who has no bookings ahead", errors=("conflict",),
                 area="professionals"),
        Endpoint(node, "POST", p + "/{id}/restore", restore_professional, needs=_WRITE, tx=True,
                 summary="Bring back a professional who was removed", answer=bodies.Professional, body=bodies.Empty,
                 area="professionals"),
    ]  # fmt: skip

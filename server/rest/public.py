"""What visitors see of a business, and book, without login.

Under a subdomain of the base domain the slug is left out: `public/services` of `salon.example.com` is
`public/salon/services`.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec

from actors.questions import PublicSlots, bounds
from protocol import bodies
from protocol import public as said
from protocol.errors import Refused, invalid
from protocol.ids import new_id
from protocol.languages import accepted
from protocol.times import MINUTE, format_us
from server.desk import Asker
from server.edge import Call, Endpoint, Reply
from server.paging import PageQuery, decode_cursor, page
from server.principal import Principal
from server.rest.availability import free_of_service, lasting_us
from server.rest.bookings import TAKEN, etag
from server.slugs import slug_of_host
from storage import catalogue, locations, people
from storage.businesses import Business

Handler: TypeAlias = Callable[[Call[Any, Any]], Awaitable[Any]]
_encode = msgspec.json.Encoder().encode


class PublicProfessionalsQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    location_id: bodies.Uuid | None = None
    service_id: bodies.Uuid | None = None


class PublicServicesQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    professional_id: bodies.Uuid | None = None


class PublicAvailabilityQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`date` for a day's whole grid, or `from` and `to`, as of `slots`, for what is open. Without `professional_id`
    those who offer `service_id` are asked.
    """

    date: str | None = None
    from_: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    professional_id: bodies.Uuid | None = None
    service_id: bodies.Uuid | None = None
    duration_minutes: bodies.Minutes | None = None
    time_zone: str | None = None


async def _business(call: Call[Any, Any]) -> Business:
    """The one of the path, or of the host. Raises `Refused(not_found)`."""
    slug = call.params.get("slug") or slug_of_host(call.request, call.node.settings.base_domain)
    business = await call.node.businesses.public(slug) if slug is not None else None
    if business is None:
        raise Refused("not_found", "there is no such business")
    return business


async def read_public(call: Call[Any, Any]) -> said.PublicBusiness:
    b = await _business(call)
    return said.PublicBusiness(
        slug=b.slug,
        name=b.name,
        time_zone=b.time_zone,
        locale=b.locale,
        languages=list(b.languages),
        cancellation_notice_minutes=b.cancellation_notice_us // MINUTE,
        takes_bookings=call.node.businesses.closed(b) is None,
    )


async def public_services(call: Call[Any, PublicServicesQuery]) -> dict[str, Any]:
    business, node, q = await _business(call), call.node, call.query
    position = decode_cursor(node.auth, "services", q.cursor)
    after = position[0] if position else None
    found = await catalogue.list_services(node.database, business.id, after, q.limit + 1, q.professional_id)
    return page(node.auth, "services", [_narrowed(said.PublicService, s) for s in found], q.limit)


async def public_professionals(call: Call[Any, PublicProfessionalsQuery]) -> dict[str, Any]:
    business, node, q = await _business(call), call.node, call.query
    position = decode_cursor(node.auth, "professionals", q.cursor)
    found = await people.list_professionals(
        node.database, business.id, position[0] if position else None, q.limit + 1,
        location_id=q.location_id, service_id=q.service_id, kind="person",
    )  # fmt: skip
    return page(node.auth, "professionals", [_narrowed(said.PublicProfessional, p) for p in found], q.limit)


async def public_locations(call: Call[Any, PageQuery]) -> dict[str, Any]:
    business, node, q = await _business(call), call.node, call.query
    position = decode_cursor(node.auth, "locations", q.cursor)
    after = position[0] if position else None
    found = await locations.list_locations(node.database, business.id, after, q.limit + 1)
    return page(node.auth, "locations", [_narrowed(said.PublicLocation, p) for p in found], q.limit)


def _narrowed(kind: Any, whole: Any) -> Any:
    """What visitors may see of it."""
    return kind(**{name: getattr(whole, name) for name in kind.__struct_fields__})


# What is free


async def public_availability(call: Call[Any, PublicAvailabilityQuery]) -> said.PublicAvailability | bytes:
    business, q = await _business(call), call.query
    if (q.date is None) == (q.from_ is None or q.to is None) or (q.date is not None and (q.from_ or q.to)):
        raise invalid("date", "give either date, or from and to")
    if q.professional_id is not None and not await _joint(call, business, q.service_id):
        question = PublicSlots(q.from_, q.to, q.date, q.service_id, q.time_zone, lasting_us(q.duration_minutes))
        return await call.node.switchboard.read(q.professional_id, business.id, question)
    if q.service_id is None:
        raise invalid("service_id", "give a professional_id, a service_id, or both")
    if q.date is not None:
        raise invalid("date", "a day's grid is of one professional; for several send from and to")
    return await _of_any(call, business, q.service_id, q.professional_id)


async def _joint(call: Call[Any, Any], business: Business, service_id: str | None) -> bool:
    """Whether more than one calendar is needed: then what one of them has free says little."""
    team = await call.node.desk.together.teams.of(business.id, service_id) if service_id is not None else None
    return team is not None and team.several


async def _of_any(
    call: Call[Any, PublicAvailabilityQuery], business: Business, service_id: str, professional_id: str | None
) -> said.PublicAvailability:
    node, q = call.node, call.query
    await catalogue.service_by_id(node.database, business.id, service_id)
    time_zone = q.time_zone or business.time_zone
    from_us, to_us = bounds(q.from_ or "", q.to or "", time_zone)
    free = await free_of_service(node, business.id, service_id, from_us, to_us, lasting_us(q.duration_minutes))
    return said.PublicAvailability(
        time_zone=time_zone,
        slots=[
            said.PublicSlot(start=format_us(a), end=format_us(b), available=True, professional_ids=ids)
            for (a, b), ids in free
            if professional_id is None or professional_id in ids
        ],
    )


# Booking


def _visitor(business: Business) -> Principal:
    return Principal(new_id(), business.id, "public", 0.0)


async def public_booking(call: Call[said.PublicBookingCreate, Any]) -> Reply:
    """As a guest. The answer's `manage_token` reads, changes and cancels the booking; it is not told again."""
    business, b = await _business(call), call.body
    principal = _visitor(business)
    key = msgspec.structs.replace(call.key, scope=principal.scope) if call.key is not None else None
    body = bodies.BookingCreate(
        professional_id=b.professional_id,
        professional_ids=b.professional_ids,
        resource_ids=b.resource_ids,
        service_id=b.service_id,
        start=b.start,
        duration_minutes=b.duration_minutes,
        guest=b.guest,
        attendees=b.attendees,
        hold_id=b.hold_id,
        notes=b.notes,
        answers=b.answers,
        if_version=b.if_version,
    )
    language = accepted(call.request.headers.get("Accept-Language"))
    booking = await call.node.desk.book(Asker(principal, call.request_id, key, language=language), body)
    return Reply(booking, 201, {"Location": f"/api/v1/bookings/{booking.id}", **etag(booking)})


def _of_host(handler: Handler) -> Handler:
    """The same under a name of its own, because operations are told apart by their handlers' names."""

    async def of_host(call: Call[Any, Any]) -> Any:
        return await handler(call)

    of_host.__name__ = f"{handler.__name__}_of_host"
    return of_host


def _as_it_is(handler: Handler) -> Handler:
    return handler


def routes(node: Any) -> list[Endpoint]:
    """Each twice: with the slug in the path, and for subdomains without."""
    found: list[Endpoint] = []
    for p, of, named in (
        ("/api/v1/public/{slug}", "a business", _as_it_is),
        ("/api/v1/public", "the subdomain's business", _of_host),
    ):
        found += [
            Endpoint(node, "GET", p, named(read_public), needs=None, summary=f"What visitors see of {of}",
                     answer=said.PublicBusiness, area="public"),
            Endpoint(node, "GET", p + "/services", named(public_services), needs=None,
                     summary=f"Services of {of}", answer=list[said.PublicService], query=PublicServicesQuery,
                     area="public"),
            Endpoint(node, "GET", p + "/professionals", named(public_professionals), needs=None,
                     summary=f"Professionals of {of}", answer=list[said.PublicProfessional],
                     query=PublicProfessionalsQuery, area="public"),
            Endpoint(node, "GET", p + "/locations", named(public_locations), needs=None,
                     summary=f"Locations of {of}", answer=list[said.PublicLocation], query=PageQuery, area="public"),
            Endpoint(node, "GET", p + "/availability", named(public_availability), needs=None,
                     summary=f"What is free at {of}: a day's grid, or open slots", answer=said.PublicAvailability,
                     query=PublicAvailabilityQuery, area="public"),
            Endpoint(node, "POST", p + "/bookings", named(public_booking), needs=None, status=201, keyed=True,
                     limit="bookings", summary=f"Book at {of} as a guest", answer=bodies.Booking,
                     body=said.PublicBookingCreate, area="public",
                     errors=(*TAKEN, "hold_gone", "calendar_changed", "business_suspended", "trial_over")),
        ]  # fmt: skip
    return found

"""Services, and which professional offers them."""

from typing import Any

import msgspec
from msgspec import UNSET

from protocol import bodies
from protocol import services as said
from protocol.errors import invalid
from server import audit
from server.edge import Call, Endpoint, Reply
from server.paging import PageQuery, decode_cursor, page
from server.permissions import reach
from server.reading import decode
from server.terms import take_in
from storage import catalogue, people

_decode_new = msgspec.json.Decoder(said.ServiceCreate).decode
_encode = msgspec.json.Encoder().encode


async def create_service(call: Call[said.ServiceCreate, Any]) -> Reply:
    service = await catalogue.add_service(call.tx, call.business_id, call.body)
    await audit.record(call, "service.made", "service", service.id, after=service)
    await take_in(call, call.body.professional_ids)
    return Reply(service, 201, {"Location": f"/api/v1/services/{service.id}"})


async def read_service(call: Call[Any, Any]) -> said.Service:
    return await catalogue.service_by_id(call.node.database, call.business_id, call.id("id"))


class ServicesQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """`deleted` lists those that were taken out instead, for who may bring them back."""

    deleted: bool = False


async def list_services(call: Call[Any, ServicesQuery]) -> dict[str, Any]:
    if call.query.deleted:
        reach(call.principal, "catalogue.write")
    return await _page(call, None, deleted=call.query.deleted)


async def list_services_of(call: Call[Any, PageQuery]) -> dict[str, Any]:
    professional = await people.professional_by_id(call.node.database, call.business_id, call.id("id"))
    return await _page(call, professional.id)


async def _page(call: Call[Any, Any], professional_id: str | None, *, deleted: bool = False) -> dict[str, Any]:
    auth, q = call.node.auth, call.query
    position = decode_cursor(auth, "services", q.cursor)
    items = await catalogue.list_services(
        call.node.database, call.business_id, position[0] if position else None, q.limit + 1, professional_id,
        deleted=deleted,
    )  # fmt: skip
    return page(auth, "services", items, q.limit)


async def patch_service(call: Call[said.ServicePatch, Any]) -> said.Service:
    service_id = call.id("id")
    before, service = await catalogue.patch_service(call.tx, call.business_id, service_id, call.body)
    await audit.record(call, "service.changed", "service", service_id, before=before, after=service)
    await take_in(call, await catalogue.offering(call.tx, call.business_id, service_id))
    return service


async def delete_service(call: Call[Any, Any]) -> None:
    service_id = call.id("id")
    offering = await catalogue.offering(call.tx, call.business_id, service_id)
    await catalogue.delete_service(call.tx, call.business_id, service_id)
    await audit.record(call, "service.removed", "service", service_id)
    await take_in(call, offering)


async def restore_service(call: Call[Any, Any]) -> said.Service:
    """Whoever offered it does so again."""
    service = await catalogue.restore_service(call.tx, call.business_id, call.id("id"))
    await audit.record(call, "service.restored", "service", service.id)
    await take_in(call, await catalogue.offering(call.tx, call.business_id, service.id))
    return service


async def add_service_to(call: Call[said.ServiceForProfessional, Any]) -> Reply:
    professional_id, b = call.id("id"), call.body
    await call.may_touch("professionals.write", professional_id)
    given = {f: v for f in b.__struct_fields__ if (v := getattr(b, f)) is not UNSET}
    service_id = given.pop("service_id", UNSET)
    if service_id is not UNSET and given:
        raise invalid("service_id", "give a service_id or the fields of a new service, not both")
    if service_id is UNSET:
        reach(call.principal, "catalogue.write")
        new: said.ServiceCreate = decode(_decode_new, _encode(given))
        service = await catalogue.add_service(call.tx, call.business_id, new)
        await audit.record(call, "service.made", "service", service.id, after=service)
        service_id = service.id
    await catalogue.link(call.tx, call.business_id, professional_id, service_id)
    await take_in(call, [professional_id])
    service = await catalogue.service_by_id(call.tx, call.business_id, service_id)
    return Reply(service, 201, {"Location": f"/api/v1/services/{service_id}"})


async def remove_service_from(call: Call[Any, Any]) -> None:
    professional_id = call.id("id")
    await call.may_touch("professionals.write", professional_id)
    await catalogue.unlink(call.tx, call.business_id, professional_id, call.id("service_id"))
    await take_in(call, [professional_id])


def routes(node: Any) -> list[Endpoint]:
    s, p = "/api/v1/services", "/api/v1/professionals/{id}/services"
    return [
        Endpoint(node, "POST", s, create_service, needs="catalogue.write", status=201, tx=True,
                 summary="Add a service", answer=said.Service, body=said.ServiceCreate, area="services"),
        Endpoint(node, "GET", s, list_services, needs="catalogue.read", summary="List services",
                 answer=list[said.Service], query=ServicesQuery, area="services"),
        Endpoint(node, "GET", s + "/{id}", read_service, needs="catalogue.read", summary="Read a service",
                 answer=said.Service, area="services"),
        Endpoint(node, "PATCH", s + "/{id}", patch_service, needs="catalogue.write", tx=True,
                 summary="Change a service's terms", answer=said.Service, body=said.ServicePatch,
                 area="services"),
        Endpoint(node, "DELETE", s + "/{id}", delete_service, needs="catalogue.write", status=204, tx=True,
                 summary="Take a service out of the catalogue", area="services"),
        Endpoint(node, "POST", s + "/{id}/restore", restore_service, needs="catalogue.write", tx=True,
                 summary="Bring back a service that was taken out", answer=said.Service, body=bodies.Empty,
                 area="services"),
        Endpoint(node, "GET", p, list_services_of, needs="catalogue.read", query=PageQuery,
                 summary="Services a professional offers", answer=list[said.Service], area="professionals"),
        Endpoint(node, "POST", p, add_service_to, needs="professionals.write", status=201, tx=True,
                 summary="Let a professional offer a service", answer=said.Service,
                 body=said.ServiceForProfessional, area="professionals"),
        Endpoint(node, "DELETE", p + "/{service_id}", remove_service_from, needs="professionals.write", status=204,
                 tx=True, summary="Let a professional no longer offer a service", area="professionals"),
    ]  # fmt: skip

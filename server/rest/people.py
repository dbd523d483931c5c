"""Clients and professionals."""

from typing import Any

from protocol import bodies
from protocol.errors import Refused
from protocol.times import zone
from server.edge import Call, Endpoint, Reply
from server.paging import PageQuery, decode_cursor, page
from server.permissions import Reach, reach
from storage import people


async def register_client(call: Call[bodies.ClientCreate, Any]) -> Reply:
    if reach(call.principal, "clients.write") is not Reach.ANY:
        raise Refused("forbidden", "clients are registered by the business")
    client, new = await people.add_client(call.tx, call.business_id, call.body)
    return Reply(client, 201 if new else 200, {"Location": f"/api/v1/clients/{client.id}"})


def _own_client(call: Call[Any, Any], permission: str) -> str:
    client_id = call.id("id")
    if reach(call.principal, permission) is not Reach.ANY and call.principal.client_id != client_id:
        raise Refused("not_found", "there is no such client")
    return client_id


async def read_client(call: Call[Any, Any]) -> bodies.Client:
    return await people.client_by_id(call.node.database, call.business_id, _own_client(call, "clients.read"))


async def patch_client(call: Call[bodies.ClientPatch, Any]) -> bodies.Client:
    return await people.patch_client(call.tx, call.business_id, _own_client(call, "clients.write"), call.body)


async def list_clients(call: Call[Any, PageQuery]) -> dict[str, Any]:
    if reach(call.principal, "clients.read") is not Reach.ANY:
        raise Refused("forbidden")
    return await _page(call, "clients", people.list_clients)


async def create_professional(call: Call[bodies.ProfessionalCreate, Any]) -> Reply:
    if reach(call.principal, "professionals.write") is not Reach.ANY:
        raise Refused("forbidden", "whoever manages some locations adds nobody to all of them")
    time_zone = call.body.time_zone
    if time_zone is None:
        business = await call.node.businesses.get(call.business_id)
        if business is None:
            raise Refused("not_found", "there is no such business")
        time_zone = business.time_zone
    zone(time_zone)
    made = await people.add_professional(call.tx, call.business_id, call.body, time_zone, call.node.shard_count)
    return Reply(made, 201, {"Location": f"/api/v1/professionals/{made.id}"})


async def read_professional(call: Call[Any, Any]) -> bodies.Professional:
    return await people.professional_by_id(call.node.database, call.business_id, call.id("id"))


async def patch_professional(call: Call[bodies.ProfessionalPatch, Any]) -> bodies.Professional:
    professional_id = call.id("id")
    await call.may_touch("schedule.write", professional_id)
    return await people.patch_professional(call.tx, call.business_id, professional_id, call.body)


async def list_professionals(call: Call[Any, PageQuery]) -> dict[str, Any]:
    return await _page(call, "professionals", people.list_professionals)


async def _page(call: Call[Any, PageQuery], what: str, read: Any) -> dict[str, Any]:
    auth, q = call.node.auth, call.query
    position = decode_cursor(auth, what, q.cursor)
    items = await read(call.node.database, call.business_id, position[0] if position else None, q.limit + 1)
    return page(auth, what, items, q.limit)


def routes(node: Any) -> list[Endpoint]:
    c, p = "/api/v1/clients", "/api/v1/professionals"
    return [
        Endpoint(node, "POST", c, register_client, needs="clients.write", status=201, tx=True,
                 summary="Register a client; the same chat_id again is the same client", answer=bodies.Client,
                 body=bodies.ClientCreate, area="clients"),
        Endpoint(node, "GET", c, list_clients, needs="clients.read", summary="List clients",
                 answer=list[bodies.Client], query=PageQuery, area="clients"),
        Endpoint(node, "GET", c + "/{id}", read_client, needs="clients.read", summary="Read a client",
                 answer=bodies.Client, area="clients"),
        Endpoint(node, "PATCH", c + "/{id}", patch_client, needs="clients.write", summary="Change a client",
                 answer=bodies.Client, body=bodies.ClientPatch, tx=True, area="clients"),
        Endpoint(node, "POST", p, create_professional, needs="professionals.write", status=201, tx=True,
                 summary="Add a professional", answer=bodies.Professional, body=bodies.ProfessionalCreate,
                 errors=("conflict",), area="professionals"),
        Endpoint(node, "GET", p, list_professionals, needs="catalogue.read", summary="List professionals",
                 answer=list[bodies.Professional], query=PageQuery, area="professionals"),
        Endpoint(node, "GET", p + "/{id}", read_professional, needs="catalogue.read",
                 summary="Read a professional", answer=bodies.Professional, area="professionals"),
        Endpoint(node, "PATCH", p + "/{id}", patch_professional, needs="schedule.write", tx=True,
                 summary="Change a professional", answer=bodies.Professional, body=bodies.ProfessionalPatch,
                 area="professionals"),
    ]  # fmt: skip

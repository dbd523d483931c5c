"""Clients."""

from typing import Any

from protocol import bodies
from protocol.errors import Refused
from server import audit
from server.edge import Call, Endpoint, Reply
from server.identity import contact_keys
from server.paging import PageQuery, decode_cursor, page
from server.permissions import Reach, reach
from storage import people


async def register_client(call: Call[bodies.ClientCreate, Any]) -> Reply:
    if reach(call.principal, "clients.write") is not Reach.ANY:
        raise Refused("forbidden", "clients are registered by the business")
    b = call.body
    keys = contact_keys(b.email, b.phone_number, await call.node.businesses.region(call.business_id))
    client, new = await people.add_client(call.tx, call.business_id, b, keys)
    return Reply(client, 201 if new else 200, {"Location": f"/api/v1/clients/{client.id}"})


def _own_client(call: Call[Any, Any], permission: str) -> str:
    client_id = call.id("id")
    if reach(call.principal, permission) is not Reach.ANY and call.principal.client_id != client_id:
        raise Refused("not_found", "there is no such client")
    return client_id


async def read_client(call: Call[Any, Any]) -> bodies.Client:
    return await people.client_by_id(call.node.database, call.business_id, _own_client(call, "clients.read"))


async def patch_client(call: Call[bodies.ClientPatch, Any]) -> bodies.Client:
    b, client_id = call.body, _own_client(call, "clients.write")
    # What is left out is not looked at.
    keys = contact_keys(b.email or None, b.phone_number or None, await call.node.businesses.region(call.business_id))
    return await people.patch_client(call.tx, call.business_id, client_id, b, keys)


class ClientsQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """`deleted` lists those who were removed instead, for who may bring them back."""

    deleted: bool = False


async def list_clients(call: Call[Any, ClientsQuery]) -> dict[str, Any]:
    auth, q = call.node.auth, call.query
    if reach(call.principal, "clients.read") is not Reach.ANY:
        raise Refused("forbidden")
    if q.deleted:
        reach(call.principal, "clients.remove")
    position = decode_cursor(auth, "clients", q.cursor)
    items = await people.list_clients(
        call.node.database, call.business_id, position[0] if position else None, q.limit + 1, deleted=q.deleted
    )
    return page(auth, "clients", items, q.limit)


async def delete_client(call: Call[Any, Any]) -> None:
    """They can be brought back, unlike one who was erased. A login of theirs is no client's any more."""
    client_id = call.id("id")
    user_id = await people.delete_client(call.tx, call.business_id, client_id)
    await audit.record(call, "client.removed", "client", client_id)
    await call.node.notices.post(call.tx, "clients", [client_id])
    if user_id is not None:
        await call.node.sessions.end(call.tx, user_id, "the client was removed", business_id=call.business_id)


async def restore_client(call: Call[Any, Any]) -> bodies.Client:
    client = await people.restore_client(call.tx, call.business_id, call.id("id"))
    await audit.record(call, "client.restored", "client", client.id)
    return client


def routes(node: Any) -> list[Endpoint]:
    c = "/api/v1/clients"
    return [
        Endpoint(node, "POST", c, register_client, needs="clients.write", status=201, tx=True,
                 summary="Register a client; the same chat_id again is the same client", answer=bodies.Client,
                 body=bodies.ClientCreate, area="clients"),
        Endpoint(node, "GET", c, list_clients, needs="clients.read", summary="List clients",
                 answer=list[bodies.Client], query=ClientsQuery, area="clients"),
        Endpoint(node, "GET", c + "/{id}", read_client, needs="clients.read", summary="Read a client",
                 answer=bodies.Client, area="clients"),
        Endpoint(node, "PATCH", c + "/{id}", patch_client, needs="clients.write", summary="Change a client",
                 answer=bodies.Client, body=bodies.ClientPatch, tx=True, area="clients"),
        Endpoint(node, "DELETE", c + "/{id}", delete_client, needs="clients.remove", status=204, tx=True, keyed=False,
                 summary="Remove a client; bookings stay", area="clients"),
        Endpoint(node, "POST", c + "/{id}/restore", restore_client, needs="clients.remove", tx=True,
                 summary="Bring back a client who was removed", answer=bodies.Client, body=bodies.Empty,
                 area="clients"),
    ]  # fmt: skip

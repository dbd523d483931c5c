"""What is held about a client: handed out, and taken away."""

from typing import Any

from protocol import bodies, records
from protocol.errors import Refused
from protocol.times import format_us
from server import audit
from server.edge import Call, Endpoint
from server.permissions import Reach, reach
from storage import records as stored
from storage.messages import erase_messages, messages_of_client, preferences


def _client_id(call: Call[Any, Any], permission: str) -> str:
    """Any for who may, else the caller's own."""
    client_id = call.id("id")
    if reach(call.principal, permission) is not Reach.ANY and call.principal.client_id != client_id:
        raise Refused("not_found", "there is no such client")
    return client_id


async def export_client(call: Call[Any, Any]) -> records.ClientExport:
    client_id, q, business_id = _client_id(call, "clients.export"), call.node.database, call.business_id
    client, user_id = await stored.client_with_user(q, business_id, client_id)
    emails, phones = await stored.contacts_of_client(q, business_id, client_id)
    await audit.record(call, "client.exported", "client", client_id, tx=q)
    return records.ClientExport(
        exported_at=format_us(call.node.clock.now_us()),
        client=client,
        user_id=user_id,
        bookings=await stored.bookings_of_client(q, business_id, client_id),
        bans=await stored.bans_among(q, business_id, emails, phones),
        preferences=await preferences(q, business_id, client_id),
        messages=await messages_of_client(q, business_id, client_id),
    )


async def erase_client(call: Call[bodies.Empty, Any]) -> None:
    """The bookings stay, of somebody without a name. Done again it does nothing, or ends what was interrupted.

    The texts of bookings are cleared before and after: before, because one who hears of an interruption asks again;
    after, because a booking may have come in between.
    """
    node, client_id = call.node, _client_id(call, "clients.erase")
    await stored.erase_texts(node.database, call.business_id, client_id)
    async with node.database.transaction() as tx:
        user_id, done = await stored.erase(tx, call.business_id, client_id)
        await erase_messages(tx, call.business_id, client_id)
        if done:
            await audit.record(call, "client.erased", "client", client_id, tx=tx)
            await node.notices.post(tx, "clients", [client_id])
        if user_id is not None:
            await node.sessions.end(tx, user_id, "the client was erased", business_id=call.business_id)
    await stored.erase_texts(node.database, call.business_id, client_id)
    await erase_messages(node.database, call.business_id, client_id)


def routes(node: Any) -> list[Endpoint]:
    c = "/api/v1/clients/{id}"
    return [
        Endpoint(node, "GET", c + "/export", export_client, needs="clients.export", area="clients",
                 summary="Everything held about a client", answer=records.ClientExport, errors=("limit_reached",)),
        Endpoint(node, "POST", c + "/erase", erase_client, needs="clients.erase", status=204, body=bodies.Empty,
                 summary="Forget a client: who they were, and what was noted of their bookings", area="clients"),
    ]  # fmt: skip

"""Service tokens: for programs that act for a business."""

from typing import Any

from protocol import bodies
from protocol.errors import Refused
from protocol.ids import new_id
from protocol.times import DAY
from server import audit
from server.edge import Call, Endpoint, Reply
from server.paging import PageQuery, decode_cursor, page
from server.permissions import check_scopes
from server.principal import Principal
from storage import people


async def issue_service_token(call: Call[bodies.ServiceTokenCreate, Any]) -> Reply:
    """Takes no Idempotency-Key: to answer twice, the token would have to be stored in clear."""
    body, token_id = call.body, new_id()
    scopes = None if body.scopes is None else frozenset(body.scopes)
    check_scopes(body.role, scopes or ())
    expires_us = call.node.clock.now_us() + body.ttl_days * DAY
    issued = await people.add_service_token(
        call.tx, token_id, call.business_id, body, expires_us, call.principal.label
    )  # fmt: skip
    await audit.record(call, "token.issued", "service_token", token_id, after=issued)
    issued.token = call.node.auth.issue(
        Principal(token_id, call.business_id, body.role, expires_us / 1_000_000, token_id, scopes=scopes)
    )
    return Reply(issued, 201, {"Location": f"/api/v1/service-tokens/{token_id}"})


async def list_service_tokens(call: Call[Any, PageQuery]) -> dict[str, Any]:
    auth, q = call.node.auth, call.query
    position = decode_cursor(auth, "tokens", q.cursor)
    items = await people.list_service_tokens(
        call.node.database, call.business_id, position[0] if position else None, q.limit + 1
    )
    return page(auth, "tokens", items, q.limit)


async def revoke_service_token(call: Call[Any, Any]) -> None:
    token_id = call.id("id")
    if await call.tx.value("revoke_service_token", call.business_id, token_id) is None:
        raise Refused("not_found", "there is no such token")
    await audit.record(call, "token.revoked", "service_token", token_id)
    await call.node.notices.post(call.tx, "tokens", [token_id])


def routes(node: Any) -> list[Endpoint]:
    t = "/api/v1/service-tokens"
    return [
        Endpoint(node, "POST", t, issue_service_token, needs="tokens.manage", summary="Issue a service token",
                 answer=bodies.ServiceToken, status=201, body=bodies.ServiceTokenCreate, tx=True, keyed=False,
                 area="auth"),
        Endpoint(node, "GET", t, list_service_tokens, needs="tokens.manage", summary="List service tokens",
                 answer=list[bodies.ServiceToken], query=PageQuery, area="auth"),
        Endpoint(node, "DELETE", t + "/{id}", revoke_service_token, needs="tokens.manage", status=204, tx=True,
                 keyed=False, summary="Revoke a service token", area="auth"),
    ]  # fmt: skip

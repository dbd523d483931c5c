"""Permissions beyond one's role: asked for, and granted or denied."""

from typing import Any

import msgspec

from protocol import businesses as said
from protocol.errors import Refused, invalid
from protocol.ids import is_uuid
from server import audit
from server.edge import Call, Endpoint, Reply
from server.paging import PageQuery, decode_cursor, page
from server.permissions import Reach, check_grants, has, reach
from storage import memberships


class RequestsQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    status: said.RequestStatus | None = None


async def ask_permission(call: Call[said.PermissionRequestCreate, Any]) -> Reply:
    b, principal = call.body, call.principal
    check_grants([b.permission], "permission")
    user_id = principal.user_id
    if await call.tx.value("membership_of_user", call.business_id, user_id) is None:
        raise Refused("forbidden", "this login is no member of the business")
    granted = msgspec.structs.replace(principal, grants=principal.grants | {b.permission}, scopes=None)
    had = reach(principal, b.permission) if has(principal, b.permission) else Reach.NONE
    if not has(granted, b.permission) or reach(granted, b.permission) is had:
        raise invalid("permission", "would give you nothing that you do not have")
    made = await memberships.ask(call.tx, call.business_id, user_id, b.permission, b.reason)
    return Reply(made, 201, {"Location": f"/api/v1/permission-requests/{made.id}"})


async def read_request(call: Call[Any, Any]) -> said.PermissionRequest:
    found = await memberships.request_by_id(call.node.database, call.business_id, call.id("id"))
    if reach(call.principal, "permission_requests.read") is not Reach.ANY and found.user_id != call.principal.subject:
        raise Refused("not_found", "there is no such request")
    return found


async def list_requests(call: Call[Any, RequestsQuery]) -> dict[str, Any]:
    """All of the business for whoever decides about them, else one's own."""
    auth, q, principal = call.node.auth, call.query, call.principal
    own = None if reach(principal, "permission_requests.read") is Reach.ANY else principal.user_id
    position = decode_cursor(auth, "permission_requests", q.cursor)
    items = await memberships.list_requests(
        call.node.database, call.business_id, position[0] if position else None, q.limit + 1, q.status, own
    )
    return page(auth, "permission_requests", items, q.limit)


async def approve_request(call: Call[said.PermissionDecision, Any]) -> said.PermissionRequest:
    """The permission holds from the member's next sign-in, which is due at once."""
    found = await _decide(call, "approved")
    if not await memberships.grant(call.tx, call.business_id, found.user_id, found.permission):
        raise Refused("conflict", "they are no member any more, or have as many grants as there can be")
    await call.node.sessions.end(call.tx, found.user_id, "their rights have changed", business_id=call.business_id)
    return found


async def deny_request(call: Call[said.PermissionDecision, Any]) -> said.PermissionRequest:
    return await _decide(call, "denied")


async def _decide(call: Call[said.PermissionDecision, Any], status: said.RequestStatus) -> said.PermissionRequest:
    q, business_id, by = call.tx, call.business_id, call.principal.subject
    before = await memberships.request_by_id(q, business_id, call.id("id"))
    if before.user_id == by:
        raise Refused("forbidden", "nobody decides what they asked for themselves")
    if not await memberships.decide(q, business_id, before.id, status, by if is_uuid(by) else None, call.body.answer):
        raise Refused("conflict", "the request was decided before")
    after = await memberships.request_by_id(q, business_id, before.id)
    await audit.record(call, f"permission.{status}", "permission_request", after.id, before=before, after=after)
    return after


def routes(node: Any) -> list[Endpoint]:
    p, read, decide = "/api/v1/permission-requests", "permission_requests.read", "permission_requests.decide"
    return [
        Endpoint(node, "POST", p, ask_permission, needs="permission_requests.make", status=201, tx=True,
                 summary="Ask for a permission", answer=said.PermissionRequest, body=said.PermissionRequestCreate,
                 errors=("conflict",), area="permission requests"),
        Endpoint(node, "GET", p, list_requests, needs=read, summary="List requests for permissions",
                 answer=list[said.PermissionRequest], query=RequestsQuery, area="permission requests"),
        Endpoint(node, "GET", p + "/{id}", read_request, needs=read, summary="Read a request for a permission",
                 answer=said.PermissionRequest, area="permission requests"),
        Endpoint(node, "POST", p + "/{id}/approve", approve_request, needs=decide, tx=True,
                 summary="Grant what was asked for", answer=said.PermissionRequest,
                 body=said.PermissionDecision, errors=("conflict",), area="permission requests"),
        Endpoint(node, "POST", p + "/{id}/deny", deny_request, needs=decide, tx=True, summary="Deny what was asked for",
                 answer=said.PermissionRequest, body=said.PermissionDecision, errors=("conflict",),
                 area="permission requests"),
    ]  # fmt: skip

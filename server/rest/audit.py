"""The audit log, to be read."""

from typing import Any

from protocol import bodies, records
from protocol.errors import Refused
from protocol.times import local_us, parse_date, zone
from server.edge import Call, Endpoint
from server.paging import PageQuery, decode_cursor, page
from storage.records import AuditFilter, list_audit


class AuditQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """`by` is as in the entries, `user:0198…`. Dates are UTC, both included. `business_id` is for super admins, who see
    all businesses without it.
    """

    action: bodies.Name | None = None
    by: bodies.Name | None = None
    what_id: bodies.Name | None = None
    date_from: str | None = None
    date_to: str | None = None
    business_id: bodies.Uuid | None = None


async def read_audit(call: Call[Any, AuditQuery]) -> dict[str, Any]:
    """The newest entry first."""
    auth, q, own = call.node.auth, call.query, call.business_id
    if own and q.business_id not in (None, own):
        raise Refused("not_found", "there is no such business")
    utc = zone("UTC")
    f = AuditFilter(
        business_id=own or q.business_id,
        action=q.action,
        by=q.by,
        what_id=q.what_id,
        from_us=local_us(parse_date("date_from", q.date_from), 0, utc) if q.date_from else None,
        before_us=local_us(parse_date("date_to", q.date_to), 24 * 60, utc) if q.date_to else None,
    )
    position = decode_cursor(auth, "audit", q.cursor)
    items = await list_audit(call.node.database, f, position[0] if position else None, q.limit + 1)
    return page(auth, "audit", items, q.limit)


def routes(node: Any) -> list[Endpoint]:
    return [
        Endpoint(node, "GET", "/api/v1/audit", read_audit, needs="audit.read", query=AuditQuery,
                 summary="Who did what, the newest first", answer=list[records.AuditEntry], area="audit"),
    ]  # fmt: skip

"""The journal of a calendar."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from protocol import bodies, limits
from protocol.errors import Refused
from server.edge import Call, Endpoint
from server.paging import Limit
from storage import bookings


class EventsQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Events with a version above `after`, oldest first; without it, from the oldest on that is kept."""

    after: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    limit: Limit = limits.page_size_default


async def calendar_events(call: Call[Any, EventsQuery]) -> dict[str, Any]:
    calendar_id, q = call.id("id"), call.query
    await call.node.switchboard.require(calendar_id, call.business_id)
    await call.may_touch("journal.read", calendar_id)
    floor = await call.node.database.value("journal_floor", calendar_id)
    if q.after is not None and q.after < floor:
        raise Refused("events_gone", f"kept are events after version {floor}", extra={"kept_after": floor})
    found = await bookings.list_events(call.node.database, calendar_id, q.after or floor, q.limit + 1)
    more = len(found) > q.limit
    items = found[: q.limit]
    return {"items": items, "next_cursor": str(items[-1].version) if more else None}


def routes(node: Any) -> list[Endpoint]:
    return [
        Endpoint(node, "GET", "/api/v1/professionals/{id}/events", calendar_events, needs="journal.read",
                 summary="A calendar's events; go on with after=next_cursor", answer=list[bodies.EventAnswer],
                 query=EventsQuery, errors=("events_gone",), area="journal"),
    ]  # fmt: skip

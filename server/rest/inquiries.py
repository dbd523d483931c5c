"""Why a start is not offered, and what happened to a booking."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from actors.inquiries import Explain
from protocol import bodies, limits
from protocol import series as said
from protocol.times import MINUTE, bounded_us
from server.edge import Call, Endpoint
from server.paging import Limit
from server.rest.bookings import found
from storage import past


class ExplainQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`version` asks how it was after so many events of the calendar, under the services of now."""

    start: bodies.Moment
    service_id: bodies.Uuid
    duration_minutes: bodies.Minutes | None = None
    attendees: bodies.Attendees = 1
    version: Annotated[int, Meta(ge=1, le=2**53)] | None = None


async def explain(call: Call[Any, ExplainQuery]) -> bytes | said.Explanation:
    calendar_id, q = call.id("id"), call.query
    start = bounded_us("start", q.start)
    duration = (q.duration_minutes or 0) * MINUTE
    question = Explain(q.service_id, start, duration, q.attendees, call.principal.staff)
    if q.version is None:
        return await call.node.switchboard.read(calendar_id, call.business_id, question)
    await call.node.switchboard.require(calendar_id, call.business_id)
    calendar, at = await past.calendar_at(call.node.database, call.node.store, calendar_id, q.version)
    return question.explanation(calendar, at)


class HistoryQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    cursor: Annotated[str, Meta(pattern=r"^[0-9]{1,15}$(?!\n)")] | None = None
    limit: Limit = limits.page_size_default


async def history(call: Call[Any, HistoryQuery]) -> dict[str, Any]:
    row, q = await found(call, "bookings.read"), call.query
    items = await past.history(
        call.node.database, row.body.professional_id, row.body.id, int(q.cursor or 0), q.limit + 1
    )
    more, items = len(items) > q.limit, items[: q.limit]
    return {"items": items, "next_cursor": str(items[-1].version) if more else None}


def routes(node: Any) -> list[Endpoint]:
    return [
        Endpoint(node, "GET", "/api/v1/professionals/{id}/explain", explain, needs="availability.read",
                 summary="Why a start is not offered, now or at an earlier version", answer=said.Explanation,
                 query=ExplainQuery, area="availability", errors=("duration_not_offered", "limit_reached")),
        Endpoint(node, "GET", "/api/v1/bookings/{id}/history", history, needs="bookings.read", guests=True,
                 summary="What happened to a booking", answer=list[bodies.EventAnswer], query=HistoryQuery,
                 area="bookings"),
    ]  # fmt: skip

"""Why a start is not offered, and what happened to a booking."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from actors.inquiries import Explain
from protocol import bodies, limits
from protocol import series as said
from protocol.errors import Refused
from protocol.times import MINUTE, bounded_us
from server.edge import Call, Endpoint
from server.paging import Limit
from server.rest.bookings import found
from storage import past


class ExplainQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`version` asks how it was after so many events of the calendar, under the services of now; that takes the
    right to read its journal.
    """

    start: bodies.Moment
    service_id: bodies.Uuid
    duration_minutes: bodies.Minutes | None = None
    attendees: bodies.Attendees = 1
    version: Annotated[int, Meta(ge=1, le=2**53)] | None = None


async def explain(call: Call[Any, ExplainQuery]) -> bytes | said.Explanation:
    calendar_id, q = call.id("id"), call.query
    start = bounded_us("start", q.start)
    duration = (q.duration_minutes or 0) * MINUTE
    question = Explain(q.service_id, start, duration, q.attendees, await _reads_bookings(call, calendar_id))
    if q.version is None:
        return await call.node.switchboard.read(calendar_id, call.business_id, question)
    await call.may_touch("journal.read", calendar_id)
    await call.node.switchboard.require(calendar_id, call.business_id)
    calendar, at = await past.calendar_at(call.node.database, call.node.store, calendar_id, q.version)
    return question.explanation(calendar, at)


async def _reads_bookings(call: Call[Any, Any], calendar_id: str) -> bool:
    if not call.principal.staff:
        return False
    try:
        await call.may_touch("bookings.read", calendar_id)
    except Refused:
        return False
    return True


class HistoryQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    cursor: Annotated[str, Meta(pattern=r"^[0-9]{1,15}$(?!\n)")] | None = None
    limit: Limit = limits.page_size_default


async def history(call: Call[Any, HistoryQuery]) -> dict[str, Any]:
    row, q = await found(call, "bookings.read"), call.query
    items = await past.history(
        call.node.database, row.body.professional_id, row.body.id, int(q.cursor or 0), q.limit + 1
    )
    more, items = len(items) > q.limit, items[: q.limit]
    if call.login is None or not call.login.staff:
        items = [_plainly(e) for e in items]
    return {"items": items, "next_cursor": str(items[-1].version) if more else None}


def _plainly(e: bodies.EventAnswer) -> bodies.EventAnswer:
    """For clients and guests: neither which login did it, nor what tells people and devices apart."""
    data = {name: value for name, value in e.data.items() if name not in ("marks", "holder")}
    return msgspec.structs.replace(e, by=e.by.partition(":")[0], data=data)


def routes(node: Any) -> list[Endpoint]:
    return [
        Endpoint(node, "GET", "/api/v1/professionals/{id}/explain", explain, needs="availability.read",
                 summary="Why a start is not offered, now or at an earlier version", answer=said.Explanation,
                 query=ExplainQuery, area="availability", errors=("duration_not_offered", "limit_reached")),
        Endpoint(node, "GET", "/api/v1/bookings/{id}/history", history, needs="bookings.read", guests=True,
                 summary="What happened to a booking", answer=list[bodies.EventAnswer], query=HistoryQuery,
                 area="bookings"),
    ]  # fmt: skip

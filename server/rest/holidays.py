"""Holidays: dates on which a business, or one of its locations, is closed."""

from datetime import timedelta
from typing import Any

from protocol import bodies
from protocol import schedules as said
from protocol.errors import invalid
from protocol.times import from_us, parse_date
from server import audit
from server.edge import Call, Endpoint, Reply
from server.paging import PageQuery, decode_cursor, page
from server.terms import take_in
from storage import holidays, locations


class HolidaysQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """With `location_id` those of the location and of the whole business."""

    date_from: said.Date | None = None
    location_id: bodies.Uuid | None = None


async def create_holiday(call: Call[said.HolidayCreate, Any]) -> Reply:
    b = call.body
    # It is still yesterday somewhere.
    if parse_date("date", b.date) < from_us(call.node.clock.now_us()).date() - timedelta(days=1):
        raise invalid("date", "has passed")
    if b.location_id is not None:
        await locations.place_of_work(call.tx, call.business_id, b.location_id)
    made = await holidays.add(call.tx, call.business_id, b)
    action = "holiday.forced" if made.forced else "holiday.made"
    await audit.record(call, action, "holiday", made.id, after=made)
    await take_in(call, await holidays.calendars_of(call.tx, call.business_id, made.location_id))
    return Reply(made, 201, {"Location": f"/api/v1/holidays/{made.id}"})


async def list_holidays(call: Call[Any, HolidaysQuery]) -> dict[str, Any]:
    auth, q = call.node.auth, call.query
    if q.date_from is not None:
        parse_date("date_from", q.date_from)
    if q.location_id is not None:
        await locations.by_id(call.node.database, call.business_id, q.location_id)
    position = decode_cursor(auth, "holidays", q.cursor)
    items = await holidays.list_holidays(
        call.node.database, call.business_id, position[0] if position else None, q.limit + 1, q.date_from, q.location_id
    )
    return page(auth, "holidays", items, q.limit)


async def delete_holiday(call: Call[Any, Any]) -> None:
    gone = await holidays.delete(call.tx, call.business_id, call.id("id"))
    await audit.record(call, "holiday.removed", "holiday", gone.id, before=gone)
    await take_in(call, await holidays.calendars_of(call.tx, call.business_id, gone.location_id))


def routes(node: Any) -> list[Endpoint]:
    p = "/api/v1/holidays"
    return [
        Endpoint(node, "POST", p, create_holiday, needs="catalogue.write", status=201, tx=True,
                 summary="Close the business or a location on a date; over bookings only with force",
                 answer=said.Holiday, body=said.HolidayCreate,
                 errors=("schedule_conflict", "conflict", "limit_reached"), area="holidays"),
        Endpoint(node, "GET", p, list_holidays, needs="catalogue.read", summary="List holidays",
                 answer=list[said.Holiday], query=HolidaysQuery, area="holidays"),
        Endpoint(node, "DELETE", p + "/{id}", delete_holiday, needs="catalogue.write", status=204, tx=True,
                 summary="Open again on a date", area="holidays"),
    ]  # fmt: skip

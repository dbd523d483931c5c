"""Working hours, time off, and what can be booked when.

Slots and the day's grid are answered from the calendar's memory as bytes made once per version. A repeated question
finds them by its raw path, before anything is parsed.
"""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors.questions import DayGrid, OpenSlots, OpenStarts, WorkingHours, bounds, day_bounds, hours_body
from protocol import bodies, limits
from protocol import events as ev
from protocol.errors import Refused
from protocol.times import DAY, format_us, local_us, parse_date, zone
from server import audit
from server.edge import Call, Endpoint, Reply
from server.paging import PageQuery, decode_cursor, page
from server.rest.bookings import asker
from storage import bookings, catalogue

if TYPE_CHECKING:
    from server.node import Node

_decode_starts: Final = msgspec.json.Decoder(list[tuple[int, int]]).decode


class RangeQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`from` and `to` are dates of `time_zone`, both included, or instants, the second one excluded."""

    from_: str = msgspec.field(name="from")
    to: str
    time_zone: str | None = None


class SlotsQuery(RangeQuery, forbid_unknown_fields=True, kw_only=True):
    service_id: bodies.Uuid | None = None


class DayQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    date: str
    service_id: bodies.Uuid | None = None


class MonthQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    month: str


async def slots(call: Call[Any, SlotsQuery]) -> bytes:
    q = call.query
    return await call.node.read(call, call.id("id"), OpenSlots(q.from_, q.to, q.service_id, q.time_zone))


async def availability(call: Call[Any, DayQuery]) -> bytes:
    q, professional_id, staff = call.query, call.id("id"), call.principal.staff
    # Whatever the calendar's zone is, its day lies within these.
    from_us, to_us = day_bounds(q.date, "UTC")
    time_off = (
        await bookings.time_off_reasons(call.node.database, professional_id, from_us - DAY, to_us + DAY)
        if staff
        else ()
    )
    return await call.node.read(call, professional_id, DayGrid(q.date, q.service_id, staff, tuple(time_off)))


async def slots_of_service(call: Call[Any, RangeQuery]) -> bodies.AnySlotsAnswer:
    """Starts at which any of the professionals who offer the service is free."""
    q, service_id = call.query, call.id("id")
    await catalogue.service_by_id(call.node.database, call.business_id, service_id)
    time_zone = q.time_zone or "UTC"
    from_us, to_us = bounds(q.from_, q.to, time_zone)
    free = await free_of_service(call.node, call.business_id, service_id, from_us, to_us)
    return bodies.AnySlotsAnswer(
        time_zone=time_zone,
        slots=[bodies.AnySlot(start=format_us(a), end=format_us(b), professional_ids=ids) for (a, b), ids in free],
    )


async def free_of_service(
    node: "Node", business_id: str, service_id: str, from_us: int, to_us: int
) -> list[tuple[tuple[int, int], list[str]]]:
    """Start and end of what is open, in order, and at which professionals. Raises `Refused(limit_reached)`."""
    offering = await catalogue.offering(node.database, business_id, service_id)
    if len(offering) > limits.professionals_per_service_max:
        raise Refused("limit_reached", "too many professionals offer this service; ask each for its slots")
    question = OpenStarts(service_id, from_us, to_us)
    answers = await asyncio.gather(*(node.switchboard.read(i, business_id, question) for i in offering))
    free: dict[tuple[int, int], list[str]] = {}
    for professional_id, answer in zip(offering, answers, strict=True):
        for start_and_end in _decode_starts(answer):
            free.setdefault(start_and_end, []).append(professional_id)
    return sorted(free.items())


async def booking_dates(call: Call[Any, MonthQuery]) -> bodies.DatesAnswer:
    professional_id = call.id("id")
    time_zone = await call.node.switchboard.time_zone(professional_id, call.business_id)
    await call.may_touch("time_off.read", professional_id)
    first = parse_date("month", call.query.month + "-01")
    tz = zone(time_zone)
    following = (first + timedelta(days=31)).replace(day=1)
    days = await bookings.dates(
        call.node.database, professional_id, local_us(first, 0, tz), local_us(following, 0, tz), time_zone
    )
    return bodies.DatesAnswer(month=call.query.month, dates=days)


# Working hours


async def read_schedule(call: Call[Any, Any]) -> bytes:
    return await call.node.switchboard.read(call.id("id"), call.business_id, WorkingHours())


async def put_schedule(call: Call[bodies.SchedulePut, Any]) -> bodies.ScheduleAnswer:
    professional_id = call.id("id")
    await call.may_touch("schedule.write", professional_id)
    schedule = _schedule_of(call.body)
    version = await call.node.desk.change_schedule(asker(call), professional_id, schedule)
    return hours_body(professional_id, schedule, version)


def _schedule_of(body: bodies.SchedulePut) -> ev.Schedule:
    return ev.Schedule(
        body.time_zone,
        tuple(
            ev.WeeklyRange(r.weekday, _minutes(r.start), _minutes(r.end))
            for r in sorted(body.weekly, key=lambda r: (r.weekday, r.start))
        ),
        tuple(
            ev.Override(o.date, tuple(sorted((_minutes(r.start), _minutes(r.end)) for r in o.ranges)))
            for o in sorted(body.overrides, key=lambda o: o.date)
        ),
    )


def _minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


async def add_time_off(call: Call[bodies.TimeOffCreate, Any]) -> Reply:
    professional_id = call.id("id")
    await call.may_touch("schedule.write", professional_id)
    made = await call.node.desk.block_time(asker(call), professional_id, call.body)
    if made.forced:
        # Asked again with its key, after a crash in between, it is written then, and never twice.
        await audit.record(
            call, "time_off.forced", "time_off", made.id, after=made, tx=call.node.database, once=made.id
        )
    return Reply(made, 201, {"Location": f"/api/v1/professionals/{professional_id}/time-off/{made.id}"})


async def list_time_off(call: Call[Any, PageQuery]) -> dict[str, Any]:
    professional_id = call.id("id")
    await call.node.switchboard.require(professional_id, call.business_id)
    await call.may_touch("time_off.read", professional_id)
    auth, q = call.node.auth, call.query
    position = decode_cursor(auth, "time_off", q.cursor)
    items = await bookings.list_time_off(
        call.node.database, professional_id, position[0] if position else None, q.limit + 1
    )
    return page(auth, "time_off", items, q.limit)


async def delete_time_off(call: Call[Any, Any]) -> None:
    professional_id = call.id("id")
    await call.may_touch("schedule.write", professional_id)
    await call.node.desk.unblock_time(asker(call), professional_id, call.id("time_off_id"))


def routes(node: Any) -> list[Endpoint]:
    p = "/api/v1/professionals/{id}"
    return [
        Endpoint(node, "GET", p + "/slots", slots, needs="availability.read", ready=True, summary="Open slots",
                 answer=bodies.SlotsAnswer, query=SlotsQuery, area="availability"),
        Endpoint(node, "GET", p + "/availability", availability, needs="availability.read", query=DayQuery, ready=True,
                 summary="A day's whole grid, each slot with why it is not available (the reason for staff only)",
                 answer=bodies.DayAnswer, area="availability"),
        Endpoint(node, "GET", "/api/v1/services/{id}/slots", slots_of_service, needs="availability.read",
                 summary="Starts at which any professional is free", answer=bodies.AnySlotsAnswer,
                 query=RangeQuery, area="availability"),
        Endpoint(node, "GET", p + "/bookings/dates", booking_dates, needs="time_off.read", query=MonthQuery,
                 summary="Dates of a month with confirmed bookings", answer=bodies.DatesAnswer,
                 area="availability"),
        Endpoint(node, "GET", p + "/schedule", read_schedule, needs="catalogue.read", summary="Working hours",
                 answer=bodies.ScheduleAnswer, area="schedule"),
        Endpoint(node, "PUT", p + "/schedule", put_schedule, needs="schedule.write", keyed=True,
                 summary="Set working hours", answer=bodies.ScheduleAnswer, body=bodies.SchedulePut,
                 area="schedule"),
        Endpoint(node, "GET", p + "/time-off", list_time_off, needs="time_off.read", query=PageQuery,
                 summary="List time off", answer=list[bodies.TimeOff], area="schedule"),
        Endpoint(node, "POST", p + "/time-off", add_time_off, needs="schedule.write", status=201, keyed=True,
                 summary="Block a period; over bookings only with force", answer=bodies.TimeOff,
                 body=bodies.TimeOffCreate, errors=("time_off_conflict", "limit_reached"), area="schedule"),
        Endpoint(node, "DELETE", p + "/time-off/{time_off_id}", delete_time_off, needs="schedule.write",
                 status=204, keyed=True, summary="Unblock a period", area="schedule"),
    ]  # fmt: skip

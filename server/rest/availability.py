"""What can be booked when.

Slots and the day's grid are answered from the calendar's memory as bytes made once per version. A repeated question
finds them by its raw path, before anything is parsed.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors.questions import DayGrid, OpenSlots, WorkingHours, bounds, day_bounds
from protocol import bodies, schedules
from protocol.errors import Refused
from protocol.times import DAY, MINUTE, format_us, local_us, parse_date, zone
from server.edge import Call, Endpoint
from server.joined import free_of_team
from storage import bookings, catalogue

if TYPE_CHECKING:
    from server.node import Node

_encode: Final = msgspec.json.Encoder().encode
_decode_hours: Final = msgspec.json.Decoder(schedules.ScheduleAnswer).decode


class RangeQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`from` and `to` are dates of `time_zone`, both included, or instants, the second one excluded."""

    from_: str = msgspec.field(name="from")
    to: str
    time_zone: str | None = None


class SlotsQuery(RangeQuery, forbid_unknown_fields=True, kw_only=True):
    service_id: bodies.Uuid | None = None
    duration_minutes: bodies.Minutes | None = None


class ServiceSlotsQuery(RangeQuery, forbid_unknown_fields=True, kw_only=True):
    duration_minutes: bodies.Minutes | None = None


class DayQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    date: str
    service_id: bodies.Uuid | None = None
    duration_minutes: bodies.Minutes | None = None


class MonthQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    month: str


async def slots(call: Call[Any, SlotsQuery]) -> bytes:
    q = call.query
    if q.service_id is not None and (
        joint := await joint_slots(call.node, call.business_id, call.id("id"), q, q.service_id)
    ):
        return _encode(joint)
    question = OpenSlots(q.from_, q.to, q.service_id, q.time_zone, lasting_us(q.duration_minutes))
    return await call.node.read(call, call.id("id"), question)


async def joint_slots(
    node: "Node", business_id: str, professional_id: str, q: SlotsQuery, service_id: str
) -> bodies.SlotsAnswer | None:
    """For a service that takes several calendars: when all that it needs is free, and that professional with them."""
    team = await node.desk.together.teams.of(business_id, service_id)
    if team is None or not team.several:
        return None
    if professional_id not in team.professional_ids:
        raise Refused("not_found", "this professional offers no such service")
    # Before what is free is asked: the version is never newer than that.
    hours = _decode_hours(await node.switchboard.read(professional_id, business_id, WorkingHours()))
    time_zone = q.time_zone or hours.time_zone
    from_us, to_us = bounds(q.from_, q.to, time_zone)
    free = await free_of_team(
        node.switchboard, business_id, team, from_us, to_us,
        duration=lasting_us(q.duration_minutes), named=(professional_id,),
    )  # fmt: skip
    return bodies.SlotsAnswer(
        version=hours.calendar_version,
        time_zone=time_zone,
        slots=[
            bodies.SlotAnswer(start=format_us(a), end=format_us(b), state="open", remaining=1) for (a, b), _ in free
        ],
    )


def lasting_us(minutes: int | None) -> int:
    """Of a duration that may have been chosen; 0 for none."""
    return (minutes or 0) * MINUTE


async def availability(call: Call[Any, DayQuery]) -> bytes:
    q, professional_id, staff = call.query, call.id("id"), call.principal.staff
    # Whatever the calendar's zone is, its day lies within these.
    from_us, to_us = day_bounds(q.date, "UTC")
    time_off = (
        await bookings.time_off_reasons(call.node.database, professional_id, from_us - DAY, to_us + DAY)
        if staff
        else ()
    )
    question = DayGrid(q.date, q.service_id, staff, tuple(time_off), lasting_us(q.duration_minutes))
    return await call.node.read(call, professional_id, question)


async def slots_of_service(call: Call[Any, ServiceSlotsQuery]) -> bodies.AnySlotsAnswer:
    """Starts at which a professional who offers the service is free, with all that it needs beside."""
    q, service_id = call.query, call.id("id")
    await catalogue.service_by_id(call.node.database, call.business_id, service_id)
    time_zone = q.time_zone or "UTC"
    from_us, to_us = bounds(q.from_, q.to, time_zone)
    duration = lasting_us(q.duration_minutes)
    free = await free_of_service(call.node, call.business_id, service_id, from_us, to_us, duration)
    return bodies.AnySlotsAnswer(
        time_zone=time_zone,
        slots=[bodies.AnySlot(start=format_us(a), end=format_us(b), professional_ids=ids) for (a, b), ids in free],
    )


async def free_of_service(
    node: "Node", business_id: str, service_id: str, from_us: int, to_us: int, duration: int = 0
) -> list[tuple[tuple[int, int], list[str]]]:
    """Start and end of what is open, in order, and who could take part. Raises `Refused(limit_reached)`."""
    team = await node.desk.together.teams.of(business_id, service_id)
    return await free_of_team(node.switchboard, business_id, team, from_us, to_us, duration=duration) if team else []


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
                 query=ServiceSlotsQuery, area="availability"),
        Endpoint(node, "GET", p + "/bookings/dates", booking_dates, needs="time_off.read", query=MonthQuery,
                 summary="Dates of a month with confirmed bookings", answer=bodies.DatesAnswer,
                 area="availability"),
    ]  # fmt: skip

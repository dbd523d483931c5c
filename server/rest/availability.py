"""Working hours, time off, and what can be booked when.

Slots and the day's grid are answered from the calendar's memory as bytes made once per version. A repeated question
finds them by its raw path, before anything is parsed.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors.actor import Actor
from actors.calendar.slots import Slot, next_change_by_time, slots_between
from actors.calendar.state import HOURLY, Calendar, Service
from protocol import bodies, limits
from protocol import events as ev
from protocol.errors import Refused, invalid
from protocol.times import END_OF_TIME, bounded_us, format_us, local_us, parse_date, zone
from server import audit
from server.edge import Call, Endpoint, Reply
from server.paging import PageQuery, decode_cursor, page
from server.rest.bookings import asker
from storage import bookings, catalogue

if TYPE_CHECKING:
    from server.node import Node

_encode = msgspec.json.Encoder().encode
_decode_moment = msgspec.json.Decoder(bodies.Moment).decode

# Grids repeat: everybody's nine o'clock is the same text.
text_of = lru_cache(maxsize=16_384)(format_us)

TYPE_OF_WHY: Final = {
    "past": "past",
    "notice": "notice",
    "horizon": "horizon",
    "time_off": "unavailable",
    "hold": "hold",
    "booking": "appointment",
    "full": "appointment",
}
_REASON_OF_WHY: Final = {
    "past": "In the past",
    "notice": "Inside the minimum notice",
    "horizon": "Further ahead than bookings are taken",
    "hold": "Held by a client",
    "booking": "Booked by a client",
    "full": "All places are taken",
}


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


def bounds(from_text: str, to_text: str, time_zone: str) -> tuple[int, int]:
    """`[from, to)` in microseconds. Raises `Refused(validation_failed)`, also beyond `range_days_max` days."""
    tz = zone(time_zone)
    start = _bound("from", from_text, tz, 0)
    end = _bound("to", to_text, tz, 24 * 60)
    if end <= start:
        raise invalid("to", "must be after from")
    if end - start > limits.range_days_max * 24 * 3600 * 1_000_000:
        raise invalid("to", f"at most {limits.range_days_max} days after from")
    return start, end


def _bound(field: str, text: str, tz: Any, minute: int) -> int:
    if len(text) == 10:
        return local_us(parse_date(field, text), minute, tz)
    try:
        # A plus sign that was not escaped arrives as a space.
        return bounded_us(field, _decode_moment(_encode(text.replace(" ", "+"))))
    except msgspec.MsgspecError:
        raise invalid(field, "must be a date (2026-12-31) or an RFC 3339 time with offset") from None


async def slots(call: Call[Any, SlotsQuery]) -> bytes:
    q, professional_id = call.query, call.id("id")
    actor = await call.node.actor(professional_id, call.business_id)
    time_zone = q.time_zone or actor.calendar.time_zone
    from_us, to_us = bounds(q.from_, q.to, time_zone)
    service = service_of(actor.calendar, q.service_id)

    def build(calendar: Calendar, now: int) -> tuple[bytes, int]:
        found = slots_between(calendar, service, from_us, to_us, now)
        body = bodies.SlotsAnswer(
            version=calendar.version,
            time_zone=time_zone,
            slots=[
                bodies.SlotAnswer(start=text_of(s.start), end=text_of(s.end), state=s.state, remaining=s.remaining)
                for s in found
                if s.state == "open"
            ],
        )
        return _encode(body), due(calendar, service, found, now)

    return await call.node.read(call.request, call.principal, actor, build)


async def availability(call: Call[Any, DayQuery]) -> bytes:
    q, professional_id = call.query, call.id("id")
    actor = await call.node.actor(professional_id, call.business_id)
    day = parse_date("date", q.date)
    tz = zone(actor.calendar.time_zone)
    from_us, to_us = local_us(day, 0, tz), local_us(day, 24 * 60, tz)
    service = service_of(actor.calendar, q.service_id) if q.service_id else HOURLY
    staff = call.principal.staff
    reasons = (
        await bookings.time_off_reasons(call.node.database, professional_id, from_us, to_us)
        if staff and actor.calendar.blocks
        else []
    )

    def build(calendar: Calendar, now: int) -> tuple[bytes, int]:
        found = slots_between(calendar, service, from_us, to_us, now)
        grid = [
            bodies.GridSlot(
                start=text_of(s.start),
                end=text_of(s.end),
                available=s.state == "open",
                type=TYPE_OF_WHY[s.why] if s.why else None,  # type: ignore[arg-type]
                reason=_reason(s.why, format_us(s.start), format_us(s.end), reasons) if staff and s.why else None,
            )
            for s in found
        ]
        body = bodies.DayAnswer(
            date=q.date,
            professional_id=professional_id,
            version=calendar.version,
            time_zone=calendar.time_zone,
            slots=grid,
        )
        return _encode(body), due(calendar, service, found, now)

    return await call.node.read(call.request, call.principal, actor, build)


def _reason(why: str, start: str, end: str, time_off: list[tuple[str, str, str]]) -> str:
    if why != "time_off":
        return _REASON_OF_WHY[why]
    return next((text for a, b, text in time_off if a < end and b > start and text), "Not available")


def due(calendar: Calendar, service: Service, found: Sequence[Slot], now: int) -> int:
    """Until when the answer stays true if nothing happens: a start passes, or a hold ends."""
    due = next_change_by_time(service, [s.start for s in found], now) or END_OF_TIME
    ends = [r.expires_at for r in (calendar.holds or {}).values() if r.expires_at > now]
    return min([due, *ends])


def service_of(calendar: Calendar, service_id: str | None) -> Service:
    """The terms asked for; hours by the hour when none are. Raises `Refused(not_found)`."""
    if service_id is None:
        return HOURLY
    service = calendar.services.get(service_id)
    if service is None:
        raise Refused("not_found", "this professional offers no such service")
    return service


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
    now = node.clock.now_us()
    free: dict[tuple[int, int], list[str]] = {}
    offering = await catalogue.offering(node.database, business_id, service_id)
    if len(offering) > limits.professionals_per_service_max:
        raise Refused("limit_reached", "too many professionals offer this service; ask each for its slots")
    for professional_id in offering:
        actor: Actor = await node.actor(professional_id, business_id)
        service = actor.calendar.services.get(service_id)
        if service is None:
            continue
        version = actor.calendar.version
        open_slots = [s for s in slots_between(actor.calendar, service, from_us, to_us, now) if s.state == "open"]
        await node.runtime.reader.settle(actor, version)
        for s in open_slots:
            free.setdefault((s.start, s.end), []).append(professional_id)
    return sorted(free.items())


async def booking_dates(call: Call[Any, MonthQuery]) -> bodies.DatesAnswer:
    actor = await call.node.actor(call.id("id"), call.business_id)
    await call.may_touch("time_off.read", actor.calendar.id)
    first = parse_date("month", call.query.month + "-01")
    tz = zone(actor.calendar.time_zone)
    following = (first + timedelta(days=31)).replace(day=1)
    days = await bookings.dates(
        call.node.database,
        actor.calendar.id,
        local_us(first, 0, tz),
        local_us(following, 0, tz),
        actor.calendar.time_zone,
    )
    return bodies.DatesAnswer(month=call.query.month, dates=days)


# Working hours


async def read_schedule(call: Call[Any, Any]) -> bodies.ScheduleAnswer:
    actor = await call.node.actor(call.id("id"), call.business_id)
    version, schedule = actor.calendar.version, actor.calendar.hours.schedule
    await call.node.runtime.reader.settle(actor, version)
    return _schedule_answer(actor.calendar.id, schedule, version)


async def put_schedule(call: Call[bodies.SchedulePut, Any]) -> bodies.ScheduleAnswer:
    professional_id = call.id("id")
    await call.may_touch("schedule.write", professional_id)
    schedule = _schedule_of(call.body)
    version = await call.node.desk.change_schedule(asker(call), professional_id, schedule)
    return _schedule_answer(professional_id, schedule, version)


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


def _schedule_answer(professional_id: str, schedule: ev.Schedule, version: int) -> bodies.ScheduleAnswer:
    return bodies.ScheduleAnswer(
        professional_id=professional_id,
        time_zone=schedule.time_zone,
        weekly=[
            bodies.WeeklyHours(weekday=r.weekday, start=_clock(r.start), end=_clock(r.end)) for r in schedule.weekly
        ],
        overrides=[
            bodies.DatedOverride(
                date=o.date, ranges=[bodies.HoursRange(start=_clock(a), end=_clock(b)) for a, b in o.ranges]
            )
            for o in schedule.overrides
        ],
        calendar_version=version,
    )


def _minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


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
    actor = await call.node.actor(call.id("id"), call.business_id)
    await call.may_touch("time_off.read", actor.calendar.id)
    auth, q = call.node.auth, call.query
    position = decode_cursor(auth, "time_off", q.cursor)
    items = await bookings.list_time_off(
        call.node.database, actor.calendar.id, position[0] if position else None, q.limit + 1
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

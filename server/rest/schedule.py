"""Working hours and time off."""

from typing import Any

from actors.questions import WorkingHours
from protocol import events as ev
from protocol import schedules as said
from protocol.errors import invalid
from protocol.times import parse_date
from server.edge import Call, Endpoint, Reply
from server.paging import PageQuery, decode_cursor, page
from server.rest.bookings import asker
from storage import bookings, locations


async def read_schedule(call: Call[Any, Any]) -> bytes:
    return await call.node.switchboard.read(call.id("id"), call.business_id, WorkingHours())


async def put_schedule(call: Call[said.SchedulePut, Any]) -> said.ScheduleAnswer:
    professional_id, b = call.id("id"), call.body
    await call.may_touch("schedule.write", professional_id)
    schedule = _schedule_of(b)
    named = {r.location_id for f in (b, *b.later) for r in f.weekly if r.location_id is not None}
    if named:
        await locations.check(call.node.database, call.business_id, sorted(named), "weekly")
    if b.effective_from is not None:
        parse_date("effective_from", b.effective_from)
        if b.later:
            raise invalid("later", "is not for a change that takes effect from a date itself")
        for i, override in enumerate(b.overrides):
            if override.date < b.effective_from:
                raise invalid(f"overrides[{i}].date", "lies before effective_from")
    keeping = call.node.timekeeping
    return await keeping.change_schedule(asker(call), professional_id, schedule, b.effective_from or "", force=b.force)


def _schedule_of(body: said.SchedulePut) -> ev.Schedule:
    return ev.Schedule(
        body.time_zone,
        _weekly(body.weekly),
        tuple(
            ev.Override(o.date, tuple(sorted((_minutes(r.start), _minutes(r.end)) for r in o.ranges)))
            for o in sorted(body.overrides, key=lambda o: o.date)
        ),
        _breaks(body.breaks),
        tuple(
            ev.HoursFrom(f.date, _weekly(f.weekly), _breaks(f.breaks)) for f in sorted(body.later, key=lambda f: f.date)
        ),
    )


def _weekly(ranges: list[said.WeeklyHours]) -> tuple[ev.WeeklyRange, ...]:
    ordered = sorted(ranges, key=lambda r: (r.weekday, r.start))
    return tuple(ev.WeeklyRange(r.weekday, _minutes(r.start), _minutes(r.end), r.location_id) for r in ordered)


def _breaks(ranges: list[said.Break]) -> tuple[ev.WeeklyRange, ...]:
    ordered = sorted(ranges, key=lambda r: (r.weekday, r.start))
    return tuple(ev.WeeklyRange(r.weekday, _minutes(r.start), _minutes(r.end)) for r in ordered)


def _minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


async def add_time_off(call: Call[said.TimeOffCreate, Any]) -> Reply:
    professional_id = call.id("id")
    await call.may_touch("schedule.write", professional_id)
    made = await call.node.timekeeping.block_time(asker(call), professional_id, call.body)
    name = made.series_id or made.id
    return Reply(made, 201, {"Location": f"/api/v1/professionals/{professional_id}/time-off/{name}"})


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
    """One period, or by the id of a series all of it."""
    professional_id = call.id("id")
    await call.may_touch("schedule.write", professional_id)
    await call.node.timekeeping.unblock_time(asker(call), professional_id, call.id("time_off_id"))


def routes(node: Any) -> list[Endpoint]:
    p = "/api/v1/professionals/{id}"
    return [
        Endpoint(node, "GET", p + "/schedule", read_schedule, needs="catalogue.read", summary="Working hours",
                 answer=said.ScheduleAnswer, area="schedule"),
        Endpoint(node, "PUT", p + "/schedule", put_schedule, needs="schedule.write", keyed=True,
                 summary="Set working hours; with bookings outside them only with force", answer=said.ScheduleAnswer,
                 body=said.SchedulePut, errors=("schedule_conflict",), area="schedule"),
        Endpoint(node, "GET", p + "/time-off", list_time_off, needs="time_off.read", query=PageQuery,
                 summary="List time off", answer=list[said.TimeOff], area="schedule"),
        Endpoint(node, "POST", p + "/time-off", add_time_off, needs="schedule.write", status=201, keyed=True,
                 summary="Block a period, or by a rule several; over bookings only with force", answer=said.TimeOff,
                 body=said.TimeOffCreate, errors=("time_off_conflict", "limit_reached"), area="schedule"),
        Endpoint(node, "DELETE", p + "/time-off/{time_off_id}", delete_time_off, needs="schedule.write",
                 status=204, keyed=True, summary="Unblock a period, or a whole series", area="schedule"),
    ]  # fmt: skip

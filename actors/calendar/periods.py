"""When there is work at all: time off and working hours, and what already stands where they change."""

from collections.abc import Sequence

import msgspec

from actors.calendar import commands as cmd
from actors.calendar.hours import check_schedule, hours_of
from actors.calendar.refusal import Decision, Refusal
from actors.calendar.state import Calendar, Reservation, claims_between, hours_for, members_of
from protocol import events as ev
from protocol import limits
from protocol.times import local_date

_NAMED_MAX = 50


def block_time(calendar: Calendar, c: cmd.BlockTime, now: int) -> Decision:
    return _block(calendar, [cmd.Period(c.id, c.start, c.end)], None, now, force=c.force)


def block_series(calendar: Calendar, c: cmd.BlockSeries, now: int) -> Decision:
    return _block(calendar, c.items, c.id, now, force=c.force)


def _block(calendar: Calendar, items: Sequence[cmd.Period], series: str | None, now: int, *, force: bool) -> Decision:
    if len(calendar.blocks or ()) + len(items) > limits.blocks_per_calendar_max:
        return Refusal("limit_reached", f"at most {limits.blocks_per_calendar_max} periods of time off")
    standing = [_standing_in(calendar, i.start, i.end, now) for i in items]
    in_the_way = list(dict.fromkeys(r for found in standing for r in found))
    if in_the_way and not force:
        return Refusal(
            "time_off_conflict",
            f"{len(in_the_way)} bookings or holds stand in that period",
            conflicts=tuple(in_the_way[:_NAMED_MAX]),
        )
    return [ev.TimeBlocked(i.id, i.start, i.end, bool(f), series) for i, f in zip(items, standing, strict=True)]


def _standing_in(calendar: Calendar, start: int, end: int, now: int) -> list[str]:
    return [
        r.id
        for k in claims_between(calendar, start, end)
        if k.start < end and k.end > start
        for r in members_of(k)
        if not r.has_ended(now)
    ]


def unblock(calendar: Calendar, c: cmd.Unblock, _now: int) -> Decision:
    going = [b.id for b in calendar.blocks or () if c.id in (b.id, b.series)]
    if not going:
        return Refusal("not_found", "there is no such time off")
    return [ev.TimeUnblocked(id_) for id_ in going]


def change_schedule(calendar: Calendar, c: cmd.ChangeSchedule, now: int) -> Decision:
    """Bookings and holds that were inside the hours and would be outside are named, unless it is forced."""
    schedule = c.schedule
    if c.effective_from:
        if schedule.time_zone != calendar.time_zone:
            return Refusal("validation_failed", "another time zone holds at once, and not from a date")
        schedule = _merged(calendar, schedule, c.effective_from, now)
    check_schedule(schedule)
    new = msgspec.structs.replace(calendar, hours=hours_of(schedule, calendar.hours.holidays))
    outside = [
        r.id
        for r in calendar.reservations.values()
        if r.end > now and not r.has_ended(now) and _is_inside(calendar, r) and not _is_inside(new, r)
    ]
    if outside and not c.force:
        return Refusal(
            "schedule_conflict",
            f"{len(outside)} bookings or holds stand outside these hours",
            conflicts=tuple(outside[:_NAMED_MAX]),
        )
    return [ev.ScheduleChanged(schedule, bool(outside))]


def _is_inside(calendar: Calendar, r: Reservation) -> bool:
    service = calendar.services.get(r.service_id)
    hours = calendar.hours if service is None else hours_for(calendar, service)
    return hours.is_open(r.start, r.end)


def _merged(calendar: Calendar, new: ev.Schedule, date: str, now: int) -> ev.Schedule:
    """The old hours and dates until `date`, the new ones from then on."""
    old = calendar.hours.schedule
    weekly, breaks = old.weekly, old.breaks
    later = [*(change for change in old.later if change.date < date), ev.HoursFrom(date, new.weekly, new.breaks)]
    today = local_date(now, calendar.hours.tz).isoformat()
    if len(later) > limits.later_hours_max and later[0].date <= today:
        # What has long taken effect makes room.
        weekly, breaks = later[0].weekly, later[0].breaks
        del later[0]
    overrides = (*(o for o in old.overrides if o.date < date), *(o for o in new.overrides if o.date >= date))
    return ev.Schedule(old.time_zone, weekly, overrides, breaks, tuple(later))

"""What can be asked about a calendar without changing it: each question is answered as encoded bytes.

A question is data, so that the node which has the calendar in memory can answer it, whichever node was asked.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from actors.calendar.caps import Caps
from actors.calendar.slots import Slot, next_change_by_time, slots_between
from actors.calendar.starts import refuse_part
from actors.calendar.state import (
    HOURLY,
    Calendar,
    Service,
    lasting,
    offered,
)
from protocol import bodies, limits, public, schedules
from protocol.errors import Refused, invalid
from protocol.events import Schedule, WeeklyRange
from protocol.times import END_OF_TIME, MINUTE, bounded_us, format_us, local_us, parse_date, zone

_DAY_MINUTES: Final = 24 * 60
_DATE_CHARS: Final = 10

_encode = msgspec.json.Encoder().encode
_decode_moment = msgspec.json.Decoder(bodies.Moment).decode

# Grids repeat: everybody's nine o'clock is the same text.
_text = lru_cache(maxsize=16_384)(format_us)

_TYPE_OF_WHY: Final = {
    "past": "past",
    "notice": "notice",
    "horizon": "horizon",
    "time_off": "unavailable",
    "hold": "hold",
    "booking": "appointment",
    "full": "appointment",
    "cap": "cap",
}
_REASON_OF_WHY: Final = {
    "past": "In the past",
    "notice": "Inside the minimum notice",
    "horizon": "Further ahead than bookings are taken",
    "hold": "Held by a client",
    "booking": "Booked by a client",
    "full": "All places are taken",
    "cap": "No more of these are taken that day or week",
}


class Question(msgspec.Struct, frozen=True, tag_field="type", cache_hash=True):
    def answer(self, calendar: Calendar, now: int) -> tuple[bytes, int]:
        """The answer, and the instant until which it stays true if nothing happens. Raises `Refused`."""
        raise NotImplementedError


class OpenSlots(Question, frozen=True, tag=True):
    """Starts that can be booked. `time_zone` is the calendar's unless given; for the bounds see `bounds`."""

    from_: str
    to: str
    service_id: str | None = None
    time_zone: str | None = None
    duration: int = 0

    def answer(self, calendar: Calendar, now: int) -> tuple[bytes, int]:
        time_zone = self.time_zone or calendar.time_zone
        from_us, to_us = bounds(self.from_, self.to, time_zone)
        service = service_of(calendar, self.service_id, self.duration)
        found = slots_between(calendar, service, from_us, to_us, now)
        body = bodies.SlotsAnswer(
            version=calendar.version,
            time_zone=time_zone,
            slots=[
                bodies.SlotAnswer(start=_text(s.start), end=_text(s.end), state=s.state, remaining=s.remaining)
                for s in found
                if s.state == "open"
            ],
        )
        return _encode(body), _due(calendar, service, found, now)


class OpenStarts(Question, frozen=True, tag=True):
    """As pairs of start and end, to be joined with those of other calendars; none where it is not offered."""

    service_id: str
    from_us: int
    to_us: int
    duration: int = 0

    def answer(self, calendar: Calendar, now: int) -> tuple[bytes, int]:
        service = offered(calendar, self.service_id, self.duration)
        if service is None:
            return b"[]", END_OF_TIME
        found = slots_between(calendar, service, self.from_us, self.to_us, now)
        return _encode([(s.start, s.end) for s in found if s.state == "open"]), _due(calendar, service, found, now)


class FreeAt(Question, frozen=True, tag=True):
    """Which of these starts would fit as a part of a meeting that another calendar leads: open, free of everything,
    and within the service's caps where the calendar has any.
    """

    starts: tuple[int, ...]
    duration: int
    before: int = 0
    after: int = 0
    service_id: str = ""

    def answer(self, calendar: Calendar, now: int) -> tuple[bytes, int]:
        service = calendar.services.get(self.service_id)
        caps = Caps(calendar, service, now) if service is not None else None
        length = self.duration, self.before, self.after
        found = [s for s in self.starts if refuse_part(calendar, self.service_id, s, *length, now, caps) is None]
        return _encode(found), next_end(calendar, now)


class DayGrid(Question, frozen=True, tag=True):
    """Every slot of a day of the calendar's zone, for `staff` with the reason where it is not available.

    `time_off` are `(start, end, text)` of what the rows say beside the calendar.
    """

    date: str
    service_id: str | None
    staff: bool
    time_off: tuple[tuple[str, str, str], ...] = ()
    duration: int = 0

    def answer(self, calendar: Calendar, now: int) -> tuple[bytes, int]:
        from_us, to_us = day_bounds(self.date, calendar.time_zone)
        service = service_of(calendar, self.service_id, self.duration)
        found = slots_between(calendar, service, from_us, to_us, now)
        body = bodies.DayAnswer(
            date=self.date,
            professional_id=calendar.id,
            version=calendar.version,
            time_zone=calendar.time_zone,
            slots=[self._grid_slot(s) for s in found],
        )
        return _encode(body), _due(calendar, service, found, now)

    def _grid_slot(self, slot: Slot) -> bodies.GridSlot:
        kind: Any = _TYPE_OF_WHY[slot.why] if slot.why else None
        return bodies.GridSlot(
            start=_text(slot.start),
            end=_text(slot.end),
            available=slot.state == "open",
            type=kind,
            reason=self._reason(slot) if self.staff and slot.why else None,
            held_until=_text(slot.until) if slot.until else None,
        )

    def _reason(self, slot: Slot) -> str:
        if slot.why != "time_off":
            return _REASON_OF_WHY[slot.why]
        start, end = format_us(slot.start), format_us(slot.end)
        return next((text for a, b, text in self.time_off if a < end and b > start and text), "Not available")


class PublicSlots(Question, frozen=True, tag=True):
    """What a visitor is told: the whole grid of `date`, or what is open between the others."""

    from_: str | None
    to: str | None
    date: str | None
    service_id: str | None
    time_zone: str | None
    duration: int = 0

    def answer(self, calendar: Calendar, now: int) -> tuple[bytes, int]:
        time_zone = self.time_zone or calendar.time_zone
        if self.date is not None:
            from_us, to_us = day_bounds(self.date, time_zone)
        else:
            from_us, to_us = bounds(self.from_ or "", self.to or "", time_zone)
        service = service_of(calendar, self.service_id, self.duration)
        found = slots_between(calendar, service, from_us, to_us, now)
        body = public.PublicAvailability(
            time_zone=time_zone,
            slots=[_public_slot(s) for s in found if self.date is not None or s.state == "open"],
            date=self.date,
            professional_id=calendar.id,
            version=calendar.version,
        )
        return _encode(body), _due(calendar, service, found, now)


def _public_slot(slot: Slot) -> public.PublicSlot:
    kind: Any = _TYPE_OF_WHY[slot.why] if slot.why else None
    return public.PublicSlot(
        start=_text(slot.start),
        end=_text(slot.end),
        available=slot.state == "open",
        remaining=slot.remaining,
        type=kind,
        held_until=_text(slot.until) if slot.until else None,
    )


class WorkingHours(Question, frozen=True, tag=True):
    def answer(self, calendar: Calendar, now: int) -> tuple[bytes, int]:
        return _encode(hours_body(calendar.id, calendar.hours.schedule, calendar.version)), now


class Zone(Question, frozen=True, tag=True):
    """The calendar's time zone, as JSON text."""

    def answer(self, calendar: Calendar, now: int) -> tuple[bytes, int]:
        return _encode(calendar.time_zone), now


AnyQuestion = OpenSlots | OpenStarts | FreeAt | DayGrid | PublicSlots | WorkingHours | Zone


def bounds(from_text: str, to_text: str, time_zone: str) -> tuple[int, int]:
    """`[from, to)` in microseconds, of dates of `time_zone`, both included, or of instants, the second excluded.

    Raises `Refused(validation_failed)`, also beyond `range_days_max` days.
    """
    tz = zone(time_zone)
    start = _bound("from", from_text, tz, 0)
    end = _bound("to", to_text, tz, _DAY_MINUTES)
    if end <= start:
        raise invalid("to", "must be after from")
    if end - start > limits.range_days_max * _DAY_MINUTES * MINUTE:
        raise invalid("to", f"at most {limits.range_days_max} days after from")
    return start, end


def day_bounds(date: str, time_zone: str) -> tuple[int, int]:
    """The day's `[from, to)` in microseconds."""
    day, tz = parse_date("date", date), zone(time_zone)
    return local_us(day, 0, tz), local_us(day, _DAY_MINUTES, tz)


def _bound(field: str, text: str, tz: Any, minute: int) -> int:
    if len(text) == _DATE_CHARS:
        return local_us(parse_date(field, text), minute, tz)
    try:
        # A plus sign that was not escaped arrives as a space.
        return bounded_us(field, _decode_moment(_encode(text.replace(" ", "+"))))
    except msgspec.MsgspecError:
        raise invalid(field, "must be a date (2026-12-31) or an RFC 3339 time with offset") from None


def service_of(calendar: Calendar, service_id: str | None, duration: int = 0) -> Service:
    """The terms asked for; hours by the hour when none are. Raises `Refused(not_found | duration_not_offered)`."""
    if service_id is None:
        if duration:
            raise invalid("duration_minutes", "is of a service; name one in service_id")
        return HOURLY
    terms = calendar.services.get(service_id)
    if terms is None:
        raise Refused("not_found", "this professional offers no such service")
    service = lasting(terms, duration)
    if service is None:
        raise Refused("duration_not_offered")
    return service


def hours_body(calendar_id: str, schedule: Schedule, version: int) -> schedules.ScheduleAnswer:
    return schedules.ScheduleAnswer(
        professional_id=calendar_id,
        time_zone=schedule.time_zone,
        weekly=_weekly(schedule.weekly),
        breaks=_breaks(schedule.breaks),
        overrides=[
            schedules.DatedOverride(
                date=o.date, ranges=[schedules.HoursRange(start=_clock(a), end=_clock(b)) for a, b in o.ranges]
            )
            for o in schedule.overrides
        ],
        later=[
            schedules.LaterHours(date=f.date, weekly=_weekly(f.weekly), breaks=_breaks(f.breaks))
            for f in schedule.later
        ],
        calendar_version=version,
    )


def _weekly(ranges: Sequence[WeeklyRange]) -> list[schedules.WeeklyHours]:
    return [
        schedules.WeeklyHours(weekday=r.weekday, start=_clock(r.start), end=_clock(r.end), location_id=r.location_id)
        for r in ranges
    ]


def _breaks(ranges: Sequence[WeeklyRange]) -> list[schedules.Break]:
    return [schedules.Break(weekday=r.weekday, start=_clock(r.start), end=_clock(r.end)) for r in ranges]


def _due(calendar: Calendar, service: Service, found: Sequence[Slot], now: int) -> int:
    """Until when the answer stays true if nothing happens: a start passes, or a hold ends."""
    due = next_change_by_time(service, [s.start for s in found], now) or END_OF_TIME
    return min(due, next_end(calendar, now))


def next_end(calendar: Calendar, now: int) -> int:
    """When the next hold ends."""
    return min((r.expires_at for r in (calendar.holds or {}).values() if r.expires_at > now), default=END_OF_TIME)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"

"""The events of a calendar: what the journal stores, `GET …/events` returns and followers read.

Instants are microseconds UTC. An event holds no names, addresses or notes of people, so that a person can be
erased while the journal stays whole; those live in the state rows beside it.
"""

from typing import Literal

import msgspec

type_field = "type"


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Weekly working hours on the wall clock of `time_zone`, less the breaks, and dates on which other hours hold.

    `later` has the weekly hours and breaks that hold instead from some date on, in order of their dates.
    """

    time_zone: str
    weekly: tuple["WeeklyRange", ...]
    overrides: tuple["Override", ...] = ()
    breaks: tuple["WeeklyRange", ...] = ()
    later: tuple["HoursFrom", ...] = ()


class WeeklyRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """From `start` to `end`, minutes after local midnight, every `weekday` (0 is Monday), at that location if one is
    named.
    """

    weekday: int
    start: int
    end: int
    location_id: str | None = None


class HoursFrom(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Weekly hours that take effect on `date`."""

    date: str
    weekly: tuple[WeeklyRange, ...]
    breaks: tuple[WeeklyRange, ...] = ()


class Override(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The hours of one `date` instead of the weekly ones; no ranges means closed."""

    date: str
    ranges: tuple[tuple[int, int], ...] = ()


class Event(msgspec.Struct, frozen=True, gc=False, tag_field=type_field, omit_defaults=True):
    """One committed change of one calendar."""


class Part(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a meeting of several calendars takes up in another one: that calendar, and the reservation's id there."""

    calendar_id: str
    id: str


class HoldPlaced(Event, frozen=True, gc=False, tag="hold.created"):
    """`expires_at` is 0 for a part: it ends with the reservation of `leader`, the calendar that leads the meeting.

    `marks` stand for the person and device of who holds; see `Booked`.
    """

    id: str
    service_id: str
    start: int
    duration: int
    before: int
    after: int
    places: int
    expires_at: int
    holder: str
    session: str | None = None
    capacity: int = 1
    client_id: str | None = None
    marks: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    leader: str | None = None


class HoldReleased(Event, frozen=True, gc=False, tag="hold.released"):
    id: str


class HoldExpired(Event, frozen=True, gc=False, tag="hold.expired"):
    id: str


class Booked(Event, frozen=True, gc=False, tag="booking.created"):
    """`from_hold` tells that the hold of the same id became this booking.

    `marks` are keyed digests that tell whether two bookings of an offering are of one person or device, and nothing
    else. `series` names those that were booked together to recur. `doubled` was put over other bookings by staff,
    on purpose.
    """

    id: str
    code: str
    status: Literal["pending", "confirmed"]
    service_id: str
    start: int
    duration: int
    before: int
    after: int
    places: int
    client_id: str | None = None
    session: str | None = None
    capacity: int = 1
    from_hold: bool = False
    marks: tuple[str, ...] = ()
    series: str | None = None
    doubled: bool = False


class Confirmed(Event, frozen=True, gc=False, tag="booking.confirmed"):
    id: str


class Cancelled(Event, frozen=True, gc=False, tag="booking.cancelled"):
    """`cancelled_by` is the role of who did it: client, guest, professional, manager, owner, service."""

    id: str
    cancelled_by: str


class Rejected(Event, frozen=True, gc=False, tag="booking.rejected"):
    id: str


class Completed(Event, frozen=True, gc=False, tag="booking.completed"):
    id: str


class NoShow(Event, frozen=True, gc=False, tag="booking.no_show"):
    id: str


class Expired(Event, frozen=True, gc=False, tag="booking.expired"):
    """A booking left pending past its start."""

    id: str


class Rescheduled(Event, frozen=True, gc=False, tag="booking.rescheduled"):
    id: str
    start: int
    duration: int
    before: int
    after: int
    session: str | None = None
    capacity: int = 1
    parts: tuple[Part, ...] = ()
    doubled: bool = False


class Amended(Event, frozen=True, gc=False, tag="booking.amended"):
    """Details changed that do not move the booking; what they are stands in its row."""

    id: str


class TimeBlocked(Event, frozen=True, gc=False, tag="time_off.created"):
    """`forced` when bookings stood in that period and staff insisted."""

    id: str
    start: int
    end: int
    forced: bool = False
    series: str | None = None


class TimeUnblocked(Event, frozen=True, gc=False, tag="time_off.deleted"):
    id: str


class ScheduleChanged(Event, frozen=True, gc=False, tag="schedule.changed"):
    """`forced` when bookings stand outside the new hours and staff insisted."""

    schedule: Schedule
    forced: bool = False


AnyEvent = (
    HoldPlaced
    | HoldReleased
    | HoldExpired
    | Booked
    | Confirmed
    | Cancelled
    | Rejected
    | Completed
    | NoShow
    | Expired
    | Rescheduled
    | Amended
    | TimeBlocked
    | TimeUnblocked
    | ScheduleChanged
)

BookingEnd = Cancelled | Rejected | Completed | NoShow | Expired

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(AnyEvent).decode


def tag_of(event: Event) -> str:
    """The event's public name, as in `booking.created`."""
    return str(event.__struct_config__.tag)

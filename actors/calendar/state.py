"""What a calendar remembers in order to decide.

A calendar's line of time holds claims that never overlap, in order. A claim is an exclusive reservation (a hold or a
booking), or a session: a span of one service in which up to `capacity` places are taken by several of them. Time off
lies beside the line, because staff may force it over bookings.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from actors.calendar.hours import AnyHours, Hours, default_schedule, hours_at, hours_of
from actors.calendar.line import Line, Span
from protocol import limits
from protocol.events import Part
from protocol.times import DAY, HOUR

Status = Literal["held", "pending", "confirmed"]
OverStatus = Literal["completed", "no_show"]
Guard = Literal["none", "standard", "strict"]


class Service(msgspec.Struct, frozen=True, gc=False):
    """The terms of a service, or of an offering, that bear on time. All lengths are microseconds.

    `durations` are those to choose from, `duration` is what holds without a choice. Of meetings of this service
    there are at most `daily_cap` a day and `weekly_cap` a week (0: no cap), by the calendar's wall clock; a shared
    session is one. `approval` makes bookings start pending instead of confirmed. `cancel_notice` and `move_notice`
    are -1 where the business's own hold. `required` are questions that must be answered. `own_hours` hold instead
    of the calendar's; with `locations` only what is worked there. `guard` says whether a person, or with `strict` a
    device too, may have only one booking.
    """

    id: str
    business_id: str
    duration: int
    step: int
    before: int = 0
    after: int = 0
    notice: int = 0
    horizon: int = 0
    capacity: int = 1
    approval: bool = False
    durations: tuple[int, ...] = ()
    daily_cap: int = 0
    weekly_cap: int = 0
    cancel_notice: int = -1
    move_notice: int = -1
    required: tuple[str, ...] = ()
    guard: Guard = "none"
    own_hours: AnyHours | None = None
    locations: tuple[str, ...] = ()

    @property
    def capped(self) -> bool:
        return self.daily_cap > 0 or self.weekly_cap > 0


@lru_cache(maxsize=4_096)
def lasting(service: Service, duration: int) -> Service | None:
    """The terms with one of the durations to choose from (0: the usual one); `None` where that is no choice."""
    if duration in (0, service.duration):
        return service
    return msgspec.structs.replace(service, duration=duration) if duration in service.durations else None


HOURLY: Final = Service("", "", HOUR, HOUR)
"""What a calendar shows when no service is asked for: hours, without notice or horizon."""


class Extra(msgspec.Struct, gc=False):
    """What few reservations have: see `protocol.events`. `leader` is the calendar that leads the meeting this is a
    part of; a `holder` has what is only held.
    """

    marks: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    leader: str | None = None
    doubled: bool = False
    holder: str | None = None


def extra_of(
    marks: tuple[str, ...] = (),
    parts: tuple[Part, ...] = (),
    leader: str | None = None,
    *,
    doubled: bool = False,
    holder: str | None = None,
) -> Extra | None:
    """`None` where there is nothing out of the ordinary."""
    ordinary = not (marks or parts or leader or doubled or holder)
    return None if ordinary else Extra(marks, parts, leader, doubled, holder)


class Reservation(Span, gc=False):
    """A hold or a live booking. `expires_at` (0: never) matters only while it is held."""

    id: str
    status: Status
    service_id: str
    places: int = 1
    version: int = 1
    session: str | None = None
    expires_at: int = 0
    extra: Extra | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        return self.extra.parts if self.extra else ()

    @property
    def leader(self) -> str | None:
        return self.extra.leader if self.extra else None

    @property
    def marks(self) -> tuple[str, ...]:
        return self.extra.marks if self.extra else ()

    @property
    def holder(self) -> str | None:
        return self.extra.holder if self.extra else None

    @property
    def doubled(self) -> bool:
        return self.extra is not None and self.extra.doubled

    def has_ended(self, now: int) -> bool:
        """Whether it is a hold whose time is over, though that may not be written yet."""
        return self.status == "held" and 0 < self.expires_at <= now

    def is_over(self, now: int) -> bool:
        """Whether it is a booking that time has ended, though that may not be written yet."""
        return self.start <= now if self.status == "pending" else self.status == "confirmed" and self.end <= now


class Session(Span, gc=False):
    """A shared span. `taken` counts the places of all members, `held` those that are only held."""

    id: str
    service_id: str
    capacity: int
    members: list[Reservation]
    taken: int = 0
    held: int = 0


class Block(msgspec.Struct, gc=False):
    """Time off, `[start, end)`. `series` is common to those that one rule made."""

    id: str
    start: int
    end: int
    series: str | None = None


class Done(msgspec.Struct, gc=False):
    """A meeting that is over: it claims no time, but counts for caps, and may still turn out to be a no-show.

    `meeting` is the session's id where places were shared, else the booking's.
    """

    id: str
    service_id: str
    start: int
    meeting: str
    status: OverStatus
    version: int
    leader: str | None = None


Claim = Reservation | Session


_start: Final = attrgetter("start")
NO_SERVICES: Final[Mapping[str, Service]] = MappingProxyType({})


class Calendar(msgspec.Struct):
    """The whole state of one calendar after `version` events.

    `services` are the terms now in force of what is offered here. They come from the catalogue, not from events,
    and are shared between calendars; every event carries the terms it was decided under.
    """

    id: str
    version: int
    hours: Hours
    line: Line[Claim]
    reservations: dict[str, Reservation]
    sessions: dict[str, Session] | None = None
    blocks: list[Block] | None = None
    holds: dict[str, Reservation] | None = None
    """Those of the reservations that are held."""
    doubles: list[Reservation] | None = None
    """Those that staff put over others on purpose, in order of their starts: beside the line, where claims never
    overlap.
    """
    marked: dict[tuple[str, str], Reservation] | None = None
    """By service and mark, whose it is."""
    done: dict[str, Done] | None = None
    """What was over in the last days."""
    services: Mapping[str, Service] = NO_SERVICES
    location_id: str | None = None
    """Where whoever has this calendar works, as the catalogue has it. It comes with the services."""

    @property
    def time_zone(self) -> str:
        return self.hours.schedule.time_zone


def new_calendar(calendar_id: str, time_zone: str) -> Calendar:
    """A calendar without events, with default hours."""
    return Calendar(calendar_id, 0, hours_of(default_schedule(time_zone)), Line(), {})


def offered(calendar: Calendar, service_id: str, duration: int = 0) -> Service | None:
    """The terms of a service that can be booked here for so long (0: as long as usual)."""
    terms = calendar.services.get(service_id)
    return lasting(terms, duration) if terms is not None else None


def hours_for(calendar: Calendar, service: Service) -> AnyHours:
    if service.own_hours is not None:
        return service.own_hours
    if service.locations:
        return hours_at(calendar.hours, service.locations, calendar.location_id)
    return calendar.hours


def version_of(calendar: Calendar, booking_id: str) -> int:
    """The version of a booking that is live or was over lately; 0 of any other."""
    r = calendar.reservations.get(booking_id) or (calendar.done or {}).get(booking_id)
    return r.version if r else 0


def members_of(claim: Claim) -> Sequence[Reservation]:
    return claim.members if isinstance(claim, Session) else (claim,)


def live_places(claim: Claim, now: int, ignoring: Reservation | None) -> int:
    """The places of a claim without holds that have ended and without `ignoring`."""
    if isinstance(claim, Reservation):
        return 0 if claim is ignoring or claim.has_ended(now) else claim.places
    places = claim.taken
    if claim.held or ignoring is not None:
        places -= sum(r.places for r in claim.members if r is ignoring or r.has_ended(now))
    return places


def claims_between(calendar: Calendar, from_us: int, to_us: int) -> list[Claim]:
    """The claims whose blocked span touches `[from_us, to_us)`: those of the line in order, then the doubled ones."""
    found = calendar.line.between(from_us, to_us)
    if calendar.doubles:
        found.extend(r for r in calendar.doubles if r.start - r.before < to_us and r.blocked_to > from_us)
    return found


def blocks_between(calendar: Calendar, from_us: int, to_us: int) -> list[Block]:
    """The time off that touches `[from_us, to_us)`. Blocks may overlap each other, and are few."""
    if not calendar.blocks:
        return []
    upper = bisect_left(calendar.blocks, to_us, key=_start)
    return [b for b in calendar.blocks[:upper] if b.end > from_us]


def put_double(calendar: Calendar, reservation: Reservation) -> None:
    if calendar.doubles is None:
        calendar.doubles = []
    calendar.doubles.insert(bisect_right(calendar.doubles, reservation.start, key=_start), reservation)


def remember(calendar: Calendar, done: Done) -> None:
    """Also forgets what began long before: the first that was over is about the first that began."""
    kept = calendar.done = calendar.done or {}
    while kept:
        oldest = next(iter(kept.values()))
        if oldest.start >= done.start - limits.done_days * DAY:
            break
        del kept[oldest.id]
    kept[done.id] = done


def put_block(calendar: Calendar, block: Block) -> None:
    if calendar.blocks is None:
        calendar.blocks = []
    calendar.blocks.insert(bisect_right(calendar.blocks, block.start, key=_start), block)

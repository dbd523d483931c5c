"""What a calendar remembers in order to decide.

A calendar's line of time holds claims that never overlap, in order. A claim is an exclusive reservation (a hold or a
booking), or a session: a span of one service in which up to `capacity` places are taken by several of them. Time off
lies beside the line, because staff may force it over bookings.

The line is kept in pieces: putting a claim among ten thousand moves those of one piece.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from itertools import islice
from operator import attrgetter
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from actors.calendar.hours import Hours, default_schedule, hours_of
from protocol.times import HOUR

Status = Literal["held", "pending", "confirmed"]


class Service(msgspec.Struct, frozen=True, gc=False):
    """The terms of a service that bear on time. All lengths are microseconds.

    `approval` makes bookings start pending instead of confirmed.
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


HOURLY: Final = Service("", "", HOUR, HOUR)
"""What a calendar shows when no service is asked for: hours, without notice or horizon."""


class Span(msgspec.Struct, gc=False):
    """A meeting of `duration` from `start`, with the buffers that are blocked around it."""

    start: int
    duration: int
    before: int
    after: int

    @property
    def end(self) -> int:
        return self.start + self.duration

    @property
    def blocked_from(self) -> int:
        return self.start - self.before

    @property
    def blocked_to(self) -> int:
        return self.start + self.duration + self.after


class Reservation(Span, gc=False):
    """A hold or a live booking. `holder` and `expires_at` (0: never) matter only while it is held."""

    id: str
    status: Status
    service_id: str
    places: int = 1
    version: int = 1
    session: str | None = None
    holder: str | None = None
    expires_at: int = 0


class Session(Span, gc=False):
    """A shared span. `taken` counts the places of all members, `held` those that are only held."""

    id: str
    service_id: str
    capacity: int
    members: list[Reservation]
    taken: int = 0
    held: int = 0


class Block(msgspec.Struct, gc=False):
    """Time off, `[start, end)`."""

    id: str
    start: int
    end: int


Claim = Reservation | Session


PIECE_MAX: Final = 2048
_start: Final = attrgetter("start")


def _first_start(piece: list[Claim]) -> int:
    return piece[0].start


NO_SERVICES: Final[Mapping[str, Service]] = MappingProxyType({})


class Calendar(msgspec.Struct):
    """The whole state of one calendar after `version` events.

    `services` are the terms now in force of what is offered here. They come from the catalogue, not from events,
    and are shared between calendars; every event carries the terms it was decided under.
    """

    id: str
    version: int
    hours: Hours
    line: list[list[Claim]]
    reservations: dict[str, Reservation]
    sessions: dict[str, Session] | None = None
    blocks: list[Block] | None = None
    holds: dict[str, Reservation] | None = None
    """Those of the reservations that are held."""
    services: Mapping[str, Service] = NO_SERVICES

    @property
    def time_zone(self) -> str:
        return self.hours.schedule.time_zone


def new_calendar(calendar_id: str, time_zone: str) -> Calendar:
    """A calendar without events, with default hours."""
    return Calendar(calendar_id, 0, hours_of(default_schedule(time_zone)), [], {})


def claims_between(calendar: Calendar, from_us: int, to_us: int) -> list[Claim]:
    """The claims whose blocked span touches `[from_us, to_us)`, in order."""
    line = calendar.line
    if not line:
        return []
    p = _piece_at(line, from_us)
    piece = line[p]
    i = bisect_right(piece, from_us, key=_start)
    # Claims never overlap, so only the one before can still reach past `from_us`.
    if i and piece[i - 1].blocked_to > from_us:
        i -= 1
    found: list[Claim] = []
    while True:
        for claim in islice(piece, i, None):
            if claim.start - claim.before >= to_us:
                return found
            found.append(claim)
        p, i = p + 1, 0
        if p == len(line):
            return found
        piece = line[p]


def blocks_between(calendar: Calendar, from_us: int, to_us: int) -> list[Block]:
    """The time off that touches `[from_us, to_us)`. Blocks may overlap each other, and are few."""
    if not calendar.blocks:
        return []
    upper = bisect_left(calendar.blocks, to_us, key=_start)
    return [b for b in calendar.blocks[:upper] if b.end > from_us]


def put_on_line(calendar: Calendar, claim: Claim) -> None:
    line = calendar.line
    if not line:
        line.append([claim])
        return
    p = _piece_at(line, claim.start)
    piece = line[p]
    piece.insert(bisect_right(piece, claim.start, key=_start), claim)
    if len(piece) > PIECE_MAX:
        line[p : p + 1] = [piece[: PIECE_MAX // 2], piece[PIECE_MAX // 2 :]]


def take_off_line(calendar: Calendar, claim: Claim) -> None:
    line = calendar.line
    p = _piece_at(line, claim.start)
    piece = line[p]
    i = bisect_left(piece, claim.start, key=_start)
    assert piece[i] is claim, "no two claims of a line start together"
    del piece[i]
    if not piece:
        del line[p]


def _piece_at(line: list[list[Claim]], at: int) -> int:
    """The last piece that begins at `at` or before, or the first one."""
    return max(0, bisect_right(line, at, key=_first_start) - 1) if len(line) > 1 else 0


def put_block(calendar: Calendar, block: Block) -> None:
    if calendar.blocks is None:
        calendar.blocks = []
    calendar.blocks.insert(bisect_right(calendar.blocks, block.start, key=_start), block)

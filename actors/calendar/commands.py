"""What a calendar can be asked to do. A command carries everything the decision needs but the state and `now`.

`if_version` is the version of the booking the caller has seen (`None`: any). `duration` is one of those the service
lets choose from (0: the usual one). `notice` is how long before the start the business lets callers like this one
change their minds, where the service does not say (-1: until it starts, because they are not bound by it). All
times are microseconds.
"""

from typing import Literal

import msgspec

from protocol.events import Part, Schedule


class Command(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    pass


class Hold(Command, frozen=True, gc=False, tag=True):
    """`holder` names who holds, for the bound on holds each may have. `parts` are to be held in other calendars."""

    id: str
    service_id: str
    start: int
    holder: str
    ttl: int
    places: int = 1
    client_id: str | None = None
    duration: int = 0
    marks: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()


class HoldPart(Command, frozen=True, gc=False, tag=True):
    """Takes up time for a meeting that `leader`, another calendar, leads. It lasts until `Settle`."""

    id: str
    leader: str
    service_id: str
    start: int
    duration: int
    before: int
    after: int
    places: int = 1


class Settle(Command, frozen=True, gc=False, tag=True):
    """What has become of the meeting that this is a part of."""

    id: str
    code: str
    became: Literal["booked", "gone", "completed"]


class CheckHold(Command, frozen=True, gc=False, tag=True):
    """Whether it still stands."""

    id: str


class Refuse(Command, frozen=True, gc=False, tag=True):
    """Keeps, under the key it comes with, what has been decided over several calendars: that the request is refused."""

    code: str
    detail: str = ""
    alternatives: tuple[tuple[int, int], ...] = ()
    retry_at: int = 0


class Release(Command, frozen=True, gc=False, tag=True):
    id: str


class Book(Command, frozen=True, gc=False, tag=True):
    """With `hold_id` the hold becomes the booking and keeps its id; otherwise `id` is the new booking's.

    `if_version` is the calendar version the caller has seen. `marks` tell people and devices apart, `answered` are the
    service's questions with an answer. `double` puts it over other bookings, on purpose.
    """

    id: str
    code: str
    service_id: str
    start: int
    places: int = 1
    client_id: str | None = None
    hold_id: str | None = None
    if_version: int | None = None
    duration: int = 0
    marks: tuple[str, ...] = ()
    answered: tuple[str, ...] = ()
    double: bool = False


class Occurrence(msgspec.Struct, frozen=True, gc=False, array_like=True):
    id: str
    code: str
    start: int


class BookSeries(Command, frozen=True, gc=False, tag=True):
    """Several bookings in one decision: all of `items`, in order of their starts, or with `skip` those that can be."""

    id: str
    items: tuple[Occurrence, ...]
    service_id: str
    places: int = 1
    client_id: str | None = None
    duration: int = 0
    answered: tuple[str, ...] = ()
    skip: bool = False


class Confirm(Command, frozen=True, gc=False, tag=True):
    id: str
    if_version: int | None = None


class Cancel(Command, frozen=True, gc=False, tag=True):
    id: str
    cancelled_by: str
    if_version: int | None = None
    notice: int = -1


class Reject(Command, frozen=True, gc=False, tag=True):
    id: str
    if_version: int | None = None


class Complete(Command, frozen=True, gc=False, tag=True):
    id: str
    if_version: int | None = None


class MarkNoShow(Command, frozen=True, gc=False, tag=True):
    id: str
    if_version: int | None = None


class Reschedule(Command, frozen=True, gc=False, tag=True):
    """With `hold_id` it moves into what is held, and the hold ends."""

    id: str
    start: int
    if_version: int | None = None
    notice: int = -1
    hold_id: str | None = None
    double: bool = False


class Amend(Command, frozen=True, gc=False, tag=True):
    """Details that do not move the booking were changed."""

    id: str
    if_version: int | None = None


class BlockTime(Command, frozen=True, gc=False, tag=True):
    id: str
    start: int
    end: int
    force: bool = False


class Period(msgspec.Struct, frozen=True, gc=False, array_like=True):
    id: str
    start: int
    end: int


class BlockSeries(Command, frozen=True, gc=False, tag=True):
    """Recurring time off, as the periods that its rule has made."""

    id: str
    items: tuple[Period, ...]
    force: bool = False


class Unblock(Command, frozen=True, gc=False, tag=True):
    """`id` is that of one period, or of the series of all that are to go."""

    id: str


class ChangeSchedule(Command, frozen=True, gc=False, tag=True):
    """`effective_from` (a date) lets the weekly hours hold from then on, and leaves those before as they are.

    `force` goes on though bookings will stand outside the hours.
    """

    schedule: Schedule
    effective_from: str = ""
    force: bool = False


class Sweep(Command, frozen=True, gc=False, tag=True):
    """Write down what time has done: holds and bookings that ended. Sent by the runtime, not by people."""


AnyCommand = (
    Hold
    | HoldPart
    | Settle
    | CheckHold
    | Refuse
    | Release
    | Book
    | BookSeries
    | Confirm
    | Cancel
    | Reject
    | Complete
    | MarkNoShow
    | Reschedule
    | Amend
    | BlockTime
    | BlockSeries
    | Unblock
    | ChangeSchedule
    | Sweep
)

StatusCommand = Confirm | Cancel | Reject | Complete | MarkNoShow

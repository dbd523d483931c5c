"""What a calendar can be asked to do. A command carries everything the decision needs but the state and `now`.

`if_version` is the version of the booking the caller has seen (`None`: any).
"""

import msgspec

from protocol.events import Schedule


class Command(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    pass


class Hold(Command, frozen=True, gc=False, tag=True):
    """`holder` names who holds, for the bound on holds each may have; `ttl` is microseconds."""

    id: str
    service_id: str
    start: int
    holder: str
    ttl: int
    places: int = 1
    client_id: str | None = None


class Release(Command, frozen=True, gc=False, tag=True):
    id: str


class Book(Command, frozen=True, gc=False, tag=True):
    """With `hold_id` the hold becomes the booking and keeps its id; otherwise `id` is the new booking's.

    `if_version` is the calendar version the caller has seen.
    """

    id: str
    code: str
    service_id: str
    start: int
    places: int = 1
    client_id: str | None = None
    hold_id: str | None = None
    if_version: int | None = None


class Confirm(Command, frozen=True, gc=False, tag=True):
    id: str
    if_version: int | None = None


class Cancel(Command, frozen=True, gc=False, tag=True):
    id: str
    cancelled_by: str
    if_version: int | None = None


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
    id: str
    start: int
    if_version: int | None = None


class Amend(Command, frozen=True, gc=False, tag=True):
    """Details that do not move the booking were changed."""

    id: str
    if_version: int | None = None


class BlockTime(Command, frozen=True, gc=False, tag=True):
    id: str
    start: int
    end: int
    force: bool = False


class Unblock(Command, frozen=True, gc=False, tag=True):
    id: str


class ChangeSchedule(Command, frozen=True, gc=False, tag=True):
    schedule: Schedule


class Sweep(Command, frozen=True, gc=False, tag=True):
    """Write down what time has done: holds that ended. Sent by the runtime, not by people."""


AnyCommand = (
    Hold
    | Release
    | Book
    | Confirm
    | Cancel
    | Reject
    | Complete
    | MarkNoShow
    | Reschedule
    | Amend
    | BlockTime
    | Unblock
    | ChangeSchedule
    | Sweep
)

StatusCommand = Confirm | Cancel | Reject | Complete | MarkNoShow

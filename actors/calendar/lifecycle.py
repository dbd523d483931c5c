"""The life of a booking, drawn in one place.

    held ──book──► pending ──confirm──► confirmed ──complete, (end passes)──► completed
     │                │                   │  │                                  │
     │                ├─reject──► rejected ◄─┘ ├──no_show──► no_show ◄──no_show──┘
     │                ├─cancel──► cancelled ◄──┘
     │                └─(start passes)──► expired
     └─(time to live passes, release)──► gone

| step | who may | until when |
|---|---|---|
| book | who may make bookings; staff also over others | the hold's end, else the service's notice before the start |
| confirm | those who offer the time | the start |
| reject | those who offer the time | a pending one: the start; a confirmed one: its end |
| cancel | either side | staff: its end; clients: the service's or else the business's notice before the start |
| reschedule | either side | staff: its start; clients: the same notice |
| complete | those who offer the time | from the start on |
| no_show | those who offer the time | from the start on, for `limits.done_days` days also once it is completed |
| (start passes), (end passes) | time, by `Sweep` | |

`pending` claims its time as `confirmed` does. Statuses on the right are final and claim none. A part of a meeting
that another calendar leads has the life of that one; only `Settle` changes it. Rescheduling is one event: code, id
and status stay.
"""

from typing import Final

from actors.calendar.commands import (
    AnyCommand,
    Cancel,
    Complete,
    Confirm,
    MarkNoShow,
    Reject,
)
from actors.calendar.state import OverStatus, Status

ALLOWED_FROM: Final[dict[type[AnyCommand], tuple[Status | OverStatus, ...]]] = {
    Confirm: ("pending",),
    Cancel: ("pending", "confirmed"),
    Reject: ("pending", "confirmed"),
    Complete: ("confirmed",),
    MarkNoShow: ("confirmed", "completed"),
}

ONLY_ONCE_STARTED: Final[tuple[type[AnyCommand], ...]] = (Complete, MarkNoShow)

NOT_ONCE_OVER: Final[tuple[type[AnyCommand], ...]] = (Confirm, Cancel, Reject)
"""Not even before the sweep has written what time has made of the booking."""

FINAL_STATUSES: Final = ("completed", "cancelled", "rejected", "expired", "no_show")
ACTIVE_STATUSES: Final = ("held", "pending", "confirmed")

"""The life of a booking, drawn in one place.

    held ──book──► pending ──confirm──► confirmed ──complete──► completed
     │                │                   │  │
     │                ├─reject──► rejected ◄─┘ ├──no_show──► no_show
     │                ├─cancel──► cancelled ◄──┘
     │                └─(start passes)──► expired
     └─(time to live passes, release)──► gone

A booking is rejected by those who offer the time, cancelled by either side. Completing and marking a no-show are
possible only once the booking has started. Statuses on the right are final and no longer claim time.
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
from actors.calendar.state import Status

ALLOWED_FROM: Final[dict[type[AnyCommand], tuple[Status, ...]]] = {
    Confirm: ("pending",),
    Cancel: ("pending", "confirmed"),
    Reject: ("pending", "confirmed"),
    Complete: ("confirmed",),
    MarkNoShow: ("confirmed",),
}

ONLY_ONCE_STARTED: Final[tuple[type[AnyCommand], ...]] = (Complete, MarkNoShow)

FINAL_STATUSES: Final = ("completed", "cancelled", "rejected", "expired", "no_show")
ACTIVE_STATUSES: Final = ("held", "pending", "confirmed")

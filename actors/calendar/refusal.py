"""What deciding answers."""

import msgspec

from protocol.events import Event


class Refusal(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Why not. `code` is one of `protocol.errors`; the calendar's version is told with it.

    `alternatives` are open slots near the one asked for; `retry_at` is when a hold in the way ends;
    `conflicts` are ids of bookings in the way; `starts` are those of a series that cannot be had, with the code for
    each.
    """

    code: str
    detail: str = ""
    alternatives: tuple[tuple[int, int], ...] = ()
    conflicts: tuple[str, ...] = ()
    retry_at: int = 0
    starts: tuple[tuple[int, str], ...] = ()


Decision = list[Event] | Refusal

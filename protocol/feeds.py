"""Bodies of calendar feeds."""

from protocol.bodies import Answer


class Feed(Answer, kw_only=True):
    """`url` is shown once, when the feed is made: whoever has it sees the bookings."""

    url: str
    created_at: str

"""Bodies of recurring bookings, and of explanations."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from protocol.bodies import Answer, Answers, Attendees, Body, Booking, GuestBody, Minutes, Moment, Text, Uuid

Rule = Annotated[str, Meta(min_length=1, max_length=300, examples=["FREQ=WEEKLY;COUNT=10"])]


class SeriesAsk(Body, kw_only=True):
    """`rrule` (RFC 5545, with COUNT or UNTIL) repeats the meeting at `start`, at the same time of day on the calendar's
    clocks.
    """

    professional_id: Uuid
    service_id: Uuid
    start: Moment
    rrule: Rule
    attendees: Attendees = 1
    duration_minutes: Minutes | None = None


class SeriesCreate(SeriesAsk, kw_only=True):
    """Booked all in one decision: all of them or none, or with `on_conflict: skip` those that can be."""

    on_conflict: Literal["refuse", "skip"] = "refuse"
    client_id: Uuid | None = None
    guest: GuestBody | None = None
    notes: Text | None = None
    answers: Answers = msgspec.field(default_factory=dict)


class SeriesStart(Answer, kw_only=True, omit_defaults=True):
    """`code` is why it cannot be booked."""

    start: str
    end: str
    available: bool
    code: str | None = None


class SeriesOffer(Answer, kw_only=True):
    version: int
    starts: list[SeriesStart]


class Series(Answer, kw_only=True):
    """`skipped` are the starts that could not be had."""

    id: str
    bookings: list[Booking]
    skipped: list[str]
    calendar_version: int | None = None


class ExplainReason(Answer, kw_only=True, omit_defaults=True):
    """What stands in the way of a start. `start`, `end` and `ids` are for who may read the bookings there."""

    code: Literal[
        "past", "notice", "horizon", "hours", "holiday", "off_grid", "time_off", "hold", "booking", "buffer", "full",
        "too_many_attendees", "cap_day", "cap_week",
    ]  # fmt: skip
    title: str
    start: str | None = None
    end: str | None = None
    until: str | None = None
    ids: list[str] | None = None


class Explanation(Answer, kw_only=True):
    """Without `reasons` it is offered. `at` is the time for which it is judged, `version` that of the calendar."""

    professional_id: str
    service_id: str
    start: str
    end: str
    offered: bool
    at: str
    version: int
    reasons: list[ExplainReason]

"""Bodies of offerings: published things to book, each with a code of its own."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from protocol import limits
from protocol.bodies import Answer, Body, ClockTime, Minutes, Name, Notice, Text, Uuid, ZoneName

Date = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$(?!\n)", examples=["2027-03-01"])]
Kind = Literal["single", "group", "party"]
AntiScalping = Literal["none", "standard", "strict"]
MaxAttendees = Annotated[int, Meta(ge=1, le=limits.capacity_max)]


class OfferingCreate(Body, kw_only=True):
    """From `start_date` to `end_date`, both included, daily from `start_time` to `end_time` on the wall clock of
    `time_zone` (the professional's, when absent).

    A `single` has slots of `duration_minutes` for one booking each, a `group` the same with `max_attendees` places
    each. A `party` is one session with `max_attendees` places from the first day's start to the last day's end.
    `anti_scalping`: `standard` takes one booking per e-mail address, telephone number or client, `strict` one per
    device as well.
    """

    professional_id: Uuid
    type: Kind
    title: Name
    start_date: Date
    end_date: Date
    start_time: ClockTime
    end_time: ClockTime
    duration_minutes: Minutes | None = None
    max_attendees: MaxAttendees | None = None
    description: Text | None = None
    anti_scalping: AntiScalping = "none"
    confirmation: Literal["instant", "approval"] = "instant"
    notice_minutes: Notice = 0
    time_zone: ZoneName | None = None


class OfferingPatch(Body, kw_only=True):
    """What is booked already stays as it is; a session keeps the places that it began with."""

    title: Name | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET
    start_date: Date | UnsetType = UNSET
    end_date: Date | UnsetType = UNSET
    start_time: ClockTime | UnsetType = UNSET
    end_time: ClockTime | UnsetType = UNSET
    duration_minutes: Minutes | UnsetType = UNSET
    max_attendees: MaxAttendees | UnsetType = UNSET
    anti_scalping: AntiScalping | UnsetType = UNSET
    confirmation: Literal["instant", "approval"] | UnsetType = UNSET
    notice_minutes: Notice | UnsetType = UNSET


class Offering(Answer, kw_only=True):
    """`duration_minutes` is that of a slot, for a party from beginning to end. `attendees_booked` counts the places
    that bookings to come have taken.
    """

    id: str
    code: str
    professional_id: str
    type: str
    title: str
    description: str | None
    start_date: str
    end_date: str
    start_time: str
    end_time: str
    time_zone: str
    duration_minutes: int
    max_attendees: int
    anti_scalping: str
    confirmation: str
    notice_minutes: int
    attendees_booked: int
    version: int
    created_at: str

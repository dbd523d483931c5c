"""Bodies of the public pages: what a visitor sees of a business, and books."""

from typing import Annotated, Literal

from msgspec import Meta, field

from protocol.bodies import Answer, Answers, Attendees, Body, GuestBody, Minutes, Moment, Participants, Text, Uuid
from protocol.services import Question


class PublicBusiness(Answer, kw_only=True):
    """`takes_bookings` is false while the business is suspended or its trial is over."""

    slug: str
    name: str
    time_zone: str
    locale: str
    languages: list[str]
    cancellation_notice_minutes: int
    takes_bookings: bool


class PublicProfessional(Answer, kw_only=True):
    id: str
    display_name: str
    time_zone: str
    specialisation: str | None
    bio: str | None
    location_id: str | None


class PublicService(Answer, kw_only=True):
    id: str
    name: str
    description: str | None
    duration_minutes: int
    durations_minutes: list[int]
    capacity: int
    confirmation: str
    cancellation_notice_minutes: int | None
    reschedule_notice_minutes: int | None
    price_minor: int | None
    currency: str | None
    questions: list[Question]
    location_ids: list[str]


class PublicLocation(Answer, kw_only=True):
    id: str
    name: str
    address: str | None
    phone: str | None
    time_zone: str


class PublicSlot(Answer, kw_only=True, omit_defaults=True):
    """`type` tells why a slot of a day's grid is not available; `professional_ids` who is free, where nobody was
    named.
    """

    start: str
    end: str
    available: bool
    remaining: int | None = None
    type: Literal["appointment", "hold", "unavailable", "past", "notice", "horizon", "cap"] | None = None
    held_until: str | None = None
    professional_ids: list[str] | None = None


class PublicAvailability(Answer, kw_only=True, omit_defaults=True):
    """With `date` the day's whole grid, otherwise open slots only."""

    time_zone: str
    slots: list[PublicSlot]
    date: str | None = None
    professional_id: str | None = None
    version: int | None = None


class PublicBookingCreate(Body, kw_only=True):
    """`hold_id` is of a hold made over the live endpoint. Professionals and resources that are not named are found."""

    professional_id: Uuid | None = None
    professional_ids: Participants = field(default_factory=list)
    resource_ids: Participants = field(default_factory=list)
    service_id: Uuid
    start: Moment
    duration_minutes: Minutes | None = None
    guest: GuestBody
    attendees: Attendees = 1
    hold_id: Uuid | None = None
    notes: Text | None = None
    answers: Answers = field(default_factory=dict)
    if_version: Annotated[int, Meta(ge=0)] | None = None

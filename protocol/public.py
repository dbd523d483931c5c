"""Bodies of the public pages: what a visitor sees of a business, and books."""

from typing import Annotated, Literal

from msgspec import Meta

from protocol.bodies import Answer, Attendees, Body, GuestBody, Moment, Text, Uuid


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
    capacity: int
    confirmation: str
    price_minor: int | None
    currency: str | None


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
    """`hold_id` is of a hold made over the live endpoint."""

    professional_id: Uuid
    service_id: Uuid
    start: Moment
    guest: GuestBody
    attendees: Attendees = 1
    hold_id: Uuid | None = None
    notes: Text | None = None
    if_version: Annotated[int, Meta(ge=0)] | None = None

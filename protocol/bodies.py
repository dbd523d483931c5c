"""Bodies of the REST contract. OpenAPI is generated from these types; unknown fields are refused.

Times are RFC 3339; on input with an offset, on output in UTC with `Z`. Ids are lower-case UUIDs.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from protocol import limits
from protocol.languages import Locale

UUID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$(?!\n)"
# A lookahead instead of an anchored class, because `$` also matches before a last line break.
_ONE_LINE = r"^(?![\s\S]*[\u0000-\u001f\u007f\u2028\u2029])"
_MANY_LINES = r"^(?![\s\S]*[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f])"

Uuid = Annotated[str, Meta(pattern=UUID_PATTERN, examples=["0198c0de-0000-7000-8000-000000000000"])]
Name = Annotated[str, Meta(min_length=1, max_length=limits.name_chars_max, pattern=_ONE_LINE)]
Line = Annotated[str, Meta(max_length=limits.name_chars_max, pattern=_ONE_LINE)]
Text = Annotated[str, Meta(max_length=limits.text_chars_max, pattern=_MANY_LINES)]
Reason = Annotated[str, Meta(max_length=500, pattern=_MANY_LINES)]
Email = Annotated[str, Meta(max_length=254, pattern=r"^[^\s@\u0000-\u001f]+@[^\s@\u0000-\u001f]+$(?!\n)")]
Phone = Annotated[str, Meta(max_length=32, pattern=r"^\+?[0-9 ()./-]{3,31}$(?!\n)")]
Moment = Annotated[datetime, Meta(tz=True)]
ZoneName = Annotated[str, Meta(min_length=1, max_length=64)]
ChatId = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Attendees = Annotated[int, Meta(ge=1, le=limits.capacity_max)]
Minutes = Annotated[int, Meta(ge=1, le=limits.duration_minutes_max)]
Buffer = Annotated[int, Meta(ge=0, le=limits.buffer_minutes_max)]
Notice = Annotated[int, Meta(ge=0, le=limits.notice_minutes_max)]
Horizon = Annotated[int, Meta(ge=1, le=limits.horizon_days_max)]
Capacity = Annotated[int, Meta(ge=1, le=limits.capacity_max)]
ClockTime = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)|^24:00$(?!\n)", examples=["09:00"])]

Permission = Annotated[str, Meta(max_length=64, pattern=r"^[a-z_]+\.[a-z_]+$(?!\n)", examples=["bookings.read"])]

BookingStatus = Literal["pending", "confirmed", "completed", "cancelled", "rejected", "expired", "no_show"]


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A request body."""


class Answer(msgspec.Struct, kw_only=True):
    """A response body."""


class Empty(Body, kw_only=True):
    pass


# Access


class Ticket(Answer, kw_only=True):
    """Good once, within `expires_in` seconds, as `?ticket=` of the live endpoint."""

    ticket: str
    expires_in: int


class ServiceTokenCreate(Body, kw_only=True):
    """`scopes` are permissions out of those that the role has; without them, all of these."""

    name: Name
    scopes: Annotated[list[Permission], Meta(min_length=1, max_length=limits.scopes_per_token_max)] | None = None
    role: Literal["owner", "manager", "service"] = "service"
    ttl_days: Annotated[int, Meta(ge=1, le=3650)] = 365


class ServiceToken(Answer, kw_only=True):
    """`token` is shown once, when it is issued. No `scopes` is everything that the role may do."""

    id: str
    name: str
    role: str
    scopes: list[str] | None
    created_at: str
    expires_at: str
    revoked_at: str | None = None
    token: str | None = None


# People


class ClientCreate(Body, kw_only=True):
    first_name: Name
    last_name: Line = ""
    email: Email | None = None
    phone_number: Phone | None = None
    chat_id: ChatId | None = None
    locale: Locale | None = None


class ClientPatch(Body, kw_only=True):
    first_name: Name | UnsetType = UNSET
    last_name: Line | UnsetType = UNSET
    email: Email | UnsetType | None = UNSET
    phone_number: Phone | UnsetType | None = UNSET
    locale: Locale | UnsetType | None = UNSET


class Client(Answer, kw_only=True):
    id: str
    first_name: str
    last_name: str
    email: str | None
    phone_number: str | None
    chat_id: int | None
    guest: bool
    created_at: str
    updated_at: str
    locale: str | None = None


class ProfessionalCreate(Body, kw_only=True):
    """Without `time_zone` that of the location holds, or of the business. A resource is a room, a chair or a machine:
    it has a calendar as a person has.
    """

    display_name: Name
    kind: Literal["person", "resource"] = "person"
    time_zone: ZoneName | None = None
    location_id: Uuid | None = None
    specialisation: Line | None = None
    bio: Text | None = None
    username: Name | None = None
    phone_number: Phone | None = None


class ProfessionalPatch(Body, kw_only=True):
    """Another location leaves the calendar's zone as it is."""

    display_name: Name | UnsetType = UNSET
    location_id: Uuid | UnsetType | None = UNSET
    specialisation: Line | UnsetType | None = UNSET
    bio: Text | UnsetType | None = UNSET
    phone_number: Phone | UnsetType | None = UNSET


class Professional(Answer, kw_only=True):
    id: str
    display_name: str
    kind: Literal["person", "resource"]
    time_zone: str
    specialisation: str | None
    bio: str | None
    username: str | None
    phone_number: str | None
    location_id: str | None
    created_at: str


# Availability


class SlotAnswer(Answer, kw_only=True):
    start: str
    end: str
    state: Literal["open", "held", "booked", "blocked"]
    remaining: int


class SlotsAnswer(Answer, kw_only=True):
    version: int
    time_zone: str
    slots: list[SlotAnswer]


class GridSlot(Answer, kw_only=True, omit_defaults=True):
    """`type` and `reason` tell why a slot is not available; the reason is for staff only. `held_until` is when a
    hold on it ends.
    """

    start: str
    end: str
    available: bool
    type: Literal["appointment", "hold", "unavailable", "past", "notice", "horizon", "cap"] | None = None
    reason: str | None = None
    held_until: str | None = None


class DayAnswer(Answer, kw_only=True):
    date: str
    professional_id: str
    version: int
    time_zone: str
    slots: list[GridSlot]


class AnySlot(Answer, kw_only=True):
    """A start at which at least one of `professional_ids` is free."""

    start: str
    end: str
    professional_ids: list[str]


class AnySlotsAnswer(Answer, kw_only=True):
    time_zone: str
    slots: list[AnySlot]


class DatesAnswer(Answer, kw_only=True):
    month: str
    dates: list[str]


# Holds and bookings


AnswerText = Annotated[str, Meta(max_length=limits.answer_chars_max, pattern=_MANY_LINES)]
Answers = Annotated[dict[str, AnswerText | bool], Meta(max_length=limits.questions_per_service_max)]
OfferingCode = Annotated[str, Meta(pattern=r"^[Aa][Pp]-[0-9A-Za-z]{5}$(?!\n)", examples=["AP-7QK4M"])]
DeviceToken = Annotated[str, Meta(min_length=1, max_length=128, pattern=_ONE_LINE)]


Participants = Annotated[list[Uuid], Meta(max_length=limits.parts_per_meeting_max + 1)]


class HoldCreate(Body, kw_only=True):
    """Of a service, or by `offering_code` of an offering: then professional and service are known, and so is the
    start of a party. `device_token` is what a strict offering tells devices apart by. Of a service, professionals
    and resources that are not named are found: whoever's turn it is, and what is free.
    """

    professional_id: Uuid | None = None
    professional_ids: Participants = []
    resource_ids: Participants = []
    service_id: Uuid | None = None
    start: Moment | None = None
    duration_minutes: Minutes | None = None
    offering_code: OfferingCode | None = None
    device_token: DeviceToken | None = None
    ttl_seconds: Annotated[int, Meta(ge=1, le=limits.hold_ttl_max_s)] | None = None
    attendees: Attendees = 1
    client_id: Uuid | None = None


class Hold(Answer, kw_only=True, omit_defaults=True):
    """`professional_ids` and `resource_ids` are all that take part, where there are several."""

    id: str
    professional_id: str
    service_id: str
    start: str
    end: str
    attendees: int
    expires_at: str
    calendar_version: int
    professional_ids: list[str] | None = None
    resource_ids: list[str] | None = None


class GuestBody(Body, kw_only=True):
    """Without `locale`, whoever books without login is written to in the language that the request accepts."""

    name: Name
    email: Email | None = None
    phone: Phone | None = None
    locale: Locale | None = None


class BookingCreate(Body, kw_only=True):
    """For a known client (`client_id`) or a `guest`. With `hold_id` the hold becomes the booking.

    What is booked is a service, or by `offering_code` an offering, as for a hold. `if_version` is the calendar
    version the choice was made on; a newer one refuses with `calendar_changed`. `duration_minutes` is one of those that
    the service lets choose from. `answers` are by the ids of its questions. `double_booking` is for staff, who put
    it over other bookings on purpose.
    """

    professional_id: Uuid | None = None
    professional_ids: Participants = []
    resource_ids: Participants = []
    service_id: Uuid | None = None
    start: Moment | None = None
    duration_minutes: Minutes | None = None
    offering_code: OfferingCode | None = None
    device_token: DeviceToken | None = None
    client_id: Uuid | None = None
    guest: GuestBody | None = None
    attendees: Attendees = 1
    hold_id: Uuid | None = None
    notes: Text | None = None
    answers: Answers = {}
    double_booking: bool = False
    if_version: Annotated[int, Meta(ge=0)] | None = None


class BookingPatch(Body, kw_only=True):
    notes: Text | None


class ReasonBody(Body, kw_only=True):
    reason: Reason = ""


class CancelBody(ReasonBody, kw_only=True):
    """A service, an owner or a manager may cancel for a client or a professional; `cancelled_by` then says so."""

    on_behalf_of: Literal["client", "professional"] | None = None


class RescheduleBody(Body, kw_only=True):
    """With `hold_id` into what is held, and the hold ends. `double_booking` as for a new booking."""

    start: Moment
    hold_id: Uuid | None = None
    double_booking: bool = False


class Booking(Answer, kw_only=True, omit_defaults=True):
    """`calendar_version` comes with answers to commands; `manage_token` once, to the guest who booked.
    `professional_ids` and `resource_ids` are all that take part, where there are several.
    """

    id: str
    code: str
    status: BookingStatus
    professional_id: str
    service_id: str
    client_id: str | None
    start: str
    end: str
    attendees: int
    version: int
    created_at: str
    updated_at: str
    notes: str | None = None
    cancelled_by: str | None = None
    reason: str | None = None
    answers: Answers | None = None
    double_booking: bool = False
    series_id: str | None = None
    calendar_version: int | None = None
    manage_token: str | None = None
    professional_name: str | None = None
    professional_ids: list[str] | None = None
    resource_ids: list[str] | None = None


class Alternative(Answer, kw_only=True):
    start: str
    end: str


# The journal


class EventAnswer(Answer, kw_only=True):
    """`by` names who did it, as in `client:0198…`; clients and guests are told the kind of login alone.
    `data` is the event itself; instants in it are microseconds UTC.
    """

    professional_id: str
    version: int
    type: str
    at: str
    by: str
    request_id: str
    data: Any


# Lists and problems


class ProblemField(Answer, kw_only=True):
    field: str
    message: str


class RefusedStart(Answer, kw_only=True):
    """A start of a series, and why it cannot be booked."""

    start: str
    code: str


class Problem(Answer, kw_only=True, omit_defaults=True):
    """RFC 9457. `alternatives` and `calendar_version` come with a time that is taken."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[ProblemField] | None = None
    alternatives: list[Alternative] | None = None
    calendar_version: int | None = None
    conflicts: list[str] | None = None
    starts: list[RefusedStart] | None = None
    retry_at: str | None = None
    retry_after_s: int | None = None


class Health(Answer, kw_only=True):
    status: str


class Readiness(Answer, kw_only=True):
    """`missing` names what keeps the node from serving."""

    status: Literal["ready", "not_ready"]
    missing: list[str]

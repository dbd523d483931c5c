"""Bodies of services: what is offered, on which terms, and what is asked of who books."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from protocol import limits
from protocol.bodies import Answer, Body, Buffer, Capacity, Horizon, Minutes, Name, Notice, Text, Uuid

Price = Annotated[int, Meta(ge=0, le=10**12)]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)")]
Durations = Annotated[list[Minutes], Meta(max_length=limits.durations_per_service_max)]
Cap = Annotated[int, Meta(ge=1, le=limits.cap_max)]
Assignment = Literal["least_loaded", "round_robin"]
Locations = Annotated[list[Uuid], Meta(max_length=limits.locations_per_service_max)]
Needed = Annotated[int, Meta(ge=1, le=limits.parts_per_meeting_max + 1)]
Group = Annotated[list[Uuid], Meta(min_length=1, max_length=limits.resources_per_service_max)]
Groups = Annotated[list[Group], Meta(max_length=limits.parts_per_meeting_max)]
Option = Annotated[str, Meta(min_length=1, max_length=limits.name_chars_max)]
Options = Annotated[list[Option], Meta(max_length=limits.options_per_question_max)]


class Question(Body, kw_only=True, omit_defaults=True):
    """Asked of who books, and answered under its `id`: with text, one of the `options`, or true or false."""

    id: Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,32}$(?!\n)", examples=["allergies"])]
    text: Name
    kind: Literal["text", "choice", "boolean"] = "text"
    required: bool = False
    options: Options = field(default_factory=list)


Questions = Annotated[list[Question], Meta(max_length=limits.questions_per_service_max)]


class ServiceCreate(Body, kw_only=True):
    """`durations_minutes` are what clients may choose beside `duration_minutes`. `step_minutes` is the distance between
    starts, the duration when absent. `daily_cap` and `weekly_cap` bound the meetings of each professional. Where
    the notices to cancel and to move are absent, the business's own holds. `price_minor` is in the smallest unit of
    `currency` (ISO 4217). `professional_ids` are those who offer it, at `location_ids` or, where there are none,
    wherever they work. Who gets a booking that names nobody, `assignment` says. A meeting takes
    `professionals_needed`, and one of each group of `resources`. Without `confirmation` the business's default holds.
    """

    name: Name
    duration_minutes: Minutes
    description: Text | None = None
    durations_minutes: Durations = field(default_factory=list)
    step_minutes: Minutes | None = None
    buffer_before_minutes: Buffer = 0
    buffer_after_minutes: Buffer = 0
    notice_minutes: Notice = 0
    horizon_days: Horizon = limits.horizon_days_default
    capacity: Capacity = 1
    daily_cap: Cap | None = None
    weekly_cap: Cap | None = None
    confirmation: Literal["instant", "approval"] | None = None
    cancellation_notice_minutes: Notice | None = None
    reschedule_notice_minutes: Notice | None = None
    price_minor: Price | None = None
    currency: Currency | None = None
    questions: Questions = field(default_factory=list)
    assignment: Assignment = "least_loaded"
    location_ids: Locations = field(default_factory=list)
    professionals_needed: Needed = 1
    resources: Groups = field(default_factory=list)
    professional_ids: Annotated[list[Uuid], Meta(max_length=200)] = field(default_factory=list)


class ServicePatch(Body, kw_only=True):
    """New terms hold for new bookings; those already made keep theirs."""

    name: Name | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET
    duration_minutes: Minutes | UnsetType = UNSET
    durations_minutes: Durations | UnsetType = UNSET
    step_minutes: Minutes | UnsetType = UNSET
    buffer_before_minutes: Buffer | UnsetType = UNSET
    buffer_after_minutes: Buffer | UnsetType = UNSET
    notice_minutes: Notice | UnsetType = UNSET
    horizon_days: Horizon | UnsetType = UNSET
    capacity: Capacity | UnsetType = UNSET
    daily_cap: Cap | UnsetType | None = UNSET
    weekly_cap: Cap | UnsetType | None = UNSET
    confirmation: Literal["instant", "approval"] | UnsetType = UNSET
    cancellation_notice_minutes: Notice | UnsetType | None = UNSET
    reschedule_notice_minutes: Notice | UnsetType | None = UNSET
    price_minor: Price | UnsetType | None = UNSET
    currency: Currency | UnsetType | None = UNSET
    questions: Questions | UnsetType = UNSET
    assignment: Assignment | UnsetType = UNSET
    location_ids: Locations | UnsetType = UNSET
    professionals_needed: Needed | UnsetType = UNSET
    resources: Groups | UnsetType = UNSET


class ServiceForProfessional(ServicePatch, kw_only=True):
    """Either `service_id` of a service there is, or the fields of a new one."""

    service_id: Uuid | UnsetType = UNSET


class Service(Answer, kw_only=True):
    id: str
    name: str
    description: str | None
    duration_minutes: int
    durations_minutes: list[int]
    step_minutes: int
    buffer_before_minutes: int
    buffer_after_minutes: int
    notice_minutes: int
    horizon_days: int
    capacity: int
    daily_cap: int | None
    weekly_cap: int | None
    confirmation: str
    cancellation_notice_minutes: int | None
    reschedule_notice_minutes: int | None
    price_minor: int | None
    currency: str | None
    questions: list[Question]
    assignment: str
    location_ids: list[str]
    professionals_needed: int
    resources: list[list[str]]
    version: int
    created_at: str

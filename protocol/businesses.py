"""Bodies about businesses: their settings and rules, locations, members, and whom they do not serve."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from protocol import limits
from protocol.bodies import Answer, Body, Email, Name, Permission, Phone, Reason, Text, Uuid, ZoneName
from protocol.languages import Locale
from protocol.people import Access, BusinessStatus, MemberRole, Password, Username

Slug = Annotated[
    str, Meta(min_length=3, max_length=63, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$(?!\n)", examples=["salon-sommer"])
]
"""A label of a host name. Two hyphens in a row are refused, because that is how other alphabets are written there."""
Region = Annotated[str, Meta(pattern=r"^[A-Z]{2}$(?!\n)", examples=["DE"])]
Origin = Annotated[
    str, Meta(max_length=255, pattern=r"^https?://[a-z0-9.-]+(:[0-9]{1,5})?$(?!\n)", examples=["https://example.com"])
]
Confirmation = Literal["instant", "approval"]
CancellationNotice = Annotated[int, Meta(ge=0, le=limits.cancellation_notice_minutes_max)]
HoldTtl = Annotated[int, Meta(ge=1, le=limits.hold_ttl_max_s)]
Origins = Annotated[list[Origin], Meta(max_length=limits.origins_max)]
LanguageTag = Annotated[str, Meta(pattern=r"^[a-z]{2}(-[A-Z]{2})?$(?!\n)", examples=["en"])]
"""Any language: people of a business may speak more than this server does."""
Languages = Annotated[list[LanguageTag], Meta(min_length=1, max_length=limits.languages_max)]
TrialDays = Annotated[int, Meta(ge=0, le=limits.trial_days_max)]
RequestStatus = Literal["pending", "approved", "denied"]

# Businesses


class Owner(Body, kw_only=True):
    """At least one of `email`, `username` and `phone`."""

    name: Name
    password: Password
    email: Email | None = None
    username: Username | None = None
    phone: Phone | None = None
    locale: Locale | None = None


class BusinessCreate(Body, kw_only=True):
    """`owner` is a new user; left out, it is whoever is signed in. `region` is the country of telephone numbers
    written without one. Without `locale` it is what the request accepts.
    """

    slug: Slug
    name: Name
    time_zone: ZoneName
    locale: Locale | None = None
    region: Region | None = None
    owner: Owner | None = None


class BusinessPatch(Body, kw_only=True):
    """`cancellation_notice_minutes` is how long before its start clients may cancel or move a booking,
    `default_confirmation` holds for new services, `hold_ttl_seconds` for holds that name no time of their own,
    `allowed_origins` are pages that may watch and book without login.
    """

    name: Name | UnsetType = UNSET
    time_zone: ZoneName | UnsetType = UNSET
    locale: Locale | UnsetType = UNSET
    region: Region | UnsetType | None = UNSET
    languages: Languages | UnsetType = UNSET
    cancellation_notice_minutes: CancellationNotice | UnsetType = UNSET
    default_confirmation: Confirmation | UnsetType = UNSET
    hold_ttl_seconds: HoldTtl | UnsetType = UNSET
    allowed_origins: Origins | UnsetType = UNSET


class Business(Answer, kw_only=True, omit_defaults=True):
    """`status_reason`, `trial_ends_at`, `allowed_origins` and `deleted_at` are told to who may change them."""

    id: str
    slug: str
    name: str
    time_zone: str
    locale: str
    languages: list[str]
    status: BusinessStatus
    cancellation_notice_minutes: int
    default_confirmation: Confirmation
    hold_ttl_seconds: int
    created_at: str
    updated_at: str
    region: str | None = None
    status_reason: str | None = None
    trial_ends_at: str | None = None
    allowed_origins: list[str] | None = None
    deleted_at: str | None = None


class BusinessRegistered(Answer, kw_only=True):
    """`access` signs the owner in to the new business."""

    business: Business
    access: Access


class BusinessDecision(Body, kw_only=True):
    """`trial_days` counts from now and instead of the server's setting; 0 is no trial."""

    reason: Reason = ""
    trial_days: TrialDays | None = None


class ReasonGiven(Body, kw_only=True):
    reason: Annotated[Reason, Meta(min_length=1)]


# Locations


class LocationCreate(Body, kw_only=True):
    """Without `time_zone` the business's zone holds."""

    name: Name
    time_zone: ZoneName | None = None
    address: Text | None = None
    phone: Phone | None = None


class LocationPatch(Body, kw_only=True):
    """A new zone holds for new professionals; calendars keep theirs."""

    name: Name | UnsetType = UNSET
    time_zone: ZoneName | UnsetType = UNSET
    address: Text | UnsetType | None = UNSET
    phone: Phone | UnsetType | None = UNSET


class Location(Answer, kw_only=True):
    id: str
    name: str
    address: str | None
    phone: str | None
    time_zone: str
    created_at: str
    updated_at: str


# Members

LocationIds = Annotated[list[Uuid], Meta(max_length=limits.locations_per_manager_max)]
Grants = Annotated[list[Permission], Meta(max_length=limits.grants_per_member_max)]


class MembershipCreate(Body, kw_only=True):
    """Of an existing user, by `user_id` or `email`. `location_ids` limits a manager to some locations; without it a
    manager has all. `professional_id` is the calendar that is the member's own.
    """

    role: MemberRole
    user_id: Uuid | None = None
    email: Email | None = None
    professional_id: Uuid | None = None
    location_ids: LocationIds | None = None
    grants: Grants = field(default_factory=list)


class MembershipPatch(Body, kw_only=True):
    """`location_ids: null` gives a manager all locations, an empty list none."""

    role: MemberRole | UnsetType = UNSET
    professional_id: Uuid | UnsetType | None = UNSET
    location_ids: LocationIds | UnsetType | None = UNSET
    grants: Grants | UnsetType = UNSET


class Membership(Answer, kw_only=True):
    id: str
    user_id: str
    user_name: str
    role: MemberRole
    professional_id: str | None
    location_ids: list[str] | None
    grants: list[str]
    created_at: str
    updated_at: str


class PermissionRequestCreate(Body, kw_only=True):
    permission: Permission
    reason: Reason = ""


class PermissionDecision(Body, kw_only=True):
    answer: Reason = ""


class PermissionRequest(Answer, kw_only=True):
    id: str
    user_id: str
    user_name: str
    permission: str
    reason: str | None
    status: RequestStatus
    decided_by: str | None
    decided_at: str | None
    answer: str | None
    created_at: str


# Whom a business does not serve


class BanCreate(Body, kw_only=True):
    """Either `email` or `phone`, in any spelling."""

    email: Email | None = None
    phone: Phone | None = None
    reason: Reason | None = None


class Ban(Answer, kw_only=True):
    id: str
    email: str | None
    phone: str | None
    reason: str | None
    created_by: str
    created_at: str

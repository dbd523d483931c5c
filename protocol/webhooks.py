"""Bodies about webhooks: where a business wants to hear of its events, and what became of telling it."""

from typing import Annotated, Any, Final, Literal, get_args

from msgspec import UNSET, Meta, UnsetType

from protocol import limits
from protocol.bodies import Answer, Body, Line

EventType = Literal[
    "booking.created",
    "booking.confirmed",
    "booking.rejected",
    "booking.rescheduled",
    "booking.cancelled",
    "booking.completed",
    "booking.no_show",
    "booking.expired",
    "booking.reminder",
    "hold.created",
    "hold.expired",
    "hold.released",
    "waitlist.promoted",
    "schedule.changed",
]
EVENT_TYPES: Final[frozenset[str]] = frozenset(get_args(EventType))
TEST: Final = "webhook.test"
"""The type of what is sent on demand."""

Url = Annotated[str, Meta(min_length=1, max_length=2_000, examples=["https://example.com/slotcast"])]
Events = Annotated[list[EventType], Meta(min_length=1, max_length=len(EVENT_TYPES))]
DeliveryState = Literal["waiting", "delivered", "failed", "skipped"]


class WebhookCreate(Body, kw_only=True):
    """`events` are those that are sent; without them, all."""

    url: Url
    events: Events | None = None
    description: Line | None = None


class WebhookPatch(Body, kw_only=True):
    """`enabled` brings back a webhook that was disabled. What it missed because its target failed can be replayed."""

    url: Url | UnsetType = UNSET
    events: Events | UnsetType | None = UNSET
    description: Line | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class WebhookRotate(Body, kw_only=True):
    """For how long the secret of before signs as well; 0 for one that others know."""

    overlap_hours: Annotated[int, Meta(ge=0, le=limits.webhook_overlap_hours_max)] = limits.webhook_overlap_hours


class Webhook(Answer, kw_only=True):
    """`secret` is shown once, when it is made. `failing_since` is since when nothing has arrived."""

    id: str
    url: str
    description: str | None
    events: list[str] | None
    enabled: bool
    disabled_at: str | None
    disabled_why: str | None
    failing_since: str | None
    secret_overlaps_until: str | None
    created_by: str
    created_at: str
    updated_at: str
    secret: str | None = None


class DeliveryTry(Answer, kw_only=True):
    """`status` is the target's answer; without one, `error` says why there is none."""

    at: str
    status: int | None
    error: str | None
    milliseconds: int


class Delivery(Answer, kw_only=True):
    """`event_id` is what the target gets as `webhook-id`, with every try the same. `last_tries` are ten at most.

    `body`, as it is sent, and the beginning of the target's last `answer` come with a single delivery only.
    """

    id: str
    event_id: str
    type: str
    professional_id: str | None
    state: DeliveryState
    tries: int
    replays: int
    last_tries: list[DeliveryTry]
    next_try_at: str | None
    created_at: str
    body: Any = None
    answer: str | None = None

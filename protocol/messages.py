"""Bodies about messages: what was sent, how people want to be told, and when services remind."""

from typing import Annotated, Literal

from msgspec import Meta

from protocol import limits
from protocol.bodies import Answer, Body

Channel = Literal["email", "sms", "chat"]
Outcome = Literal["sent", "failed", "refused", "skipped"]
MessageKind = Literal[
    "confirmation", "pending", "approved", "rejected", "cancelled", "rescheduled", "expired", "reminder",
    "waitlist_hold", "verification_code", "trial_ending", "business_approved", "webhook_disabled",
    "staff_booked", "staff_requested", "staff_cancelled", "staff_moved",
]  # fmt: skip
ReminderMinutes = Annotated[int, Meta(ge=limits.reminder_minutes_min, le=limits.reminder_minutes_max)]
CallbackUrl = Annotated[
    str, Meta(max_length=limits.callback_url_chars_max, pattern=r"^https?://[\x21-\x7e]+$(?!\n)",
              examples=["https://bot.example.com/slotcast"])
]  # fmt: skip


class Message(Answer, kw_only=True):
    """`outcome` `failed` is tried again, `refused` was refused by the other side for good, and of what was `skipped`
    `error` says why. `address` is gone once the client is erased. `tries` counts attempts to send it.
    """

    id: str
    kind: str
    channel: Channel | None
    address: str | None
    language: str
    booking_id: str | None
    client_id: str | None
    user_id: str | None
    outcome: Outcome
    error: str | None
    tries: int
    created_at: str
    updated_at: str


class PreferencesPut(Body, kw_only=True):
    """`channel` is tried first; without one mail, then a chat, then text messages. `reminders` are the one
    kind of message that can be left out.
    """

    reminders: bool
    channel: Channel | None = None


class Preferences(Answer, kw_only=True):
    client_id: str
    reminders: bool
    channel: Channel | None


class RemindersPut(Body, kw_only=True):
    """Minutes before the start, each once. It holds for bookings that are made, confirmed or moved from now on."""

    minutes: Annotated[list[ReminderMinutes], Meta(max_length=limits.reminders_max)]


class Reminders(Answer, kw_only=True):
    """The longest first."""

    minutes: list[int]


class ChatCallbackPut(Body, kw_only=True):
    """`null` for none."""

    url: CallbackUrl | None


class ChatCallback(Answer, kw_only=True):
    """`secret` verifies the signature of what is posted there, as Standard Webhooks have it."""

    url: str | None
    secret: str

"""The messages of `GET /api/v1/live` (subprotocol `slotcast.v1`): one JSON object per text frame, named by `type`.

Client messages carry an `id` that the answer repeats. Commands have the bodies and problems of REST.
"""

from enum import IntEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from protocol.bodies import BookingCreate, HoldCreate, Minutes, Moment, OfferingCode, Reason, Uuid
from protocol.series import SeriesCreate
from protocol.waitlist import WaitlistJoin

SUBPROTOCOL = "slotcast.v1"

MessageId = Annotated[str, Meta(min_length=1, max_length=64)]
Key = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$(?!\n)")]


class ClientMessage(msgspec.Struct, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    id: MessageId


class Auth(ClientMessage, kw_only=True, tag="auth"):
    """Raises the session to the token's rights; it ends when the token does."""

    token: Annotated[str, Meta(max_length=4096)]


class Subscribe(ClientMessage, kw_only=True, tag="subscribe"):
    """Watch the slots of a professional, of every professional who offers a service, or of an offering.

    `from` and `to` are dates on the wall clock of `time_zone`, both included. `since` is the version last seen: what
    happened after it is replayed, or a snapshot is sent. It counts only with a `professional_id`.
    """

    from_: str = msgspec.field(name="from")
    to: str
    professional_id: Uuid | None = None
    service_id: Uuid | None = None
    offering_code: OfferingCode | None = None
    duration_minutes: Minutes | None = None
    time_zone: str | None = None
    since: Annotated[int, Meta(ge=0)] | None = None


class Unsubscribe(ClientMessage, kw_only=True, tag="unsubscribe"):
    """`subscription` is the id of the message that subscribed."""

    subscription: MessageId


class Hold(HoldCreate, kw_only=True, tag_field="type", tag="hold"):
    id: MessageId
    idempotency_key: Key | None = None


class Release(ClientMessage, kw_only=True, tag="release"):
    hold_id: Uuid
    idempotency_key: Key | None = None


class Book(BookingCreate, kw_only=True, tag_field="type", tag="book"):
    id: MessageId
    idempotency_key: Key | None = None


class BookSeries(SeriesCreate, kw_only=True, tag_field="type", tag="book_series"):
    id: MessageId
    idempotency_key: Key | None = None


class Wait(WaitlistJoin, kw_only=True, tag_field="type", tag="wait"):
    id: MessageId
    idempotency_key: Key | None = None


class Confirm(ClientMessage, kw_only=True, tag="confirm"):
    booking_id: str
    if_version: int | None = None
    idempotency_key: Key | None = None


class Cancel(ClientMessage, kw_only=True, tag="cancel"):
    """`manage_token` lets a guest cancel without login."""

    booking_id: str
    reason: Reason = ""
    manage_token: str | None = None
    on_behalf_of: Literal["client", "professional"] | None = None
    if_version: int | None = None
    idempotency_key: Key | None = None


class Reschedule(ClientMessage, kw_only=True, tag="reschedule"):
    booking_id: str
    start: Moment
    hold_id: Uuid | None = None
    double_booking: bool = False
    manage_token: str | None = None
    if_version: int | None = None
    idempotency_key: Key | None = None


class Ping(ClientMessage, kw_only=True, tag="ping"):
    pass


LiveCommand = Hold | Release | Book | BookSeries | Wait | Confirm | Cancel | Reschedule
AnyClientMessage = (
    Auth | Subscribe | Unsubscribe | Hold | Release | Book | BookSeries | Wait | Confirm | Cancel | Reschedule | Ping
)

decode_client = msgspec.json.Decoder(AnyClientMessage).decode


class SlotView(msgspec.Struct, gc=False, omit_defaults=True):
    """One slot as viewers see it. `remaining` is the number of free places, `held_until` when the hold on it ends."""

    start: str
    end: str
    state: Literal["open", "held", "booked", "blocked"]
    remaining: int
    held_until: str | None = None


class ServerMessage(msgspec.Struct, kw_only=True, tag_field="type", omit_defaults=True):
    pass


class Welcome(ServerMessage, kw_only=True, tag="welcome", omit_defaults=False):
    """`session` names the connection in logs; `login_required_within_s` is 0 where public views are allowed."""

    session: str
    protocol: str = SUBPROTOCOL
    heartbeat_s: float = 0
    login_required_within_s: float = 0


class Subscribed(ServerMessage, kw_only=True, tag="subscribed", omit_defaults=False):
    """`recovered` tells whether what follows continues from `since`; otherwise a snapshot follows. There is no
    `professional_id` where a service takes several calendars and none was named: then one view shows when all that it
    needs is free.
    """

    id: str
    view: str
    professional_id: str | None
    version: int
    recovered: bool = False
    service_id: str | None = None


class Snapshot(ServerMessage, kw_only=True, tag="snapshot"):
    view: str
    version: int
    time_zone: str
    slots: list[SlotView]


class Delta(ServerMessage, kw_only=True, tag="delta"):
    """The new states of some slots; `removed` are starts that are no slots any more.

    Apply it when `from_version` is not above the version held; otherwise something was missed: subscribe again with
    `since`. Changes are absolute, so applying one twice does no harm. A change by time leaves the version as it is.
    """

    view: str
    from_version: int
    version: int
    changes: list[SlotView]
    removed: list[str] = []


class Reply(ServerMessage, kw_only=True, tag="reply"):
    """`ok` with `result`, or the `problem` that REST would answer with."""

    id: str
    ok: bool
    result: Any = None
    problem: Any = None


class Moved(ServerMessage, kw_only=True, tag="moved"):
    """The view's calendar has lost its node. What was told may be behind until the snapshot that follows by itself."""

    view: str


class Goodbye(ServerMessage, kw_only=True, tag="goodbye"):
    """The server is about to close; come back after `reconnect_after_ms`."""

    reconnect_after_ms: int


AnyServerMessage = Welcome | Subscribed | Snapshot | Delta | Reply | Moved | Goodbye

encode_server = msgspec.json.Encoder().encode


class Close(IntEnum):
    """Why the server closes. 4000–4099: come back at once or after `goodbye`; 4100–4199: do not, as you are."""

    GOING_AWAY = 1001
    BINARY = 1003
    BAD_UTF8 = 1007
    TOO_BIG = 1009
    INTERNAL = 1011
    TOKEN_EXPIRED = 4001
    DEAD = 4002
    LOGIN_TIMEOUT = 4100
    BAD_TOKEN = 4101
    PROTOCOL_ERROR = 4103

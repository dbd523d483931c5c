"""What nodes say to each other over the bus: MessagePack, one tagged Struct each.

Requests carry an `id` of the sender's; the `Reply` repeats it. `left_s` is how much time the asker still has, because
clocks of two machines do not agree.
"""

from typing import Final

import msgspec

from actors.broadcast import ViewKey
from actors.calendar.commands import AnyCommand
from actors.inquiries import Explain, FindOpenings, HeldUntil, OfferSeries
from actors.ports import NO_DETAILS, Caller, Details, IdempotencyKey, Outcome
from actors.questions import AnyQuestion
from protocol.errors import KINDS, FieldError, Refused

REPLY: Final = "reply"


class Message(msgspec.Struct, frozen=True, gc=False, tag_field="m", omit_defaults=True):
    pass


class Problem(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A `Refused` on its way."""

    code: str
    detail: str = ""
    errors: tuple[FieldError, ...] = ()
    retry_after_s: int | None = None
    extra: dict[str, object] | None = None


class Ask(Message, frozen=True, gc=False, tag="ask"):
    id: int
    calendar_id: str
    command: AnyCommand
    caller: Caller
    left_s: float
    key: IdempotencyKey | None = None
    details: Details = NO_DETAILS


class Read(Message, frozen=True, gc=False, tag="read"):
    id: int
    calendar_id: str
    business_id: str
    question: AnyQuestion | Explain | FindOpenings | HeldUntil | OfferSeries
    left_s: float


class Watch(Message, frozen=True, gc=False, tag="watch"):
    id: int
    key: ViewKey
    business_id: str
    left_s: float


class Reply(Message, frozen=True, gc=False, tag=REPLY):
    """To `Ask` an outcome, to `Read` a body, to `Watch` nothing but the `State` before it; or why there is none."""

    id: int
    outcome: Outcome | None = None
    body: bytes | None = None
    problem: Problem | None = None


class State(Message, frozen=True, gc=False, tag="state"):
    """All of a view after the message of that number: `snapshot` is the JSON that viewers get."""

    view: str
    number: int
    version: int
    snapshot: bytes


class Told(Message, frozen=True, gc=False, tag="told"):
    """The next frame of a view, numbered for each node that follows it."""

    view: str
    number: int
    version: int
    payload: bytes


class Keep(Message, frozen=True, gc=False, tag="keep"):
    """Said once a second: which views the sender follows, each with the last number it has."""

    views: dict[str, int]


class Missed(Message, frozen=True, gc=False, tag="missed"):
    """A number was left out: send the `State`."""

    view: str


class Gone(Message, frozen=True, gc=False, tag="gone"):
    """These views are not told here (any more): ask where their calendar is now."""

    views: list[str]


class Echo(Message, frozen=True, gc=False, tag="echo"):
    """To oneself: how long a message takes. `at` is on the sender's own clock."""

    at: float


class Head(msgspec.Struct, frozen=True, gc=False):
    """What can be read of every message, also of those that only a later version knows."""

    m: str
    id: int = 0


AnyMessage = Ask | Read | Watch | Reply | State | Told | Keep | Missed | Gone | Echo

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(AnyMessage).decode
decode_head = msgspec.msgpack.Decoder(Head).decode


def problem_of(refused: Refused) -> Problem:
    return Problem(refused.code, refused.detail, refused.errors, refused.retry_after_s, refused.extra)


def refused_of(problem: Problem) -> Refused:
    if problem.code not in KINDS:
        return Refused("unavailable", f"the calendar's node says {problem.code!r:.100}, which this one does not know")
    return Refused(
        problem.code,
        problem.detail,
        errors=problem.errors,
        retry_after_s=problem.retry_after_s,
        extra=problem.extra,
    )

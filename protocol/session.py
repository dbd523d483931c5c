"""A live connection's protocol without its I/O: messages and time go in, things to do come out.

    waiting ──login──► in ──token ends──► closed
       │                ▲
       │ deadline       │ login
       ▼                │
    closed            public   (an allowed Origin needs no login)

The shell owns sockets, timers and tasks; it performs what `receive` and `tick` return and reports back with
`logged_in`, `watching` and `not_watching`.
"""

import math
from collections.abc import Callable
from typing import Any, Final

import msgspec

from protocol import limits
from protocol.errors import Refused, not_valid, problem
from protocol.live import (
    AnyClientMessage,
    Auth,
    Close,
    LiveCommand,
    Ping,
    Reply,
    ServerMessage,
    Subscribe,
    Unsubscribe,
    decode_client,
)

_STRIKES_MAX: Final = 20
"""Messages that make no sense before the connection is cut."""


class Say(msgspec.Struct, frozen=True):
    message: ServerMessage


class Login(msgspec.Struct, frozen=True):
    id: str
    token: str


class Watch(msgspec.Struct, frozen=True):
    message: Subscribe


class Unwatch(msgspec.Struct, frozen=True):
    id: str
    subscription: str


class Do(msgspec.Struct, frozen=True):
    message: LiveCommand


class End(msgspec.Struct, frozen=True):
    code: Close
    reason: str


Action = Say | Login | Watch | Unwatch | Do | End


class _Head(msgspec.Struct):
    """What can be read of a message that is wrong otherwise."""

    id: str = ""
    type: str = ""


_decode_head: Final = msgspec.json.Decoder(_Head).decode


class Session:
    """`public` allows what needs no login; otherwise a login is due within `login_timeout_s`. `tell` says a problem as
    `errors.problem` does, in whatever language.
    """

    __slots__ = ("_logged_in", "_login_due", "_strikes", "_subscriptions", "name", "public", "tell", "token_ends_at")

    def __init__(
        self,
        name: str,
        now_s: float,
        *,
        public: bool,
        tell: Callable[[Refused, str], dict[str, Any]] = problem,
    ) -> None:
        self.name = name
        self.tell = tell
        self.public = public
        self.token_ends_at = math.inf
        self._logged_in = False
        self._login_due = math.inf if public else now_s + limits.login_timeout_s
        # Nearly every connection has one, and there are many connections: a tuple takes a third of a set's memory.
        self._subscriptions: tuple[str, ...] = ()
        self._strikes = 0

    @property
    def may_act(self) -> bool:
        return self.public or self._logged_in

    def receive(self, text: str | bytes) -> Action:
        """What to do about one text message."""
        try:
            message: AnyClientMessage = decode_client(text)
        except RecursionError:
            return self._strike("", Refused("malformed_body", "nested too deep"))
        except msgspec.ValidationError as error:
            return self._not_understood(text, str(error))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return self._strike("", Refused("malformed_body", str(error)))
        return self._understood(message)

    def _understood(self, message: AnyClientMessage) -> Action:
        if isinstance(message, Ping):
            return Say(Reply(id=message.id, ok=True))
        if isinstance(message, Auth):
            return Login(message.id, message.token)
        if not self.may_act:
            return self.refuse(message.id, Refused("unauthorized", "send auth first"))
        if isinstance(message, Subscribe):
            return self._subscribe(message)
        if isinstance(message, Unsubscribe):
            if message.subscription not in self._subscriptions:
                return self.refuse(message.id, Refused("not_subscribed"))
            return Unwatch(message.id, message.subscription)
        return Do(message)

    def _subscribe(self, message: Subscribe) -> Action:
        if message.id in self._subscriptions:
            return self.refuse(message.id, Refused("conflict", "this id is a subscription already"))
        most = limits.subscriptions_per_socket_max if self._logged_in else limits.subscriptions_per_visitor_max
        if len(self._subscriptions) >= most:
            return self.refuse(message.id, Refused("too_many_subscriptions"))
        if message.professional_id is None and message.service_id is None and message.offering_code is None:
            return self.refuse(message.id, Refused("validation_failed", "name a professional or a service"))
        self._subscriptions = (*self._subscriptions, message.id)
        return Watch(message)

    def _not_understood(self, text: str | bytes, why: str) -> Action:
        try:
            head = _decode_head(text)
        except (msgspec.MsgspecError, RecursionError):
            head = _Head()
        if "Invalid value" in why and "`$.type`" in why:
            return self._strike(head.id, Refused("unknown_message", f"{head.type[:40]!r} is no message"))
        return self._strike(head.id, not_valid(why))

    def _strike(self, id_: str, refused: Refused) -> Action:
        self._strikes += 1
        if self._strikes > _STRIKES_MAX:
            return End(Close.PROTOCOL_ERROR, "too many messages that make no sense")
        return self.refuse(id_, refused)

    def refuse(self, id_: str, refused: Refused) -> Say:
        """The reply that tells a problem, with the connection's name as request id."""
        return Say(Reply(id=id_[:64], ok=False, problem=self.tell(refused, self.name)))

    def logged_in(self, ends_at_s: float) -> None:
        """`ends_at_s` is when the token ends, on the clock that `tick` is given."""
        self._logged_in = True
        self._login_due = math.inf
        self.token_ends_at = ends_at_s

    def not_watching(self, subscription: str) -> None:
        """The subscription ended, or never came to be."""
        self._subscriptions = tuple(s for s in self._subscriptions if s != subscription)

    def tick(self, now_s: float) -> End | None:
        """Whether time has ended the connection."""
        if now_s >= self._login_due:
            return End(Close.LOGIN_TIMEOUT, "no login in time")
        if now_s >= self.token_ends_at:
            return End(Close.TOKEN_EXPIRED, "the token has ended")
        return None

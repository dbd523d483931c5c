"""Which ways a person can be told by, in the order in which they are tried."""

import base64
import random
import re
from collections import Counter
from typing import Any, Final, Protocol

import msgspec
from standardwebhooks import Webhook

from actors.ports import Clock
from jobs.channels import Channel, Mail, TextMessages, Undeliverable
from jobs.facts import Booking, Business, Person
from jobs.mail import Invitation, Letter, compose
from jobs.ports import NotPosted, Poster, TargetRefused
from jobs.queue import Later
from jobs.texts import Rendered
from protocol.languages import Language
from protocol.times import SECOND, format_us, from_us

_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}\Z")
_BOT_UNDER_WAY_MAX: Final = 4
"""Posts of this node to one bot at a time: one that hangs must not have all workers to itself."""
_FULL_S_MAX: Final = 10.0
_SHORT_CHARS_MAX: Final = 480
"""Three text messages in Latin letters, seven in others."""


class Unsubscribe(msgspec.Struct, frozen=True):
    """`page` is for people, `one_click` for mail programs (RFC 8058)."""

    page: str
    one_click: str


class Links(Protocol):
    """Addresses of this server that open something by themselves."""

    def manage(self, booking: Booking) -> str: ...
    def unsubscribe(self, client_id: str) -> Unsubscribe: ...
    def chat_secret(self, business_id: str) -> bytes: ...


class Message(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    business: Business | None
    language: Language
    said: Rendered
    booking_id: str | None = None
    booking_code: str | None = None
    start: int | None = None
    end: int | None = None
    one_click: str | None = None
    invitation: Invitation | None = None


class Way(Protocol):
    """One way to one person."""

    @property
    def channel(self) -> Channel: ...
    @property
    def address(self) -> str: ...

    async def send(self, id_: str, message: Message) -> None:
        """Raises `Undeliverable`, or `Later`."""
        ...


class Ways:
    """What is set up here; `None` for what is not."""

    def __init__(
        self,
        mail: Mail | None,
        texts: TextMessages | None,
        poster: Poster | None,
        links: Links,
        clock: Clock,
    ) -> None:
        self.mail = mail
        self._texts = texts
        self._poster = poster
        self._links = links
        self._clock = clock
        self._under_way: Counter[str] = Counter()
        """Posts by the address of a bot."""

    @property
    def none(self) -> bool:
        return self.mail is None and self._texts is None

    def to(self, person: Person, business: Business | None) -> list[Way]:
        """What they prefer first; then mail, a chat, and last of all text messages, which cost money."""
        found: list[Way] = []
        if self.mail is not None and person.email:
            found.append(_ByMail(self.mail, person, self._clock))
        url = business.chat_callback_url if business is not None else None
        if self._poster is not None and business is not None and url and person.chat_id is not None:
            secret = self._links.chat_secret(business.id)
            found.append(_ByChat(self._poster, url, secret, person.chat_id, self._clock, self._under_way))
        if self._texts is not None and person.phone and _E164.match(person.phone):
            found.append(_ByText(self._texts, person.phone))
        return sorted(found, key=lambda way: way.channel != person.channel)


class _ByMail:
    channel: Channel = "email"

    def __init__(self, mail: Mail, person: Person, clock: Clock) -> None:
        self._clock = clock
        self._mail = mail
        self._person = person
        self.address = person.email or ""

    async def send(self, id_: str, message: Message) -> None:
        letter = Letter(
            message_id=id_,
            at=from_us(self._clock.now_us()),
            sender=self._mail.sender,
            from_name=message.business.name if message.business else "",
            to=self.address,
            to_name=self._person.name,
            language=message.language,
            said=message.said,
            invitation=message.invitation,
            one_click=message.one_click,
        )
        await self._mail.send(compose(letter), self.address)


class _ByText:
    channel: Channel = "sms"

    def __init__(self, texts: TextMessages, phone: str) -> None:
        self._texts = texts
        self.address = phone

    async def send(self, id_: str, message: Message) -> None:
        await self._texts.send(self.address, message.said.short[:_SHORT_CHARS_MAX])


class _ByChat:
    """To the business's bot, which knows the chat: signed as webhooks are."""

    channel: Channel = "chat"

    def __init__(
        self, poster: Poster, url: str, secret: bytes, chat_id: int, clock: Clock, under_way: Counter[str]
    ) -> None:
        self._under_way = under_way
        self._poster = poster
        self._url = url
        self._secret = secret
        self._chat_id = chat_id
        self._clock = clock
        self.address = str(chat_id)

    async def send(self, id_: str, message: Message) -> None:
        body = msgspec.json.encode(self._body(id_, message))
        now = self._clock.now_us()
        headers = {
            "Content-Type": "application/json",
            "webhook-id": id_,
            "webhook-timestamp": str(now // SECOND),
            "webhook-signature": Webhook(base64.b64encode(self._secret).decode()).sign(
                id_, from_us(now), body.decode()
            ),
        }
        if self._under_way[self._url] >= _BOT_UNDER_WAY_MAX:
            raise Later("others to the same bot are under way", random.uniform(1.0, _FULL_S_MAX), tried=False)
        self._under_way[self._url] += 1
        try:
            answer = await self._poster.post(self._url, body, headers)
        except TargetRefused as refused:
            raise Undeliverable(refused.reason) from None
        except NotPosted as failed:
            raise Later(failed.reason) from None
        finally:
            self._under_way[self._url] -= 1
            if not self._under_way[self._url]:
                del self._under_way[self._url]
        if answer.status in (404, 410):
            raise Undeliverable(f"the bot answered {answer.status}")
        if not 200 <= answer.status < 300:
            raise Later(f"the bot answered {answer.status}", answer.retry_after_s)

    def _body(self, id_: str, message: Message) -> dict[str, Any]:
        body: dict[str, Any] = {
            "id": id_,
            "type": message.kind,
            "chat_id": self._chat_id,
            "language": message.language,
            "text": message.said.short,
        }
        if message.booking_id is not None and message.start is not None and message.end is not None:
            body["booking"] = {
                "id": message.booking_id,
                "code": message.booking_code,
                "start": format_us(message.start),
                "end": format_us(message.end),
            }
        return body

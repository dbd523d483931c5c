"""How people are told: made from the settings, for a node and for `slotcast jobs work` alike."""

import hmac
from collections.abc import Mapping
from functools import cache
from typing import Final

import msgspec

from actors.ports import Clock
from jobs.catalogues import translations
from jobs.channels import Mail, TextMessages
from jobs.database import Queries
from jobs.facts import Booking
from jobs.job_queue import JobQueue
from jobs.messages import Messages
from jobs.outgoing import to_address
from jobs.ports import Poster
from jobs.sealed import Sealed
from jobs.smtp import Smtp
from jobs.texts import DOMAIN, Texts
from jobs.ways import Unsubscribe, Ways
from protocol import limits
from protocol.languages import LANGUAGES
from protocol.times import SECOND
from server.auth import Auth
from server.config import Settings
from server.outbox import OUTBOX, PRINTED, Outbox, PrintedTexts
from server.translations import LOCALE
from server.twilio_texts import TwilioTexts

_SIGNATURE_BYTES: Final = 16


def for_demo(settings: Settings) -> Settings:
    """What has no way out of the demo stays in it."""
    return msgspec.structs.replace(settings, smtp_url=settings.smtp_url or OUTBOX, sms_url=settings.sms_url or PRINTED)


def mail_of(settings: Settings) -> Mail | None:
    """Raises `ValueError` for settings that cannot be used."""
    if settings.smtp_url == OUTBOX:
        return Outbox(settings.data_dir)
    return Smtp(settings.smtp_url, settings.mail_from) if settings.smtp_url else None


def texts_of(settings: Settings) -> TextMessages | None:
    """Raises `ValueError` for settings that cannot be used."""
    if settings.sms_url == PRINTED:
        return PrintedTexts()
    return TwilioTexts(settings.sms_url) if settings.sms_url else None


def public_url(settings: Settings) -> str:
    return settings.public_url.rstrip("/") or f"http://localhost:{settings.port}"


@cache
def texts() -> Texts:
    """Raises what is wrong with a template or a catalogue."""
    return Texts({language: translations(LOCALE, DOMAIN, language) for language in LANGUAGES})


class SignedLinks:
    """Links that need no login, because only this server can have made them."""

    def __init__(self, auth: Auth, base: str) -> None:
        self._auth = auth
        self._base = base

    def manage(self, booking: Booking) -> str:
        """What is secret stands behind the #: a browser sends that to no server."""
        return f"{self._base}/manage#{booking.code}.{self._auth.manage_token(booking.id)}"

    def unsubscribe(self, client_id: str) -> Unsubscribe:
        token = unsubscribe_token(self._auth, client_id)
        return Unsubscribe(f"{self._base}/unsubscribe#{token}", f"{self._base}/api/v1/unsubscribe/{token}")

    def chat_secret(self, business_id: str) -> bytes:
        return chat_secret(self._auth, business_id)


def _signature(auth: Auth, client_id: str) -> str:
    return auth.derive(b"unsubscribe:" + client_id.encode()).hex()[: 2 * _SIGNATURE_BYTES]


def unsubscribe_token(auth: Auth, client_id: str) -> str:
    return f"{client_id}.{_signature(auth, client_id)}"


def client_of_token(auth: Auth, token: str) -> str | None:
    """Whom a link to unsubscribe is for; `None` for one that this server has not made."""
    client_id, _, signature = token.partition(".")
    good = hmac.compare_digest(signature.encode(errors="replace"), _signature(auth, client_id).encode())
    return client_id if good else None


def chat_secret(auth: Auth, business_id: str) -> bytes:
    """What signs callbacks to a business's bot."""
    return auth.derive(b"chat:" + business_id.encode())[:24]


def sealed(auth: Auth) -> Sealed:
    return Sealed(auth.derive(b"seal:messages"))


def messages_of(settings: Settings, database: Queries, auth: Auth, clock: Clock, poster: Poster) -> Messages:
    """The handler of jobs that tell people something."""
    links = SignedLinks(auth, public_url(settings))
    ways = Ways(mail_of(settings), texts_of(settings), poster, links, clock)
    return Messages(database, texts(), ways, links, sealed(auth), clock)


class QueuedMessenger:
    """`jobs.messenger.Messenger` by way of the queue: one row, whoever it is for."""

    def __init__(self, queue: JobQueue, auth: Auth, clock: Clock) -> None:
        self._queue = queue
        self._sealed = sealed(auth)
        self._clock = clock

    async def send(self, kind: str, to: str, fields: Mapping[str, str]) -> None:
        until = self._clock.now_us() + limits.code_ttl_s * SECOND
        await self._queue.put_alone(to_address(kind, self._sealed.seal(to, fields), until))

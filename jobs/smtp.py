"""Mail by SMTP: one connection a mail, so that nothing of one stands in the way of another.

    smtp://user:password@host:587    STARTTLS, or nothing is sent
    smtps://user:password@host:465   TLS from the first byte
    smtp+plain://host:25             in the clear: for a relay on the same machine

Who a server says it is is checked against the certificates that the system trusts.
"""

import asyncio
import ssl
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import aiosmtplib

from jobs.channels import Undeliverable
from jobs.mail import plain
from jobs.queue import Later

_STEP_TIMEOUT_S: Final = 15.0
_TIMEOUT_S: Final = 45.0
_PORTS: Final = {"smtp": 587, "smtps": 465, "smtp+plain": 25}


class Smtp:
    def __init__(self, url: str, sender: str, context: ssl.SSLContext | None = None) -> None:
        """Raises `ValueError` for a URL that is none of those. Without `context` the system judges certificates."""
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError("write smtp://user:password@host:587, smtps:// or smtp+plain://")
        if parts.scheme == "smtp+plain" and parts.password:
            raise ValueError("a password does not go over smtp+plain")
        self.sender = sender
        self._options: dict[str, Any] = {
            "hostname": parts.hostname,
            "port": parts.port or _PORTS[parts.scheme],
            "username": unquote(parts.username) if parts.username else None,
            "password": unquote(parts.password) if parts.password else None,
            "use_tls": parts.scheme == "smtps",
            "start_tls": parts.scheme == "smtp",
            # Made once: it reads all certificates of the system.
            "tls_context": (context or ssl.create_default_context()) if parts.scheme != "smtp+plain" else None,
            # Without one the library asks the name service, and waits for it.
            "local_hostname": sender.rpartition("@")[2],
            "timeout": _STEP_TIMEOUT_S,
        }

    async def send(self, mail: bytes, to: str) -> None:
        # The address stands in the mail as it is spelt.
        needs = None if to.isascii() and self.sender.isascii() else ["SMTPUTF8", "BODY=8BITMIME"]
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await aiosmtplib.send(mail, sender=self.sender, recipients=[to], mail_options=needs, **self._options)
        except aiosmtplib.SMTPRecipientsRefused as refused:
            raise _judged(*_first_of(refused), to) from None
        except aiosmtplib.SMTPDataError as refused:
            raise _judged(refused.code, refused.message, to) from None
        except aiosmtplib.SMTPNotSupported as missing:
            raise Undeliverable(f"the mail server cannot take this address: {_without(to, str(missing))}") from None
        except TimeoutError:
            raise Later("the mail server did not answer in time") from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise Later(f"{type(error).__name__}: {_without(to, str(error))}") from None


def _first_of(refused: aiosmtplib.SMTPRecipientsRefused) -> tuple[int, str]:
    first = refused.recipients[0]
    return first.code, first.message


def _judged(code: int, message: str, to: str) -> Exception:
    """What an answer of SMTP means: from 500 on it is for good."""
    said = f"{code} {_without(to, message)}"
    return Undeliverable(said) if code >= 500 else Later(said)


def _without(to: str, text: str) -> str:
    """What a server says may be kept for longer than the address it says it of."""
    return plain(text.replace(to, "…"))[:300]

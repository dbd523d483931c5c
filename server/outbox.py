"""Where the demo's mails go: files in the data directory, and pages that show them. Text messages are printed.

Nobody is asked who they are there, so a server that serves people has neither.
"""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final

import jinja2
from aiohttp import web

from protocol.errors import Refused

OUTBOX: Final = "outbox:"
PRINTED: Final = "print:"
"""What `--demo` puts into `smtp_url` and `sms_url`; no setting can."""
_KEPT_MAX: Final = 300
_NAME: Final = re.compile(r"[0-9a-f-]{36}\Z")
_PAGES: Final = Path(__file__).resolve().parent / "pages" / "outbox"
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
_MAIL_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox allow-popups; "
    "frame-ancestors 'self'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}


class Outbox:
    """A way for mails, as `jobs.channels.Mail`: the newest few hundred, one file each."""

    sender = "demo@slotcast.example"

    def __init__(self, data_dir: str) -> None:
        self._folder = Path(data_dir) / "outbox"

    async def send(self, mail: bytes, to: str) -> None:
        subject = await asyncio.to_thread(self._write, mail)
        _print(f"mail to {to}: {subject}")

    def _write(self, raw: bytes) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        mail = message_from_bytes(raw, policy=policy.default)
        name = str(mail["Message-ID"]).strip("<>").partition("@")[0]
        half = self._folder / f"{name}.half"
        half.write_bytes(raw)
        half.rename(self._folder / f"{name}.eml")
        for old in self._names()[_KEPT_MAX:]:
            (self._folder / f"{old}.eml").unlink(missing_ok=True)
        return str(mail["Subject"])

    def _names(self) -> list[str]:
        """The newest first."""
        return sorted((p.stem for p in self._folder.glob("*.eml")), reverse=True)

    def list(self) -> list[tuple[str, EmailMessage]]:
        return [(name, mail) for name in self._names() if (mail := self.find(name)) is not None]

    def find(self, name: str) -> EmailMessage | None:
        if not _NAME.match(name):
            return None
        try:
            raw = (self._folder / f"{name}.eml").read_bytes()
        except OSError:
            return None
        return message_from_bytes(raw, policy=policy.default)  # type: ignore[return-value] - that policy makes these


class PrintedTexts:
    """A way for text messages, as `jobs.channels.TextMessages`."""

    async def send(self, to: str, text: str) -> None:
        _print(f"text to {to}: {text}")


def _print(line: str) -> None:
    sys.stdout.write(f"  {line}\n")
    sys.stdout.flush()


class OutboxPages:
    def __init__(self, data_dir: str) -> None:
        self._outbox = Outbox(data_dir)
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_PAGES), autoescape=True, undefined=jinja2.StrictUndefined
        )
        self._list = environment.get_template("list.html")
        self._one = environment.get_template("mail.html")

    async def list(self, request: web.BaseRequest) -> web.StreamResponse:
        mails = await asyncio.to_thread(self._outbox.list)
        return _page(self._list.render(mails=mails))

    async def one(self, request: web.BaseRequest, name: str) -> web.StreamResponse:
        mail = await self._mail(name)
        return _page(self._one.render(name=name, mail=mail, text=_part(mail, "plain"), ics=_part(mail, "calendar")))

    async def html(self, request: web.BaseRequest, name: str) -> web.StreamResponse:
        """As a mail program shows it: without scripts, in a frame of its own."""
        return _page(_part(await self._mail(name), "html"), _MAIL_HEADERS)

    async def _mail(self, name: str) -> EmailMessage:
        mail = await asyncio.to_thread(self._outbox.find, name)
        if mail is None:
            raise Refused("not_found", "there is no such mail")
        return mail


def outbox_pages(data_dir: str) -> Sequence[tuple[str, Callable[..., Awaitable[web.StreamResponse]]]]:
    """Paths and what answers there."""
    pages = OutboxPages(data_dir)
    return [("/outbox", pages.list), ("/outbox/{name}", pages.one), ("/outbox/{name}/html", pages.html)]


def _part(mail: EmailMessage, subtype: str) -> str:
    for part in mail.walk():
        if part.get_content_subtype() == subtype and not part.is_multipart():
            content: Any = part.get_content()  # type: ignore[attr-defined] - parts are of the same kind
            return content if isinstance(content, str) else content.decode(errors="replace")
    return ""


def _page(text: str, headers: dict[str, str] = _HEADERS) -> web.Response:
    return web.Response(text=text, content_type="text/html", headers=headers)

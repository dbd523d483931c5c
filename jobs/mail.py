"""A mail, put together: text, HTML, a calendar file, and headers that no name can break out of."""

import re
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

import msgspec

from jobs.channels import Undeliverable
from jobs.texts import Rendered

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_NAME_CHARS_MAX: Final = 200
_SUBJECT_CHARS_MAX: Final = 300


class Invitation(msgspec.Struct, frozen=True):
    method: str
    body: str


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """`from_name` and `to_name` are people's text. `one_click` is where mail programs unsubscribe by themselves."""

    message_id: str
    at: datetime
    sender: str
    from_name: str
    to: str
    to_name: str
    language: str
    said: Rendered
    invitation: Invitation | None = None
    one_click: str | None = None


def compose(letter: Letter) -> EmailMessage:
    """Raises `Undeliverable` for an address that is none."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = _address(letter.from_name, letter.sender)
    mail["To"] = _address(letter.to_name, letter.to)
    mail["Subject"] = _header(letter.said.subject)[:_SUBJECT_CHARS_MAX]
    mail["Message-ID"] = f"<{letter.message_id}@{letter.sender.rpartition('@')[2]}>"
    mail["Date"] = format_datetime(letter.at, usegmt=True)
    mail["Auto-Submitted"] = "auto-generated"
    if letter.one_click:
        mail["List-Unsubscribe"] = f"<{letter.one_click}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mail.set_content(letter.said.text)
    mail.add_alternative(letter.said.html, subtype="html")
    if letter.invitation is not None:
        method, body = letter.invitation.method, letter.invitation.body
        # Once for programs that show an invitation, once for those that only open files.
        mail.add_alternative(body, subtype="calendar", params={"method": method})
        mail.add_attachment(body, subtype="calendar", params={"method": method}, filename="booking.ics")
    # Headers of that name move into the first part, when there come to be several.
    mail["Content-Language"] = letter.language
    return mail


def plain(text: str) -> str:
    """One line without control characters, whatever is in it."""
    return " ".join(_CONTROL.sub(" ", text).split())


def _header(text: str) -> str:
    """What looks like encoded words would be decoded by whoever reads it, line ends and all."""
    return plain(text).replace("=?", "= ?")


def _address(name: str, address: str) -> Address:
    try:
        return Address(_header(name)[:_NAME_CHARS_MAX], addr_spec=address)
    except (ValueError, IndexError, TypeError) as error:
        raise Undeliverable("this is no mail address") from error

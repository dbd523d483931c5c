"""A mail, put together: text, HTML, a calendar file, and headers that no name can break out of."""

import re
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.utils import format_datetime
from typing import Final

import msgspec

from jobs import mime
from jobs.channels import Undeliverable
from jobs.texts import Rendered

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_ADDRESS: Final = re.compile(r"[^\s\x00-\x20\x7f()<>@,;:\\\"\[\]]+@[^\s\x00-\x20\x7f()<>@,;:\\\"\[\]]+\Z")
"""What nearly every address is like; others are taken apart."""
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


def compose(letter: Letter) -> bytes:
    """The mail as it is sent. Raises `Undeliverable` for an address that is none."""
    headers = [
        ("From", _mailbox(letter.from_name, letter.sender)),
        ("To", _mailbox(letter.to_name, letter.to)),
        ("Subject", mime.unstructured(_header(letter.said.subject)[:_SUBJECT_CHARS_MAX])),
        ("Message-ID", f"<{letter.message_id}@{letter.sender.rpartition('@')[2]}>"),
        ("Date", format_datetime(letter.at, usegmt=True)),
        ("Auto-Submitted", "auto-generated"),
        ("Content-Language", letter.language),
    ]
    if letter.one_click:
        headers += [
            ("List-Unsubscribe", f"<{letter.one_click}>"),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ]
    headers.append(("MIME-Version", "1.0"))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return head.encode() + _body(letter)


def _body(letter: Letter) -> bytes:
    parts = [mime.part("text/plain", letter.said.text), mime.part("text/html", letter.said.html)]
    # Nobody who could write one of the parts knows the id.
    boundary = f"=_{letter.message_id}"
    if letter.invitation is None:
        return mime.multipart("alternative", boundary, parts)
    kind = f"text/calendar; method={letter.invitation.method}"
    # Once for programs that show an invitation, once for those that only open files.
    parts.append(mime.part(kind, letter.invitation.body))
    file = mime.part(kind, letter.invitation.body, 'attachment; filename="booking.ics"')
    return mime.multipart("mixed", f"{boundary}.", [mime.multipart("alternative", boundary, parts), file])


def plain(text: str) -> str:
    """One line without control characters, whatever is in it."""
    return " ".join(_CONTROL.sub(" ", text).split())


def _header(text: str) -> str:
    """What looks like encoded words would be decoded by whoever reads it, line ends and all."""
    return plain(text).replace("=?", "= ?")


def _mailbox(name: str, address: str) -> str:
    if not _ADDRESS.match(address):
        try:
            address = Address(addr_spec=address).addr_spec
        except (ValueError, IndexError, TypeError, MessageError) as error:
            raise Undeliverable("this is no mail address") from error
    name = _header(name)[:_NAME_CHARS_MAX]
    return f"{mime.phrase(name)}\r\n <{address}>" if name else address

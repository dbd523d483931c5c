"""Mails as they are put together, read again by the standard library and by icalendar."""

from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import icalendar
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs import mime
from jobs.channels import Undeliverable
from jobs.invitation import invitation
from jobs.mail import Invitation, Letter, compose, plain
from jobs.texts import Rendered

HEADERS = [
    "From", "To", "Subject", "Message-ID", "Date", "Auto-Submitted", "Content-Language", "MIME-Version", "Content-Type",
]  # fmt: skip
WORDS = st.text(max_size=300) | st.text('aä€😀 \\"=?_,<>@\r\n\u2028', max_size=300)
HOSTILE = 'x"\r\nBcc: b@example.org\r\n\r\n<b>=?utf-8?b?QmNjOg==?= \\'


def letter(**more: Any) -> Letter:
    given = {
        "message_id": "01a1fd73-a937-7000-81f1-ba3d790abae2", "at": datetime(2026, 11, 22, tzinfo=UTC),
        "sender": "no-reply@example.com", "from_name": "Salon Sommer", "to": "cleo@example.org",
        "to_name": "Cleo Winter", "language": "en", "said": Rendered("Confirmed", "Hello\n", "<p>Hello</p>", ""),
    }  # fmt: skip
    return Letter(**(given | more))


def read(raw: bytes) -> EmailMessage:
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert b"\n" not in raw.replace(b"\r\n", b"")
    found: Any = message_from_bytes(raw, policy=policy.default)
    assert all(not part.defects for part in found.walk())
    return found


def parts(mail: EmailMessage) -> list[tuple[str, str]]:
    leaves: list[Any] = [p for p in mail.walk() if not p.is_multipart()]
    return [(p.get_content_type(), p.get_content().replace("\r\n", "\n")) for p in leaves]


@given(WORDS, WORDS)
@example(HOSTILE, HOSTILE)
@example("ы" * 300, "x" * 300)
def test_a_header_says_what_it_was_given_and_nothing_else(name: str, subject: str) -> None:
    """Except for control characters, and what looks encoded."""
    mail = read(compose(letter(to_name=name, from_name=name, said=Rendered(subject, "a", "b", "c"))))
    assert [*mail.keys()] == HEADERS
    expected = plain(name).replace("=?", "= ?")[:200]
    for header, address in (("To", "cleo@example.org"), ("From", "no-reply@example.com")):
        (found,) = mail[header].addresses
        # This reader puts spaces between encoded words of a name, where RFC 2047 has none.
        assert (found.addr_spec, "".join(found.display_name.split())) == (address, "".join(expected.split()))
    said = plain(subject).replace("=?", "= ?")[:300]
    assert " ".join(str(mail["Subject"]).split()) == " ".join(said.split())


@given(st.text(max_size=3000), st.text("ы €=.\n-", max_size=3000))
@example("Hello\r\n.\r\nthere\n", "ä " * 2000)
@example("x" * 5000, "--=_01a1fd73-a937-7000-81f1-ba3d790abae2--\n")
def test_a_body_arrives_as_it_was(text: str, html: str) -> None:
    def lines(body: str) -> str:
        return body.replace("\r\n", "\n").replace("\r", "\n")

    mail = message_from_bytes(mime.multipart("alternative", "=_1", [
        mime.part("text/plain", text), mime.part("text/html", html),
    ]), policy=policy.default)  # fmt: skip
    assert parts(mail) == [("text/plain", lines(text)), ("text/html", lines(html))]  # type: ignore[arg-type]


def test_an_invitation_stands_in_the_mail_and_beside_it() -> None:
    file = "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"
    mail = read(compose(letter(invitation=Invitation("CANCEL", file), one_click="https://example.com/1")))
    assert mail["List-Unsubscribe"] == "<https://example.com/1>"
    assert [p.get_content_type() for p in mail.walk()] == [
        "multipart/mixed", "multipart/alternative", "text/plain", "text/html", "text/calendar", "text/calendar",
    ]  # fmt: skip
    inside, beside = [p for p in mail.walk() if p.get_content_type() == "text/calendar"]
    assert inside["Content-Type"].params["method"] == beside["Content-Type"].params["method"] == "CANCEL"
    assert (inside.get_filename(), beside.get_filename()) == (None, "booking.ics")
    assert parts(mail)[2][1] == parts(mail)[3][1] == file.replace("\r\n", "\n")


@given(WORDS, WORDS)
@example(HOSTILE, HOSTILE)
@example("a,b;c\\n\\", "ы" * 300)
def test_a_calendar_file_says_what_it_was_given(name: str, summary: str) -> None:
    made = invitation(
        method="REQUEST", booking_id="01a1", sequence=7, start=1_800_000_000_000_000, end=1_800_001_800_000_000,
        now=1_800_000_000_123_456, tentative=True, summary=summary, description=f"{plain(name)}\nBK-1",
        place=name, organizer=(name, "no-reply@example.com"), attendee=(name, "cleo@example.org"),
    )  # fmt: skip
    assert all(len(line.encode()) <= 75 for line in made.body.split("\r\n"))
    calendar = icalendar.Calendar.from_ical(made.body)
    assert [c.name for c in calendar.walk()] == ["VCALENDAR", "VEVENT"]
    (event,) = calendar.walk("VEVENT")
    assert not event.errors
    assert sorted(event) == sorted({
        "UID", "SEQUENCE", "DTSTAMP", "DTSTART", "DTEND", "SUMMARY", "DESCRIPTION", "STATUS", "TRANSP", "ORGANIZER",
        "ATTENDEE", *(["LOCATION"] if plain(name) else []),
    })  # fmt: skip
    assert str(event["SUMMARY"]) == plain(summary)
    assert str(event["DESCRIPTION"]) == f"{plain(name)}\nBK-1"
    assert str(event["ATTENDEE"]) == "mailto:cleo@example.org"
    assert event["ATTENDEE"].params["PARTSTAT"] == "TENTATIVE"
    assert event["DTEND"].dt.isoformat() == "2027-01-15T08:30:00+00:00"


@pytest.mark.parametrize(
    "address", ["", "a", "a@", "@b.example", "a@b.example\r\nBcc: c@d.example", "a b@c.example", "a@b, c@d"]
)
def test_an_address_that_is_none_gets_nothing(address: str) -> None:
    with pytest.raises(Undeliverable):
        compose(letter(to=address))


def test_an_address_beyond_ascii_is_written_as_it_is() -> None:
    assert '"Cleo Winter"\r\n <жанна@пример.example>\r\n'.encode() in compose(letter(to="жанна@пример.example"))

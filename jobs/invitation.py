"""The calendar file of a booking (RFC 5545 and 5546).

All messages about one booking carry the same UID; a later one has a higher SEQUENCE, so that a calendar ends up with
what is true even when mails arrive in another order. Times are in UTC: no rule of a zone has to travel with them.
"""

from typing import Final

from jobs.mail import Invitation, plain
from jobs.mime import pieces
from protocol.times import from_us

_PRODUCT: Final = "-//Slotcast//EN"
_LINE_BYTES_MAX: Final = 74
_ESCAPED: Final = str.maketrans({"\\": "\\\\", ";": "\\;", ",": "\\,", "\n": "\\n"})


def uid_of(booking_id: str) -> str:
    """The same in mails and feeds, for ever."""
    return f"{booking_id}@slotcast"


def invitation(
    *,
    method: str,
    booking_id: str,
    sequence: int,
    start: int,
    end: int,
    now: int,
    tentative: bool,
    summary: str,
    description: str,
    place: str,
    organizer: tuple[str, str],
    attendee: tuple[str, str],
) -> Invitation:
    """`method` is REQUEST or CANCEL. Instants are microseconds; organizer and attendee are name and address."""
    part = "TENTATIVE" if tentative else "ACCEPTED"
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        f"PRODID:{_PRODUCT}",
        f"METHOD:{method}",
        "BEGIN:VEVENT",
        f"UID:{uid_of(booking_id)}",
        f"SEQUENCE:{sequence}",
        f"DTSTAMP:{_instant(now)}",
        f"DTSTART:{_instant(start)}",
        f"DTEND:{_instant(end)}",
        f"SUMMARY:{plain(summary).translate(_ESCAPED)}",
        *([f"DESCRIPTION:{description.translate(_ESCAPED)}"] if description else ()),
        *([f"LOCATION:{plain(place).translate(_ESCAPED)}"] if plain(place) else ()),
        f"STATUS:{'CANCELLED' if method == 'CANCEL' else 'TENTATIVE' if tentative else 'CONFIRMED'}",
        "TRANSP:OPAQUE",
        f"ORGANIZER;{_person(*organizer)}",
        f"ATTENDEE;PARTSTAT={part};RSVP=FALSE;{_person(*attendee)}",
        "END:VEVENT",
        "END:VCALENDAR",
    ]
    return Invitation(method, "".join(f"{_folded(line)}\r\n" for line in lines))


def _instant(us: int) -> str:
    return from_us(us).strftime("%Y%m%dT%H%M%SZ")


def _person(name: str, address: str) -> str:
    # A parameter may hold no quotes, whatever is done to them.
    return f'CN="{plain(name).replace(chr(34), chr(39))}":mailto:{plain(address)}'


def _folded(line: str) -> str:
    return "\r\n ".join(p.decode() for p in pieces(line.encode(), _LINE_BYTES_MAX))

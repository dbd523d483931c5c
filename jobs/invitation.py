"""The calendar file of a booking (RFC 5545 and 5546).

All messages about one booking carry the same UID; a later one has a higher SEQUENCE, so that a calendar ends up with
what is true even when mails arrive in another order. Times are in UTC: no rule of a zone has to travel with them.
"""

from typing import Final

import icalendar

from jobs.mail import Invitation, plain
from protocol.times import from_us

_PRODUCT: Final = "-//Slotcast//EN"


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
    event = icalendar.Event()
    event.add("uid", uid_of(booking_id))
    event.add("sequence", sequence)
    event.add("dtstamp", from_us(now).replace(microsecond=0))
    event.add("dtstart", from_us(start))
    event.add("dtend", from_us(end))
    event.add("summary", plain(summary))
    if description:
        event.add("description", description)
    if place:
        event.add("location", plain(place))
    event.add("status", "CANCELLED" if method == "CANCEL" else "TENTATIVE" if tentative else "CONFIRMED")
    event.add("transp", "OPAQUE")
    event.add("organizer", _person(*organizer))
    invited = _person(*attendee)
    invited.params["PARTSTAT"] = icalendar.vText("TENTATIVE" if tentative else "ACCEPTED")
    invited.params["RSVP"] = icalendar.vText("FALSE")
    event.add("attendee", invited)
    calendar = icalendar.Calendar()
    calendar.add("prodid", _PRODUCT)
    calendar.add("version", "2.0")
    calendar.add("method", method)
    calendar.add_component(event)
    return Invitation(method, calendar.to_ical().decode())


def _person(name: str, address: str) -> icalendar.vCalAddress:
    person = icalendar.vCalAddress(f"mailto:{address}")
    # A parameter may hold no quotes, whatever is done to them.
    person.params["CN"] = icalendar.vText(plain(name).replace('"', "'"))
    return person

"""The file of a calendar feed (RFC 5545). It depends on the bookings alone: the same bookings give the same bytes."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Final

import icalendar
import msgspec

from jobs.invitation import uid_of
from jobs.mail import plain
from storage.feeds import Entry, Feed

_PRODUCT: Final = "-//Slotcast//EN"
_RENEWED_EVERY: Final = timedelta(minutes=15)
_EDITION: Final = 1
"""To be raised when the same bookings are to look different."""
_END: Final = b"END:VCALENDAR\r\n"
_EVENTS_CACHED_MAX: Final = 20_000


def tag_of(feed: Feed, entries: Sequence[Entry]) -> str:
    """An entity tag of the file, without making it."""
    known = msgspec.structs.replace(feed, etag=None, changed_at=None)
    return f'"{hashlib.blake2b(msgspec.json.encode([_EDITION, known, entries]), digest_size=16).hexdigest()}"'


def calendar_file(feed: Feed, entries: Sequence[Entry]) -> bytes:
    """Instants are in UTC, so no rule of a zone has to travel with them."""
    calendar = icalendar.Calendar()
    calendar.add("prodid", _PRODUCT)
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    name = plain(f"{feed.professional}, {feed.business}" if feed.professional else feed.business)
    calendar.add("name", name)
    calendar.add("x-wr-calname", name)
    calendar.add("x-wr-timezone", feed.time_zone)
    calendar.add("refresh-interval", _RENEWED_EVERY, parameters={"VALUE": "DURATION"})
    calendar.add("x-published-ttl", icalendar.vDuration(_RENEWED_EVERY))
    of_client = feed.business if feed.client_id is not None else None
    events = b"".join(_event(entry, of_client) for entry in entries)
    return calendar.to_ical().removesuffix(_END) + events + _END


@lru_cache(maxsize=_EVENTS_CACHED_MAX)
def _event(entry: Entry, of_client: str | None) -> bytes:
    """Kept, as programs come every few minutes. `of_client` is the business, in a client's feed."""
    event = icalendar.Event()
    event.add("uid", uid_of(entry.id))
    event.add("sequence", entry.version)
    event.add("dtstamp", entry.updated_at.replace(microsecond=0))
    event.add("last-modified", entry.updated_at.replace(microsecond=0))
    event.add("dtstart", entry.start)
    event.add("dtend", entry.end)
    event.add("summary", plain(_summary(entry, of_client)))
    event.add("description", entry.code)
    if entry.place:
        event.add("location", plain(entry.place))
    event.add("status", "TENTATIVE" if entry.status == "pending" else "CONFIRMED")
    event.add("transp", "OPAQUE")
    return event.to_ical()


def _summary(entry: Entry, of_client: str | None) -> str:
    """A professional reads who comes, a client to whom they go."""
    if of_client is not None:
        return f"{entry.service}: {entry.professional}, {of_client}"
    who = f"{entry.service}: {entry.client}" if entry.client else entry.service
    return f"{who} ({entry.attendees})" if entry.attendees > 1 else who

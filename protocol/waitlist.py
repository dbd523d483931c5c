"""Bodies of the waitlist."""

from typing import Literal

import msgspec

from protocol.bodies import Answer, Attendees, Body, GuestBody, Minutes, Moment, OfferingCode, Text, Uuid

_HOLDER = "waitlist:"


def holder_of(entry_id: str) -> str:
    """In whose name a hold is placed for an entry: what is told of that hold begins there."""
    return _HOLDER + entry_id


def entry_of(holder: object) -> str | None:
    return holder.removeprefix(_HOLDER) if isinstance(holder, str) and holder.startswith(_HOLDER) else None


WaitStatus = Literal["waiting", "offering", "offered", "booked", "lapsed", "left", "past"]


class WaitlistJoin(Body, kw_only=True):
    """For an opening of a service that begins between `from` and `to`, with one professional or with whoever offers
    it, or of an offering. Who wants one slot that is held now gives its start and end.
    """

    from_: Moment = msgspec.field(name="from")
    to: Moment
    service_id: Uuid | None = None
    offering_code: OfferingCode | None = None
    professional_id: Uuid | None = None
    attendees: Attendees = 1
    duration_minutes: Minutes | None = None
    client_id: Uuid | None = None
    guest: GuestBody | None = None
    notes: Text | None = None


class WaitlistHold(Answer, kw_only=True):
    """What is kept for the entry until `expires_at`: book it by its `id`."""

    id: str
    professional_id: str
    start: str
    end: str
    expires_at: str


class WaitlistEntry(Answer, kw_only=True, omit_defaults=True):
    """`position` is among those who wait for something of the same, from 1. `held_until` is when a hold on
    something that it waits for ends. `manage_token` comes once, to a guest who joins.
    """

    id: str
    status: WaitStatus
    service_id: str
    professional_id: str | None
    client_id: str
    from_: str = msgspec.field(name="from")
    to: str
    attendees: int
    created_at: str
    updated_at: str
    duration_minutes: int | None = None
    notes: str | None = None
    position: int | None = None
    held_until: str | None = None
    hold: WaitlistHold | None = None
    manage_token: str | None = None

"""What messages say and to whom they go, as the database has it when they are sent."""

from typing import Final

import msgspec

from jobs.database import Queries
from protocol.times import to_us

_OWNERS_MAX: Final = 20


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody to tell. `channel` is how they prefer it; `reminders` is false for one who has unsubscribed. `spoken`
    is the language in which they booked, `locale` what their login says.
    """

    name: str
    email: str | None = None
    phone: str | None = None
    chat_id: int | None = None
    locale: str | None = None
    spoken: str | None = None
    client_id: str | None = None
    user_id: str | None = None
    channel: str | None = None
    reminders: bool = True


class Business(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    slug: str
    locale: str
    chat_callback_url: str | None = None
    time_zone: str = "UTC"
    trial_ends: int | None = None


class Booking(msgspec.Struct, frozen=True, kw_only=True):
    """Instants are microseconds. `client` is `None` for a booking whose client is gone."""

    id: str
    code: str | None
    status: str
    start: int
    end: int
    attendees: int
    cancelled_by: str | None
    reason: str | None
    by_guest: bool
    expires_at: int | None
    service: str
    price_minor: int | None
    currency: str | None
    professional: str
    location: str | None
    location_address: str | None
    location_phone: str | None
    time_zone: str
    business: Business
    client: Person | None


async def booking(q: Queries, business_id: str, booking_id: str) -> Booking | None:
    row = await q.row("booking_to_tell", business_id, booking_id)
    if row is None:
        return None
    client = None
    if row["client_id"] is not None and row["first_name"] is not None:
        client = Person(
            name=f"{row['first_name']} {row['last_name']}".strip(),
            email=row["email"],
            phone=row["phone"],
            chat_id=row["chat_id"],
            locale=row["user_locale"],
            spoken=row["client_locale"],
            client_id=row["client_id"],
            channel=row["channel"],
            reminders=row["reminders"] is not False,
        )
    return Booking(
        id=row["id"],
        code=row["code"],
        status=row["status"],
        start=to_us(row["start_at"]),
        end=to_us(row["end_at"]),
        attendees=row["attendees"],
        cancelled_by=row["cancelled_by"],
        reason=row["reason"],
        by_guest=row["by_guest"],
        expires_at=to_us(row["expires_at"]) if row["expires_at"] else None,
        service=row["service"],
        price_minor=row["price_minor"],
        currency=row["currency"],
        professional=row["professional"],
        location=row["location"],
        location_address=row["location_address"],
        location_phone=row["location_phone"],
        time_zone=row["time_zone"],
        business=Business(
            id=row["business_id"],
            name=row["business"],
            slug=row["slug"],
            locale=row["business_locale"],
            time_zone=row["time_zone"],
            chat_callback_url=row["chat_callback_url"],
        ),
        client=client,
    )


async def staff(q: Queries, calendar_id: str) -> Person | None:
    """Whose calendar it is, if they want to hear of it. Text messages, which cost money, they get none."""
    for row in await q.fetch("staff_to_tell", [calendar_id]):
        return Person(
            name=row["name"], email=row["email"], chat_id=row["chat_id"], locale=row["locale"], user_id=row["id"]
        )
    return None


async def owners(q: Queries, business_id: str) -> tuple[Business | None, list[Person]]:
    """The business and those who own it."""
    rows = await q.fetch("owners_to_tell", business_id, _OWNERS_MAX)
    if not rows:
        return None, []
    first = rows[0]
    business = Business(
        id=business_id,
        name=first["business"],
        slug=first["slug"],
        locale=first["business_locale"],
        time_zone=first["time_zone"],
        trial_ends=to_us(first["trial_ends_at"]) if first["trial_ends_at"] else None,
    )
    found = [
        Person(name=r["name"], email=r["email"], phone=r["phone"], locale=r["locale"], user_id=r["id"]) for r in rows
    ]
    return business, found


async def locale_of(q: Queries, address: str) -> str | None:
    """Of the user who has that address, if anybody."""
    return await q.value("locale_of_address", address)

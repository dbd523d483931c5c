"""Offerings: published things to book by a code, and what is free of them."""

import re
from datetime import date, timedelta
from typing import Any

import msgspec

from actors.questions import OpenSlots, PublicSlots
from protocol import bodies, limits, public
from protocol import offerings as said
from protocol.errors import Refused, invalid
from protocol.times import local_date, parse_date, zone
from server import audit
from server.edge import Call, Endpoint, Reply
from server.paging import PageQuery, decode_cursor, page
from server.permissions import reach
from server.rest.bookings import own, page_of
from server.terms import refresh_terms
from storage import offerings, people
from storage.bookings import BookingFilter
from storage.offerings import Found, minute_of

_CODE = re.compile(r"AP-[0-9A-Z]{5}\Z")
_PARTY_DAYS_MAX = 31
_DATE_CHARS = 10


class OfferingsQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """`deleted` lists those that were taken back instead, for who may publish them again."""

    professional_id: bodies.Uuid | None = None
    type: said.Kind | None = None
    deleted: bool = False


class FromTo(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Dates or instants; without them the offering from today on, as far as one answer goes."""

    from_: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    time_zone: str | None = None


class ByDay(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    date: str
    time_zone: str | None = None


class OfBookings(PageQuery, forbid_unknown_fields=True, kw_only=True):
    status: bodies.BookingStatus | None = None


async def create_offering(call: Call[said.OfferingCreate, Any]) -> Reply:
    b = call.body
    await call.may_touch("offerings.write", b.professional_id)
    professional = await people.professional_by_id(call.tx, call.business_id, b.professional_id)
    if b.time_zone is not None:
        zone(b.time_zone)
    duration, places = _lengths(b)
    _check(b.type, b.start_date, b.end_date, b.start_time, b.end_time, duration)
    await _room_for_one(call, b.professional_id)
    made = await offerings.add(call.tx, call.business_id, b, professional, duration, places)
    await audit.record(call, "offering.made", "offering", made.id, after=made)
    await _refresh(call, made.professional_id)
    return Reply(made, 201, {"Location": f"/api/v1/offerings/{made.code}"})


def _lengths(b: said.OfferingCreate) -> tuple[int, int]:
    """The minutes of a slot, and its places."""
    if b.type == "party":
        if b.duration_minutes is not None:
            raise invalid("duration_minutes", "a party lasts from its start to its end; leave it out")
        duration = _party_minutes(b.start_date, b.end_date, b.start_time, b.end_time)
    elif b.duration_minutes is None:
        raise invalid("duration_minutes", "say how long a slot is")
    else:
        duration = b.duration_minutes
    if b.type == "single":
        if b.max_attendees not in (None, 1):
            raise invalid("max_attendees", "a single takes one booking at a time")
        return duration, 1
    if b.max_attendees is None:
        raise invalid("max_attendees", "say how many places there are")
    return duration, b.max_attendees


def _party_minutes(first: str, last: str, start: str, end: str) -> int:
    """From the first day's start to the last day's end, on the wall clock."""
    days = (parse_date("end_date", last) - parse_date("start_date", first)).days
    return days * 24 * 60 + minute_of(end) - minute_of(start)


async def _room_for_one(call: Call[Any, Any], professional_id: str) -> None:
    if await offerings.current(call.tx, professional_id) >= limits.offerings_per_professional_max:
        raise Refused("limit_reached", f"at most {limits.offerings_per_professional_max} offerings of a professional")


def _check(kind: str, first: str, last: str, start: str, end: str, duration: int) -> None:
    a, b = parse_date("start_date", first), parse_date("end_date", last)
    if b < a:
        raise invalid("end_date", "must not be before start_date")
    if minute_of(end) <= minute_of(start):
        raise invalid("end_time", "must be after start_time")
    if kind == "party" and b - a >= timedelta(days=_PARTY_DAYS_MAX):
        raise invalid("end_date", f"a party lasts at most {_PARTY_DAYS_MAX} days")
    if b - a > timedelta(days=limits.horizon_days_max):
        raise invalid("end_date", f"at most {limits.horizon_days_max} days after start_date")
    if kind != "party" and duration > minute_of(end) - minute_of(start):
        raise invalid("duration_minutes", "is longer than a day of the offering")


async def list_offerings(call: Call[Any, OfferingsQuery]) -> dict[str, Any]:
    q, auth = call.query, call.node.auth
    if q.deleted:
        reach(call.principal, "offerings.write")
    position = decode_cursor(auth, "offerings", q.cursor)
    items = await offerings.list_offerings(
        call.node.database, call.business_id, position[0] if position else None, q.limit + 1, deleted=q.deleted,
        professional_id=q.professional_id, kind=q.type,
    )  # fmt: skip
    return page(auth, "offerings", items, q.limit)


async def _of_path(call: Call[Any, Any]) -> Found:
    """To strangers that of a business which they may see."""
    found = await offerings.by_code(call.node.database, _code(call))
    if call.login is None or call.login.business_id != found.business_id:
        businesses = call.node.businesses
        if not businesses.is_public(await businesses.get(found.business_id)):
            raise Refused("not_found", "there is no such offering")
    return found


def _code(call: Call[Any, Any]) -> str:
    code = call.params["code"].upper()
    if not _CODE.match(code):
        raise Refused("not_found", "there is no such offering")
    return code


async def read_offering(call: Call[Any, Any]) -> said.Offering:
    return (await _of_path(call)).body


async def _mine(call: Call[Any, Any], permission: str) -> said.Offering:
    """The offering of the path, for who may do that in its calendar. What is another business's is not found."""
    found = await _of_path(call)
    if found.business_id != call.business_id:
        raise Refused("not_found", "there is no such offering")
    await call.may_touch(permission, found.body.professional_id)
    return found.body


async def patch_offering(call: Call[said.OfferingPatch, Any]) -> said.Offering:
    mine = await _mine(call, "offerings.write")
    before = await offerings.for_update(call.tx, call.business_id, mine.id)
    after = offerings.merged(before, call.body)
    if after.type == "party":
        duration = _party_minutes(after.start_date, after.end_date, after.start_time, after.end_time)
        if after.duration_minutes != before.duration_minutes:
            raise invalid("duration_minutes", "a party lasts from its start to its end; leave it out")
        after.duration_minutes = max(duration, 1)
    _check(after.type, after.start_date, after.end_date, after.start_time, after.end_time, after.duration_minutes)
    after = await offerings.update(call.tx, call.business_id, after)
    await audit.record(call, "offering.changed", "offering", after.id, before=before, after=after)
    await _refresh(call, after.professional_id)
    return after


async def delete_offering(call: Call[Any, Any]) -> None:
    """What is booked stays."""
    mine = await _mine(call, "offerings.write")
    await offerings.delete(call.tx, call.business_id, mine.id)
    await audit.record(call, "offering.removed", "offering", mine.id, before=mine)
    await _refresh(call, mine.professional_id)


async def restore_offering(call: Call[Any, Any]) -> said.Offering:
    offering_id = call.id("id")
    before = await offerings.for_update(call.tx, call.business_id, offering_id, deleted=True)
    await call.may_touch("offerings.write", before.professional_id)
    await _room_for_one(call, before.professional_id)
    restored = await offerings.restore(call.tx, call.business_id, offering_id)
    await audit.record(call, "offering.restored", "offering", offering_id)
    await _refresh(call, restored.professional_id)
    return restored


async def offering_slots(call: Call[Any, FromTo]) -> bytes:
    """What is open, with the places that remain."""
    found, q = await _of_path(call), call.query
    o = found.body
    first = q.from_ or _first(o, call.node.clock.now_us())
    question = OpenSlots(first, q.to or _last(o, first), o.id, q.time_zone or o.time_zone)
    return await call.node.switchboard.read(o.professional_id, found.business_id, question)


def _first(o: said.Offering, now: int) -> str:
    today = local_date(now, zone(o.time_zone)).isoformat()
    return max(o.start_date, min(today, o.end_date))


def _last(o: said.Offering, first: str) -> str:
    """As far as one answer goes from a date or an instant on."""
    day = parse_date("from", first[:_DATE_CHARS])
    minutes = minute_of(o.end_time) - minute_of(o.start_time)
    per_day = 1 if o.type == "party" else minutes // o.duration_minutes
    days = min(limits.range_days_max - 2, limits.slots_per_answer_max // per_day)
    return max(day, min(date.fromisoformat(o.end_date), day + timedelta(days=days - 1))).isoformat()


async def offering_slots_by_day(call: Call[Any, ByDay]) -> bytes:
    """Every slot of a day, also those that are taken."""
    found = await _of_path(call)
    o = found.body
    question = PublicSlots(None, None, call.query.date, o.id, call.query.time_zone or o.time_zone)
    return await call.node.switchboard.read(o.professional_id, found.business_id, question)


async def offering_bookings(call: Call[Any, OfBookings]) -> dict[str, Any]:
    mine, q = await _mine(call, "bookings.read"), call.query
    f = BookingFilter(professional_id=mine.professional_id, service_id=mine.id, status=q.status)
    return await page_of(call, own(call.principal, f), q.limit, q.cursor)


async def _refresh(call: Call[Any, Any], professional_id: str) -> None:
    await call.node.notices.post(call.tx, "terms", [professional_id])
    call.after_commit.append(lambda: refresh_terms(call.node.runtime.roster, [professional_id]))


def routes(node: Any) -> list[Endpoint]:
    o = "/api/v1/offerings"
    return [
        Endpoint(node, "POST", o, create_offering, needs="offerings.write", status=201, tx=True,
                 summary="Publish something to book under a code", answer=said.Offering, body=said.OfferingCreate,
                 area="offerings"),
        Endpoint(node, "GET", o, list_offerings, needs="catalogue.read", summary="List offerings",
                 answer=list[said.Offering], query=OfferingsQuery, area="offerings"),
        Endpoint(node, "GET", o + "/{code}", read_offering, needs=None, summary="Read an offering by its code",
                 answer=said.Offering, area="offerings"),
        Endpoint(node, "PATCH", o + "/{code}", patch_offering, needs="offerings.write", tx=True,
                 summary="Change an offering", answer=said.Offering, body=said.OfferingPatch, area="offerings"),
        Endpoint(node, "DELETE", o + "/{code}", delete_offering, needs="offerings.write", status=204, tx=True,
                 summary="Take an offering back", area="offerings"),
        Endpoint(node, "POST", o + "/{id}/restore", restore_offering, needs="offerings.write", tx=True,
                 summary="Publish an offering again that was taken back", answer=said.Offering, body=bodies.Empty,
                 area="offerings"),
        Endpoint(node, "GET", o + "/{code}/slots", offering_slots, needs=None, query=FromTo,
                 summary="What is open of an offering, with the places that remain", answer=bodies.SlotsAnswer,
                 area="offerings"),
        Endpoint(node, "GET", o + "/{code}/slots/by-day", offering_slots_by_day, needs=None, query=ByDay,
                 summary="Every slot of an offering on a day", answer=public.PublicAvailability, area="offerings"),
        Endpoint(node, "GET", o + "/{code}/bookings", offering_bookings, needs="bookings.read", query=OfBookings,
                 summary="Bookings of an offering", answer=list[bodies.Booking], area="offerings"),
    ]  # fmt: skip

"""Holds and bookings."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from actors.calendar import commands as cmd
from actors.ports import IdempotencyKey
from protocol import bodies
from protocol.errors import Refused, invalid
from protocol.ids import new_id
from protocol.languages import accepted
from protocol.times import bounded_us, local_us, parse_date, to_us, zone
from server.desk import Asker
from server.edge import Call, Endpoint, Reply
from server.paging import Cursor, Limit, PageQuery, decode_cursor, page
from server.permissions import Reach, reach
from server.principal import Principal, role_of
from storage import bookings, people
from storage.bookings import BookingFilter, BookingRow

_MANAGE_HEADER = "X-Manage-Token"
TAKEN: Final = (
    "slot_unavailable", "outside_hours", "off_grid", "in_the_past", "too_soon", "beyond_horizon", "too_many_attendees",
    "service_not_offered", "duration_not_offered", "cap_reached", "idempotency_mismatch", "unavailable", "overloaded",
    "banned",
)  # fmt: skip
"""Codes with which a time is refused."""


class BookingsQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """`date` is one day; `date_from` and `date_to` are both included. Days are those of `time_zone`."""

    status: bodies.BookingStatus | None = None
    date: str | None = None
    date_from: str | None = None
    date_to: str | None = None
    time_zone: str = "UTC"
    professional_id: bodies.Uuid | None = None
    client_id: bodies.Uuid | None = None
    location_id: bodies.Uuid | None = None


class ComingQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Without `date` and with `when=future`, the default, what is over is left out."""

    limit: Limit = 50
    cursor: Cursor | None = None
    status: bodies.BookingStatus | None = None
    date: str | None = None
    time_zone: str = "UTC"
    when: Annotated[str, Meta(pattern="^(future|all)$")] = "future"


def asker(call: Call[Any, Any]) -> Asker:
    return Asker(call.principal, call.request_id, call.key, call.request)


def etag(booking: bodies.Booking) -> dict[str, str]:
    return {"ETag": f'"{booking.version}"'}


async def booker(call: Call[Any, Any]) -> Asker:
    """The login; or, for what is published under a code, any visitor."""
    if call.login is not None:
        return asker(call)
    if call.body.offering_code is None:
        raise Refused("unauthorized", "send Authorization: Bearer with a token")
    offered = await call.node.desk.offerings.of_code(call.body.offering_code)
    visitor = Principal(new_id(), offered.business_id, "public", 0.0)
    key = msgspec.structs.replace(call.key, scope=visitor.scope) if call.key is not None else None
    language = accepted(call.request.headers.get("Accept-Language"))
    return Asker(visitor, call.request_id, key, language=language)


async def make_hold(call: Call[bodies.HoldCreate, Any]) -> Reply:
    held = await call.node.desk.hold(await booker(call), call.body)
    return Reply(held, 201, {"Location": f"/api/v1/holds/{held.id}"})


async def release_hold(call: Call[Any, Any]) -> None:
    await call.node.desk.release(asker(call), call.id("id"))


async def book(call: Call[bodies.BookingCreate, Any]) -> Reply:
    booking = await call.node.desk.book(await booker(call), call.body)
    return Reply(booking, 201, {"Location": f"/api/v1/bookings/{booking.id}", **etag(booking)})


def _token(call: Call[Any, Any]) -> str | None:
    return call.request.headers.get(_MANAGE_HEADER)


async def found(call: Call[Any, Any], permission: str) -> BookingRow:
    token = _token(call)
    if call.login is None and token is None:
        raise Refused("unauthorized", "send Authorization: Bearer with a token, or the booking's X-Manage-Token")
    return await call.node.desk.find(call.login, call.params["id"], permission, token)


async def read_booking(call: Call[Any, Any]) -> Reply:
    row = await found(call, "bookings.read")
    return Reply(row.body, headers=etag(row.body))


async def _change(
    call: Call[Any, Any], permission: str, command: Callable[[BookingRow, Principal], cmd.Command], reason: str = ""
) -> Reply:
    row = await found(call, permission)
    who = _who(call, row)
    asks = Asker(who, call.request_id, _key_of(call, who), call.request)
    booking = await call.node.desk.change(asks, row, command(row, who), reason)
    return Reply(booking, headers=etag(booking))


def _who(call: Call[Any, Any], row: BookingRow) -> Principal:
    return call.login or Principal(row.body.id, row.business_id, "public", 0.0)


def _key_of(call: Call[Any, Any], who: Principal) -> IdempotencyKey | None:
    """The caller's key in their own scope: a login's, or one booking's guest's."""
    if call.key is None:
        return None
    scope = f"{who.scope}:{who.subject}" if who.role == "public" else who.scope
    return msgspec.structs.replace(call.key, scope=scope)


async def patch_booking(call: Call[bodies.BookingPatch, Any]) -> Reply:
    row = await found(call, "bookings.change")
    who = _who(call, row)
    booking = await call.node.desk.amend(
        Asker(who, call.request_id, _key_of(call, who)), row, call.body.notes, call.if_match()
    )
    return Reply(booking, headers=etag(booking))


async def cancel(call: Call[bodies.CancelBody, Any]) -> Reply:
    return await _change(
        call,
        "bookings.change",
        lambda row, who: cmd.Cancel(row.body.id, role_of(who, call.body.on_behalf_of), call.if_match()),
        call.body.reason,
    )


async def reschedule(call: Call[bodies.RescheduleBody, Any]) -> Reply:
    b, start = call.body, bounded_us("start", call.body.start)
    return await _change(
        call,
        "bookings.change",
        lambda row, _: cmd.Reschedule(row.body.id, start, call.if_match(), hold_id=b.hold_id, double=b.double_booking),
    )


async def confirm(call: Call[Any, Any]) -> Reply:
    return await _change(call, "bookings.decide", lambda row, _: cmd.Confirm(row.body.id, call.if_match()))


async def reject(call: Call[bodies.ReasonBody, Any]) -> Reply:
    return await _change(
        call, "bookings.decide", lambda row, _: cmd.Reject(row.body.id, call.if_match()), call.body.reason
    )


async def complete(call: Call[Any, Any]) -> Reply:
    return await _change(call, "bookings.decide", lambda row, _: cmd.Complete(row.body.id, call.if_match()))


async def no_show(call: Call[Any, Any]) -> Reply:
    return await _change(call, "bookings.decide", lambda row, _: cmd.MarkNoShow(row.body.id, call.if_match()))


async def list_bookings(call: Call[Any, BookingsQuery]) -> dict[str, Any]:
    q = call.query
    tz = zone(q.time_zone)
    if q.date is not None and (q.date_from or q.date_to):
        raise invalid("date", "give one date or a range, not both")
    first, last = q.date or q.date_from, q.date or q.date_to
    f = BookingFilter(
        professional_id=q.professional_id,
        client_id=q.client_id,
        status=q.status,
        starts_from=local_us(parse_date("date_from", first), 0, tz) if first else None,
        starts_before=local_us(parse_date("date_to", last), 24 * 60, tz) if last else None,
        locations=[q.location_id] if q.location_id else None,
    )
    return await page_of(call, own(call.principal, f), q.limit, q.cursor)


def own(principal: Principal, f: BookingFilter) -> BookingFilter:
    """Narrows a list to what the caller may see."""
    how_far = reach(principal, "bookings.read")
    if how_far is Reach.ANY:
        return f
    if how_far is Reach.LOCATION:
        mine = principal.locations or frozenset()
        return msgspec.structs.replace(f, locations=sorted(mine.intersection(f.locations) if f.locations else mine))
    if principal.role == "professional":
        if principal.professional_id is None:
            raise Refused("forbidden", "this login has no calendar")
        if f.professional_id not in (None, principal.professional_id):
            raise Refused("forbidden", "these are another professional's bookings")
        return msgspec.structs.replace(f, professional_id=principal.professional_id)
    if principal.client_id is None:
        raise Refused("forbidden", "this login is no client's")
    if f.client_id not in (None, principal.client_id):
        raise Refused("forbidden", "these are another client's bookings")
    return msgspec.structs.replace(f, client_id=principal.client_id)


async def page_of(call: Call[Any, Any], f: BookingFilter, limit: int, cursor: str | None) -> dict[str, Any]:
    auth = call.node.auth
    position = decode_cursor(auth, "bookings", cursor)
    items = await bookings.list_bookings(
        call.node.database,
        call.business_id,
        f,
        (position[0], position[1]) if position else None,
        limit + 1,
    )
    return page(auth, "bookings", items, limit, _position)


def _position(booking: bodies.Booking) -> tuple[int, str]:
    return to_us(datetime.fromisoformat(booking.start)), booking.id


async def coming_of_professional(call: Call[Any, ComingQuery]) -> dict[str, Any]:
    await call.may_touch("bookings.read", call.id("id"))
    f = own(call.principal, BookingFilter(professional_id=call.id("id")))
    await people.professional_by_id(call.node.database, call.business_id, call.id("id"))
    return await _coming(call, f)


async def coming_of_client(call: Call[Any, ComingQuery]) -> dict[str, Any]:
    principal, client_id = call.principal, call.id("id")
    if principal.role == "client" and principal.client_id != client_id:
        raise Refused("not_found", "there is no such client")
    f = own(principal, BookingFilter(client_id=client_id))
    await people.client_by_id(call.node.database, call.business_id, client_id)
    return await _coming(call, f)


async def _coming(call: Call[Any, ComingQuery], f: BookingFilter) -> dict[str, Any]:
    q = call.query
    f.status = q.status
    if q.date is not None:
        day, tz = parse_date("date", q.date), zone(q.time_zone)
        f.starts_from, f.starts_before = local_us(day, 0, tz), local_us(day, 24 * 60, tz)
    elif q.when == "future":
        f.ends_after = call.node.clock.now_us()
    return await page_of(call, f, q.limit, q.cursor)


def routes(node: Any) -> list[Endpoint]:
    b, may_change, decides = "/api/v1/bookings", "bookings.change", "bookings.decide"
    change = ("invalid_transition", "version_mismatch", "idempotency_mismatch")

    def action(name: str, handler: Any, body: Any, summary: str, *extra: str, needs: str) -> Endpoint:
        return Endpoint(
            node, "POST", f"{b}/{{id}}/{name}", handler, needs=needs, guests=needs == "bookings.change",
            summary=summary, answer=bodies.Booking, body=body, keyed=True, errors=(*change, *extra), area="bookings",
        )  # fmt: skip

    return [
        Endpoint(node, "POST", "/api/v1/holds", make_hold, needs="bookings.make", visitors=True, summary="Hold a slot",
                 answer=bodies.Hold, status=201, body=bodies.HoldCreate, keyed=True, limit="holds",
                 errors=(*TAKEN, "hold_limit"), area="holds"),
        Endpoint(node, "DELETE", "/api/v1/holds/{id}", release_hold, needs="bookings.make",
                 summary="Release a hold", status=204, keyed=True, errors=("hold_gone",), area="holds"),
        Endpoint(node, "POST", b, book, needs="bookings.make", visitors=True, summary="Book a slot",
                 answer=bodies.Booking, status=201, body=bodies.BookingCreate, keyed=True, limit="bookings",
                 errors=(*TAKEN, "hold_gone", "calendar_changed", "answers_required"), area="bookings"),
        Endpoint(node, "GET", b, list_bookings, needs="bookings.read", summary="List bookings",
                 answer=list[bodies.Booking], query=BookingsQuery, area="bookings"),
        Endpoint(node, "GET", b + "/{id}", read_booking, needs="bookings.read", guests=True,
                 summary="Read a booking by id or code", answer=bodies.Booking, area="bookings"),
        Endpoint(node, "PATCH", b + "/{id}", patch_booking, needs=may_change, guests=True,
                 summary="Change a booking's details", answer=bodies.Booking, body=bodies.BookingPatch, keyed=True,
                 errors=change, area="bookings"),
        action("confirm", confirm, bodies.Empty, "Confirm a pending booking", needs=decides),
        action("cancel", cancel, bodies.CancelBody, "Cancel a booking", "too_late_to_cancel", needs=may_change),
        action("reject", reject, bodies.ReasonBody, "Reject a booking", needs=decides),
        action("complete", complete, bodies.Empty, "Mark a booking as completed", "not_yet", needs=decides),
        action("no-show", no_show, bodies.Empty, "Mark that the client did not come", "not_yet", needs=decides),
        action("reschedule", reschedule, bodies.RescheduleBody, "Move a booking to another start", *TAKEN,
               "too_late_to_cancel", "hold_gone", needs=may_change),
        Endpoint(node, "GET", "/api/v1/professionals/{id}/bookings", coming_of_professional,
                 needs="bookings.read", summary="A professional's bookings", answer=list[bodies.Booking],
                 query=ComingQuery, area="bookings"),
        Endpoint(node, "GET", "/api/v1/clients/{id}/bookings", coming_of_client, needs="bookings.read",
                 summary="A client's bookings", answer=list[bodies.Booking], query=ComingQuery, area="bookings"),
    ]  # fmt: skip

"""Waiting for an opening: join, see where one stands, leave."""

from datetime import datetime
from typing import Any

from actors.calendar import commands as cmd
from actors.inquiries import HeldUntil
from protocol import bodies, limits
from protocol import waitlist as said
from protocol.errors import Refused, invalid
from protocol.ids import new_id
from protocol.times import DAY, MINUTE, bounded_us, format_us
from protocol.times import to_us as to_us_of
from server import permissions
from server.desk import Asker
from server.edge import Call, Endpoint, Reply
from server.identity import contact_keys
from server.paging import PageQuery, decode_cursor, page
from server.permissions import Reach, reach
from server.principal import Principal
from server.rest.bookings import booker
from storage import catalogue, people, waitlist
from storage.waitlist import EntryRow

_MANAGE_HEADER = "X-Manage-Token"


async def join(call: Call[said.WaitlistJoin, Any]) -> Reply:
    b, node = call.body, call.node
    asker = await booker(call)
    business_id = asker.principal.business_id
    from_us, to_us = _range(call)
    service_id, professional_id = await _what(call, asker)
    if professional_id is not None:
        await node.desk.may_make(asker, professional_id)
    else:
        permissions.reach(asker.principal, "bookings.make")
    token, client_id = await _who(call, asker)
    entry_id = new_id()
    if token:
        token = node.auth.manage_token(entry_id)
    new = waitlist.New(
        id=entry_id,
        service_id=service_id,
        professional_id=professional_id,
        client_id=client_id,
        from_us=from_us,
        to_us=to_us,
        attendees=b.attendees,
        duration_minutes=b.duration_minutes,
        notes=b.notes,
        manage_hash=node.auth.manage_hash(token) if token else None,
    )
    await waitlist.join(call.tx, business_id, new, limits.waits_per_client_max)
    calendars = [professional_id] if professional_id else await catalogue.offering(call.tx, business_id, service_id)
    await node.notices.post(call.tx, "waitlist", calendars)
    made = await waitlist.by_id(call.tx, entry_id)
    assert made is not None
    made.body.manage_token = token or None
    return Reply(await _told(call, made), 201, {"Location": f"/api/v1/waitlist/{entry_id}"})


def _range(call: Call[said.WaitlistJoin, Any]) -> tuple[int, int]:
    from_us, to_us = bounded_us("from", call.body.from_), bounded_us("to", call.body.to)
    now = call.node.clock.now_us()
    if to_us <= max(from_us, now):
        raise invalid("to", "must be after from, and not over yet")
    if to_us - from_us > limits.range_days_max * DAY:
        raise invalid("to", f"at most {limits.range_days_max} days after from")
    return from_us, to_us


async def _what(call: Call[said.WaitlistJoin, Any], asker: Asker) -> tuple[str, str | None]:
    b, node, business_id = call.body, call.node, asker.principal.business_id
    if b.offering_code is not None:
        offered = await node.desk.offerings.of_code(b.offering_code)
        if offered.business_id != business_id:
            raise Refused("not_found", "there is no such offering")
        if offered.guarded:
            raise invalid("offering_code", "takes one booking per person, which cannot be kept for who waits")
        return offered.id, offered.professional_id
    if b.service_id is None:
        raise invalid("service_id", "name a service, or an offering by its code")
    service = await catalogue.service_by_id(call.tx, business_id, b.service_id)
    if await waitlist.takes_several(call.tx, business_id, service.id):
        raise invalid("service_id", "its meetings take several calendars, which are not kept for who waits")
    if b.attendees > service.capacity:
        raise Refused("too_many_attendees", f"a session takes {service.capacity}")
    if b.duration_minutes not in (None, service.duration_minutes, *service.durations_minutes):
        raise Refused("duration_not_offered")
    if b.professional_id is not None:
        professional = await people.professional_by_id(call.tx, business_id, b.professional_id)
        if professional.id not in await catalogue.offering(call.tx, business_id, service.id):
            raise Refused("service_not_offered")
    return service.id, b.professional_id


async def _who(call: Call[said.WaitlistJoin, Any], asker: Asker) -> tuple[str, str]:
    """Whether they get a manage token (not empty), and the client."""
    b, node, principal = call.body, call.node, asker.principal
    if b.guest is None:
        client_id = await node.desk.client_of(principal, b.client_id, required=True)
        assert client_id is not None
        return "", client_id
    if b.client_id is not None:
        raise invalid("guest", "name a client or a guest, not both")
    if principal.role == "client":
        raise Refused("forbidden", "a client waits for themselves")
    g, business_id = b.guest, principal.business_id
    keys = contact_keys(g.email, g.phone, await node.businesses.region(business_id))
    return "guest", await waitlist.add_guest(call.tx, business_id, g.name, g.email, g.phone, *keys)


async def _told(call: Call[Any, Any], row: EntryRow) -> said.WaitlistEntry:
    """With when a hold on it ends, for who waits for that."""
    e = row.body
    if e.status == "waiting" and e.professional_id is not None:
        from_us, to_us = (to_us_of(datetime.fromisoformat(text)) for text in (e.from_, e.to))
        question = HeldUntil(e.service_id, from_us, to_us, (e.duration_minutes or 0) * MINUTE)
        until = int(await call.node.switchboard.read(e.professional_id, row.business_id, question))
        e.held_until = format_us(until) if until else None
    return e


class WaitlistQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    status: said.WaitStatus | None = None
    professional_id: bodies.Uuid | None = None
    service_id: bodies.Uuid | None = None


async def list_entries(call: Call[Any, WaitlistQuery]) -> dict[str, Any]:
    q, auth, principal = call.query, call.node.auth, call.principal
    how_far = reach(principal, "bookings.read")
    position = decode_cursor(auth, "waitlist", q.cursor)
    professional_id = q.professional_id
    if how_far is Reach.OWN and principal.role == "professional":
        if principal.professional_id is None or professional_id not in (None, principal.professional_id):
            raise Refused("forbidden", "these wait for another professional")
        professional_id = principal.professional_id
    if how_far is Reach.OWN and principal.role == "client" and principal.client_id is None:
        raise Refused("forbidden", "this login is no client's")
    items = await waitlist.list_entries(
        call.node.database, call.business_id, position[0] if position else None, q.limit + 1, status=q.status,
        client_id=principal.client_id if principal.role == "client" else None, professional_id=professional_id,
        service_id=q.service_id, locations=sorted(principal.locations or ()) if how_far is Reach.LOCATION else None,
    )  # fmt: skip
    return page(auth, "waitlist", items, q.limit)


async def _mine(call: Call[Any, Any], permission: str) -> tuple[EntryRow, Principal]:
    """The entry, for who may reach it. Raises `Refused(not_found)`."""
    token, principal = call.request.headers.get(_MANAGE_HEADER), call.login
    if principal is None and token is None:
        raise Refused("unauthorized", "send Authorization: Bearer with a token, or the entry's X-Manage-Token")
    row = await waitlist.by_id(call.node.database, call.id("id"))
    shown = row is not None and token is not None and call.node.auth.manage_hash(token) == row.manage_hash
    if row is None or (principal is not None and principal.business_id != row.business_id):
        raise Refused("not_found", "there is no such waitlist entry")
    if principal is None:
        if not shown:
            raise Refused("not_found", "there is no such waitlist entry")
        return row, Principal(row.body.id, row.business_id, "public", 0.0)
    professional_id = row.body.professional_id or ""
    place = await call.node.places.of(principal, professional_id) if professional_id else None
    permissions.may_touch_booking(
        principal, permission, professional_id, row.body.client_id, place, holds_token=shown, what="waitlist entry"
    )
    return row, principal


async def read_entry(call: Call[Any, Any]) -> said.WaitlistEntry:
    return await _told(call, (await _mine(call, "bookings.read"))[0])


async def leave(call: Call[Any, Any]) -> None:
    """A hold that was kept for the entry goes to the next."""
    row, principal = await _mine(call, "bookings.change")
    hold_id, hold = await waitlist.leave(call.node.database, row.body.id), row.body.hold
    if hold_id is None or hold is None:
        return
    try:
        await call.node.desk.ask(Asker(principal, call.request_id), hold.professional_id, cmd.Release(hold.id))
    except Refused as refused:
        # It was booked, or has ended by itself.
        if refused.code != "hold_gone":
            raise


def routes(node: Any) -> list[Endpoint]:
    w = "/api/v1/waitlist"
    return [
        Endpoint(node, "POST", w, join, needs="bookings.make", visitors=True, status=201, tx=True, limit="bookings",
                 summary="Wait for an opening", answer=said.WaitlistEntry, body=said.WaitlistJoin, area="waitlist",
                 errors=("service_not_offered", "duration_not_offered", "too_many_attendees", "limit_reached")),
        Endpoint(node, "GET", w, list_entries, needs="bookings.read", summary="Who waits",
                 answer=list[said.WaitlistEntry], query=WaitlistQuery, area="waitlist"),
        Endpoint(node, "GET", w + "/{id}", read_entry, needs="bookings.read", guests=True,
                 summary="Where one stands, and what is kept", answer=said.WaitlistEntry, area="waitlist"),
        Endpoint(node, "DELETE", w + "/{id}", leave, needs="bookings.change", guests=True, status=204,
                 summary="Wait no more", area="waitlist"),
    ]  # fmt: skip

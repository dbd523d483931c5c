"""Waiting for an opening: join, see where one stands, leave."""

from typing import Any

from actors.calendar import commands as cmd
from protocol import bodies
from protocol import waitlist as said
from protocol.errors import Refused
from server import permissions
from server.desk import Asker
from server.edge import Call, Endpoint, Reply
from server.paging import PageQuery, decode_cursor, page
from server.permissions import Reach, reach
from server.principal import Principal
from server.rest.bookings import booker
from storage import waitlist
from storage.waitlist import EntryRow

_MANAGE_HEADER = "X-Manage-Token"


async def join(call: Call[said.WaitlistJoin, Any]) -> Reply:
    made = await call.node.waiting.join(call.tx, await booker(call), call.body)
    return Reply(made, 201, {"Location": f"/api/v1/waitlist/{made.id}"})


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
    return await call.node.waiting.told((await _mine(call, "bookings.read"))[0])


async def leave(call: Call[Any, Any]) -> None:
    """A hold that was kept for the entry goes to the next."""
    row, principal = await _mine(call, "bookings.change")
    hold = await waitlist.leave(call.node.database, row.body.id)
    if hold is None:
        return
    hold_id, calendar_id = hold
    try:
        await call.node.desk.ask(Asker(principal, call.request_id), calendar_id, cmd.Release(hold_id))
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

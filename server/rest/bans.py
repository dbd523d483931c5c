"""Whom a business does not serve, by e-mail or telephone number. The desk refuses them."""

from typing import Any

from protocol import bodies
from protocol import businesses as said
from protocol.errors import invalid
from server import audit, identity
from server.audit import masked
from server.edge import Call, Endpoint, Reply
from server.paging import PageQuery, decode_cursor, page
from storage import records


class BansQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    email: bodies.Email | None = None
    phone: bodies.Phone | None = None


async def _spelt(call: Call[Any, Any], email: str | None, phone: str | None) -> tuple[str | None, str | None]:
    region = await call.node.businesses.region(call.business_id) if phone is not None else None
    return (
        identity.email(email) if email is not None else None,
        identity.phone(phone, region) if phone is not None else None,
    )


async def ban(call: Call[said.BanCreate, Any]) -> Reply:
    """What they have booked stays; cancel it if need be."""
    b = call.body
    if (b.email is None) == (b.phone is None):
        raise invalid("email", "give either email or phone")
    email, phone = await _spelt(call, b.email, b.phone)
    made = await records.add_ban(call.tx, call.business_id, email, phone, b.reason, call.principal.label)
    await _noted(call, "ban.made", made)
    return Reply(made, 201, {"Location": f"/api/v1/ban-list/{made.id}"})


async def list_bans(call: Call[Any, BansQuery]) -> dict[str, Any]:
    auth, q = call.node.auth, call.query
    email, phone = await _spelt(call, q.email, q.phone)
    position = decode_cursor(auth, "bans", q.cursor)
    items = await records.list_bans(
        call.node.database, call.business_id, position[0] if position else None, q.limit + 1, email, phone
    )
    return page(auth, "bans", items, q.limit)


async def unban(call: Call[Any, Any]) -> None:
    gone = await records.delete_ban(call.tx, call.business_id, call.id("id"))
    await _noted(call, "ban.lifted", gone)


async def _noted(call: Call[Any, Any], action: str, found: said.Ban) -> None:
    """The log outlives the ban and is never cleared of names, so it has none."""
    who = {"email": masked(found.email), "phone": masked(found.phone), "reason": found.reason}
    before, after = (None, who) if action == "ban.made" else (who, None)
    await audit.record(call, action, "ban", found.id, before=before, after=after)
    await call.node.notices.post(call.tx, "businesses", [call.business_id])


def routes(node: Any) -> list[Endpoint]:
    p = "/api/v1/ban-list"
    return [
        Endpoint(node, "POST", p, ban, needs="bans.write", status=201, tx=True,
                 summary="Refuse somebody's bookings from now on", answer=said.Ban, body=said.BanCreate,
                 errors=("conflict",), area="protection"),
        Endpoint(node, "GET", p, list_bans, needs="bans.read", summary="Whom the business refuses",
                 answer=list[said.Ban], query=BansQuery, area="protection"),
        Endpoint(node, "DELETE", p + "/{id}", unban, needs="bans.write", status=204, tx=True, keyed=False,
                 summary="Take somebody off the list", area="protection"),
    ]  # fmt: skip

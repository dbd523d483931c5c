"""Members of a business: who they are, and what they may do there."""

from typing import Any, Final

import msgspec
from msgspec import UNSET

from protocol import businesses as said
from protocol.bodies import Uuid
from protocol.errors import Refused, invalid
from protocol.people import MemberRole
from server import audit, identity
from server.edge import Call, Endpoint, Reply
from server.paging import PageQuery, decode_cursor, page
from server.permissions import Reach, check_grants, reach
from storage import locations, memberships, people

_RANK: Final[dict[MemberRole, int]] = {"professional": 0, "manager": 1, "owner": 2}
_WHY: Final = "their rights have changed"


class MembershipsQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    role: MemberRole | None = None
    user_id: Uuid | None = None


async def create_membership(call: Call[said.MembershipCreate, Any]) -> Reply:
    """Whoever was a client there signs in anew, as what they are now.

    By e-mail only once the business is approved: else registering one would tell anybody who has an account.
    """
    b = call.body
    if (b.user_id is None) == (b.email is None):
        raise invalid("user_id", "give either user_id or email")
    email = identity.email(b.email) if b.email is not None else None
    business = await call.node.businesses.existing(call.business_id)
    if email is not None and business.status == "pending":
        raise Refused("business_pending", "until the business is approved, name people by user_id")
    await _check(call, b.role, b.professional_id, b.location_ids, b.grants)
    user_id = await memberships.user_to_employ(call.tx, b.user_id, email)
    if user_id is None:
        raise invalid("email" if b.user_id is None else "user_id", "is nobody who has signed up")
    made = await memberships.add(
        call.tx, call.business_id, user_id, b.role, b.professional_id, b.location_ids, b.grants
    )
    await audit.record(call, "membership.made", "membership", made.id, after=made)
    await call.node.sessions.end(call.tx, user_id, _WHY, business_id=call.business_id)
    return Reply(made, 201, {"Location": f"/api/v1/memberships/{made.id}"})


async def _check(
    call: Call[Any, Any],
    role: MemberRole,
    professional_id: str | None,
    location_ids: list[str] | None,
    grants: list[str],
) -> None:
    """Raises `Refused(validation_failed)` for rights that do not fit together, or name what is not there."""
    check_grants(grants)
    if location_ids is not None:
        if role != "manager":
            raise invalid("location_ids", "only managers are limited to some locations")
        await locations.check(call.tx, call.business_id, location_ids)
    if professional_id is not None:
        try:
            await people.professional_by_id(call.tx, call.business_id, professional_id)
        except Refused as refused:
            raise invalid("professional_id", refused.detail) from None


async def read_membership(call: Call[Any, Any]) -> said.Membership:
    found = await memberships.by_id(call.node.database, call.business_id, call.id("id"))
    how_far = reach(call.principal, "memberships.read")
    if how_far is Reach.ANY or found.user_id == call.principal.subject:
        return found
    if how_far is Reach.LOCATION:
        q, here = call.node.database, sorted(call.principal.locations or ())
        seen = await memberships.list_memberships(q, call.business_id, None, 1, user_id=found.user_id, locations=here)
        if seen:
            return found
    raise Refused("not_found", "there is no such membership")


async def list_memberships(call: Call[Any, MembershipsQuery]) -> dict[str, Any]:
    """Managers of some locations see who works there, professionals themselves."""
    auth, q, principal = call.node.auth, call.query, call.principal
    how_far, user_id, here = reach(principal, "memberships.read"), q.user_id, None
    if how_far is Reach.LOCATION:
        here = sorted(principal.locations or ())
    elif how_far is not Reach.ANY:
        if q.user_id not in (None, principal.subject):
            raise Refused("forbidden", "these are another's memberships")
        user_id = call.principal.user_id
    position = decode_cursor(auth, "memberships", q.cursor)
    items = await memberships.list_memberships(
        call.node.database, call.business_id, position[0] if position else None, q.limit + 1,
        role=q.role, user_id=user_id, locations=here,
    )  # fmt: skip
    return page(auth, "memberships", items, q.limit)


async def patch_membership(call: Call[said.MembershipPatch, Any]) -> said.Membership:
    b = call.body
    owners = await memberships.owners(call.tx, call.business_id)
    before = await memberships.by_id(call.tx, call.business_id, call.id("id"))
    given = {f: v for f in b.__struct_fields__ if (v := getattr(b, f)) is not UNSET}
    wanted = msgspec.structs.replace(before, **given)
    if wanted.role != "manager" and b.location_ids is UNSET:
        # Limits go with the role that they are for.
        wanted = msgspec.structs.replace(wanted, location_ids=None)
    await _check(call, wanted.role, wanted.professional_id, wanted.location_ids, wanted.grants)
    if before.user_id == call.principal.subject and _raises(before, wanted):
        raise Refused("forbidden", "nobody raises their own rights")
    if wanted.role != "owner":
        _check_last(owners, before)
    after = await memberships.update(call.tx, call.business_id, wanted)
    await audit.record(call, "membership.changed", "membership", after.id, before=before, after=after)
    await call.node.sessions.end(call.tx, after.user_id, _WHY, business_id=call.business_id)
    return after


def _raises(before: said.Membership, after: said.Membership) -> bool:
    wider = before.location_ids is not None and (
        after.location_ids is None or not set(after.location_ids) <= set(before.location_ids)
    )
    return _RANK[after.role] > _RANK[before.role] or not set(after.grants) <= set(before.grants) or wider


def _check_last(owners: set[str], membership: said.Membership) -> None:
    if owners <= {membership.id} and membership.role == "owner":
        raise Refused("conflict", "a business keeps at least one owner; make another one first")


async def delete_membership(call: Call[Any, Any]) -> None:
    owners = await memberships.owners(call.tx, call.business_id)
    gone = await memberships.by_id(call.tx, call.business_id, call.id("id"))
    _check_last(owners, gone)
    await memberships.remove(call.tx, call.business_id, gone.id)
    await audit.record(call, "membership.removed", "membership", gone.id, before=gone)
    await call.node.sessions.end(call.tx, gone.user_id, _WHY, business_id=call.business_id)


def routes(node: Any) -> list[Endpoint]:
    m, read, write = "/api/v1/memberships", "memberships.read", "memberships.write"
    return [
        Endpoint(node, "POST", m, create_membership, needs=write, status=201, tx=True, summary="Add a member",
                 answer=said.Membership, body=said.MembershipCreate, errors=("conflict", "business_pending"),
                 area="memberships"),
        Endpoint(node, "GET", m, list_memberships, needs=read, summary="List members", answer=list[said.Membership],
                 query=MembershipsQuery, area="memberships"),
        Endpoint(node, "GET", m + "/{id}", read_membership, needs=read, summary="Read a membership",
                 answer=said.Membership, area="memberships"),
        Endpoint(node, "PATCH", m + "/{id}", patch_membership, needs=write, tx=True, summary="Change a member's rights",
                 answer=said.Membership, body=said.MembershipPatch, errors=("conflict",), area="memberships"),
        Endpoint(node, "DELETE", m + "/{id}", delete_membership, needs=write, status=204, tx=True, keyed=False,
                 summary="Remove a member", errors=("conflict",), area="memberships"),
    ]  # fmt: skip

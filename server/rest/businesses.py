"""Businesses: registered by their owners, run by their own rules."""

from typing import Any

import msgspec

from protocol import businesses as said
from protocol import limits
from protocol.errors import Refused, invalid
from protocol.ids import new_id
from protocol.people import Register
from protocol.times import zone
from server import audit, identity, permissions
from server.edge import Call, Endpoint, Reply
from server.remote import remote_of
from server.slugs import check_slug, taken
from server.speech import language_of
from storage import businesses, users
from storage.postgres import Transaction
from storage.users import Login

_OWN_BUSINESS = ("status_reason", "trial_ends_at", "allowed_origins", "deleted_at")
"""What is no business of those who may not change it."""


async def register_business(call: Call[said.BusinessCreate, Any]) -> Reply:
    """The business waits for approval. Its owner is signed in to it, and is the new `owner` or whoever was signed in.

    Takes no Idempotency-Key, as nothing does that answers with tokens; the slug is taken only once.
    """
    node, b = call.node, msgspec.structs.replace(call.body, locale=call.body.locale or language_of(call.request))
    check_slug(b.slug)
    zone(b.time_zone)
    _check_region(b.region)
    if b.owner is not None and call.login is not None:
        raise invalid("owner", "is whoever is signed in; send one or the other")
    signed_in = await _signed_in(call) if b.owner is None else None
    password_hash = await node.passwords.hash(b.owner.password) if b.owner is not None else ""
    business_id = new_id()
    try:
        async with node.database.transaction() as tx:
            if not await businesses.register(tx, business_id, b):
                raise taken()
            user = signed_in or await _new_owner(tx, b, password_hash)
            await tx.value("insert_membership", new_id(), business_id, user.id, "owner", None)
            business = await businesses.business_by_id(tx, business_id)
            access = await node.sessions.begin(tx, user, business, remote_of(call.request))
            made = await businesses.whole(tx, business_id)
            await audit.record(call, "business.registered", "business", business_id, after=made, tx=tx,
                               business_id=business_id, by=f"user:{user.id}")  # fmt: skip
    except Refused as refused:
        if refused.code == "conflict" and not refused.errors:
            raise Refused("conflict", "somebody has that e-mail, username or phone already") from None
        raise
    return Reply(
        said.BusinessRegistered(business=made, access=access), 201, {"Location": f"/api/v1/businesses/{business_id}"}
    )


async def _signed_in(call: Call[Any, Any]) -> Login:
    """The user of a login. Raises `Refused` for one that is no person's who could own a business."""
    principal = call.login
    if principal is None:
        raise Refused("unauthorized", "send a login, or the owner to register")
    permissions.reach(principal, "account.own")
    user = await users.login_by_id(call.node.database, principal.user_id)
    if user is None or user.disabled or user.super_admin:
        raise Refused("forbidden", "this login cannot own a business")
    most = limits.businesses_per_user_max
    if len(await users.memberships(call.node.database, user.id, None, most)) >= most:
        raise Refused("forbidden", f"nobody belongs to more than {most} businesses")
    return user


async def _new_owner(tx: Transaction, b: said.BusinessCreate, password_hash: str) -> Login:
    owner = b.owner
    assert owner is not None
    names = {
        "email": identity.email(owner.email, "owner.email") if owner.email is not None else None,
        "username": identity.username(owner.username, "owner.username") if owner.username is not None else None,
        "phone": identity.phone(owner.phone, b.region, "owner.phone") if owner.phone is not None else None,
    }
    if not any(names.values()):
        raise invalid("owner.email", "give at least one of email, username and phone")
    new = Register(name=owner.name, password=owner.password, locale=owner.locale or b.locale)
    user_id = await users.add_user(tx, new, names, password_hash)
    return Login(user_id, password_hash, owner.name, names["email"], names["phone"], False, False, new.locale)


def _check_region(region: Any) -> None:
    if region and not identity.is_region(region):
        raise invalid("region", "is no country")


def _id_of(call: Call[Any, Any]) -> str:
    """The business of the path: the caller's own, or any for the platform."""
    business_id = call.id("id")
    if call.principal.role != "super_admin" and call.business_id != business_id:
        raise Refused("not_found", "there is no such business")
    return business_id


async def read_business(call: Call[Any, Any]) -> said.Business:
    found = await businesses.whole(call.node.database, _id_of(call))
    if permissions.has(call.principal, "businesses.write"):
        return found
    return msgspec.structs.replace(found, **dict.fromkeys(_OWN_BUSINESS))


async def patch_business(call: Call[said.BusinessPatch, Any]) -> said.Business:
    business_id, b = _id_of(call), call.body
    if isinstance(b.time_zone, str):
        zone(b.time_zone)
    _check_region(b.region)
    before = await businesses.whole(call.tx, business_id, lock=True)
    after = await businesses.patch(call.tx, before, b)
    await _changed(call, "business.changed", before, after)
    return after


async def delete_business(call: Call[Any, Any]) -> None:
    """Everything of it stays, out of sight; whoever was signed in there no longer is. The platform can restore it."""
    business_id, why = _id_of(call), "the business was deleted"
    before = await businesses.whole(call.tx, business_id, lock=True)
    after = await businesses.set_deleted(call.tx, business_id, True)
    ended = await call.tx.fetch("end_sessions_of_business", business_id, why)
    revoked = await call.tx.fetch("revoke_tokens_of_business", business_id)
    await call.node.notices.post(call.tx, "sessions", [r["id"] for r in ended])
    await call.node.notices.post(call.tx, "tokens", [r["id"] for r in revoked])
    await _changed(call, "business.deleted", before, after)


async def _changed(call: Call[Any, Any], action: str, before: said.Business, after: said.Business) -> None:
    await audit.record(call, action, "business", after.id, before=before, after=after, business_id=after.id)
    await call.node.notices.post(call.tx, "businesses", [after.id])


def routes(node: Any) -> list[Endpoint]:
    b = "/api/v1/businesses"
    return [
        Endpoint(node, "POST", b, register_business, needs=None, guests=True, status=201, limit="register",
                 area="businesses",
                 summary="Register a business, and its owner unless signed in; it waits for approval",
                 answer=said.BusinessRegistered, body=said.BusinessCreate,
                 errors=("conflict", "overloaded", "unauthorized", "forbidden")),
        Endpoint(node, "GET", b + "/{id}", read_business, needs="businesses.read", summary="Read a business",
                 answer=said.Business, area="businesses"),
        Endpoint(node, "PATCH", b + "/{id}", patch_business, needs="businesses.write", tx=True,
                 summary="Change a business's settings and rules", answer=said.Business, body=said.BusinessPatch,
                 area="businesses"),
        Endpoint(node, "DELETE", b + "/{id}", delete_business, needs="businesses.write", status=204, tx=True,
                 keyed=False, summary="Close a business; the platform can restore it", area="businesses"),
    ]  # fmt: skip

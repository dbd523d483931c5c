"""Members of a business and what they ask for, as rows and as the bodies REST answers with."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg

from protocol import businesses as said
from protocol import limits
from protocol.errors import Refused
from protocol.ids import new_id
from storage.people import Queries, stamp


def _membership(row: Any) -> said.Membership:
    return said.Membership(
        id=row["id"],
        user_id=row["user_id"],
        user_name=row["user_name"],
        role=row["role"],
        professional_id=row["professional_id"],
        location_ids=row["locations"] if row["limited"] else None,
        grants=row["grants"],
        created_at=stamp(row["created_at"]),
        updated_at=stamp(row["updated_at"]),
    )


async def by_id(q: Queries, business_id: str, membership_id: str) -> said.Membership:
    row = await q.row("membership_by_id", business_id, membership_id)
    if row is None:
        raise Refused("not_found", "there is no such membership")
    return _membership(row)


async def list_memberships(
    q: Queries,
    business_id: str,
    after: str | None,
    limit: int,
    *,
    role: str | None = None,
    user_id: str | None = None,
    locations: Sequence[str] | None = None,
) -> list[said.Membership]:
    rows = await q.fetch("list_memberships", business_id, after, limit, role, user_id, locations)
    return [_membership(r) for r in rows]


async def user_to_employ(q: Queries, user_id: str | None, email: str | None) -> str | None:
    """The id of the user, by id or e-mail. Super admins belong to no business."""
    if user_id is not None:
        return await q.value("user_to_employ", user_id)
    return await q.value("user_by_email", email)


async def add(
    q: Queries, business_id: str, user_id: str, role: str, professional_id: str | None,
    location_ids: Sequence[str] | None, grants: Sequence[str],
) -> said.Membership:  # fmt: skip
    """Raises `Refused(conflict)` for somebody who is a member, or when the calendar is another's."""
    with _one_calendar_one_member():
        found = await q.value(
            "add_membership", new_id(), business_id, user_id, role, professional_id, location_ids is not None, grants
        )
    if found is None:
        raise Refused("conflict", "this user is a member of the business already")
    await _set_locations(q, business_id, found, location_ids)
    return await by_id(q, business_id, found)


async def update(q: Queries, business_id: str, m: said.Membership) -> said.Membership:
    with _one_calendar_one_member():
        await q.value(
            "update_membership", business_id, m.id, m.role, m.professional_id, m.location_ids is not None, m.grants
        )
    await _set_locations(q, business_id, m.id, m.location_ids)
    return await by_id(q, business_id, m.id)


@contextmanager
def _one_calendar_one_member() -> Generator[None]:
    try:
        yield
    except asyncpg.UniqueViolationError:
        raise Refused("conflict", "that calendar is another member's own") from None


async def _set_locations(q: Queries, business_id: str, membership_id: str, location_ids: Sequence[str] | None) -> None:
    await q.value("clear_membership_locations", business_id, membership_id)
    if location_ids:
        await q.value("set_membership_locations", business_id, membership_id, location_ids)


async def remove(q: Queries, business_id: str, membership_id: str) -> None:
    await q.value("remove_membership", business_id, membership_id)


async def owners(q: Queries, business_id: str) -> set[str]:
    """The memberships of owners who can sign in, locked."""
    return {r["id"] for r in await q.fetch("lock_owners", business_id)}


# What they ask for


def _request(row: Any) -> said.PermissionRequest:
    return said.PermissionRequest(
        id=row["id"],
        user_id=row["user_id"],
        user_name=row["user_name"],
        permission=row["permission"],
        reason=row["reason"],
        status=row["status"],
        decided_by=row["decided_by"],
        decided_at=stamp(row["decided_at"]) if row["decided_at"] else None,
        answer=row["answer"],
        created_at=stamp(row["created_at"]),
    )


async def ask(q: Queries, business_id: str, user_id: str, permission: str, reason: str) -> said.PermissionRequest:
    found = await q.value(
        "insert_permission_request", new_id(), business_id, user_id, permission, reason or None
    )  # fmt: skip
    if found is None:
        raise Refused("conflict", "you have asked for this already; it waits for an answer")
    return await request_by_id(q, business_id, found)


async def request_by_id(q: Queries, business_id: str, request_id: str) -> said.PermissionRequest:
    row = await q.row("permission_request_by_id", business_id, request_id)
    if row is None:
        raise Refused("not_found", "there is no such request")
    return _request(row)


async def list_requests(
    q: Queries, business_id: str, after: str | None, limit: int, status: str | None, user_id: str | None
) -> list[said.PermissionRequest]:
    rows = await q.fetch("list_permission_requests", business_id, after, limit, status, user_id)
    return [_request(r) for r in rows]


async def decide(
    q: Queries, business_id: str, request_id: str, status: said.RequestStatus, by: str | None, answer: str
) -> bool:
    """Whether it was decided now: not when it had been before."""
    return await q.value("decide_permission_request", business_id, request_id, status, by, answer or None) is not None


async def grant(q: Queries, business_id: str, user_id: str, permission: str) -> bool:
    """Whether it was done: not for somebody who is no member any more, or has as much as a token can hold."""
    found = await q.value("grant_permission", business_id, user_id, permission, limits.grants_per_member_max)
    return found is not None

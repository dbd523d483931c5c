"""The audit log, the ban list, and what is held about a client."""

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from protocol import bodies, limits, records
from protocol import businesses as said
from protocol.errors import Refused
from protocol.ids import new_id
from storage import bookings
from storage.bookings import BookingFilter
from storage.people import Queries, client_of_row, stamp

# Audit


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """`before` and `after` are JSON. Writing the same `id` again changes nothing."""

    id: str
    business_id: str | None
    by: str
    action: str
    what: str
    what_id: str | None
    before: str | None
    after: str | None
    address: str | None
    user_agent: str | None
    request_id: str


class AuditFilter(msgspec.Struct, kw_only=True):
    """`None` is no filter. Instants are microseconds."""

    business_id: str | None = None
    action: str | None = None
    by: str | None = None
    what_id: str | None = None
    from_us: int | None = None
    before_us: int | None = None


async def add_audit(q: Queries, row: AuditRow) -> None:
    await q.value("insert_audit", *msgspec.structs.astuple(row))


async def list_audit(q: Queries, f: AuditFilter, after: str | None, limit: int) -> list[records.AuditEntry]:
    rows = await q.fetch(
        "list_audit", f.business_id, f.action, f.by, f.what_id, f.from_us, f.before_us, after, limit
    )  # fmt: skip
    return [
        records.AuditEntry(
            id=r["id"],
            at=stamp(r["at"]),
            business_id=r["business_id"],
            by=r["by"],
            action=r["action"],
            what=r["what"],
            what_id=r["what_id"],
            before=orjson.loads(r["before"]) if r["before"] else None,
            after=orjson.loads(r["after"]) if r["after"] else None,
            address=r["address"],
            user_agent=r["user_agent"],
            request_id=r["request_id"],
        )
        for r in rows
    ]


# Bans


def _ban(row: Any) -> said.Ban:
    return said.Ban(
        id=str(row["id"]),
        email=row["email"],
        phone=row["phone"],
        reason=row["reason"],
        created_by=row["created_by"],
        created_at=stamp(row["created_at"]),
    )


async def add_ban(
    q: Queries, business_id: str, email: str | None, phone: str | None, reason: str | None, by: str
) -> said.Ban:
    """E-mail and phone are in their one spelling."""
    row = await q.row("insert_ban", new_id(), business_id, email, phone, reason, by)
    if row is None:
        raise Refused("conflict", "this person is on the list already")
    return _ban(row)


async def list_bans(
    q: Queries, business_id: str, after: str | None, limit: int, email: str | None, phone: str | None
) -> list[said.Ban]:
    return [_ban(r) for r in await q.fetch("list_bans", business_id, after, limit, email, phone)]


async def delete_ban(q: Queries, business_id: str, ban_id: str) -> said.Ban:
    row = await q.row("delete_ban", business_id, ban_id)
    if row is None:
        raise Refused("not_found", "there is no such ban")
    return _ban(row)


async def bans_among(
    q: Queries, business_id: str, emails: Sequence[str | None], phones: Sequence[str | None]
) -> list[records.ClientBan]:
    """The bans that name one of these; in their one spelling."""
    rows = await q.fetch("bans_among", business_id, emails, phones)
    return [records.ClientBan(id=r["id"], reason=r["reason"], created_at=stamp(r["created_at"])) for r in rows]


async def contacts_of_client(q: Queries, business_id: str, client_id: str) -> tuple[list[str], list[str]]:
    """E-mail addresses and telephone numbers, in their one spelling."""
    row = await q.row("contacts_of_client", business_id, client_id)
    return (row["emails"], row["phones"]) if row else ([], [])


# A client's data


async def client_with_user(q: Queries, business_id: str, client_id: str) -> tuple[bodies.Client, str | None]:
    row = await q.row("client_for_export", business_id, client_id)
    if row is None:
        raise Refused("not_found", "there is no such client")
    return client_of_row(row), row["user_id"]


async def bookings_of_client(q: Queries, business_id: str, client_id: str) -> list[bodies.Booking]:
    """All of them. Raises `Refused(limit_reached)` rather than leave some out."""
    f, most = BookingFilter(client_id=client_id), limits.export_bookings_max
    found = await bookings.list_bookings(q, business_id, f, None, most + 1)
    if len(found) > most:
        raise Refused("limit_reached", f"more than {most} bookings; read them with GET clients/…/bookings")
    return found


async def erase(q: Queries, business_id: str, client_id: str) -> tuple[str | None, bool]:
    """The user who was that client, and whether there was anything to erase."""
    row = await q.row("client_to_erase", business_id, client_id)
    if row is None:
        raise Refused("not_found", "there is no such client")
    if row["erased_at"] is not None:
        return None, False
    await q.value("erase_client", business_id, client_id)
    return row["user_id"], True


async def erase_texts(q: Queries, business_id: str, client_id: str) -> None:
    """Notes, reasons and manage tokens of a client's bookings, each in a statement of its own."""
    while await q.value("erase_texts_of_client", business_id, client_id) is not None:
        pass

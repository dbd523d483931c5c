"""Who waits for an opening, as rows and as the bodies REST answers with."""

from collections.abc import Sequence
from typing import Any

import msgspec

from actors.ports import Guest
from protocol import waitlist as said
from protocol.errors import Refused
from protocol.ids import new_id
from storage.people import Queries, stamp


class EntryRow(msgspec.Struct):
    business_id: str
    manage_hash: bytes | None
    body: said.WaitlistEntry


class New(msgspec.Struct, kw_only=True):
    """An entry to be made; instants are microseconds."""

    id: str
    service_id: str
    professional_id: str | None
    client_id: str
    from_us: int
    to_us: int
    attendees: int
    duration_minutes: int | None
    notes: str | None
    manage_hash: bytes | None


def _entry(row: Any) -> EntryRow:
    hold = None
    if row["hold_id"] is not None and row["status"] == "offered":
        hold = said.WaitlistHold(
            id=str(row["hold_id"]),
            professional_id=str(row["hold_calendar_id"]),
            start=stamp(row["hold_start"]),
            end=stamp(row["hold_end"]),
            expires_at=stamp(row["hold_expires_at"]),
        )
    body = said.WaitlistEntry(
        id=str(row["id"]),
        status=row["status"],
        service_id=str(row["service_id"]),
        professional_id=str(row["professional_id"]) if row["professional_id"] else None,
        client_id=str(row["client_id"]),
        from_=stamp(row["from_at"]),
        to=stamp(row["to_at"]),
        attendees=row["attendees"],
        created_at=stamp(row["created_at"]),
        updated_at=stamp(row["updated_at"]),
        duration_minutes=row["duration_minutes"],
        notes=row["notes"],
        position=row["position"],
        hold=hold,
    )
    return EntryRow(str(row["business_id"]), row["manage_hash"], body)


async def join(q: Queries, business_id: str, new: New, at_most: int) -> None:
    """Raises `Refused(limit_reached)` for who waits for too much already."""
    row = await q.row(
        "join_waitlist", new.id, business_id, new.service_id, new.professional_id, new.client_id, new.from_us,
        new.to_us, new.attendees, new.duration_minutes, new.notes, new.manage_hash, at_most,
    )  # fmt: skip
    if row is None:
        raise Refused("limit_reached", f"one client waits for at most {at_most} things at once")


async def by_id(q: Queries, entry_id: str) -> EntryRow | None:
    row = await q.row("waitlist_entry", entry_id)
    return _entry(row) if row else None


async def list_entries(
    q: Queries,
    business_id: str,
    after: str | None,
    limit: int,
    *,
    status: str | None = None,
    client_id: str | None = None,
    professional_id: str | None = None,
    service_id: str | None = None,
    locations: Sequence[str] | None = None,
) -> list[said.WaitlistEntry]:
    rows = await q.fetch(
        "list_waitlist", business_id, after, limit, status, client_id, professional_id, service_id,
        list(locations) if locations is not None else None,
    )  # fmt: skip
    return [_entry(r).body for r in rows]


async def leave(q: Queries, entry_id: str) -> tuple[str, str] | None:
    """The hold that was kept for it, if any, and its calendar. What has ended already stays as it is."""
    row = await q.row("leave_waitlist", entry_id)
    return (row["hold_id"], row["hold_calendar_id"]) if row is not None and row["hold_id"] is not None else None


async def add_guest(q: Queries, business_id: str, g: Guest) -> str:
    """A client made for who joins without being one."""
    return await q.value(
        "insert_guest", new_id(), business_id, g.name, g.email, g.phone, g.email_normal, g.phone_normal, g.locale
    )

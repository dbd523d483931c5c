"""Offerings, as rows and as the bodies REST answers with."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from protocol import offerings as said
from protocol.bodies import Professional
from protocol.errors import Refused, invalid
from protocol.ids import new_id, offering_code
from storage.people import Queries, stamp

_CODES_TRIED_MAX = 8


class Found(msgspec.Struct):
    business_id: str
    body: said.Offering


def clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def minute_of(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def _found(row: Any) -> Found:
    if row is None:
        raise Refused("not_found", "there is no such offering")
    body = said.Offering(
        id=str(row["id"]),
        code=row["code"],
        professional_id=str(row["professional_id"]),
        type=row["type"],
        title=row["title"],
        description=row["description"],
        start_date=row["start_date"].isoformat(),
        end_date=row["end_date"].isoformat(),
        start_time=clock(row["day_start"]),
        end_time=clock(row["day_end"]),
        time_zone=row["time_zone"],
        duration_minutes=row["duration_minutes"],
        max_attendees=row["max_attendees"],
        anti_scalping=row["anti_scalping"],
        confirmation=row["confirmation"],
        notice_minutes=row["notice_minutes"],
        attendees_booked=row["attendees_booked"],
        version=row["version"],
        created_at=stamp(row["created_at"]),
    )
    return Found(str(row["business_id"]), body)


async def add(
    q: Queries, business_id: str, body: said.OfferingCreate, professional: Professional, duration: int, places: int
) -> said.Offering:
    for _ in range(_CODES_TRIED_MAX):
        row = await q.row(
            "insert_offering", new_id(), business_id, professional.id, offering_code(), body.type, body.title,
            body.description, body.start_date, body.end_date, minute_of(body.start_time), minute_of(body.end_time),
            body.time_zone or professional.time_zone, duration, places, body.anti_scalping, body.confirmation,
            body.notice_minutes,
        )  # fmt: skip
        if row is not None:
            return _found(row).body
    raise Refused("overloaded", "no free code was found")


async def current(q: Queries, professional_id: str) -> int:
    """How many there are that are not over."""
    return int(await q.value("current_offerings", professional_id))


async def by_code(q: Queries, code: str) -> Found:
    """Whosever it is. Raises `Refused(not_found)`."""
    return _found(await q.row("offering_by_code", code.upper()))


async def by_id(q: Queries, business_id: str, offering_id: str) -> said.Offering:
    return _found(await q.row("offering_by_id", business_id, offering_id)).body


async def list_offerings(
    q: Queries,
    business_id: str,
    after: str | None,
    limit: int,
    *,
    deleted: bool = False,
    professional_id: str | None = None,
    kind: str | None = None,
    locations: Sequence[str] | None = None,
) -> list[said.Offering]:
    rows = await q.fetch(
        "list_offerings", business_id, after, limit, deleted, professional_id, kind,
        list(locations) if locations is not None else None,
    )  # fmt: skip
    return [_found(r).body for r in rows]


async def for_update(q: Queries, business_id: str, offering_id: str, *, deleted: bool = False) -> said.Offering:
    return _found(await q.row("offering_for_update", business_id, offering_id, deleted)).body


def merged(before: said.Offering, body: said.OfferingPatch) -> said.Offering:
    given = {f: v for f in body.__struct_fields__ if (v := getattr(body, f)) is not UNSET}
    if before.type == "single" and given.get("max_attendees", 1) != 1:
        raise invalid("max_attendees", "a single takes one booking at a time")
    return msgspec.structs.replace(before, **given)


async def update(q: Queries, business_id: str, o: said.Offering) -> said.Offering:
    return _found(
        await q.row(
            "update_offering", business_id, o.id, o.title, o.description, o.start_date, o.end_date,
            minute_of(o.start_time), minute_of(o.end_time), o.duration_minutes, o.max_attendees, o.anti_scalping,
            o.confirmation, o.notice_minutes,
        )
    ).body  # fmt: skip


async def delete(q: Queries, business_id: str, offering_id: str) -> str:
    """The id of whose calendar it was."""
    professional_id = await q.value("delete_offering", business_id, offering_id)
    if professional_id is None:
        raise Refused("not_found", "there is no such offering")
    return professional_id


async def restore(q: Queries, business_id: str, offering_id: str) -> said.Offering:
    return _found(await q.row("restore_offering", business_id, offering_id)).body

"""Businesses as rows, as the edge remembers them, and as REST shows them."""

from typing import Any

import msgspec
from msgspec import UNSET

from protocol import businesses as said
from protocol.errors import Refused
from protocol.languages import DEFAULT
from protocol.people import BusinessStatus
from protocol.times import MINUTE, to_us
from storage.people import Queries, stamp


class Business(msgspec.Struct, frozen=True):
    """`trial_ends_us` is `None` for a business that is no trial. `has_bans`: it refuses some people."""

    id: str
    slug: str
    name: str
    time_zone: str
    locale: str
    status: BusinessStatus
    trial_ends_us: int | None
    region: str | None
    hold_ttl_seconds: int
    allowed_origins: tuple[str, ...]
    languages: tuple[str, ...]
    cancellation_notice_us: int
    has_bans: bool


def _business(row: Any) -> Business:
    return Business(
        row["id"],
        row["slug"],
        row["name"],
        row["time_zone"],
        row["locale"],
        row["status"],
        to_us(row["trial_ends_at"]) if row["trial_ends_at"] else None,
        row["region"],
        row["hold_ttl_seconds"],
        tuple(row["allowed_origins"]),
        tuple(row["languages"]),
        row["cancellation_notice_minutes"] * MINUTE,
        row["has_bans"],
    )


async def business_by_slug(q: Queries, slug: str) -> Business | None:
    row = await q.row("business_by_slug", slug)
    return _business(row) if row else None


async def business_by_id(q: Queries, business_id: str) -> Business | None:
    row = await q.row("business_by_id", business_id)
    return _business(row) if row else None


async def allowed_origins(q: Queries, limit: int) -> list[str]:
    """Origins that any business lists."""
    return [row["origin"] for row in await q.fetch("allowed_origins", limit)]


# As REST shows them


def _shown(row: Any) -> said.Business:
    return said.Business(
        id=str(row["id"]),
        slug=row["slug"],
        name=row["name"],
        time_zone=row["time_zone"],
        locale=row["locale"],
        languages=row["languages"],
        status=row["status"],
        cancellation_notice_minutes=row["cancellation_notice_minutes"],
        default_confirmation=row["default_confirmation"],
        hold_ttl_seconds=row["hold_ttl_seconds"],
        created_at=stamp(row["created_at"]),
        updated_at=stamp(row["updated_at"]),
        region=row["region"],
        status_reason=row["status_reason"],
        trial_ends_at=stamp(row["trial_ends_at"]) if row["trial_ends_at"] else None,
        allowed_origins=row["allowed_origins"],
        deleted_at=stamp(row["deleted_at"]) if row["deleted_at"] else None,
    )


async def register(q: Queries, business_id: str, body: said.BusinessCreate) -> bool:
    """Whether it was done: not when the slug is taken."""
    locale = body.locale or DEFAULT
    return (
        await q.value("register_business", business_id, body.slug, body.name, body.time_zone, locale, body.region)
        is not None
    )


async def whole(q: Queries, business_id: str, *, deleted: bool = False, lock: bool = False) -> said.Business:
    """All there is to show of it; with `deleted` also when it was deleted. Raises `Refused(not_found)`."""
    row = await q.row("business_for_update" if lock else "business_whole", business_id, deleted)
    if row is None:
        raise Refused("not_found", "there is no such business")
    return _shown(row)


async def patch(q: Queries, before: said.Business, body: said.BusinessPatch) -> said.Business:
    """`before` is the business as it was locked."""
    given = {f: v for f in body.__struct_fields__ if (v := getattr(body, f)) is not UNSET}
    b = msgspec.structs.replace(before, **given)
    return _shown(
        await q.row(
            "update_business",
            b.id,
            b.name,
            b.time_zone,
            b.locale,
            b.region,
            b.languages,
            b.cancellation_notice_minutes,
            b.default_confirmation,
            b.hold_ttl_seconds,
            b.allowed_origins,
        )
    )


async def set_status(
    q: Queries, business_id: str, status: BusinessStatus, reason: str | None, trial: tuple[int | None] | None
) -> said.Business:
    """`trial` holds its new end, `None` in it for no trial; without it the trial stays as it is."""
    return _shown(
        await q.row("set_business_status", business_id, status, reason, trial is not None, trial[0] if trial else None)
    )


async def set_deleted(q: Queries, business_id: str, deleted: bool) -> said.Business:
    return _shown(await q.row("set_business_deleted", business_id, deleted))


async def list_businesses(
    q: Queries, status: str | None, part: str | None, deleted: bool, after: str | None, limit: int
) -> list[said.Business]:
    return [_shown(r) for r in await q.fetch("list_businesses", status, part, deleted, after, limit)]

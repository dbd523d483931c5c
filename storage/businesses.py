"""Businesses as rows and as the edge remembers them."""

from typing import Any

import msgspec

from protocol.people import BusinessStatus
from protocol.times import to_us
from storage.people import Queries


class Business(msgspec.Struct, frozen=True):
    """`trial_ends_us` is `None` for a business that is no trial."""

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
    )


async def business_by_slug(q: Queries, slug: str) -> Business | None:
    row = await q.row("business_by_slug", slug)
    return _business(row) if row else None


async def business_by_id(q: Queries, business_id: str) -> Business | None:
    row = await q.row("business_by_id", business_id)
    return _business(row) if row else None

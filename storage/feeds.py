"""Calendar feeds, as rows. Of a token its hash is stored alone."""

from datetime import datetime
from typing import Any

import msgspec

from protocol.errors import Refused
from protocol.ids import new_id
from protocol.times import from_us
from storage.people import Queries


class Feed(msgspec.Struct, frozen=True):
    """Whose it is: of a professional, or of a client. `changed_at` is since when it shows what has `etag`."""

    id: str
    business_id: str
    professional_id: str | None
    client_id: str | None
    etag: str | None
    changed_at: datetime | None
    business: str
    professional: str | None
    time_zone: str


class Entry(msgspec.Struct, frozen=True):
    """A booking, as a calendar shows it."""

    id: str
    status: str
    code: str
    start: datetime
    end: datetime
    version: int
    updated_at: datetime
    attendees: int
    service: str
    professional: str
    client: str
    place: str


async def make(
    q: Queries, business_id: str, professional_id: str | None, client_id: str | None, token_hash: bytes, by: str
) -> datetime:
    """Ends the one there was; when it was made. `q` is a transaction."""
    await q.value("end_feed", business_id, professional_id, client_id)
    return await q.value("make_feed", new_id(), business_id, professional_id, client_id, token_hash, by)


async def end(q: Queries, business_id: str, professional_id: str | None, client_id: str | None) -> None:
    if await q.value("end_feed", business_id, professional_id, client_id) is None:
        raise Refused("not_found", "there is no feed")


async def find(q: Queries, token_hash: bytes) -> Feed | None:
    row = await q.row("feed_by_token", token_hash)
    return Feed(*row) if row is not None else None


async def entries(q: Queries, feed: Feed, from_us: int, before_us: int, limit: int) -> list[Entry]:
    rows = await q.fetch(
        "feed_entries", feed.business_id, feed.professional_id, feed.client_id, from_us, before_us, limit
    )
    return [_entry(r) for r in rows]


def _entry(r: Any) -> Entry:
    return Entry(
        r["id"], r["status"], r["code"], r["start_at"], r["end_at"], r["version"], r["updated_at"], r["attendees"],
        r["service"], r["professional"], r["client"], r["place"],
    )  # fmt: skip


async def changed_at(q: Queries, feed: Feed, etag: str, now_us: int) -> datetime:
    """Since when it shows that: from now on, if it showed something else before."""
    if feed.etag == etag and feed.changed_at is not None:
        return feed.changed_at
    return await q.value("feed_has_changed", feed.id, etag, now_us) or from_us(now_us)

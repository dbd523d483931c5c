"""Calendar feeds: an address that a calendar program looks at now and then. Whoever has it needs no login.

Making one takes no Idempotency-Key: to answer twice, the address would have to be stored in clear.
"""

import asyncio
import hashlib
import secrets
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, Final

from aiohttp import web

from protocol import bodies, limits
from protocol.errors import Refused
from protocol.feeds import Feed
from protocol.times import DAY
from server import audit
from server.calendar_file import calendar_file, tag_of
from server.edge import Call, Endpoint, Reply
from server.messaging import public_url
from server.permissions import Reach, reach
from storage import feeds, people
from storage.people import stamp

FEED: Final = "/api/v1/feeds/{file}"
_SUFFIX: Final = ".ics"
_TOKEN_BYTES: Final = 32
_TOKEN_CHARS: Final = 43


async def make_professionals_feed(call: Call[bodies.Empty, Any]) -> Reply:
    """A new one ends the one before."""
    professional_id = call.id("id")
    await people.professional_by_id(call.tx, call.business_id, professional_id)
    await call.may_touch("feeds.write", professional_id)
    return await _make(call, "professional", professional_id)


async def end_professionals_feed(call: Call[Any, Any]) -> None:
    professional_id = call.id("id")
    await people.professional_by_id(call.tx, call.business_id, professional_id)
    await call.may_touch("feeds.write", professional_id)
    await feeds.end(call.tx, call.business_id, professional_id, None)
    await audit.record(call, "feed.ended", "professional", professional_id)


async def make_clients_feed(call: Call[bodies.Empty, Any]) -> Reply:
    """A new one ends the one before."""
    return await _make(call, "client", await _client(call))


async def end_clients_feed(call: Call[Any, Any]) -> None:
    client_id = await _client(call)
    await feeds.end(call.tx, call.business_id, None, client_id)
    await audit.record(call, "feed.ended", "client", client_id)


async def _client(call: Call[Any, Any]) -> str:
    """The path's, if the caller may have all that is kept of them."""
    client_id = call.id("id")
    if reach(call.principal, "clients.export") is Reach.OWN and call.principal.client_id != client_id:
        raise Refused("not_found", "there is no such client")
    await people.client_by_id(call.tx, call.business_id, client_id)
    return client_id


async def _make(call: Call[Any, Any], what: str, id_: str) -> Reply:
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    whose = (id_, None) if what == "professional" else (None, id_)
    made = await feeds.make(call.tx, call.business_id, *whose, _hash(token), call.principal.label)
    await audit.record(call, "feed.made", what, id_)
    url = public_url(call.node.settings) + FEED.replace("{file}", token + _SUFFIX)
    return Reply(Feed(url=url, created_at=stamp(made)), 201)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def read_feed(call: Call[Any, Any]) -> Reply:
    """Bookings from a month ago on, a year ahead; 304 to whoever has seen them as they are."""
    node, file = call.node, call.params["file"]
    token = file.removesuffix(_SUFFIX)
    if len(token) != _TOKEN_CHARS or not token.isascii() or token == file:
        raise Refused("not_found")
    feed = await feeds.find(node.database, _hash(token))
    if feed is None:
        raise Refused("not_found")
    now = node.clock.now_us()
    found = await feeds.entries(
        node.database, feed, now - limits.feed_days_back * DAY, now + limits.feed_days_ahead * DAY,
        limits.feed_entries_max,
    )  # fmt: skip
    etag = tag_of(feed, found)
    changed_at = await feeds.changed_at(node.database, feed, etag, now)
    headers = {
        "ETag": etag,
        "Last-Modified": format_datetime(changed_at, usegmt=True),
        "Cache-Control": "private, no-cache",
        "Referrer-Policy": "no-referrer",
        # Also of an answer that has nothing new: a cache may take it over (RFC 9111, section 3.2).
        "Content-Type": "text/calendar; charset=utf-8",
    }
    if _seen(call.request, etag, int(changed_at.timestamp())):
        return Reply(b"", 304, headers)
    body = await asyncio.to_thread(calendar_file, feed, found)
    headers["Content-Disposition"] = 'inline; filename="slotcast.ics"'
    return Reply(body, headers=headers)


def _seen(request: web.BaseRequest, etag: str, changed_s: int) -> bool:
    """Whether the caller has that already (RFC 9110, section 13): what it says of tags goes before dates."""
    tags = request.headers.get("If-None-Match")
    if tags is not None:
        return tags.strip() == "*" or etag in [tag.strip().removeprefix("W/") for tag in tags.split(",")]
    since = request.headers.get("If-Modified-Since")
    try:
        return since is not None and parsedate_to_datetime(since).timestamp() >= changed_s
    except (TypeError, ValueError, OverflowError):
        return False


def routes(node: Any) -> list[Endpoint]:
    p, c = "/api/v1/professionals/{id}/feed", "/api/v1/clients/{id}/feed"
    return [
        Endpoint(node, "POST", p, make_professionals_feed, needs="feeds.write", status=201, tx=True, keyed=False,
                 summary="A calendar address of a professional's bookings; ends the one there was", answer=Feed,
                 body=bodies.Empty, area="feeds"),
        Endpoint(node, "DELETE", p, end_professionals_feed, needs="feeds.write", status=204, tx=True, keyed=False,
                 summary="End a professional's calendar address", area="feeds"),
        Endpoint(node, "POST", c, make_clients_feed, needs="clients.export", status=201, tx=True, keyed=False,
                 summary="A calendar address of a client's bookings; ends the one there was", answer=Feed,
                 body=bodies.Empty, area="feeds"),
        Endpoint(node, "DELETE", c, end_clients_feed, needs="clients.export", status=204, tx=True, keyed=False,
                 summary="End a client's calendar address", area="feeds"),
        Endpoint(node, "GET", FEED, read_feed, needs=None, summary="The calendar file of a feed, as token.ics",
                 area="feeds"),
    ]  # fmt: skip

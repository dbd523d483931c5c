"""Analytics."""

from typing import Any, Final

import msgspec

from protocol import analytics, bodies, limits
from protocol.errors import Refused, invalid
from protocol.times import parse_date
from server import insight
from server.edge import Call, Endpoint
from server.permissions import Reach, reach
from storage.analytics import Scope, exists

_READ: Final = "analytics.read"
_HAD: Final = {
    "professional": ("had_professional", "there is no such professional"),
    "service": ("had_service", "there is no such service"),
    "location": ("had_location", "there is no such location"),
}
"""The queries that tell, also of what was removed, and what is said where there is none."""


class AnalyticsQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Dates, both included: of each calendar's own wall clock."""

    from_: str = msgspec.field(name="from")
    to: str
    professional_id: bodies.Uuid | None = None
    service_id: bodies.Uuid | None = None
    location_id: bodies.Uuid | None = None


async def read_analytics(call: Call[Any, AnalyticsQuery]) -> analytics.Analytics:
    """Bookings by when they start, in the calendars that the caller may look into."""
    q, database = call.query, call.node.database
    first, last = parse_date("from", q.from_), parse_date("to", q.to)
    if last < first:
        raise invalid("to", "must not be before from")
    if (last - first).days >= limits.analytics_days_max:
        raise invalid("to", f"at most {limits.analytics_days_max} days")
    for what, id_ in (("professional", q.professional_id), ("service", q.service_id), ("location", q.location_id)):
        query, otherwise = _HAD[what]
        if id_ is not None and not await exists(database, query, call.business_id, id_):
            raise Refused("not_found", otherwise)
    if q.professional_id is not None:
        await call.may_touch(_READ, q.professional_id)
    scope = Scope(
        business_id=call.business_id,
        first=first,
        last=last,
        locations=_places(call, q.location_id),
        professional_id=q.professional_id or _oneself(call),
        service_id=q.service_id,
    )
    business = await call.node.businesses.existing(call.business_id)
    return await insight.figures(database, scope, business.time_zone)


def _places(call: Call[Any, Any], asked: str | None) -> list[str] | None:
    """`None` is everywhere."""
    if reach(call.principal, _READ) is not Reach.LOCATION:
        return None if asked is None else [asked]
    mine = call.principal.locations or frozenset()
    return sorted(mine if asked is None else mine & {asked})


def _oneself(call: Call[Any, Any]) -> str | None:
    """The calendar that a professional is limited to."""
    if reach(call.principal, _READ) is not Reach.OWN:
        return None
    if call.principal.professional_id is None:
        raise Refused("forbidden", "this login has no calendar")
    return call.principal.professional_id


def routes(node: Any) -> list[Endpoint]:
    return [
        Endpoint(node, "GET", "/api/v1/analytics", read_analytics, needs=_READ, query=AnalyticsQuery,
                 summary="Figures of bookings over a range of days", answer=analytics.Analytics,
                 errors=("limit_reached",), area="analytics"),
    ]  # fmt: skip

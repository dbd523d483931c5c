"""What super admins do: approve and suspend businesses, disable logins, count."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import orjson

from jobs.outgoing import to_owners
from protocol import bodies, limits, records
from protocol import businesses as said
from protocol.errors import Refused, invalid
from protocol.people import BusinessStatus, User
from protocol.times import DAY, format_us, local_us, parse_date, zone
from server import audit
from server.edge import Call, Endpoint
from server.paging import PageQuery, decode_cursor, page
from storage import businesses, users

_STATISTICS_DAYS: Final = 30


class BusinessesQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    """`q` is part of a slug or name. `deleted` lists those that were closed instead."""

    status: BusinessStatus | None = None
    q: bodies.Name | None = None
    deleted: bool = False


class StatisticsQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Dates in UTC, both included; without them the last thirty days."""

    date_from: str | None = None
    date_to: str | None = None


async def list_businesses(call: Call[Any, BusinessesQuery]) -> dict[str, Any]:
    auth, q = call.node.auth, call.query
    position = decode_cursor(auth, "businesses", q.cursor)
    items = await businesses.list_businesses(
        call.node.database, q.status, q.q, q.deleted, position[0] if position else None, q.limit + 1
    )
    return page(auth, "businesses", items, q.limit)


async def approve_business(call: Call[said.BusinessDecision, Any]) -> said.Business:
    """The trial begins, if there is one."""
    before = await _in(call, "pending", "rejected")
    days = call.body.trial_days
    trial = _trial(call, call.node.settings.trial_days if days is None else days)
    after = await _decided(call, "business.approved", before, "active", trial)
    await call.node.queue.put([to_owners("business_approved", after.id, f"{after.id}:{after.updated_at}")], call.tx)
    return after


async def reject_business(call: Call[said.ReasonGiven, Any]) -> said.Business:
    before = await _in(call, "pending")
    return await _decided(call, "business.rejected", before, "rejected")


async def suspend_business(call: Call[said.ReasonGiven, Any]) -> said.Business:
    before = await _in(call, "active")
    return await _decided(call, "business.suspended", before, "suspended")


async def reactivate_business(call: Call[said.BusinessDecision, Any]) -> said.Business:
    """After a suspension, or to give a trial another end: `trial_days: 0` ends the trial for good."""
    days = call.body.trial_days
    before = await _in(call, "suspended", *(("active",) if days is not None else ()))
    trial = None if days is None else _trial(call, days)
    return await _decided(call, "business.reactivated", before, "active", trial)


async def restore_business(call: Call[Any, Any]) -> said.Business:
    """As it was. Tokens of its services stay revoked, and its people sign in anew."""
    before = await businesses.whole(call.tx, call.id("id"), deleted=True, lock=True)
    after = await businesses.set_deleted(call.tx, before.id, False)
    await _noted(call, "business.restored", before, after)
    return after


async def _in(call: Call[Any, Any], *statuses: str) -> said.Business:
    """The business of the path, locked, if it is in one of these states."""
    found = await businesses.whole(call.tx, call.id("id"), lock=True)
    if found.status not in statuses:
        raise Refused("conflict", f"the business is {found.status}")
    return found


def _trial(call: Call[Any, Any], days: int) -> tuple[int | None]:
    return (call.node.clock.now_us() + days * DAY if days else None,)


async def _decided(
    call: Call[Any, Any],
    action: str,
    before: said.Business,
    status: BusinessStatus,
    trial: tuple[int | None] | None = None,
) -> said.Business:
    after = await businesses.set_status(call.tx, before.id, status, call.body.reason or None, trial)
    await _noted(call, action, before, after)
    return after


async def _noted(call: Call[Any, Any], action: str, before: said.Business, after: said.Business) -> None:
    await audit.record(call, action, "business", after.id, before=before, after=after, business_id=after.id)
    await call.node.notices.post(call.tx, "businesses", [after.id])


async def statistics(call: Call[Any, StatisticsQuery]) -> records.Statistics:
    q = call.query
    today = call.node.clock.now_us() // DAY * DAY
    last = _day("date_to", q.date_to) if q.date_to is not None else today
    first = _day("date_from", q.date_from) if q.date_from is not None else last - (_STATISTICS_DAYS - 1) * DAY
    if last < first:
        raise invalid("date_to", "must not be before date_from")
    if (last - first) // DAY >= limits.statistics_days_max:
        raise invalid("date_to", f"at most {limits.statistics_days_max} days")
    row: Any = await call.node.database.row("platform_counts", first, last + DAY)
    return records.Statistics(
        date_from=format_us(first)[:10],
        date_to=format_us(last)[:10],
        businesses=orjson.loads(row["businesses"] or "{}"),
        users=row["users"],
        professionals=row["professionals"],
        clients=row["clients"],
        bookings=orjson.loads(row["bookings"] or "{}"),
    )


def _day(field: str, text: str) -> int:
    return local_us(parse_date(field, text), 0, zone("UTC"))


async def disable_user(call: Call[bodies.ReasonBody, Any]) -> User:
    """Their sessions end, and nobody signs in as them until they are enabled."""
    user_id = call.id("id")
    if user_id == call.principal.subject:
        raise Refused("forbidden", "nobody disables themselves")
    user = await _set_disabled(call, user_id, True)
    await call.node.sessions.end(call.tx, user_id, "the login was disabled")
    return user


async def enable_user(call: Call[bodies.ReasonBody, Any]) -> User:
    return await _set_disabled(call, call.id("id"), False)


async def _set_disabled(call: Call[bodies.ReasonBody, Any], user_id: str, disabled: bool) -> User:
    if await call.tx.value("set_user_disabled", user_id, disabled) is None:
        raise Refused("not_found", "there is no such user")
    action = "user.disabled" if disabled else "user.enabled"
    await audit.record(call, action, "user", user_id, after={"disabled": disabled, "reason": call.body.reason})
    return await users.user_by_id(call.tx, user_id)


def routes(node: Any) -> list[Endpoint]:
    a, u = "/api/v1/admin", "/api/v1/users/{id}"

    def decision(name: str, handler: Callable[[Any], Awaitable[said.Business]], body: Any, summary: str) -> Endpoint:
        return Endpoint(
            node, "POST", f"{a}/businesses/{{id}}/{name}", handler, needs="platform.write", tx=True, summary=summary,
            answer=said.Business, body=body, errors=("conflict",), area="platform",
        )  # fmt: skip

    return [
        Endpoint(node, "GET", a + "/businesses", list_businesses, needs="platform.read", summary="List businesses",
                 answer=list[said.Business], query=BusinessesQuery, area="platform"),
        decision("approve", approve_business, said.BusinessDecision, "Let a business take bookings"),
        decision("reject", reject_business, said.ReasonGiven, "Refuse a business that waits for approval"),
        decision("suspend", suspend_business, said.ReasonGiven, "Stop new bookings of a business"),
        decision("reactivate", reactivate_business, said.BusinessDecision, "End a suspension, or change a trial"),
        decision("restore", restore_business, bodies.Empty, "Bring back a business that was closed"),
        Endpoint(node, "GET", a + "/statistics", statistics, needs="platform.read", summary="Counts of the platform",
                 answer=records.Statistics, query=StatisticsQuery, area="platform"),
        Endpoint(node, "POST", u + "/disable", disable_user, needs="users.write", tx=True,
                 summary="Lock a login, and end its sessions", answer=User, body=bodies.ReasonBody, area="users"),
        Endpoint(node, "POST", u + "/enable", enable_user, needs="users.write", tx=True, summary="Unlock a login",
                 answer=User, body=bodies.ReasonBody, area="users"),
    ]  # fmt: skip

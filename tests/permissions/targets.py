"""Targets for operations that use up what they are allowed to touch: one for each cell."""

import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg

from tests.permissions.estate import Caller, Side, delivery_of
from tests.permissions.probes import holiday, period
from tests.rest.helpers import acting, new_business
from tests.rest.people import join, new_user

Target = tuple[Caller, dict[str, str]]
"""Who asks, and the ids that are asked for."""
Maker = Callable[[Caller, Side, asyncpg.Connection], Awaitable[Target]]


def _made(area: str, path: str, body: Callable[[Side], Any], *, gone: bool = False) -> Maker:
    """What the owner makes by that request, and with `gone` removes again."""

    async def make(caller: Caller, side: Side, _: asyncpg.Connection) -> Target:
        made = await side.owner.made(path.format(**side.ids), body(side))
        if gone:
            answer = await side.owner.request("DELETE", f"{path}/{made['id']}")
            assert answer.status == 204, answer
        return caller, side.ids | {area: made["id"]}

    return make


async def _session(caller: Caller, side: Side, db: asyncpg.Connection) -> Target:
    elsewhere, session_id = await caller.elsewhere(db)
    return elsewhere, side.ids | {"sessions": session_id}


async def _user(caller: Caller, side: Side, db: asyncpg.Connection) -> Target:
    return caller, side.ids | {"users": (await new_user(db))["id"]}


async def _member(caller: Caller, side: Side, db: asyncpg.Connection) -> Target:
    return caller, side.ids | {"memberships": await join(db, side.business_id, await new_user(db), "professional")}


async def _request(caller: Caller, side: Side, db: asyncpg.Connection) -> Target:
    user = await new_user(db)
    await join(db, side.business_id, user, "professional")
    asking = acting(side.owner, side.business_id, "professional", subject=user["id"])
    made = await asking.made("permission-requests", {"permission": "catalogue.write"})
    return caller, side.ids | {"permission-requests": made["id"]}


def _business(status: str, *, closed: bool = False) -> Maker:
    """Nobody's who asks, but for an owner, who gets a login there."""

    async def make(caller: Caller, side: Side, db: asyncpg.Connection) -> Target:
        made = await new_business(caller.api.server.dsn)
        await db.execute(
            "UPDATE businesses SET status = $2, deleted_at = CASE WHEN $3 THEN now() END WHERE id = $1",
            made, status, closed,
        )  # fmt: skip
        if caller.who.role == "owner":
            caller = Caller(caller.who, acting(caller.api, made, "owner"))
        return caller, side.ids | {"businesses": made, "admin": made}

    return make


async def _client(caller: Caller, side: Side, _: asyncpg.Connection) -> Target:
    """Themselves, where a client asks."""
    client_id = (await side.owner.made("clients", {"first_name": "x"}))["id"]
    if caller.who.role == "client":
        api = acting(caller.api, side.business_id, "client", subject=str(uuid.uuid4()), client_id=client_id)
        caller = Caller(caller.who, api)
    return caller, side.ids | {"clients": client_id}


def _feed(area: str) -> Maker:
    async def make(caller: Caller, side: Side, _: asyncpg.Connection) -> Target:
        made = await side.owner.made(f"{area}/{side.ids[area]}/feed", {})
        return caller, side.ids | {"file": made["url"].rsplit("/", 1)[1]}

    return make


async def _pending(caller: Caller, side: Side, _: asyncpg.Connection) -> Target:
    if "pending" not in side.ids:
        terms = {"name": "By approval", "duration_minutes": 30, "horizon_days": 365, "confirmation": "approval"}
        made = await side.owner.made(f"professionals/{side.ids['professionals']}/services", terms)
        side.ids["pending"] = made["id"]
    made = await side.owner.made("bookings", side.booking() | {"service_id": side.ids["pending"]})
    return caller, side.ids | {"bookings": made["id"]}


async def _delivery(caller: Caller, side: Side, db: asyncpg.Connection) -> Target:
    return caller, side.ids | {"delivery_id": await delivery_of(side, db)}


async def _job(caller: Caller, side: Side, db: asyncpg.Connection) -> Target:
    job_id = str(uuid.uuid4())
    await db.execute(
        """INSERT INTO jobs (id, kind, payload, state, run_at, attempts_max, reason)
           VALUES ($1, 'nobodys', '{}', 'dead', now(), 1, 'x')""",
        job_id,
    )
    return caller, side.ids | {"admin": job_id}


_booking: Final = _made("bookings", "bookings", lambda s: s.booking())
_of_professional: Final = "professionals/{professionals}"


def _service(_: Side) -> dict[str, Any]:
    return {"name": "x", "duration_minutes": 30}


def _professional(side: Side) -> dict[str, Any]:
    return {"display_name": "x", "location_id": side.ids["locations"]}


async def _offering(caller: Caller, side: Side, _: asyncpg.Connection) -> Target:
    return caller, side.ids | {"code": (await side.owner.made("offerings", side.offering()))["code"]}


async def _offering_gone(caller: Caller, side: Side, _: asyncpg.Connection) -> Target:
    made = await side.owner.made("offerings", side.offering())
    assert (await side.owner.request("DELETE", f"offerings/{made['code']}")).status == 204
    return caller, side.ids | {"offerings": made["id"]}


FRESH: Final[dict[str, Maker]] = {
    "DELETE offerings/{code}": _offering,
    "POST offerings/{id}/restore": _offering_gone,
    "POST auth/logout": _session,
    "DELETE users/me/sessions/{id}": _session,
    "POST users/{id}/disable": _user,
    "POST users/{id}/enable": _user,
    "DELETE businesses/{id}": _business("active"),
    "POST admin/businesses/{id}/approve": _business("pending"),
    "POST admin/businesses/{id}/reject": _business("pending"),
    "POST admin/businesses/{id}/suspend": _business("active"),
    "POST admin/businesses/{id}/reactivate": _business("suspended"),
    "POST admin/businesses/{id}/restore": _business("active", closed=True),
    "POST admin/jobs/{id}/retry": _job,
    "DELETE admin/jobs/{id}": _job,
    "DELETE locations/{id}": _made("locations", "locations", lambda s: {"name": "x"}),
    "POST locations/{id}/restore": _made("locations", "locations", lambda s: {"name": "x"}, gone=True),
    "PATCH memberships/{id}": _member,
    "DELETE memberships/{id}": _member,
    "POST permission-requests/{id}/approve": _request,
    "POST permission-requests/{id}/deny": _request,
    "DELETE service-tokens/{id}": _made("service-tokens", "service-tokens", lambda s: {"name": "x"}),
    "DELETE clients/{id}": _client,
    "POST clients/{id}/restore": _made("clients", "clients", lambda s: {"first_name": "x"}, gone=True),
    "POST clients/{id}/erase": _client,
    "DELETE webhooks/{id}": _made("webhooks", "webhooks", lambda s: {"url": "https://127.0.0.1:9/x"}),
    "POST webhooks/{id}/deliveries/{delivery_id}/replay": _delivery,
    "DELETE ban-list/{id}": _made("ban-list", "ban-list", lambda s: {"email": f"{uuid.uuid4().hex}@example.org"}),
    "DELETE professionals/{id}": _made("professionals", "professionals", _professional),
    "POST professionals/{id}/restore": _made("professionals", "professionals", _professional, gone=True),
    "DELETE services/{id}": _made("services", "services", _service),
    "POST services/{id}/restore": _made("services", "services", _service, gone=True),
    "DELETE professionals/{id}/services/{service_id}": _made("service_id", f"{_of_professional}/services", _service),
    "DELETE professionals/{id}/time-off/{time_off_id}": _made("time_off_id", f"{_of_professional}/time-off", period),
    "DELETE holidays/{id}": _made("holidays", "holidays", holiday),
    "GET feeds/{file}": _feed("professionals"),
    "DELETE professionals/{id}/feed": _feed("professionals"),
    "DELETE clients/{id}/feed": _feed("clients"),
    "DELETE holds/{id}": _made("holds", "holds", lambda s: s.hold()),
    "POST bookings/{id}/cancel": _booking,
    "POST bookings/{id}/reschedule": _booking,
    "POST bookings/{id}/confirm": _pending,
    "POST bookings/{id}/reject": _pending,
}
OTHERWISE: Final[dict[str, set[int]]] = {
    "POST auth/login": {401},
    "POST auth/refresh": {401},
    "POST auth/verify/confirm": {422},
    "POST memberships": {422},
    "POST permission-requests": {201, 409, 422},
    "POST bookings/{id}/complete": {409},
    "POST bookings/{id}/no-show": {409},
    **{f"GET public{part}": {404} for part in ("", "/services", "/professionals", "/locations", "/availability")},
    "POST public/bookings": {404},
}
"""What lets a caller in and is refused all the same: names and codes that nobody has, a permission that is had
already, a start that is still ahead, a host that is no subdomain.
"""

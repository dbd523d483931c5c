"""Two businesses with one of everything, and everybody who might ask for it.

The first has two places, `here` and `there`: a location, a professional who works there and a client of theirs each.
The second, whose place is called `foreign`, has everything once more.
"""

import uuid
from typing import Any, Final

import asyncpg
import msgspec

from server.auth import Auth
from server.messaging import unsubscribe_token
from tests.permissions.page import Who
from tests.rest.helpers import acting, new_business
from tests.rest.people import join, new_user, signed_in
from tests.support.server import SECRET, Api, Place, new_place

SIDES: Final = ("here", "there", "foreign")
HOLD_TTL_S: Final = 900


class Caller:
    def __init__(self, who: Who, api: Api, user: dict[str, Any] | None = None, headers: dict[str, str] | None = None):
        self.who = who
        self.api = api
        self.user = user
        self.headers = headers or {}

    async def elsewhere(self, db: asyncpg.Connection) -> tuple["Caller", str]:
        """The same caller in another sign-in, which may be ended, and that sign-in's id."""
        session_id = str(uuid.uuid4())
        principal = Auth(SECRET).verify(self.api.token or "")
        await db.execute(
            "INSERT INTO user_sessions (id, user_id, business_id, seed, expires_at)"
            " VALUES ($1, $2, $3, '\\x00', now() + interval '1 day')",
            session_id, principal.subject, principal.business_id or None,
        )  # fmt: skip
        token = Auth(SECRET).issue(msgspec.structs.replace(principal, session_id=session_id, token_id=session_id))
        return Caller(self.who, self.api.with_token(token), self.user), session_id


class Side:
    """One place: `ids` by the area of a path or the name of a parameter, and starts that nobody has taken yet."""

    def __init__(self, name: str, business_id: str, owner: Api, place: Place) -> None:
        self.name = name
        self.business_id = business_id
        self.owner = owner
        self.place = place
        self.ids: dict[str, str] = {}
        self._taken = 0

    def start(self) -> str:
        self._taken += 1
        return self.place.at(self._taken // 2 % 24, 30 * (self._taken % 2), day=self._taken // 48)

    @property
    def notes(self) -> str:
        return f"notes-{self.name}-{self.business_id}"

    @property
    def absence(self) -> str:
        return f"absence-{self.name}-{self.business_id}"

    def booking(self, **more: Any) -> dict[str, Any]:
        body = self.place.booking(self.start(), notes=self.notes, **more)
        return body | ({} if "guest" in more else {"client_id": self.ids["clients"]})

    def hold(self) -> dict[str, Any]:
        return {
            "professional_id": self.ids["professionals"], "service_id": self.ids["services"], "start": self.start(),
            "client_id": self.ids["clients"], "ttl_seconds": HOLD_TTL_S,
        }  # fmt: skip

    def series(self) -> dict[str, Any]:
        return {
            "professional_id": self.ids["professionals"], "service_id": self.ids["services"], "start": self.start(),
            "rrule": "FREQ=DAILY;COUNT=1",
        }  # fmt: skip

    def wait(self) -> dict[str, Any]:
        """For what is closed."""
        return {
            "professional_id": self.ids["professionals"], "service_id": self.ids["services"],
            "from": self.place.at(0, day=350), "to": self.place.at(1, day=350),
        }  # fmt: skip

    def offering(self) -> dict[str, Any]:
        return {
            "professional_id": self.ids["professionals"], "type": "single", "title": "x",
            "start_date": self.place.day, "end_date": self.place.day, "start_time": "10:00", "end_time": "11:00",
            "duration_minutes": 30,
        }  # fmt: skip


class Estate:
    def __init__(self) -> None:
        self.sides: dict[str, Side] = {}
        self.callers: dict[str, Caller] = {}

    def hidden_from(self, who: Who) -> set[str]:
        """What no answer to this caller may hold."""
        if who.role == "super_admin":
            return set()
        if who.role == "public":
            return {text for side in self.sides.values() for text in (side.notes, side.absence)}
        hidden: set[str] = set()
        for side in self.sides.values():
            foreign = who.business != ("second" if side.name == "foreign" else "first")
            if foreign:
                hidden |= {*side.ids.values(), side.business_id, side.notes, side.absence}
            else:
                hidden |= self._hidden_within(who, side)
        return hidden

    def _hidden_within(self, who: Who, side: Side) -> set[str]:
        """Bookings, time off, members and their requests, as far as they are others'."""
        own = who.own == side.name
        placed = who.role in ("owner", "manager", "service") and who.place in (None, side.name)
        hidden = set() if own or placed else {side.notes, side.ids["memberships"]}
        if not (placed or (own and who.role == "professional")):
            hidden.add(side.absence)
        if not (placed and who.place is None) and not (own and who.role == "professional"):
            hidden.add(side.ids["permission-requests"])
        return hidden


async def build(api: Api, db: asyncpg.Connection) -> Estate:
    estate = Estate()
    for business, names in (("first", ("here", "there")), ("second", ("foreign",))):
        business_id = await new_business(api.server.dsn)
        owner = acting(api, business_id, "owner")
        for name in names:
            side = estate.sides[name] = Side(name, business_id, owner, await new_place(owner))
            location = await _location(db, business_id)
            professional_id = side.place.professional_id
            await db.execute("UPDATE professionals SET location_id = $2 WHERE id = $1", professional_id, location)
            side.ids |= {"locations": location, "professionals": professional_id, "services": side.place.service_id}
            await _people_of(estate, business, side, api, db)
            await _furnish(estate, side)
            await _webhook_of(side, db)
        await _staff_of(estate, business, business_id, api, db)
    await _others(estate, api, db)
    return estate


async def _location(db: asyncpg.Connection, business_id: str) -> str:
    location = str(uuid.uuid4())
    query = "INSERT INTO locations (id, business_id, name, time_zone) VALUES ($1, $2, 'Branch', 'UTC')"
    await db.execute(query, location, business_id)
    return location


async def _member(
    estate: Estate, who: Who, business_id: str, api: Api, db: asyncpg.Connection, **columns: Any
) -> tuple[Caller, str]:
    user = await new_user(db)
    membership = await join(db, business_id, user, who.role or "", **columns)
    for location in [estate.sides[who.place].ids["locations"]] if who.place else []:
        await db.execute("INSERT INTO membership_locations VALUES ($1, $2, $3)", business_id, membership, location)
    caller = Caller(who, (await signed_in(api, user))[0], user)
    estate.callers[who.name] = caller
    return caller, membership


async def _people_of(estate: Estate, business: str, side: Side, api: Api, db: asyncpg.Connection) -> None:
    """A manager of the place alone, its professional, and a client."""
    manager = Who(f"manager of {side.name}", "manager", business, place=side.name)
    await _member(estate, manager, side.business_id, api, db, limited=True)
    professional = Who(f"professional of {side.name}", "professional", business, own=side.name)
    _, side.ids["memberships"] = await _member(
        estate, professional, side.business_id, api, db, professional_id=side.ids["professionals"]
    )
    user = await new_user(db)
    caller, _ = await signed_in(api, user, business=side.business_id)
    side.ids["clients"] = Auth(SECRET).verify(caller.token or "").client_id or ""
    who = Who(f"client of {side.name}", "client", business, own=side.name)
    estate.callers[who.name] = Caller(who, caller, user)


async def _furnish(estate: Estate, side: Side) -> None:
    """One standing thing of each kind, which every refusal has to leave as it is."""
    owner, professional = side.owner, f"professionals/{side.ids['professionals']}"
    period = {"start": side.place.at(1, day=300), "end": side.place.at(2, day=300), "description": side.absence}
    side.ids |= {
        "bookings": (await owner.made("bookings", side.booking()))["id"],
        "holds": (await owner.made("holds", side.hold() | {"client_id": None}))["id"],
        "service-tokens": (await owner.made("service-tokens", {"name": "standing"}))["id"],
        "time_off_id": (await owner.made(f"{professional}/time-off", period))["id"],
        "service_id": side.ids["services"],
        "series_id": (await owner.made("bookings/series", side.series() | {"client_id": side.ids["clients"]}))["id"],
        "waitlist": (await owner.made("waitlist", side.wait() | {"client_id": side.ids["clients"]}))["id"],
        "code": (await owner.made("offerings", side.offering()))["code"],
        "offerings": await _taken_back(side),
        "ban-list": (await owner.made("ban-list", {"email": f"{uuid.uuid4().hex}@example.org"}))["id"],
        "permission-requests": await _request_of(estate, side),
        "users": (estate.callers[f"client of {side.name}"].user or {})["id"],
        "businesses": side.business_id,
        "admin": side.business_id,
        "slug": f"b-{side.business_id}",
        "holidays": await _holiday(owner, side),
        "link": unsubscribe_token(Auth(SECRET), side.ids["clients"]),
        "file": (await owner.made(f"{professional}/feed", {}))["url"].rsplit("/", 1)[1],
    }


async def _webhook_of(side: Side, db: asyncpg.Connection) -> None:
    """With a delivery. It asks for what does not happen here, so that nothing is sent meanwhile."""
    hook = {"url": "https://127.0.0.1:9/x", "events": ["waitlist.promoted"]}
    side.ids["webhooks"] = (await side.owner.made("webhooks", hook))["id"]
    side.ids["delivery_id"] = await delivery_of(side, db)


async def delivery_of(side: Side, db: asyncpg.Connection) -> str:
    """One more, which has arrived."""
    delivery_id = str(uuid.uuid4())
    await db.execute(
        "INSERT INTO webhook_deliveries (id, business_id, webhook_id, event_id, type, body, state)"
        " VALUES ($1, $2, $3, $1, 'waitlist.promoted', '{}', 'delivered')",
        delivery_id, side.business_id, side.ids["webhooks"],
    )  # fmt: skip
    return delivery_id


async def _holiday(owner: Api, side: Side) -> str:
    day = 1 + SIDES.index(side.name)
    return (await owner.made("holidays", {"date": f"2049-01-{day:02d}", "name": "Standing"}))["id"]


async def _taken_back(side: Side) -> str:
    made = await side.owner.made("offerings", side.offering())
    assert (await side.owner.request("DELETE", f"offerings/{made['code']}")).status == 204
    return made["id"]


async def _request_of(estate: Estate, side: Side) -> str:
    professional = estate.callers[f"professional of {side.name}"].api
    return (await professional.made("permission-requests", {"permission": "catalogue.write"}))["id"]


async def _staff_of(estate: Estate, business: str, business_id: str, api: Api, db: asyncpg.Connection) -> None:
    of = "" if business == "first" else " of the other business"
    for role in ("owner", "manager"):
        await _member(estate, Who(role + of, role, business), business_id, api, db)
    owner = acting(api, business_id, "owner")
    for name, scopes in (
        ("service", None),
        ("service that reads the catalogue", ("catalogue.read",)),
        ("service that reads time off", ("time_off.read", "live.connect")),
    ):
        made = await owner.made("service-tokens", {"name": name, "scopes": scopes})
        estate.callers[name + of] = Caller(
            Who(name + of, "service", business, scopes=scopes), api.with_token(made["token"])
        )


async def _others(estate: Estate, api: Api, db: asyncpg.Connection) -> None:
    estate.callers["no token"] = Caller(Who("no token"), api.with_token(None))
    estate.callers["garbage"] = Caller(Who("garbage"), api.with_token("garbage"))
    here = estate.sides["here"]
    guest = await here.owner.made("bookings", here.booking(guest={"name": "Guest"}))
    name = "manage token of another"
    headers = {"X-Manage-Token": guest["manage_token"]}
    estate.callers[name] = Caller(Who(name), api.with_token(None), headers=headers)
    for role, columns in (("super_admin", {"super_admin": True}), ("user", {})):
        user = await new_user(db, **columns)
        estate.callers[role] = Caller(Who(role, role), (await signed_in(api, user))[0], user)

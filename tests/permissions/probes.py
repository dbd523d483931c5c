"""A request for every operation of the description, and targets that may be used up."""

import itertools
import re
import uuid
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, Final

from tests.permissions.estate import Caller, Side
from tests.support.server import Answer

NOBODYS: Final = "0198c0de-0000-7000-8000-000000000000"
"""An id, slug or code that nobody has."""
_BASE: Final = "/api/v1/"


ANYHOW: Final[dict[str, Callable[[Side], dict[str, str]]]] = {
    "GET public/{slug}/availability": lambda s: {"date": s.place.day, "professional_id": s.ids["professionals"]},
}
"""Parameters that may be left out, but not all of them."""


def period(side: Side) -> dict[str, Any]:
    start = side.start()
    return {"start": start, "end": start.replace(":30:00Z", ":31:00Z").replace(":00:00Z", ":01:00Z")}


_holidays = itertools.count()


def holiday(_: Side) -> dict[str, Any]:
    """Long after everything else, and each on a date of its own."""
    return {"date": f"{date(2050, 1, 1) + timedelta(days=next(_holidays))}", "name": "x"}


BODIES: Final[dict[str, Callable[[Side], Any]]] = {
    "Empty": lambda s: {},
    "Logout": lambda s: {},
    "Register": lambda s: {"name": "N", "password": "long enough", "username": uuid.uuid4().hex},
    "Login": lambda s: {"username": uuid.uuid4().hex, "password": "long enough"},
    "Refresh": lambda s: {"refresh_token": "x"},
    "UserPatch": lambda s: {},
    "ReasonBody": lambda s: {},
    "CancelBody": lambda s: {},
    "BookingPatch": lambda s: {"notes": s.notes},
    "RescheduleBody": lambda s: {"start": s.start()},
    "ClientCreate": lambda s: {"first_name": "x"},
    "ClientPatch": lambda s: {"last_name": "x"},
    "ProfessionalCreate": lambda s: {"display_name": "x"},
    "ProfessionalPatch": lambda s: {"bio": "x"},
    "ServiceCreate": lambda s: {"name": "x", "duration_minutes": 5},
    "ServicePatch": lambda s: {"description": "x"},
    "ServiceForProfessional": lambda s: {"service_id": s.ids["services"]},
    "SchedulePut": lambda s: {
        "time_zone": "UTC", "weekly": [{"weekday": d, "start": "00:00", "end": "24:00"} for d in range(7)],
    },
    "HolidayCreate": holiday,
    "TimeOffCreate": period,
    "HoldCreate": lambda s: s.hold() | {"client_id": None},
    "BookingCreate": lambda s: s.booking(guest={"name": "x"}) | {"notes": None},
    "ServiceTokenCreate": lambda s: {"name": "x"},
    "Verify": lambda s: {"email": f"{uuid.uuid4().hex}@example.org"},
    "VerifyConfirm": lambda s: {"verification_id": NOBODYS, "code": "000000"},
    "DeviceTokenAsk": lambda s: {},
    "BusinessCreate": lambda s: {
        "slug": f"x-{uuid.uuid4().hex}", "name": "x", "time_zone": "UTC",
        "owner": {"name": "x", "password": "long enough", "username": uuid.uuid4().hex},
    },
    "BusinessPatch": lambda s: {"locale": "en"},
    "BusinessDecision": lambda s: {},
    "ReasonGiven": lambda s: {"reason": "x"},
    "LocationCreate": lambda s: {"name": "x"},
    "LocationPatch": lambda s: {"address": "x"},
    "MembershipCreate": lambda s: {"role": "manager", "user_id": NOBODYS},
    "MembershipPatch": lambda s: {"grants": []},
    "PermissionRequestCreate": lambda s: {"permission": "bans.write"},
    "PermissionDecision": lambda s: {},
    "WebhookCreate": lambda s: {"url": "https://127.0.0.1:9/x", "events": ["waitlist.promoted"]},
    "WebhookPatch": lambda s: {"description": "x"},
    "WebhookRotate": lambda s: {},
    "BanCreate": lambda s: {"email": f"{uuid.uuid4().hex}@example.org"},
    "OfferingCreate": lambda s: s.offering(),
    "SeriesAsk": lambda s: s.series(),
    "SeriesCreate": lambda s: s.series() | {"guest": {"name": "x"}},
    "WaitlistJoin": lambda s: s.wait() | {"guest": {"name": "x"}},
    "OfferingPatch": lambda s: {"description": "x"},
    "PreferencesPut": lambda s: {"reminders": True},
    "RemindersPut": lambda s: {"minutes": [60]},
    "ChatCallbackPut": lambda s: {"url": None},
    "PublicBookingCreate": lambda s: s.booking(guest={"name": "x"}) | {"notes": None},
}  # fmt: skip
"""A body for each type."""

QUERIES: Final[dict[str, Callable[[Side], str]]] = {
    "start": lambda s: s.place.at(1, day=301),
    "service_id": lambda s: s.ids["services"],
    "from": lambda s: s.place.day,
    "to": lambda s: s.place.day,
    "date": lambda s: s.place.day,
    "month": lambda s: s.place.day[:7],
}
"""A value for each parameter that has to be there."""


def _none(_: Side) -> dict[str, str]:
    return {}


class Probe:
    """One operation, as the description has it."""

    def __init__(self, method: str, path: str, operation: dict[str, Any]) -> None:
        self.method = method
        self.path = path
        self.guests = {"manageToken": []} in operation.get("security", ())
        self.visitors = operation.get("security") == [{}, {"bearer": []}] and operation["x-permission"] is not None
        self.is_open = operation["x-permission"] is None
        self.successes = {int(status) for status in operation["responses"] if status < "300"}
        self.parameters = re.findall(r"{(\w+)}", path)
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        self.body_type: str | None = content["schema"]["$ref"].rsplit("/", 1)[1] if content else None
        query = [p for p in operation.get("parameters", ()) if p["in"] == "query"]
        self.required = [p["name"] for p in query if p["required"]]
        self.optional = [p["name"] for p in query if not p["required"]]
        self.keyed = any(p["name"] == "Idempotency-Key" for p in operation.get("parameters", ()))
        self.relative = path.removeprefix(_BASE)

    @property
    def key(self) -> str:
        return f"{self.method} {self.relative}"

    @property
    def names_something(self) -> bool:
        return bool(self.parameters) or self.body_type in (
            "HoldCreate",
            "BookingCreate",
            "OfferingCreate",
            "SeriesCreate",
            "SeriesAsk",
            "WaitlistJoin",
        )

    def url(self, ids: dict[str, str]) -> str:
        area = self.relative.split("/")[0]
        if self.relative.startswith("users/me/sessions"):
            area = "sessions"
        path = self.path
        for name in self.parameters:
            found = ids.get(area if name == "id" else name)
            assert found, f"{self.key} has an id that tests/permissions/estate.py does not make: {area} {name}"
            path = path.replace("{" + name + "}", found)
        return path

    def body(self, side: Side, caller: Caller) -> Any:
        if self.body_type is None:
            return None
        assert self.body_type in BODIES, f"tests/permissions/probes.py has no body of the type {self.body_type}"
        body = BODIES[self.body_type](side)
        if caller.who.role == "client" and "guest" in body:
            # They book for themselves.
            del body["guest"]
        if caller.who.role is not None:
            body.pop("owner", None)
        return body

    async def ask(
        self,
        caller: Caller,
        side: Side,
        ids: dict[str, str] | None = None,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        query: dict[str, Any] | None = None,
    ) -> Answer:
        """The answer, under a request id that is always the same, so that answers can be compared."""
        sent = body if body is not None else self.body(side, caller)
        return await caller.api.request(
            self.method,
            self.url(ids or side.ids),
            sent,
            headers={"X-Request-ID": "the-same", **caller.headers, **(headers or {})},
            **{name: QUERIES[name](side) for name in self.required} | (query or ANYHOW.get(self.key, _none)(side)),
        )

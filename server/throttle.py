"""How much a caller may ask for: which quotas there are, whom they bind, and what answers say of them.

Requests of people at work and of programs are not counted unless somebody sets a quota for them.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Final

from protocol.errors import Refused
from protocol.people import Role
from server.principal import Principal
from storage.windows import Count, Quota, Windows

DEFAULTS: Final[dict[str, str]] = {
    "anonymous": "100/minute",
    "client": "300/minute",
    "staff": "off",
    "service": "off",
    "business": "6000/minute",
    "login": "30/minute;300/hour",
    "register": "10/minute;60/hour",
    "refresh": "60/minute",
    "codes": "10/minute;30/hour",
    "target": "5/hour;10/day",
    "failures": "10/minute;30/hour;100/day",
    "account": "100/hour",
    "views": "600/minute",
    "holds": "30/minute",
    "bookings": "20/minute",
}
"""By name, in the order of the table in `docs/operations.md`, which says whom each one binds."""

BOOKERS: Final = frozenset({"client", "public"})
"""Those whom the quotas of holds and bookings bind."""

_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_QUOTA: Final = re.compile(r"([1-9]\d{0,8})/(second|minute|hour|day)\Z")
_OF_ROLE: Final[dict[Role, str]] = {
    "client": "client", "user": "client", "owner": "staff", "manager": "staff", "professional": "staff",
    "super_admin": "staff", "service": "service",
}  # fmt: skip

_OF_CLIENTS: Final = ("business", "holds", "bookings", "views")


def quotas(text: str) -> dict[str, tuple[Quota, ...]]:
    """The quotas in force: `name=10/minute;50/hour, other=off` over the defaults, or `off` for none at all. Raises
    `ValueError`.
    """
    if text.strip().lower() == "off":
        return dict.fromkeys(DEFAULTS, ())
    given = dict(DEFAULTS)
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, sign, value = (p.strip() for p in part.partition("="))
        if name not in DEFAULTS:
            raise ValueError(f"{name!r} is none of {', '.join(DEFAULTS)}")
        if not sign or not value:
            raise ValueError(f"{name} needs a quota, as {name}=10/minute, or {name}=off")
        given[name] = value
    return {name: _quotas(name, value) for name, value in given.items()}


def _quotas(name: str, text: str) -> tuple[Quota, ...]:
    if text == "off":
        return ()
    found: list[Quota] = []
    for part in text.split(";"):
        match = _QUOTA.match(part.strip())
        if match is None:
            raise ValueError(f"{name}: {part.strip()!r} is no quota; write 10/minute, with second, minute, hour or day")
        found.append(Quota(int(match[1]), _SECONDS[match[2]]))
    return tuple(found)


class Spent:
    """What a request has used of which quotas, for its answer's headers."""

    __slots__ = ("_policies", "_states")

    def __init__(self) -> None:
        self._policies: list[str] = []
        self._states: list[str] = []

    def add(self, name: str, quota: Quota, count: Count) -> None:
        self._policies.append(f'"{name}";q={quota.amount};w={quota.window_s}')
        self._states.append(f'"{name}";r={count.remaining};t={math.ceil(count.reset_s)}')

    def headers(self) -> dict[str, str]:
        if not self._policies:
            return {}
        return {"RateLimit-Policy": ", ".join(self._policies), "RateLimit": ", ".join(self._states)}


class Throttle:
    def __init__(self, windows: Windows, in_force: Mapping[str, tuple[Quota, ...]]) -> None:
        self._windows = windows
        self._quotas = in_force
        # Callers of other roles are let through without a look.
        self.bound: frozenset[Role] = frozenset(
            role for role, name in _OF_ROLE.items()
            if in_force[name] or (role == "client" and any(in_force[n] for n in _OF_CLIENTS))
        )  # fmt: skip

    async def admit(self, spent: Spent, principal: Principal | None, address: str, what: str | None) -> None:
        """Counts a request of a role in `bound`, or of nobody known. `what` is the quota of its route. Raises
        `Refused(rate_limited)`.
        """
        if principal is None:
            await self.spend("anonymous", address, spent)
            caller = address
        else:
            caller = principal.token_id if principal.role == "service" else principal.subject
            await self.spend(_OF_ROLE[principal.role], caller, spent)
            if principal.role == "client":
                await self.spend("business", principal.business_id, spent)
        if what is not None and (principal is None or principal.role in BOOKERS):
            await self.spend(what, caller, spent)

    async def spend(self, name: str, key: str, spent: Spent | None = None) -> None:
        """Counts one of the quota of that name. Raises `Refused(rate_limited)` when it is used up."""
        found = self._quotas[name]
        for quota in found:
            # Windows of one length stand for one name; keys may be long, and are people's.
            hashed = hashlib.blake2b(key.encode(errors="replace"), digest_size=12).hexdigest()
            count = await self._windows.hit(f"{name}:{hashed}", quota)
            if spent is not None:
                spent.add(name if len(found) == 1 else f"{name}-{quota.window_s}", quota, count)
            if not count.allowed:
                wait = max(1, math.ceil(count.reset_s))
                raise Refused("rate_limited", _DETAIL.get(name, ""), retry_after_s=wait, extra={"quota": name})

    async def forgive(self, name: str, key: str) -> None:
        """As if nothing had been counted for that key."""
        hashed = hashlib.blake2b(key.encode(errors="replace"), digest_size=12).hexdigest()
        for quota in self._quotas[name]:
            await self._windows.forget(f"{name}:{hashed}", quota)


_DETAIL: Final = {
    "target": "too many codes were sent there",
    "failures": "too many wrong passwords",
    "account": "too many wrong passwords",
}

"""Pages of other origins (CORS): each business lists those that may read its answers in a browser.

A token is a secret of the page that sends it and no cookie, so credentials are never allowed, and `*` never said.
"""

import time
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from protocol.errors import Refused
from server.answer import Answer
from server.businesses import Businesses
from server.principal import Principal
from storage.businesses import allowed_origins
from storage.postgres import Database

_TTL_S: Final = 5.0
_ASKING_S: Final = 1.0
_REMEMBERED_MAX: Final = 100_000
_MAX_AGE_S: Final = 600
_ASKED: Final = "Authorization, Content-Type, Idempotency-Key, If-Match, X-Manage-Token, X-Request-ID"
_TOLD: Final = "ETag, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-ID"


class Origins:
    def __init__(self, database: Database, known: Businesses) -> None:
        self._database = database
        self._businesses = known
        self._listed: frozenset[str] = frozenset()
        self._until = 0.0
        self._forgotten = 0

    def forget(self, _: Sequence[str]) -> None:
        self._until = 0.0
        self._forgotten += 1

    async def preflight(self, request: web.BaseRequest, allow: str, request_id: str) -> Answer:
        """What a browser asks before it sends the real request, which alone says whose business it is about. Raises
        `Refused(forbidden)` for an origin that no business lists.
        """
        origin = request.headers.get("Origin")
        if origin is None or "Access-Control-Request-Method" not in request.headers:
            return Answer(b"", 204, {"X-Request-ID": request_id, "Allow": allow})
        if not await self._is_listed(origin):
            raise Refused("forbidden", "no business lists this page's origin")
        return Answer(
            b"",
            204,
            {
                "X-Request-ID": request_id,
                "Access-Control-Allow-Origin": origin,
                "Access-Control-Allow-Methods": allow,
                "Access-Control-Allow-Headers": _ASKED,
                "Access-Control-Max-Age": str(_MAX_AGE_S),
            },
        )

    async def headers(self, origin: str, principal: Principal | None, slug: str | None) -> dict[str, str]:
        """What lets a page of that origin read the answer: nothing, unless the business of the token, or of the path,
        lists it; where the request names none, some business has to.
        """
        try:
            allowed = await self._allows(origin, principal, slug)
        except Refused:
            # The answer is the same; only another page cannot read it now.
            return {}
        return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": _TOLD} if allowed else {}

    async def _allows(self, origin: str, principal: Principal | None, slug: str | None) -> bool:
        if not await self._is_listed(origin):
            return False
        if principal is not None and principal.business_id:
            business = await self._businesses.get(principal.business_id)
            return business is not None and origin in business.allowed_origins
        if slug is not None:
            business = await self._businesses.public(slug)
            return business is not None and origin in business.allowed_origins
        return True

    async def _is_listed(self, origin: str) -> bool:
        now = time.monotonic()
        if self._until < now:
            if self._listed:
                # Whoever else comes meanwhile goes on with what was known.
                self._until = now + _ASKING_S
            forgotten = self._forgotten
            self._listed = frozenset(await allowed_origins(self._database, _REMEMBERED_MAX))
            # What was read may be from before a change that was told meanwhile.
            self._until = now + _TTL_S if forgotten == self._forgotten else 0.0
        return origin in self._listed

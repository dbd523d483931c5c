"""Tickets: what a browser puts into the address of a live connection, where a token would be logged.

A ticket is signed, so any node can read it; it is good for seconds, and once: its id goes into a table of the database
that all nodes share. Those that come while a statement is under way share the next one.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

from protocol import limits
from protocol.errors import Refused
from server.auth import Auth, claims_of, principal_of
from server.principal import Principal
from storage.postgres import Database
from storage.tickets import use_tickets

_KIND: Final = "ticket+jwt"

Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]


class Tickets:
    def __init__(self, auth: Auth, database: Database, spawn: Spawn) -> None:
        self._auth = auth
        self._database = database
        self._spawn = spawn
        self._waiting: dict[str, asyncio.Future[bool]] = {}
        self._using: asyncio.Task[None] | None = None

    def issue(self, principal: Principal) -> str:
        return self._auth.sign_claims(_KIND, {"for": claims_of(principal)}, limits.ticket_ttl_s)

    async def redeem(self, ticket: str) -> Principal:
        """Whom the ticket was made for. Raises `Refused(unauthorized)`."""
        claims = self._auth.verify_claims(_KIND, ticket)
        principal = principal_of(claims["for"])
        self._auth.check(principal)
        if not await self._use(claims["jti"]):
            raise Refused("unauthorized", "the ticket was used before")
        # Whoever was signed out meanwhile was not told to close a connection that is not there yet.
        self._auth.check(principal)
        return principal

    async def _use(self, ticket_id: str) -> bool:
        """Whether nobody has used it before, here or on another node."""
        if ticket_id in self._waiting:
            return False
        if len(self._waiting) >= limits.tickets_waiting_max:
            raise Refused("overloaded", "too many connections are being opened")
        outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[ticket_id] = outcome
        if self._using is None or self._using.done():
            self._using = self._spawn(self._use_all(), "tickets")
        # The task goes on for the others when one of them is not waited for any more.
        return await outcome

    async def _use_all(self) -> None:
        while self._waiting:
            # Until the answer is there they stay in the dictionary, so that none of them is let in twice.
            batch = dict(self._waiting)
            try:
                used = await use_tickets(self._database, list(batch), limits.ticket_ttl_s)
                for ticket_id, outcome in batch.items():
                    if not outcome.done():
                        outcome.set_result(ticket_id in used)
            except Exception as error:
                for outcome in batch.values():
                    if not outcome.done():
                        outcome.set_exception(error)
            for ticket_id in batch:
                del self._waiting[ticket_id]

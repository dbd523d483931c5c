"""Tickets: made by one node, used on any, once."""

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import jwt
import pytest

from protocol import limits
from protocol.errors import Refused
from server.auth import Auth
from server.keyring import KeyRing
from server.principal import Principal
from server.tickets import Tickets
from storage.meter import Meter
from storage.postgres import Database
from tests.conftest import business_of
from tests.rest.helpers import NOBODY, problem
from tests.rest.people import new_user, signed_in
from tests.support.live import PATH
from tests.support.postgres import TestPostgres
from tests.support.server import SECRET, Api, RunningServer, token_for

PERSON = Principal(
    "someone", NOBODY, "manager", float(int(time.time()) + 900), "a-token", locations=frozenset({NOBODY})
)


class Node:
    """As much of one as tickets need."""

    def __init__(self, database: Database, keys: KeyRing | None = None) -> None:
        self.auth = Auth(SECRET, keys)
        self.tickets = Tickets(self.auth, database, lambda work, name: asyncio.create_task(work, name=name))
        self.database = database


class Silent(Meter):
    def batch(self, events: int, seconds: float) -> None: ...
    def refused(self, reason: str) -> None: ...
    def query(self, seconds: float) -> None: ...


@pytest.fixture
async def nodes(postgres: TestPostgres) -> AsyncIterator[list[Node]]:
    """Two nodes that share a database and a secret."""
    dsn = await postgres.new_database()
    found = [Node(await Database.open(dsn, 3, Silent())) for _ in range(2)]
    yield found
    for node in found:
        await node.database.close()


async def redeemed(node: Node, ticket: str) -> bool:
    try:
        return (await node.tickets.redeem(ticket)).subject == "someone"
    except Refused as refused:
        return {"unauthorized": False}[refused.code]


async def test_another_node_takes_it_and_nobody_takes_it_twice(nodes: list[Node]) -> None:
    one, two = nodes
    ticket = one.tickets.issue(PERSON)
    assert await two.tickets.redeem(ticket) == PERSON
    assert [await redeemed(node, ticket) for node in (one, two)] == [False, False]


async def test_of_many_who_share_it_on_two_nodes_one_gets_in(nodes: list[Node]) -> None:
    """Fifty tickets, each shown ten times to each node at once."""
    tickets = [nodes[n % 2].tickets.issue(PERSON) for n in range(50)]
    found = await asyncio.gather(*(redeemed(node, t) for t in tickets for node in nodes for _ in range(10)))
    assert sum(found) == 50
    for n in range(50):
        assert sum(found[n * 20 : n * 20 + 20]) == 1


async def test_many_share_a_statement(nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    """A storm of connections costs the database few statements, and the pool one connection."""
    node, statements = nodes[0], 0
    fetch = node.database.fetch

    async def counted(query: str, *args: object) -> object:
        nonlocal statements
        statements += 1
        return await fetch(query, *args)

    monkeypatch.setattr(node.database, "fetch", counted)
    tickets = [node.tickets.issue(PERSON) for _ in range(500)]
    assert all(await asyncio.gather(*(redeemed(node, t) for t in tickets)))
    assert statements < 50


async def test_it_ends_with_what_it_was_made_for(nodes: list[Node]) -> None:
    """A session that ended, a token that expired, another server's secret, another kind of token: none opens."""
    one, two = nodes
    ticket = one.tickets.issue(PERSON)
    two.auth.end_sessions(["a-token"])
    assert not await redeemed(two, ticket)
    assert await redeemed(one, ticket)
    brief = Principal("someone", NOBODY, "owner", time.time() + 1)
    ticket = one.tickets.issue(brief)
    await asyncio.sleep(1.1)
    assert not await redeemed(one, ticket)
    stranger = Node(one.database, KeyRing.of_secret("another-secret-that-is-long-enough-0123456789"))
    assert not await redeemed(one, stranger.tickets.issue(PERSON))
    assert not await redeemed(one, one.auth.issue(PERSON))
    with pytest.raises(Refused):
        one.auth.verify(one.tickets.issue(PERSON))


async def test_without_a_database_nobody_gets_in(nodes: list[Node]) -> None:
    """Whether it was used before cannot be known then; it is not used up by that."""
    one, two = nodes
    ticket = one.tickets.issue(PERSON)
    await one.database.close()
    with pytest.raises(Refused) as caught:
        await one.tickets.redeem(ticket)
    assert caught.value.code == "unavailable"
    assert await redeemed(two, ticket)


async def opened(http: aiohttp.ClientSession, server: RunningServer, ticket: str) -> int:
    try:
        async with http.ws_connect(server.url + PATH, params={"ticket": ticket}):
            return 101
    except aiohttp.WSServerHandshakeError as error:
        return error.status


async def test_a_restart_neither_loses_tickets_nor_revives_them(
    fresh_server: RunningServer, http: aiohttp.ClientSession
) -> None:
    """The next process is as another node: it takes what is unused, and nothing that was used."""
    fresh_server.start()
    api = Api(fresh_server, http, token_for(await business_of(fresh_server.dsn)))
    used, unused = [(await api.made("auth/ticket", {}))["ticket"] for _ in range(2)]
    assert await opened(http, fresh_server, used) == 101
    fresh_server.kill()
    fresh_server.start()
    assert await opened(http, fresh_server, used) == 401
    assert [await opened(http, fresh_server, unused) for _ in range(2)] == [101, 401]


async def test_a_ticket_is_short_lived_and_no_token(server: RunningServer, api: Api) -> None:
    """It names its kind; access tokens are no tickets either."""
    made = await api.made("auth/ticket", {})
    claims = jwt.decode(made["ticket"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] <= limits.ticket_ttl_s + 1
    problem(await api.with_token(made["ticket"]).get("clients"), "unauthorized")
    assert await opened(api.session, server, api.token or "") == 401


async def test_a_session_that_was_ended_leaves_no_ticket(server: RunningServer, api: Api, db: object) -> None:
    user = await new_user(db)  # type: ignore[arg-type]
    business = await business_of(server.dsn)
    caller, _ = await signed_in(api, user, business=business)
    ticket = (await caller.made("auth/ticket", {}))["ticket"]
    assert (await caller.post("auth/logout")).status == 204
    assert await opened(api.session, server, ticket) == 401

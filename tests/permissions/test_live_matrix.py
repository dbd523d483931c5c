"""Each live message × each caller × each place, against the page; and the same for server-sent events."""

from collections.abc import Callable
from typing import Any, Final

import aiohttp
import asyncpg
import pytest

from server import openapi
from server.app import endpoints
from tests.permissions.estate import SIDES, Caller, Estate, Side
from tests.permissions.page import ALLOWED, Who, document_operations, expected, page
from tests.permissions.probes import NOBODYS, Probe
from tests.permissions.targets import FRESH
from tests.support.live import LiveClient
from tests.support.server import RunningServer

MESSAGES: Final[dict[str, Callable[[Side], dict[str, Any]]]] = {
    "subscribe": lambda s: {"professional_id": s.ids["professionals"], "from": s.place.day, "to": s.place.day},
    "hold": lambda s: s.hold() | {"client_id": None},
    "book": lambda s: s.booking(guest={"name": "x"}) | {"notes": None},
    "book_series": lambda s: s.series() | {"guest": {"name": "x"}},
    "wait": lambda s: s.wait() | {"guest": {"name": "x"}},
    "release": lambda s: {"hold_id": s.ids["holds"]},
    "confirm": lambda s: {"booking_id": s.ids["bookings"]},
    "cancel": lambda s: {"booking_id": s.ids["bookings"]},
    "reschedule": lambda s: {"booking_id": s.ids["bookings"], "start": s.start()},
}
AS_OVER_REST: Final = {
    "release": "DELETE holds/{id}",
    "confirm": "POST bookings/{id}/confirm",
    "cancel": "POST bookings/{id}/cancel",
    "reschedule": "POST bookings/{id}/reschedule",
}
VISITOR: Final = Who("visitor", "public")


@pytest.fixture
async def sockets(server: RunningServer, http: aiohttp.ClientSession, estate: Estate) -> Any:
    """A connection for everybody who gets one, by the caller's name."""
    found = {}
    for name, caller in estate.callers.items():
        role = caller.who.role
        if role is None or page().levels["live.connect"][role] == "—":
            continue
        if caller.who.scopes is not None and "live.connect" not in caller.who.scopes:
            continue
        found[name] = await LiveClient(http, server.url).connect()
        await found[name].done("auth", token=caller.api.token)
    found["visitor"] = await LiveClient(http, server.url, origin=server.url).connect()
    yield found
    for client in found.values():
        await client.close()


async def told(client: LiveClient, tag: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The answer: `subscribed`, or a reply."""
    before = len(client.messages)
    id_ = await client.send(tag, **fields)
    return await client.next(lambda m: m["type"] in ("subscribed", "reply") and m["id"] == id_, before=before)


def status_of(answer: dict[str, Any]) -> int:
    return answer["problem"]["status"] if answer["type"] == "reply" and not answer["ok"] else ALLOWED


def without_ids(answer: dict[str, Any]) -> dict[str, Any]:
    return answer["problem"] | {"request_id": None}


@pytest.mark.parity("C4")
@pytest.mark.parametrize("tag", page().messages)
async def test_everybody_gets_what_the_page_says(
    estate: Estate, sockets: dict[str, LiveClient], db: asyncpg.Connection, tag: str
) -> None:
    wrong = []
    for name, client in sockets.items():
        caller = estate.callers.get(name) or Caller(VISITOR, estate.callers["no token"].api)
        for side in SIDES:
            target = estate.sides[side]
            status = expected(page().messages[tag], caller.who, side, names_something=True)
            ids = target.ids
            if status == ALLOWED and tag in AS_OVER_REST:
                _, ids = await FRESH[AS_OVER_REST[tag]](caller, target, db)
            fields = _of(tag, target, caller, ids)
            answer = await told(client, tag, fields)
            if status_of(answer) != status:
                wrong.append(f"{name} → {side}: {answer}, not {status}")
            elif status == 404:
                nobodys = {k: NOBODYS if k.endswith("_id") and v in ids.values() else v for k, v in fields.items()}
                nobody = await told(client, tag, nobodys)
                if without_ids(nobody) != without_ids(answer):
                    wrong.append(f"{name} → {side}: {answer}, but of nobody's id {nobody}")
        heard = str(client.messages)
        wrong += [f"{name} is told of {hidden}" for hidden in estate.hidden_from(caller.who) if hidden in heard]
    assert not wrong, "\n".join(["", *wrong])


def _of(tag: str, side: Side, caller: Caller, ids: dict[str, str]) -> dict[str, Any]:
    fields = MESSAGES[tag](side)
    fields |= {k: ids["holds" if k == "hold_id" else "bookings"] for k in ("hold_id", "booking_id") if k in fields}
    if caller.who.role == "client":
        fields.pop("guest", None)
    return fields


async def test_who_has_no_live_connection_gets_none(
    server: RunningServer, http: aiohttp.ClientSession, estate: Estate
) -> None:
    """Without login nothing is done; a login without the permission ends the connection, and makes no ticket."""
    for caller in estate.callers.values():
        if caller.who.business == "second" or caller.headers:
            continue
        status = expected(page().operations["POST", "/api/v1/auth/ticket"], caller.who, "here", names_something=False)
        client = await LiveClient(http, server.url).connect()
        if status == ALLOWED:
            await client.done("auth", token=caller.api.token)
        elif caller.who.name == "no token":
            for tag, fields in MESSAGES.items():
                assert (await client.problem(tag, **fields(estate.sides["here"])))["status"] == status, tag
        else:
            assert (await client.problem("auth", token=caller.api.token))["status"] == status, caller.who
            await client.closed()
        await client.close()


@pytest.mark.parity("C4")
async def test_server_sent_events_need_what_subscribing_does(estate: Estate) -> None:
    row = page().messages["subscribe"]
    [ticket] = [
        Probe(*o)
        for o in document_operations(openapi.document(endpoints(None)))
        if o[:2] == ("POST", "/api/v1/auth/ticket")
    ]
    for caller in estate.callers.values():
        for side in SIDES:
            asked = await ticket.ask(caller, estate.sides[side])
            if asked.status != 201:
                continue
            status = expected(row, caller.who, side, names_something=True)
            fields = MESSAGES["subscribe"](estate.sides[side])
            url = f"{caller.api.server.url}/api/v1/live/sse"
            async with caller.api.session.get(url, params={**fields, "ticket": asked.json["ticket"]}) as response:
                assert response.status == status, (caller.who, side, await response.text())

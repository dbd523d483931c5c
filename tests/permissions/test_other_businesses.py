"""No id, cursor or key of another business does anything: it is as if nobody had it.

Generated from the description: a new field, parameter or list is asked for here as soon as it is described.
"""

import uuid
from typing import Any, Final

import asyncpg
import pytest

from protocol.bodies import UUID_PATTERN
from server import openapi
from server.app import endpoints
from tests.permissions.estate import Caller, Estate, Side
from tests.permissions.page import ALLOWED, document_operations, expected, page, row_of
from tests.permissions.probes import NOBODYS, Probe
from tests.permissions.targets import FRESH
from tests.permissions.test_matrix import leaks, rows_of, same
from tests.support.live import LiveClient
from tests.support.server import Answer

DOCUMENT: Final = openapi.document(endpoints(None))
PROBES: Final = [Probe(*operation) for operation in document_operations(DOCUMENT)]
AREAS: Final = {
    "professional_id": "professionals",
    "professional_ids": "professionals",
    "resource_ids": "professionals",
    "service_id": "services",
    "client_id": "clients",
    "booking_id": "bookings",
    "hold_id": "holds",
    "location_id": "locations",
    "location_ids": "locations",
    "user_id": "users",
}
"""Whose ids a field or parameter takes."""
NOT_OF_A_BUSINESS: Final = {
    "POST memberships user_id": "people belong to no business; whoever knows their id may employ them",
    "POST auth/verify/confirm verification_id": "a code belongs to an address",
}


def _takes_ids(schema: dict[str, Any]) -> bool:
    inner = [schema, schema.get("items", {}), *schema.get("anyOf", ())]
    return any(s.get("pattern") == UUID_PATTERN for s in inner)


def fields_of(probe: Probe) -> list[tuple[str, bool]]:
    """The fields of the body that take an id, and whether they take several."""
    if probe.body_type is None:
        return []
    properties = DOCUMENT["components"]["schemas"][probe.body_type]["properties"]
    return [
        (name, any("items" in s for s in (schema, *schema.get("anyOf", ()))))
        for name, schema in properties.items()
        if _takes_ids(schema) or any(_takes_ids(s) for s in schema.get("anyOf", ()))
    ]


def queries_of(probe: Probe) -> list[str]:
    found = DOCUMENT["paths"][probe.path][probe.method.lower()].get("parameters", ())
    return [p["name"] for p in found if p["in"] == "query" and _takes_ids(p["schema"])]


def asker_of(estate: Estate, probe: Probe) -> tuple[Caller, Side]:
    """Somebody of the first business who is let in on the route."""
    row = row_of(probe.method, probe.path)
    for name in ("owner", "professional of here", "manager"):
        caller = estate.callers[name]
        if expected(row, caller.who, "here", names_something=True) == ALLOWED:
            return caller, estate.sides["here"]
    return estate.callers["super_admin"], estate.sides["here"]


def as_nobodys(answer: Answer, id_: str) -> tuple[int, bytes]:
    return answer.status, answer.body.replace(id_.encode(), NOBODYS.encode())


BODY_CASES: Final = [
    (p, *field) for p in PROBES for field in fields_of(p) if f"{p.key} {field[0]}" not in NOT_OF_A_BUSINESS
]


@pytest.mark.parametrize(("probe", "field", "several"), BODY_CASES, ids=[f"{p.key} {f}" for p, f, _ in BODY_CASES])
async def test_a_body_names_nothing_of_another_business(
    estate: Estate, db: asyncpg.Connection, probe: Probe, field: str, several: bool
) -> None:
    """Refused as an id that nobody has is, word for word, and nothing is written."""
    assert field in AREAS, f"tests/permissions/test_other_businesses.py does not know what {field} takes"
    caller, side = asker_of(estate, probe)
    theirs = estate.sides["foreign"].ids[AREAS[field]]
    body = probe.body(side, caller)
    if field == "client_id":
        body.pop("guest", None)
    before = await rows_of(db, estate)
    one, other = [
        await probe.ask(caller, side, body=body | {field: [id_] if several else id_}) for id_ in (theirs, NOBODYS)
    ]
    assert one.status in (403, 404, 409, 422), one
    assert as_nobodys(one, theirs) == (other.status, other.body)
    assert await rows_of(db, estate) == before


QUERY_CASES: Final = [(p, name) for p in PROBES for name in queries_of(p)]


@pytest.mark.parametrize(("probe", "name"), QUERY_CASES, ids=[f"{p.key} {n}" for p, n in QUERY_CASES])
async def test_a_filter_finds_nothing_of_another_business(estate: Estate, probe: Probe, name: str) -> None:
    """Nothing, or not found: as for an id that nobody has."""
    if name == "business_id":
        theirs = estate.sides["foreign"].business_id
    else:
        assert name in AREAS, f"tests/permissions/test_other_businesses.py does not know what {name} takes"
        theirs = estate.sides["foreign"].ids[AREAS[name]]
    caller, side = asker_of(estate, probe)
    one, other = [await probe.ask(caller, side, query={name: id_}) for id_ in (theirs, NOBODYS)]
    assert as_nobodys(one, theirs) == (other.status, other.body)
    if one.status == 200:
        found = one.json.get("items", one.json.get("slots"))
        assert found == []


@pytest.mark.parametrize("probe", [p for p in PROBES if len(p.parameters) > 1], ids=lambda p: p.key)
async def test_an_inner_id_is_of_the_same_business(estate: Estate, probe: Probe) -> None:
    """A path whose first id is one's own opens no second one of another business, nor of another professional."""
    caller, side = asker_of(estate, probe)
    for elsewhere in ("foreign", "there"):
        for name in probe.parameters[1:]:
            theirs = estate.sides[elsewhere].ids[name]
            one = await probe.ask(caller, side, side.ids | {name: theirs})
            other = await probe.ask(caller, side, side.ids | {name: NOBODYS})
            assert one.status == 404, one
            assert same(one, other)


ITS_OWNERS: Final = (("owner", "here"), ("owner of the other business", "foreign"))


def _is_a_businesss(probe: Probe) -> bool:
    """Whether an owner may see it, and the request says whose it is."""
    row = row_of(probe.method, probe.path)
    level = page().levels[row.permission]["owner"] if row.permission else "any"
    return level != "—" and ("{slug}" in probe.path or row.permission is not None)


LISTS: Final = [p for p in PROBES if "cursor" in p.optional and _is_a_businesss(p)]


@pytest.mark.parametrize("probe", LISTS, ids=lambda p: p.key)
async def test_a_cursor_of_another_business_shows_nothing_of_it(estate: Estate, probe: Probe) -> None:
    """A cursor is a place in an order; whose list it is, the login says."""
    pages = {
        name: (await probe.ask(estate.callers[name], estate.sides[side], query={"limit": 1})).json
        for name, side in ITS_OWNERS
    }
    for (name, side), (other, _) in (ITS_OWNERS, ITS_OWNERS[::-1]):
        cursor = pages[other]["next_cursor"]
        if cursor is None:
            continue
        caller = estate.callers[name]
        answer = await probe.ask(caller, estate.sides[side], query={"cursor": cursor})
        assert answer.status in (200, 400), answer
        assert leaks(estate, caller, answer) == []


KEYED: Final = [p for p in PROBES if p.keyed and row_of(p.method, p.path).permission is not None]


@pytest.mark.parametrize("probe", KEYED, ids=lambda p: p.key)
async def test_a_key_of_another_business_answers_nothing_of_it(
    estate: Estate, db: asyncpg.Connection, probe: Probe
) -> None:
    """Whoever has guessed a key gets their own answer, not the one that was kept."""
    caller, side = asker_of(estate, probe)
    stranger = estate.callers["owner of the other business"]
    ids, key = side.ids, {"Idempotency-Key": uuid.uuid4().hex}
    if probe.key in FRESH:
        caller, ids = await FRESH[probe.key](caller, side, db)
    body = probe.body(side, caller)
    first = await probe.ask(caller, side, ids, body, headers=key)
    assert first.status < 500, first
    again = await probe.ask(caller, side, ids, body, headers=key)
    assert (again.status, again.body) == (first.status, first.body), "the key was kept"
    answer = await probe.ask(stranger, side, ids, body, headers=key)
    assert leaks(estate, stranger, answer) == []
    if first.body and first.status < 300:
        assert answer.body != first.body


async def test_a_manage_token_is_no_way_into_another_business(estate: Estate) -> None:
    """A login stays in its own business, whatever it shows."""
    here, stranger = estate.sides["here"], estate.callers["owner of the other business"]
    booked = await here.owner.made("bookings", here.booking(guest={"name": "Guest"}))
    shown = {"X-Manage-Token": booked["manage_token"]}
    assert (await stranger.api.get(f"bookings/{booked['id']}", headers=shown)).status == 404
    assert (await stranger.api.with_token(None).get(f"bookings/{booked['id']}", headers=shown)).status == 200


async def test_a_service_of_another_business_is_not_watched(estate: Estate) -> None:
    """Over live by the service as well, which means all professionals who offer it."""
    api = estate.callers["owner"].api
    client = await LiveClient(api.session, api.server.url).connect()
    await client.done("auth", token=api.token)
    day = estate.sides["here"].place.day
    answers = []
    for id_ in (estate.sides["foreign"].ids["services"], NOBODYS):
        problem = await client.problem("subscribe", service_id=id_, from_=day, to=day)
        answers.append(problem | {"request_id": None})
    assert answers[0] == answers[1]
    assert answers[0]["status"] == 404
    await client.close()


def test_the_search_for_ids_finds_them() -> None:
    """The tests above are made from what is described, so what is described has to be found."""
    assert {"professional_id", "service_id", "client_id", "hold_id", "professional_ids"} <= {c[1] for c in BODY_CASES}
    assert {"professional_id", "client_id", "service_id", "business_id"} <= {c[1] for c in QUERY_CASES}
    assert {p.key for p in LISTS} >= {"GET clients", "GET bookings", "GET users"}
    assert {p.key for p in KEYED} >= {"POST clients", "POST bookings", "PUT professionals/{id}/schedule"}

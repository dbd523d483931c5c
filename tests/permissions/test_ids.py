"""Whatever an id looks like, and whatever stands where a token should."""

import asyncpg
import pytest

from server import openapi
from server.app import endpoints
from tests.permissions.estate import Estate
from tests.permissions.page import ALLOWED, document_operations, expected, page, row_of
from tests.permissions.probes import QUERIES, Probe
from tests.permissions.targets import FRESH, OTHERWISE
from tests.rest.helpers import problem, send
from tests.support.server import Api, token_for

PROBES = [Probe(*operation) for operation in document_operations(openapi.document(endpoints(None)))]
WITH_ID = [p for p in PROBES if p.parameters]
WITH_LOGIN = [p for p in PROBES if not p.is_open]
NO_IDS = ("x", "%00", "..%2f..%2fetc%2fpasswd", "BK-AAAAAAAA", "'%20OR%201=1", "😀", "%ff", "x" * 500)


NAMES = {"slug", "file", "link"}
"""Parameters that are no ids."""


def asker(estate: Estate, probe: Probe) -> Api:
    """Who is let in: the owner, or a super admin."""
    permission = row_of(probe.method, probe.path).permission
    owned = permission is None or page().levels[permission]["owner"] != "—"
    return estate.callers["owner" if owned else "super_admin"].api


@pytest.mark.parity("A1")
@pytest.mark.parametrize("probe", WITH_ID, ids=lambda p: p.key)
async def test_what_is_no_id_is_not_found(estate: Estate, probe: Probe) -> None:
    """404 on every route with an id, also for what would climb out of the path or into a statement."""
    caller, side = estate.callers["owner"], estate.sides["here"]
    api = asker(estate, probe)
    for other in NO_IDS:
        body = probe.body(side, caller)
        url = probe.url(dict.fromkeys([*side.ids, "sessions"], other))
        query = {name: QUERIES[name](side) for name in probe.required}
        problem(await api.request(probe.method, url, body, **query), "not_found")


@pytest.mark.parametrize("probe", [p for p in WITH_ID if not NAMES & set(p.parameters)], ids=lambda p: p.key)
async def test_an_id_in_capitals_is_the_same_id(estate: Estate, db: asyncpg.Connection, probe: Probe) -> None:
    """RFC 9562: hexadecimal digits in either case."""
    side = estate.sides["here"]
    names = [
        name
        for name in ("owner", "super_admin")
        if expected(row_of(probe.method, probe.path), estate.callers[name].who, "here", names_something=True) == ALLOWED
    ]
    caller, ids = estate.callers[names[0]], side.ids
    if probe.key in FRESH:
        caller, ids = await FRESH[probe.key](caller, side, db)
    answer = await probe.ask(caller, side, {name: value.upper() for name, value in ids.items()})
    assert answer.status in OTHERWISE.get(probe.key, probe.successes), answer


@pytest.mark.parametrize("probe", WITH_LOGIN, ids=lambda p: p.key)
async def test_a_bad_token_is_refused_before_anything_is_looked_at(estate: Estate, probe: Probe) -> None:
    """401 for no token, for one of another server and for one that has ended, however bad the rest of the request."""
    side = estate.sides["here"]
    url = probe.url(side.ids | {"sessions": side.ids["users"]})
    old, forged = token_for(side.business_id, ttl_s=-1), token_for(side.business_id, secret="x" * 40)
    # Without any, a guest or visitor may show something else, which has to be read first.
    for token in ("garbage", old, forged, *(() if probe.guests or probe.visitors else (None,))):
        api = side.owner.with_token(token)
        problem(await api.request(probe.method, url, nothing="x"), "unauthorized")
        if probe.body_type is not None:
            problem(await send(api, probe.method, url, b"{not json"), "unauthorized")

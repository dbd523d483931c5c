"""What schemathesis makes of the description: whatever it sends, no failure of the server, and answers as described.

It invents requests from `/openapi.json`; half of them are about something that exists, or they would end at 404.
`SLOTCAST_PROVE=long` sends many more, `SLOTCAST_TEST_SEED=…` the same ones again.
"""

import asyncio
import os
import random
import zlib
from collections.abc import Iterator
from typing import Any, Final

import aiohttp
import asyncpg
import hypothesis
import pytest
import requests
import schemathesis
from schemathesis.specs.openapi import checks

from server import openapi
from server.app import endpoints
from tests.permissions.estate import Estate, build
from tests.permissions.page import page, row_of
from tests.permissions.probes import QUERIES
from tests.support.server import Api, RunningServer, token_for

LONG: Final = os.environ.get("SLOTCAST_PROVE") == "long"
# Processes of one run have to collect the same tests, so they draw from what they have in common.
SEED: Final = int(
    os.environ.get("SLOTCAST_TEST_SEED")
    or (random.Random(os.environ.get("PYTEST_XDIST_TESTRUNUID")).randrange(10**6) if LONG else 1)
)
EXAMPLES: Final = 50 if LONG else 3
COMBINED: Final = 1 if LONG else 10
"""One operation in so many, another part each time, is asked with every combination that the description allows."""
WITHOUT_LOGIN: Final = 1 if LONG else 3
"""One operation in so many is asked without a login, which gets no further than 401 on most."""


def _described(one_in: int = 1, *, thorough: bool = False) -> Any:
    schema = schemathesis.openapi.from_dict(openapi.document(endpoints(None)))
    schema.config.generation.update(modes=list(schemathesis.GenerationMode))
    schema.config.phases.coverage.enabled = thorough
    # Those of the description are looked at in test_description.py.
    schema.config.phases.examples.enabled = False
    return schema.include(func=lambda found: zlib.crc32(f"{SEED} {found.operation.label}".encode()) % one_in == 0)


ALL: Final = _described()
THOROUGH: Final = _described(COMBINED, thorough=True)
OPEN: Final = _described(WITHOUT_LOGIN)
AS_DESCRIBED: Final = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
AREAS: Final = {"professional_id": "professionals", "service_id": "services", "client_id": "clients"}
WAIT_S: Final = 20

ENDS: Final = {
    "DELETE businesses/{id}": "closes the business of the run",
    "POST admin/businesses/{id}/suspend": "closes it for bookings",
    "DELETE memberships/{id}": "takes a member from it",
    "DELETE professionals/{id}": "takes the calendar that everything is about",
    "DELETE services/{id}": "takes what is booked",
    "DELETE professionals/{id}/services/{service_id}": "takes what is booked",
    "DELETE clients/{id}": "takes whom it is booked for",
    "POST clients/{id}/erase": "takes whom it is booked for",
}
"""Asked about nothing that exists, with the reason: the rest of the run would find nothing left."""


@pytest.fixture(scope="session")
def fuzzed(server: RunningServer) -> Estate:
    """Businesses of the run's own, because they will not look the same afterwards."""

    print(f"replay: SLOTCAST_TEST_SEED={SEED}")  # noqa: T201

    async def made() -> Estate:
        db = await asyncpg.connect(server.dsn)
        try:
            async with aiohttp.ClientSession() as session:
                return await build(Api(server, session, None), db)
        finally:
            await db.close()

    return asyncio.run(made())


@pytest.fixture(scope="session")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def aim(case: schemathesis.Case, estate: Estate) -> None:
    """Points every other request at something that exists."""
    invented = repr((case.path_parameters, case.query, case.body)).encode(errors="replace")
    if zlib.crc32(invented) % 2 or case.operation.label.replace("/api/v1/", "") in ENDS:
        return
    side = estate.sides["here"]
    ids = side.ids
    area = case.path.removeprefix("/api/v1/").split("/")[0]
    for name in case.path_parameters or {}:
        found = ids.get(area if name == "id" else name)
        if found is not None:
            case.path_parameters[name] = found
    if isinstance(case.query, dict):
        case.query |= {name: value(side) for name, value in QUERIES.items() if name in case.query}
    if isinstance(case.body, dict):
        known = {name: ids[area] for name, area in AREAS.items()}
        known |= {"start": side.start(), "time_zone": "UTC"}
        # One that is invented stands in the way of all the rest.
        for name in ("hold_id", "if_version", "attendees", "client_id" if case.body.get("guest") else "guest"):
            case.body.pop(name, None)
        case.body |= {name: value for name, value in known.items() if name in case.body}


def judge(case: schemathesis.Case, session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    response = case.call(base_url=url, session=session, headers=headers, timeout=WAIT_S)
    case.validate_response(response, checks=AS_DESCRIBED)
    return response


def as_owner(case: schemathesis.Case, server: RunningServer, fuzzed: Estate, session: requests.Session) -> None:
    """Or as a super admin, where an owner would only hear that they are none."""
    aim(case, fuzzed)
    permission = row_of(case.operation.method.upper(), case.path).permission
    owned = permission is None or page().levels[permission]["owner"] != "—"
    role, business_id = ("owner", fuzzed.sides["here"].business_id) if owned else ("super_admin", "")
    user = fuzzed.callers[role].user or {}
    token = token_for(business_id, role, subject=user["id"])
    judge(case, session, server.url, {"Authorization": f"Bearer {token}"})


@hypothesis.seed(SEED)
@hypothesis.settings(max_examples=EXAMPLES, database=None)
@ALL.parametrize()
def test_an_owner_may_send_anything(
    case: schemathesis.Case, server: RunningServer, fuzzed: Estate, session: requests.Session
) -> None:
    as_owner(case, server, fuzzed, session)


@hypothesis.seed(SEED)
@hypothesis.settings(max_examples=1, database=None)
@THOROUGH.parametrize()
def test_an_owner_may_send_every_combination(
    case: schemathesis.Case, server: RunningServer, fuzzed: Estate, session: requests.Session
) -> None:
    as_owner(case, server, fuzzed, session)


@hypothesis.seed(SEED)
@hypothesis.settings(max_examples=EXAMPLES, database=None)
@OPEN.parametrize()
def test_anybody_may_send_anything(
    case: schemathesis.Case, server: RunningServer, fuzzed: Estate, session: requests.Session
) -> None:
    """And learns nothing where a login is needed."""
    aim(case, fuzzed)
    response = judge(case, session, server.url, {})
    if row_of(case.operation.method.upper(), case.path).permission is not None:
        assert response.status_code in (400, 401, 404, 405, 413, 415, 422), response

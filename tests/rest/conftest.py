"""Fixtures of the REST tests."""

from collections.abc import AsyncIterator

import pytest

from tests.conftest import business_of
from tests.rest.helpers import acting, new_business
from tests.support.server import Api, Place, RunningServer


@pytest.fixture
async def business_id(server: RunningServer) -> str:
    """The demo business, to which `api` and `place` belong."""
    return await business_of(server.dsn)


@pytest.fixture
async def stranger(server: RunningServer, api: Api) -> Api:
    """The owner of another business."""
    return acting(api, await new_business(server.dsn), "owner")


@pytest.fixture
def as_professional(api: Api, place: Place, business_id: str) -> Api:
    """The professional of `place`, with a login of their own."""
    return acting(api, business_id, "professional", subject="its-professional", professional_id=place.professional_id)


@pytest.fixture
def as_client(api: Api, place: Place, business_id: str) -> Api:
    """The client of `place`, with a login of their own."""
    return acting(api, business_id, "client", subject="its-client", client_id=place.client_id)


@pytest.fixture(autouse=True)
async def _never_a_500(server: RunningServer) -> AsyncIterator[None]:
    """Whatever a test sends, the server logs no failure of its own meanwhile and answers afterwards."""
    before = server.log.stat().st_size
    yield
    with server.log.open("rb") as log:
        log.seek(before)
        said = log.read()
    assert b"Traceback" not in said, said[-4000:].decode(errors="replace")

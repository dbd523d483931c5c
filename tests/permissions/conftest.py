"""The estate, for every test of permissions."""

import asyncpg
import pytest

from tests.permissions.estate import Estate, build
from tests.support.server import Api

_estates: dict[str, Estate] = {}


@pytest.fixture
async def estate(api: Api, db: asyncpg.Connection) -> Estate:
    """Made once for the whole run: what is used up is made anew where it is used up."""
    if api.server.url not in _estates:
        _estates[api.server.url] = await build(api, db)
    estate = _estates[api.server.url]
    for caller in estate.callers.values():
        caller.api = Api(api.server, api.session, caller.api.token)
    for side in estate.sides.values():
        side.owner = Api(api.server, api.session, side.owner.token)
    return estate

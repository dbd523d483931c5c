"""What services need, as the server remembers it."""

import asyncio

import asyncpg

from server.teams import Teams
from storage.meter import NullMeter
from storage.postgres import Database
from tests.support.server import Place, RunningServer


class Counting(NullMeter):
    queries = 0

    def query(self, seconds: float) -> None:
        self.queries += 1


async def test_of_many_who_want_to_know_one_asks(place: Place, server: RunningServer, db: asyncpg.Connection) -> None:
    """The answer may name thousands of professionals."""
    business = str(await db.fetchval("SELECT business_id FROM services WHERE id = $1", place.service_id))
    meter = Counting()
    database = await Database.open(server.dsn, 8, meter)
    try:
        teams = Teams(database)
        assert not teams.takes_one(business, place.service_id)
        found = await asyncio.gather(*(teams.of(business, place.service_id) for _ in range(40)))
        assert {team.professional_ids for team in found if team} == {(place.professional_id,)}
        assert meter.queries == 1
        assert teams.takes_one(business, place.service_id)
        teams.forget()
        assert not teams.takes_one(business, place.service_id)
        assert await teams.of(business, place.service_id) == found[0]
        assert meter.queries == 2
    finally:
        await database.close()

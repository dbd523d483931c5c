"""A node that is killed while bookings come in: what was booked is followed when it is back."""

import asyncio
import random

import aiohttp
import asyncpg
import pytest

from tests.conftest import business_of
from tests.support.server import Api, RunningServer, eventually, new_place, token_for

BEHIND = """
SELECT count(*) FROM followers f JOIN shards s ON s.id = f.shard WHERE f.seq <> s.seq
"""
# Each booking with what tells that it was followed: its two reminders, and those of no other.
REMINDERS = """
SELECT b.id::text, count(j.id) FROM bookings b LEFT JOIN jobs j ON j.key LIKE 'reminder:' || b.id || ':%'
GROUP BY b.id
"""


@pytest.mark.faults
async def test_every_booking_of_a_killed_node_is_followed_once(
    fresh_server: RunningServer, http: aiohttp.ClientSession
) -> None:
    fresh_server.start()
    api = Api(fresh_server, http, token_for(await business_of(fresh_server.dsn)))
    place = await new_place(api)
    await api.request("PATCH", f"clients/{place.client_id}", {"email": "cleo@example.com"})

    async def book(number: int) -> None:
        try:
            await api.post("bookings", place.booking(place.at(number % 24, 0, number // 24)))
        except aiohttp.ClientError:
            return

    for kill in range(2):
        booking = [asyncio.ensure_future(book(40 * kill + n)) for n in range(40)]
        if kill == 0:
            # Something is booked, however slow the machine is.
            await asyncio.wait(booking, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(random.uniform(0.02, 0.15))
        fresh_server.kill()
        await asyncio.gather(*booking)
        fresh_server.start()
        api.server = fresh_server
    db = await asyncpg.connect(fresh_server.dsn)
    try:

        async def caught_up() -> bool:
            return await db.fetchval(BEHIND) == 0

        assert await eventually(caught_up, 30)
        followed = {r["id"]: r["count"] for r in await db.fetch(REMINDERS)}
        assert followed
        assert set(followed.values()) == {2}
    finally:
        await db.close()

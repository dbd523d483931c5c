"""A server that is killed while it delivers loses no delivery, and what it sends twice has the same id."""

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from tests.conftest import business_of
from tests.jobs.targets import Target, serving
from tests.support.server import Api, RunningServer, eventually, new_place, token_for


@pytest.mark.faults
async def test_a_kill_between_sending_and_writing_it_down_doubles_at_most(
    fresh_server: RunningServer, http: aiohttp.ClientSession
) -> None:
    """The target has the first of three bookings and has not answered yet."""
    never = asyncio.Event()

    async def silent(_: Any) -> web.Response:
        await never.wait()
        return web.Response()

    fresh_server.environment["SLOTCAST_JOB_LEASE_S"] = "1"
    fresh_server.start()
    owner = Api(fresh_server, http, token_for(await business_of(fresh_server.dsn)))
    place = await new_place(owner)
    async with serving(Target()) as target:
        target.answer = silent
        hook = await owner.made("webhooks", {"url": target.url, "events": ["booking.created"]})
        booked = [await owner.made("bookings", place.booking(place.at(hour))) for hour in (9, 10, 11)]
        await asyncio.wait_for(target.arrived.wait(), 20)
        fresh_server.kill()
        target.answer = lambda _: web.Response()
        fresh_server.start()
        path = f"webhooks/{hook['id']}/deliveries"

        async def all_delivered() -> bool:
            return [d["state"] for d in (await owner.get(path)).json["items"]] == ["delivered"] * 3

        assert await eventually(all_delivered, 30)
        never.set()
        said = [Webhook(hook["secret"]).verify(r.body, r.headers) for r in target.received]
        ids = [r.headers["webhook-id"] for r in target.received]
    assert [s["data"]["booking"]["id"] for s in said] == [booked[0]["id"], *(b["id"] for b in booked)]
    assert (ids[0], len(set(ids))) == (ids[1], 3)
    assert fresh_server.stop() == 0

"""A storm of sign-ins: bookings go on, and every sign-in gets one of a few answers."""

import asyncio
import logging
import time
from collections import Counter

import aiohttp
import asyncpg
import pytest

from tests.conftest import business_of
from tests.rest.people import PASSWORD, new_user
from tests.support.server import Api, RunningServer, new_place, token_for

log = logging.getLogger(__name__)


@pytest.mark.parametrize("limits", ["off", ""])
async def test_bookings_go_on_while_two_hundred_sign_in(
    fresh_server: RunningServer,
    http: aiohttp.ClientSession,
    limits: str,
) -> None:
    """With and without quotas: all bookings are made, sign-ins get in, are wrong, too many, or come again later."""
    fresh_server.environment["SLOTCAST_RATE_LIMITS"] = limits
    fresh_server.start()
    api = Api(fresh_server, http, token_for(await business_of(fresh_server.dsn)))
    place = await new_place(api)
    db = await asyncpg.connect(fresh_server.dsn)
    user = await new_user(db)
    await db.close()
    anyone = api.with_token(None)
    logins: Counter[int] = Counter()

    async def sign_in(n: int) -> None:
        password = [PASSWORD, "wrong", "x" * 1_000, "ü" * 300][n % 4]
        answer = await anyone.post("auth/login", {"email": user["email"], "password": password})
        logins[answer.status] += 1
        if answer.status in (429, 503):
            assert int(answer.headers["Retry-After"]) >= 1

    async def book(n: int) -> float:
        began = time.monotonic()
        answer = await api.post("bookings", place.booking(place.at(n % 24, day=n // 24)))
        assert answer.status == 201, answer
        return time.monotonic() - began

    async def bookings() -> list[float]:
        return sorted([await book(n) for n in range(100)])

    quiet = await bookings()
    place = await new_place(api)
    signing = asyncio.gather(*(sign_in(n) for n in range(200)))
    stormy = await bookings()
    await signing
    assert set(logins) <= {200, 401, 429, 503}, logins
    assert sum(logins.values()) == 200
    assert logins[401] + logins[200] > 0
    told = "99th percentile of bookings: %.1f ms before, %.1f ms during; sign-ins: %s"
    log.info(told, quiet[98] * 1000, stormy[98] * 1000, dict(logins))


async def test_a_password_of_ten_kilobytes_is_refused_unhashed(api: Api) -> None:
    """By its length, before anything else."""
    for path, body in (
        ("auth/login", {"email": "a@example.org"}),
        ("auth/register", {"name": "A", "email": "ten-kb@example.org"}),
    ):
        answer = await api.with_token(None).post(path, {**body, "password": "x" * 10_240})
        assert (answer.status, answer.json["errors"][0]["field"]) == (422, "password")

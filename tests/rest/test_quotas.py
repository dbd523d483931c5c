"""How much one caller may ask for: who is counted, by what, and what answers say of it."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from server import throttle
from server.throttle import DEFAULTS, quotas
from storage.windows import Quota
from tests.conftest import business_of
from tests.house.test_agreements import table_rows
from tests.rest.helpers import NOBODY, problem
from tests.rest.people import PASSWORD, new_user, sign_in
from tests.support.postgres import TestPostgres
from tests.support.redis import TestRedis
from tests.support.server import Answer, Api, RunningServer, new_place, token_for

Start = Callable[..., Awaitable[Api]]


@pytest.fixture
async def start(fresh_server: RunningServer, http: aiohttp.ClientSession) -> Start:
    """Starts a server with these quotas; the API as the demo's owner has it."""

    async def start(limits: str, **environment: str) -> Api:
        fresh_server.environment.update(SLOTCAST_RATE_LIMITS=limits, **environment)
        fresh_server.start()
        return Api(fresh_server, http, token_for(await business_of(fresh_server.dsn)))

    return start


def from_address(n: int) -> dict[str, str]:
    return {"X-Forwarded-For": f"203.0.113.{n}"}


BEHIND_PROXY = {"SLOTCAST_TRUSTED_PROXIES": "127.0.0.0/8"}


def fields(answer: Answer) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
    """`RateLimit-Policy` and `RateLimit`, as lists of names with parameters (RFC 9651)."""
    found = []
    for header in ("RateLimit-Policy", "RateLimit"):
        items = {}
        for item in answer.headers[header].split(", "):
            name, *parameters = item.split(";")
            assert re.fullmatch(r'"[a-z0-9-]+"', name), item
            items[name.strip('"')] = {k: int(v) for k, v in (p.split("=") for p in parameters)}
        found.append(items)
    return found[0], found[1]


@pytest.mark.parity("C14")
async def test_requests_without_login_are_counted_by_address(start: Start) -> None:
    """A hundred a minute by default; the next one is told when to come again, other addresses are not concerned."""
    api = (await start("", **BEHIND_PROXY)).with_token(None)
    answers = [await api.get("clients", headers=from_address(1)) for _ in range(101)]
    assert [a.status for a in answers] == [401] * 100 + [429]
    policy, state = fields(answers[0])
    assert policy == {"anonymous": {"q": 100, "w": 60}}
    assert state == {"anonymous": {"r": 99, "t": 60}}
    assert fields(answers[99])[1]["anonymous"]["r"] == 0
    last = answers[100]
    body = problem(last, "rate_limited")
    assert body["quota"] == "anonymous"
    assert int(last.headers["Retry-After"]) == body["retry_after_s"]
    assert 1 <= body["retry_after_s"] <= 60
    assert fields(last)[1]["anonymous"]["r"] == 0
    assert (await api.get("clients", headers=from_address(2))).status == 401


async def test_a_bad_token_is_no_login(start: Start) -> None:
    """Nor does showing one on a public route help."""
    api = await start("anonymous=3/minute")
    bad = api.with_token("garbage")
    assert [(await bad.get("clients")).status for _ in range(2)] == [401] * 2
    assert (await bad.post("auth/refresh", {"refresh_token": "x"})).status == 401
    problem(await bad.get("clients"), "rate_limited")
    problem(await bad.post("auth/refresh", {"refresh_token": "x"}), "rate_limited")
    assert (await api.get("clients")).status == 200
    # What a balancer and a browser's first visit ask for is not counted.
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/.well-known/jwks.json", "/"):
        assert (await api.with_token(None).get(path)).status == 200


async def test_people_at_work_and_programs_are_not_counted(start: Start) -> None:
    """Not by default, whatever they do; nor do their answers speak of quotas."""
    api = await start("")
    service = api.with_token((await api.made("service-tokens", {"name": "bot"}))["token"])
    for caller in (api, service):
        answers = await asyncio.gather(*(caller.get("clients", limit=1) for _ in range(300)))
        assert {a.status for a in answers} == {200}
        assert not any("RateLimit" in a.headers for a in answers)


async def test_a_quota_can_be_set_for_programs(start: Start) -> None:
    """Each token for itself."""
    api = await start("service=5/minute")
    one, two = [api.with_token((await api.made("service-tokens", {"name": n}))["token"]) for n in ("a", "b")]
    assert [(await one.get("clients")).status for _ in range(6)] == [200] * 5 + [429]
    answer = await two.get("clients")
    assert (answer.status, fields(answer)[1]["service"]["r"]) == (200, 4)
    assert (await api.get("clients")).status == 200


async def test_clients_are_counted_by_user_and_by_business(start: Start) -> None:
    """One client cannot use up what another has, all of a business's together can."""
    api = await start("client=5/minute,business=8/minute")
    business = await business_of(api.server.dsn)
    one, two = [api.with_token(token_for(business, "client", subject=s, client_id=NOBODY)) for s in "ab"]
    other = api.with_token(token_for(NOBODY, "client", subject="c", client_id=NOBODY))
    first = [await one.get("services") for _ in range(6)]
    assert [a.status for a in first] == [200] * 5 + [429]
    assert problem(first[5], "rate_limited")["quota"] == "client"
    second = [await two.get("services") for _ in range(4)]
    assert [a.status for a in second] == [200] * 3 + [429]
    assert problem(second[3], "rate_limited")["quota"] == "business"
    assert (await other.get("services")).status == 200


async def test_holds_and_bookings_of_clients_have_quotas_of_their_own(start: Start) -> None:
    """Staff book for many and have none."""
    api = await start("holds=2/minute,bookings=3/minute")
    place = await new_place(api)
    client = api.with_token(
        token_for(await business_of(api.server.dsn), "client", subject="a", client_id=place.client_id)
    )
    hold = {"professional_id": place.professional_id, "service_id": place.service_id}
    held = [await client.post("holds", hold | {"start": place.at(h)}) for h in range(3)]
    assert [a.status for a in held] == [201, 201, 429]
    made = [await client.post("bookings", place.booking(place.at(h))) for h in range(5, 9)]
    assert [a.status for a in made] == [201, 201, 201, 429]
    assert problem(made[3], "rate_limited")["quota"] == "bookings"
    assert [(await api.post("bookings", place.booking(place.at(h)))).status for h in range(10, 20)] == [201] * 10
    # What was refused can be asked again, with the same key, and is not kept as the answer.
    assert (await client.get("services")).status == 200


async def test_signing_in_is_counted_before_any_password_is_hashed(start: Start) -> None:
    """By address; and the answer is the same for a right password."""
    api = await start("login=5/minute", **BEHIND_PROXY)
    db = await asyncpg.connect(api.server.dsn)
    user = await new_user(db)
    await db.close()
    body = {"email": user["email"], "password": PASSWORD}
    anyone = api.with_token(None)
    answers = [await anyone.post("auth/login", body, headers=from_address(1)) for _ in range(6)]
    assert [a.status for a in answers] == [200] * 5 + [429]
    assert set(fields(answers[0])[0]) == {"anonymous", "login"}
    assert (await anyone.post("auth/login", body, headers=from_address(2))).status == 200


@pytest.mark.parity("E7")
async def test_wrong_passwords_close_a_name_for_an_address(start: Start) -> None:
    """Known or not, the same; from elsewhere its owner still gets in, and getting in opens it again."""
    api = await start("login=off,anonymous=off,failures=3/minute,account=6/minute", **BEHIND_PROXY)
    db = await asyncpg.connect(api.server.dsn)
    user = await new_user(db)
    await db.close()
    anyone = api.with_token(None)

    async def tried(email: str, password: str, n: int) -> int:
        body = {"email": email, "password": password}
        return (await anyone.post("auth/login", body, headers=from_address(n))).status

    assert [await tried(user["email"], "wrong", 1) for _ in range(4)] == [401] * 3 + [429]
    assert [await tried("nobody@example.org", "wrong", 1) for _ in range(4)] == [401] * 3 + [429]
    # However it is spelt, it is the same name.
    assert await tried(user["email"].upper(), PASSWORD, 1) == 429
    assert [await tried(user["email"], "wrong", 2) for _ in range(2)] == [401] * 2
    assert await tried(user["email"], PASSWORD, 2) == 200
    assert [await tried(user["email"], "wrong", 2) for _ in range(4)] == [401] * 3 + [429]
    assert [await tried(user["email"], "wrong", 3) for _ in range(4)] == [401] * 3 + [429]
    # Many addresses together close it for all.
    assert await tried(user["email"], PASSWORD, 4) == 429


async def test_a_stolen_token_is_not_good_for_trying_passwords(start: Start) -> None:
    """Changing one's password asks for the present one, and wrong ones are counted too."""
    api = await start("failures=3/minute")
    db = await asyncpg.connect(api.server.dsn)
    user = await new_user(db)
    await db.close()
    caller = api.with_token((await sign_in(api, user)).json["access_token"])
    body = {"password": "another password", "current_password": "wrong"}
    answers = [await caller.request("PATCH", "users/me", body) for _ in range(4)]
    assert [a.status for a in answers] == [422] * 3 + [429]


async def test_registering_is_counted(start: Start) -> None:
    api = (await start("register=2/minute;3/hour")).with_token(None)
    answers = [
        await api.post("auth/register", {"name": "A", "password": PASSWORD, "username": f"user-{n}"}) for n in range(3)
    ]
    assert [a.status for a in answers] == [201, 201, 429]
    assert set(fields(answers[0])[0]) == {"anonymous", "register-60", "register-3600"}


async def test_two_nodes_with_redis_count_together(
    postgres: TestPostgres, tmp_path: Path, http: aiohttp.ClientSession, redis: TestRedis
) -> None:
    """And each goes on by itself when Redis is gone."""
    nodes = []
    try:
        for n in range(2):
            server = RunningServer(
                await postgres.new_database(), tmp_path / str(n),
                SLOTCAST_RATE_LIMITS="anonymous=6/minute", SLOTCAST_REDIS_URL=redis.url,
            )  # fmt: skip
            nodes.append(server.start())
        apis = [Api(server, http, None) for server in nodes]
        found = [(await apis[n % 2].get("clients")).status for n in range(8)]
        assert found == [401] * 6 + [429] * 2
        redis.kill()
        for api in apis:
            assert [(await api.get("clients")).status for _ in range(7)] == [401] * 6 + [429]
            assert api.server.logged().count("Redis does not answer") == 1
        assert "Traceback" not in nodes[0].logged() + nodes[1].logged()
    finally:
        for server in nodes:
            server.kill()


@pytest.fixture
def redis() -> Iterator[TestRedis]:
    server = TestRedis()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
async def _never_a_500(fresh_server: RunningServer) -> AsyncIterator[None]:
    """Instead of the shared server's: these tests have servers of their own."""
    yield
    if fresh_server.process is not None:
        assert "Traceback" not in fresh_server.logged()


# The setting


def test_the_defaults_are_documented() -> None:
    """docs/operations.md has a row for each, with its default."""
    rows = table_rows("docs/operations.md", "|".join(DEFAULTS))
    documented = {row[0].strip("`"): row[1].strip("`") for row in rows if row[0].strip("`") in DEFAULTS}
    assert documented == DEFAULTS
    assert set(throttle._OF_ROLE.values()) <= set(DEFAULTS)


def test_quotas_are_read() -> None:
    found = quotas(" login = 7/second ; 9/day , client=off ")
    assert found["login"] == (Quota(7, 1), Quota(9, 86_400))
    assert found["client"] == ()
    assert found["anonymous"] == (Quota(100, 60),)
    assert quotas("off") == dict.fromkeys(DEFAULTS, ())


@pytest.mark.parametrize(
    "text",
    [
        "login",
        "login=",
        "login=10",
        "login=0/minute",
        "login=10/week",
        "login=-1/minute",
        "nobody=1/minute",
        "10/minute",
    ],
)
def test_a_quota_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        quotas(text)

"""Headers for browsers: which pages may read answers, and what every answer says."""

from typing import Any

import asyncpg
import pytest

from tests.rest.helpers import acting, new_business, problem
from tests.support.server import Api, RunningServer, eventually

PAGE = "https://www.corner.example"
READS = "Access-Control-Allow-Origin"


@pytest.fixture
async def theirs(server: RunningServer, db: asyncpg.Connection, api: Api) -> Api:
    """The owner of a business that lists `PAGE`."""
    business = await new_business(server.dsn)
    await db.execute("UPDATE businesses SET allowed_origins = $2 WHERE id = $1", business, [PAGE])
    owner = acting(api, business, "owner")

    async def known() -> bool:
        return READS in (await owner.get("clients", headers={"Origin": PAGE})).headers

    assert await eventually(known, 15), "it is remembered for a few seconds"
    return owner


def asks(method: str = "POST", origin: str = PAGE) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization",
    }


@pytest.mark.parity("B22")
async def test_a_listed_page_may_ask_and_read(theirs: Api) -> None:
    """First whether, then what; problems are for reading too."""
    first = await theirs.with_token(None).request("OPTIONS", "bookings", headers=asks())
    assert (first.status, first.body) == (204, b"")
    assert first.headers[READS] == PAGE
    assert first.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST"
    allowed = {h.strip().lower() for h in first.headers["Access-Control-Allow-Headers"].split(",")}
    assert allowed >= {"authorization", "content-type", "idempotency-key", "if-match", "x-manage-token"}
    assert int(first.headers["Access-Control-Max-Age"]) > 0
    for answer in (await theirs.get("bookings", headers={"Origin": PAGE}),
                   await theirs.post("bookings", {"x": 1}, headers={"Origin": PAGE})):  # fmt: skip
        assert answer.headers[READS] == PAGE
        assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
        assert "Origin" in answer.headers["Vary"]
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parity("B22")
async def test_another_businesss_answers_are_not_for_that_page(theirs: Api, api: Api) -> None:
    """The token says whose they are."""
    answer = await api.get("clients", headers={"Origin": PAGE})
    assert (answer.status, READS in answer.headers) == (200, False)


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "*", PAGE.upper(), PAGE + "/", PAGE + ".evil.example", "http://www.corner.example",
     PAGE + ":8443", "http://[", "x" * 3000],
)  # fmt: skip
async def test_another_page_may_not(theirs: Api, origin: str) -> None:
    """Neither ask nor read, however much its name looks like one on the list."""
    refused = await theirs.with_token(None).request("OPTIONS", "bookings", headers=asks(origin=origin))
    problem(refused, "forbidden")
    assert READS not in refused.headers
    answer = await theirs.get("clients", headers={"Origin": origin})
    assert (answer.status, READS in answer.headers) == (200, False)


async def test_what_names_no_business_is_for_every_listed_page(theirs: Api) -> None:
    """A sign-in page of a business has no token yet."""
    body = {"email": "nobody@example.org", "password": "wrong"}
    anyone = theirs.with_token(None)
    assert (await anyone.post("auth/login", body, headers={"Origin": PAGE})).headers[READS] == PAGE
    assert READS not in (await anyone.post("auth/login", body, headers={"Origin": "https://evil.example"})).headers


async def test_options_without_a_page_tells_the_methods(api: Api) -> None:
    """Of every path there is; others are not found."""
    answer = await api.with_token(None).request("OPTIONS", "users/me")
    assert (answer.status, answer.headers["Allow"]) == (204, "GET, HEAD, PATCH")
    problem(await api.request("OPTIONS", "nothing/here"), "not_found")
    problem(await api.request("OPTIONS", "nothing/here", headers=asks()), "not_found")


@pytest.mark.parity("C14")
async def test_every_answer_has_the_headers_that_protect_it(api: Api) -> None:
    """Types are not guessed; pages are framed by nobody; nobody keeps an answer with tokens; no HSTS without TLS."""
    kinds: dict[str, Any] = {}
    for path in (
        "clients",
        "nothing",
        "/",
        "/docs",
        "/static/demo.js",
        "/healthz",
        "/metrics",
        "/openapi.json",
        "live",
    ):
        answer = kinds[path] = await api.get(path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path
        assert "Strict-Transport-Security" not in answer.headers, path
    for path in ("/", "/docs"):
        assert "frame-ancestors 'none'" in kinds[path].headers["Content-Security-Policy"]
        assert kinds[path].headers["Referrer-Policy"] == "same-origin"
    login = await api.post("auth/login", {"email": "nobody@example.org", "password": "x"})
    for answer in (login, await api.get("users/me"), await api.get("bookings/BK-AAAAAAAA")):
        assert answer.headers["Cache-Control"] == "no-store"


async def test_behind_tls_browsers_are_told_to_stay_there(fresh_server: RunningServer, http: Any) -> None:
    fresh_server.environment["SLOTCAST_HSTS"] = "true"
    fresh_server.start()
    for path in ("clients", "/", "/healthz", "nothing"):
        answer = await Api(fresh_server, http, None).get(path)
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000", path

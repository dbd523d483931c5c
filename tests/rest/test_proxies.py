"""Proxies: whose word about address, host and scheme is taken."""

from typing import Any
from unittest.mock import Mock

import aiohttp
import asyncpg
import pytest
from aiohttp.test_utils import make_mocked_request

from server.remote import PROXIES, host_of, networks, scheme_of
from tests.rest.people import new_user
from tests.support.server import Api, RunningServer


async def addresses(server: RunningServer, http: aiohttp.ClientSession, *sent: Any) -> list[str]:
    """What the server takes for the caller's address, as a session shows it, for each of these headers."""
    db = await asyncpg.connect(server.dsn)
    user = await new_user(db)
    await db.close()
    api = Api(server, http, None)
    found = []
    for headers in sent:
        answer = await api.post("auth/login", {"email": user["email"], "password": "correct horse battery"},
                                headers=headers)  # fmt: skip
        assert answer.status == 200, answer
        items = (await api.with_token(answer.json["access_token"]).get("users/me/sessions")).json["items"]
        found.append(next(s["address"] for s in items if s["current"]))
    return found


def forwarded(*hops: str) -> dict[str, str]:
    return {"X-Forwarded-For": ", ".join(hops)}


async def test_without_trusted_proxies_nobody_is_believed(server: RunningServer, http: aiohttp.ClientSession) -> None:
    """The connection's own address counts, and the operator is told once."""
    sent = [forwarded("203.0.113.7"), forwarded("::1", "203.0.113.7"), {"Forwarded": "for=203.0.113.7"}]
    assert await addresses(server, http, *sent) == ["127.0.0.1"] * 3
    assert server.logged().count("is not believed") == 1


async def test_behind_trusted_proxies_the_last_stranger_is_the_caller(
    fresh_server: RunningServer, http: aiohttp.ClientSession
) -> None:
    """What stands left of them is what they wrote themselves."""
    fresh_server.environment["SLOTCAST_TRUSTED_PROXIES"] = "127.0.0.1, 10.0.0.0/8, 2001:db8:ffff::/48"
    fresh_server.start()
    cases = {
        ("203.0.113.7",): "203.0.113.7",
        ("198.51.100.1", "203.0.113.7"): "203.0.113.7",
        ("198.51.100.1", "203.0.113.7", "10.1.2.3"): "203.0.113.7",
        ("127.0.0.1", "203.0.113.7"): "203.0.113.7",
        ("10.9.9.9", "10.1.2.3"): "10.9.9.9",
        ("2001:db8::7", "2001:db8:ffff::1"): "2001:db8::7",
        ("[2001:db8::7]:4711",): "2001:db8::7",
        ("203.0.113.7:4711",): "203.0.113.7",
        ("::ffff:203.0.113.7",): "203.0.113.7",
        ("nonsense", "10.1.2.3"): "10.1.2.3",
        ("203.0.113.7", "unknown"): "127.0.0.1",
        ("' OR 1=1 --",): "127.0.0.1",
        (",,, ,",): "127.0.0.1",
        ("203.0.113.7",) * 300: "203.0.113.7",
    }
    found = await addresses(fresh_server, http, *[forwarded(*hops) for hops in cases], {})
    assert found == [*cases.values(), "127.0.0.1"]


@pytest.mark.parametrize("trusted", [True, False])
async def test_the_host_is_the_proxys_word_only_if_it_is_ours(
    fresh_server: RunningServer, http: aiohttp.ClientSession, trusted: bool
) -> None:
    """A page under the public name is the server's own if the proxy says that it was asked under this name."""
    fresh_server.environment["SLOTCAST_PUBLIC_HOSTS"] = "book.example"
    if trusted:
        fresh_server.environment["SLOTCAST_TRUSTED_PROXIES"] = "127.0.0.1"
    fresh_server.start()
    db = await asyncpg.connect(fresh_server.dsn)
    professional = str(await db.fetchval("SELECT id FROM professionals LIMIT 1"))
    await db.close()
    query = {"professional_id": professional, "from": "2030-01-01", "to": "2030-01-01"}

    async def watched(**headers: str) -> int:
        sent = {"Origin": "https://book.example", **{k.replace("_", "-"): v for k, v in headers.items()}}
        async with http.get(f"{fresh_server.url}/api/v1/live/sse", params=query, headers=sent) as response:
            return response.status

    assert await watched() == 403
    assert await watched(X_Forwarded_Host="evil.example") == 403
    assert await watched(X_Forwarded_Host="book.example") == (200 if trusted else 403)
    # The caller's own header comes first; the proxy adds its own behind it.
    assert await watched(X_Forwarded_Host="book.example, evil.example") == 403
    assert await watched(X_Forwarded_Host="evil.example, book.example") == (200 if trusted else 403)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, ("http", "asked.example", "http", "asked.example")),
        ({"X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.example:8443"},
         ("http", "asked.example", "https", "a.example:8443")),
        ({"X-Forwarded-Proto": "gopher"}, ("http", "asked.example", "http", "asked.example")),
        # Two proxies of ours, which add what they were asked with: the outer one's word counts.
        ({"X-Forwarded-For": "203.0.113.7, 10.0.0.1", "X-Forwarded-Proto": "http, https, http",
          "X-Forwarded-Host": "evil.example, a.example, inner"}, ("http", "asked.example", "https", "a.example")),
        ({"X-Forwarded-For": "203.0.113.7, 10.0.0.1", "X-Forwarded-Proto": "https"},
         ("http", "asked.example", "https", "asked.example")),
    ],
)  # fmt: skip
def test_scheme_and_host_are_those_the_outermost_proxy_was_asked_with(
    headers: dict[str, str], expected: tuple[str, ...]
) -> None:
    """And without a trusted proxy those of the request itself."""
    transport = Mock()
    transport.get_extra_info = lambda name, default=None: ("10.0.0.2", 1) if name == "peername" else None
    request = make_mocked_request("GET", "/", headers={"Host": "asked.example", **headers}, transport=transport)
    found = [scheme_of(request), host_of(request)]
    request[PROXIES] = networks("10.0.0.0/8")
    assert (*found, scheme_of(request), host_of(request)) == expected


@pytest.mark.parametrize("text", ["nonsense", "10.0.0.0/33", "10.0.0.1,,x", "localhost"])
def test_a_network_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        networks(text)

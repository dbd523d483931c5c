"""What is posted to a target that a business chose reaches it, and nothing that the business must not reach."""

import asyncio
import gzip
import socket
import threading
from ipaddress import ip_address
from typing import Any

import pytest
from aiohttp import web

from jobs.ports import NotPosted, TargetRefused
from protocol.errors import Refused
from server import http_poster
from server.http_poster import HttpPoster
from server.lookup import SystemResolver
from server.remote import networks
from server.targets import Targets
from tests.jobs.targets import LOOPBACK, Names, Target, posting


async def test_a_target_gets_body_and_headers(target: Target) -> None:
    """Once, as they are, and the beginning of its answer comes back."""
    async with posting() as poster:
        posted = await poster.post(target.url, b'{"a":1}', {"webhook-id": "x"})
    assert (posted.status, posted.excerpt, posted.retry_after_s) == (200, "thank you", None)
    (received,) = target.received
    assert (received.body, received.headers["webhook-id"]) == (b'{"a":1}', "x")
    assert received.headers["content-type"] == "application/json"


# What may be reached

PRIVATE = (
    "127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "168.63.129.16",
    "::", "::1", "fe80::1", "fe80::1%1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:808:808::1", "2001::1",
    "2a00::5efe:7f00:1", "2a00::200:5efe:a00:1", "100::1", "3fff::1",
)  # fmt: skip
PUBLIC = ("8.8.8.8", "1.1.1.1", "172.32.0.1", "192.0.1.1", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808")


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_not_reached(address: str) -> None:
    assert not Targets().may_reach(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_reached(address: str) -> None:
    assert Targets().may_reach(ip_address(address))


def test_what_operators_allow_is_reached_and_nothing_else() -> None:
    """The setting names networks; an IPv4 address in the form of IPv6 belongs to them as well."""
    targets = Targets(private=networks("10.1.0.0/16"))
    assert targets.may_reach(ip_address("10.1.2.3"))
    assert targets.may_reach(ip_address("::ffff:10.1.2.3"))
    assert not targets.may_reach(ip_address("10.2.0.1"))


BAD_URLS = (
    "", "x", "//a.example/x", "file:///etc/passwd", "ftp://a.example/", "gopher://a.example/", "javascript:alert(1)",
    "http://a.example/", "https://", "https:///x", "https://user:secret@a.example/", "https://user@a.example/",
    "https://a.example:22/", "https://a.example:6379/", "https://a.example:0/", "https://a.example:99999/",
    "https://a.example:x/", "https://a .example/", "https://a.example/\r\nX: y", "https://a.example/\x00",
    "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/",
    "https://[64:ff9b::7f00:1]/", "https://[fe80::1%25eth0]/", "https://[::1", "https://169.254.169.254/latest",
    "https://a.example/" + "x" * 2_000,
)  # fmt: skip


@pytest.mark.parametrize("url", BAD_URLS)
def test_what_is_no_target_is_refused_at_once(url: str) -> None:
    """422, naming the field."""
    with pytest.raises(Refused) as refused:
        Targets().check(url)
    assert (refused.value.code, refused.value.errors[0].field) == ("validation_failed", "url")


@pytest.mark.parametrize("url", BAD_URLS)
async def test_what_is_no_target_is_not_posted_to_either(url: str) -> None:
    """A URL from before the rules, say."""
    poster = HttpPoster(Targets())
    try:
        with pytest.raises(TargetRefused):
            await poster.post(url, b"{}", {})
    finally:
        await poster.close()


@pytest.mark.parametrize("url", ["https://a.example", "https://a.example:8443/x?y=z", "https://bücher.example/ü"])
def test_ordinary_urls_are_targets(url: str) -> None:
    Targets().check(url)


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.0.0.1."])
async def test_no_spelling_of_this_machine_is_reached(target: Target, host: str) -> None:
    """The names and numbers that a system takes for it."""
    async with posting(private="") as poster:
        with pytest.raises(NotPosted):
            await poster.post(f"http://{host}:{target.port}/", b"{}", {})
    assert target.received == []


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "10.0.0.1", "fe80::1", "64:ff9b::7f00:1"])
async def test_a_name_that_leads_into_a_private_network_is_refused(target: Target, address: str) -> None:
    async with posting(private="", names=Names(address)) as poster:
        with pytest.raises(TargetRefused, match="private network"):
            await poster.post(f"http://hook.example:{target.port}/", b"{}", {})
    assert target.received == []


async def test_one_private_address_among_several_is_enough(target: Target) -> None:
    class Both(Names):
        async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> Any:
            return [*await Names("8.8.8.8").resolve(host, port), *await Names("127.0.0.1").resolve(host, port)]

    async with posting(private="", names=Both()) as poster:
        with pytest.raises(TargetRefused):
            await poster.post(f"http://hook.example:{target.port}/", b"{}", {})
    assert target.received == []


async def test_a_name_that_changes_its_mind_is_judged_each_time(target: Target) -> None:
    """Rebinding: allowed at first, elsewhere at the next connection, which is never made."""
    target.answer = lambda _: web.Response(headers={"Connection": "close"})
    names = Names("127.0.0.1", "127.0.0.2")
    async with posting(private="127.0.0.1/32", names=names) as poster:
        url = f"http://hook.example:{target.port}/"
        assert (await poster.post(url, b"{}", {})).status == 200
        with pytest.raises(TargetRefused):
            await poster.post(url, b"{}", {})
    assert (len(target.received), names.asked) == (1, 2)


async def test_what_a_resolver_lets_through_is_stopped_at_the_connection(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second judgement does not rest on the first."""
    async with posting(private="") as poster:
        judged = poster._session.connector._resolver  # type: ignore[union-attr]
        monkeypatch.setattr(judged, "resolve", Names("127.0.0.1").resolve)
        with pytest.raises(TargetRefused, match="private network"):
            await poster.post(f"http://hook.example:{target.port}/", b"{}", {})
    assert target.received == []


# How targets answer


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(target: Target, status: int) -> None:
    """The answer is the redirect, and where it points gets nothing."""
    target.answer = lambda _: web.Response(status=status, headers={"Location": "/elsewhere"})
    async with posting() as poster:
        assert (await poster.post(target.url, b"{}", {})).status == status
    assert [r.path for r in target.received] == ["/hook"]


@pytest.mark.parametrize("status", [204, 400, 410, 500, 503])
async def test_any_status_is_an_answer(target: Target, status: int) -> None:
    target.answer = lambda _: web.Response(status=status, headers={"Retry-After": "7"})
    async with posting() as poster:
        posted = await poster.post(target.url, b"{}", {})
    assert (posted.status, posted.retry_after_s) == (status, 7.0)


@pytest.mark.parametrize("text", ["-1", "soon", "Wed, 21 Oct 2026 07:28:00 GMT", "1" * 30, "٣", ""])
async def test_a_strange_retry_after_is_none(target: Target, text: str) -> None:
    target.answer = lambda _: web.Response(status=503, headers={"Retry-After": text})
    async with posting() as poster:
        assert (await poster.post(target.url, b"{}", {})).retry_after_s is None


async def test_a_target_that_hangs_is_given_up(target: Target) -> None:
    async def hang(_: Any) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    target.answer = hang
    async with posting(timeout_s=0.3) as poster:
        with pytest.raises(NotPosted, match=r"no answer within 0\.3 s"):
            await poster.post(target.url, b"{}", {})


async def test_a_target_that_never_ends_its_answer_has_answered(target: Target) -> None:
    """What counts is the status, which it gave."""

    async def drip(request: Any) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"so far")
        await asyncio.sleep(60)
        return response

    target.answer = drip
    async with posting(timeout_s=0.3) as poster:
        posted = await poster.post(target.url, b"{}", {})
    assert (posted.status, posted.excerpt) == (200, "so far")


async def test_of_a_hundred_megabytes_little_is_read(target: Target) -> None:
    """The connection ends instead."""
    written = 0

    async def flood(request: Any) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1_600):
            await response.write(b"x" * 65_536)
            written += 65_536
        return response

    target.answer = flood
    async with posting() as poster:
        posted = await poster.post(target.url, b"{}", {})
        assert (posted.status, len(posted.excerpt)) == (200, http_poster.EXCERPT_CHARS)
        assert not poster._session.connector._conns  # type: ignore[union-attr]
    assert written < 50_000_000


async def test_what_is_packed_is_not_unpacked(target: Target) -> None:
    """A megabyte of nothing is a thousand bytes on the way, and stays that."""
    packed = gzip.compress(bytes(1_000_000))
    target.answer = lambda _: web.Response(body=packed, headers={"Content-Encoding": "gzip"})
    async with posting() as poster:
        posted = await poster.post(target.url, b"{}", {})
    assert posted.status == 200
    assert "\0" not in posted.excerpt
    assert target.received[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, b"HTTP/1.1 99999 X\r\n\r\n"]
)
async def test_what_is_no_answer_is_told_in_plain_words(answer: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server, posting() as poster:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NotPosted) as told:
            await poster.post(f"http://127.0.0.1:{port}/", b"{}", {})
    assert "aiohttp" not in told.value.reason
    assert "127.0.0.1" not in told.value.reason


async def test_a_closed_port_is_told_in_plain_words() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with posting() as poster:
            with pytest.raises(NotPosted, match="no connection could be made"):
                await poster.post(f"http://127.0.0.1:{taken.getsockname()[1]}/", b"{}", {})


async def test_a_name_without_address_is_told_in_plain_words() -> None:
    class Nobody(Names):
        async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> Any:
            raise OSError("no such name")

    async with posting(names=Nobody()) as poster:
        with pytest.raises(NotPosted, match="has no address"):
            await poster.post("http://hook.example/", b"{}", {})


async def test_cookies_and_proxies_are_not_taken_over(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """One target's answer is not told to another, and the environment sends nothing elsewhere."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    target.answer = lambda _: web.Response(headers={"Set-Cookie": "a=b"})
    async with posting() as poster:
        for _ in range(2):
            assert (await poster.post(target.url, b"{}", {})).status == 200
    assert all("cookie" not in r.headers for r in target.received)


# Names


async def test_the_systems_resolver_finds_and_fails(target: Target) -> None:
    resolver = SystemResolver()
    found = await resolver.resolve("localhost", target.port)
    assert {f["host"] for f in found} & {"127.0.0.1", "::1"}
    for name in ("nobody.invalid", "x" * 300, "a..b"):
        found_or_not = await asyncio.gather(resolver.resolve(name, 80), return_exceptions=True)
        assert isinstance(found_or_not[0], OSError)


async def test_a_name_server_that_is_silent_holds_up_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look-ups that nobody waits for any more still count, until their threads have ended."""
    silent, asked = threading.Event(), 0

    def wait(*_: Any, **__: Any) -> Any:
        nonlocal asked
        asked += 1
        silent.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    monkeypatch.setattr("server.lookup.AT_ONCE_MAX", 3)
    resolver = SystemResolver()
    waiting = [asyncio.ensure_future(resolver.resolve(f"h{n}.example", 80)) for n in range(6)]
    for _ in range(100):
        if asked == 3:
            break
        await asyncio.sleep(0.01)
    for task in waiting[:3]:
        task.cancel()
    await asyncio.sleep(0)
    assert asked == 3
    silent.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(f, asyncio.CancelledError) for f in found] == [True] * 3 + [False] * 3


def test_the_bounds_agree() -> None:
    assert LOOPBACK
    assert http_poster.CONNECT_TIMEOUT_S < http_poster.TIMEOUT_S

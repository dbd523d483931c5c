"""Requests that come in one piece are read by another hand than the rest, and nobody can tell, whatever they are."""

import asyncio
import contextlib
import json
import re
import socket
import time

import psutil
import pytest

from tests.rest.helpers import send_raw
from tests.rest.test_framing import parts, request
from tests.support.server import Place, RunningServer

_PAUSE_S = 0.015


async def send_pieces(server: RunningServer, *pieces: bytes) -> bytes:
    """All answers until the server closes, with time between the pieces to be read each by itself."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(_PAUSE_S)
        with contextlib.suppress(OSError):
            # It may have been closed for what was sent.
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


def told(answer: bytes) -> bytes:
    """Without what differs from one answer to the next."""
    answer = re.sub(rb"\r\nDate: [^\r]*", b"", answer)
    return re.sub(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", b"ID", answer)


HEAD = b"Host: test\r\nConnection: close\r\n"
ODD = {
    "a path with an escape": b"GET /api/v1/%73ervices HTTP/1.1\r\n" + HEAD + b"\r\n",
    "a path with a bad escape": b"GET /api/v1/%zz HTTP/1.1\r\n" + HEAD + b"\r\n",
    "a path with an encoded slash": b"GET /api/v1%2Fservices HTTP/1.1\r\n" + HEAD + b"\r\n",
    "two slashes": b"GET //api/v1/services HTTP/1.1\r\n" + HEAD + b"\r\n",
    "dots": b"GET /api/v1/../v1/services HTTP/1.1\r\n" + HEAD + b"\r\n",
    "a fragment": b"GET /healthz#top HTTP/1.1\r\n" + HEAD + b"\r\n",
    "an empty query": b"GET /healthz? HTTP/1.1\r\n" + HEAD + b"\r\n",
    "a query that is refused": b"GET /healthz?a=%C3%A4&b HTTP/1.1\r\n" + HEAD + b"\r\n",
    "two question marks": b"GET /healthz?a=?b HTTP/1.1\r\n" + HEAD + b"\r\n",
    "an absolute target": b"GET http://test/healthz HTTP/1.1\r\n" + HEAD + b"\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\n" + HEAD + b"\r\n",
    "options": b"OPTIONS /api/v1/services HTTP/1.1\r\n" + HEAD + b"\r\n",
    "a preflight": b"OPTIONS /api/v1/bookings HTTP/1.1\r\nOrigin: https://x.example\r\n"
    b"Access-Control-Request-Method: POST\r\n" + HEAD + b"\r\n",
    "another method": b"PUT /healthz HTTP/1.1\r\n" + HEAD + b"\r\n",
    "a method nobody knows": b"BREW /healthz HTTP/1.1\r\n" + HEAD + b"\r\n",
    "connect": b"CONNECT test:443 HTTP/1.1\r\n" + HEAD + b"\r\n",
    "head": b"HEAD /healthz HTTP/1.1\r\n" + HEAD + b"\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n",
    "two hosts": b"GET /healthz HTTP/1.1\r\nHost: other\r\n" + HEAD + b"\r\n",
    "http 1.0": b"GET /healthz HTTP/1.0\r\n" + HEAD + b"\r\n",
    "http 2": b"GET /healthz HTTP/2.0\r\n" + HEAD + b"\r\n",
    "a header twice": b"GET /healthz HTTP/1.1\r\nAccept: a\r\nAccept: b\r\n" + HEAD + b"\r\n",
    "a folded header": b"GET /healthz HTTP/1.1\r\nAccept: a\r\n b\r\n" + HEAD + b"\r\n",
    "a space before the colon": b"GET /healthz HTTP/1.1\r\nAccept : a\r\n" + HEAD + b"\r\n",
    "a header without a name": b"GET /healthz HTTP/1.1\r\n: a\r\n" + HEAD + b"\r\n",
    "bytes in a header": b"GET /healthz HTTP/1.1\r\nX-Request-ID: \xff\xc3\xa4\r\n" + HEAD + b"\r\n",
    "many headers": b"GET /healthz HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(130)) + HEAD + b"\r\n",
    "an old websocket": b"GET /healthz HTTP/1.1\r\nSec-WebSocket-Key1: 4\r\n" + HEAD + b"\r\n",
    "a zero in a header": b"GET /healthz HTTP/1.1\r\nX-Request-ID: a\0b\r\n" + HEAD + b"\r\n",
    "spaces around a value": b"GET /healthz HTTP/1.1\r\nX-Request-ID: \t mine \t\r\n" + HEAD + b"\r\n",
    "bare line feeds": b"GET /healthz HTTP/1.1\nHost: test\nConnection: close\n\n",
    "a long line": b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 9_000 + b"\r\n" + HEAD + b"\r\n",
    "length and chunks": b"POST /api/v1/bookings HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n" + HEAD
    + b"\r\n0\r\n\r\n",
    "two lengths": b"POST /api/v1/bookings HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n" + HEAD + b"\r\n{}",
    "a length with a sign": b"POST /api/v1/bookings HTTP/1.1\r\nContent-Length: +2\r\n" + HEAD + b"\r\n{}",
    "chunks": b"POST /api/v1/bookings HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HEAD + b"\r\n2\r\n{}\r\n0\r\n\r\n",
    "a body of another type": b"POST /api/v1/bookings HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n"
    + HEAD + b"\r\n{}",
    "an expectation": b"POST /api/v1/bookings HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n" + HEAD
    + b"\r\n{}",
    "an upgrade to what is not spoken": b"GET /healthz HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    b"Host: test\r\n\r\n",
    "a login that is none": b"GET /api/v1/services HTTP/1.1\r\nAuthorization: Bearer x\r\n" + HEAD + b"\r\n",
    "no request": b"hello\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
async def test_what_is_odd_is_answered_alike(server: RunningServer, what: str) -> None:
    raw = ODD[what]
    whole = await send_pieces(server, raw)
    pieces = await send_pieces(server, raw[:7], raw[7:])
    assert told(whole) == told(pieces)
    assert whole.startswith(b"HTTP/1.1 ")


async def test_a_booking_in_pieces_is_a_booking(server: RunningServer, place: Place) -> None:
    answers = []
    for hour, cut in ((9, None), (10, -1), (11, 40), (12, -60)):
        body = json.dumps(place.booking(place.at(hour))).encode()
        lines = ("Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close")
        raw = request("POST", "/api/v1/bookings", place, *lines) + body
        answers.append(parts(await send_pieces(server, *([raw] if cut is None else [raw[:cut], raw[cut:]]))))
    assert {status for status, _, _ in answers} == {"HTTP/1.1 201 Created"}
    assert {tuple(headers) for _, headers, _ in answers} == {tuple(answers[0][1])}
    assert len({json.loads(body)["id"] for _, _, body in answers}) == 4


async def test_a_connection_may_change_its_ways_at_any_time(server: RunningServer, place: Place) -> None:
    one = request("GET", "/api/v1/services", place)
    nothing = request("GET", "/api/v1/nothing", place)
    answers = await send_pieces(server, one, nothing, one, one[:50], one[50:], nothing + one, one)
    assert re.findall(rb"HTTP/1\.1 (\d+)", answers) == [b"200", b"404", b"200", b"200", b"404", b"200", b"200"]


async def test_what_comes_during_an_answer_is_answered_after_it(server: RunningServer, place: Place) -> None:
    """Some clients do not wait for answers; a write that waits for its commit goes before a read."""
    body = json.dumps(place.booking(place.at(9))).encode()
    lines = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    writer.write(request("POST", "/api/v1/bookings", place, *lines) + body)
    await asyncio.sleep(0)
    for path in ("/healthz", "/api/v1/nothing", "/healthz"):
        writer.write(request("GET", path, place))
        await asyncio.sleep(0)
    answers = b""
    while answers.count(b"HTTP/1.1 ") < 4:
        answers += await asyncio.wait_for(reader.read(65_536), 10)
    writer.close()
    assert re.findall(rb"HTTP/1\.1 (\d+)", answers) == [b"201", b"200", b"404", b"200"]


async def test_whoever_has_said_everything_still_gets_the_answer(server: RunningServer, place: Place) -> None:
    body = json.dumps(place.booking(place.at(9))).encode()
    lines = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    status, _, _ = parts(await send_raw(server, request("POST", "/api/v1/bookings", place, *lines) + body))
    assert status == "HTTP/1.1 201 Created"


async def test_answers_that_nobody_takes_do_not_gather(server: RunningServer) -> None:
    """One request after the other, each in one piece."""
    assert server.process is not None
    memory = psutil.Process(server.process.pid).memory_info
    before, one = memory().rss, b"GET /asyncapi.json HTTP/1.1\r\nHost: test\r\n\r\n"
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.connect(("127.0.0.1", server.port))
        peer.setblocking(False)
        sent, ends = 0, time.monotonic() + 2
        while time.monotonic() < ends:
            try:
                sent += peer.send(one)
            except BlockingIOError:
                break
            await asyncio.sleep(0.002)
        assert sent > 100 * len(one)
        assert memory().rss - before < 30_000_000

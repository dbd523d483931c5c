"""How an answer stands on the wire: its length, its connection, and nothing in it that is not meant."""

import asyncio
import json
import re
import socket
import time

import psutil
import pytest

from server.answer import Answer
from tests.rest.helpers import NOBODY, send_raw
from tests.support.server import Place, RunningServer

NOTHING = f"/api/v1/clients/{NOBODY}"


def request(method: str, path: str, place: Place, *lines: str, version: str = "1.1") -> bytes:
    head = [f"{method} {path} HTTP/{version}", "Host: test", f"Authorization: Bearer {place.api.token}", *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode()


def parts(answer: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    names = [line.partition(":")[0].lower() for line in lines]
    assert len(set(names)) == len(names), "no header stands there twice"
    return status, {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}, body


async def test_a_whole_answer(server: RunningServer, place: Place) -> None:
    status, headers, body = parts(await send_raw(server, request("GET", "/api/v1/services", place)))
    assert status == "HTTP/1.1 200 OK"
    assert int(headers["content-length"]) == len(body) > 0
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers["date"])
    assert headers["content-type"].startswith("application/json")
    assert headers["x-request-id"]
    assert "connection" not in headers, "1.1 stays open unless told"
    assert "aiohttp" not in headers["server"].lower(), "nobody needs to know"


async def test_head_is_get_without_its_body(server: RunningServer, place: Place) -> None:
    _, of_get, body = parts(await send_raw(server, request("GET", "/api/v1/services", place)))
    status, of_head, nothing = parts(await send_raw(server, request("HEAD", "/api/v1/services", place)))
    assert status == "HTTP/1.1 200 OK"
    assert nothing == b""
    assert of_head["content-length"] == of_get["content-length"] == str(len(body))


async def test_nothing_has_neither_length_nor_body(server: RunningServer, place: Place) -> None:
    held = await place.api.made(
        "holds", {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(9)}
    )
    status, headers, body = parts(await send_raw(server, request("DELETE", f"/api/v1/holds/{held['id']}", place)))
    assert (status, body) == ("HTTP/1.1 204 No Content", b"")
    assert "content-length" not in headers


@pytest.mark.parametrize(
    ("version", "said", "answered"),
    [
        ("1.1", "close", "close"),
        ("1.1", "keep-alive", None),
        ("1.0", None, "close"),
        ("1.0", "keep-alive", "keep-alive"),
    ],
)
async def test_the_connection_ends_when_either_side_wants_it(
    server: RunningServer, place: Place, version: str, said: str | None, answered: str | None
) -> None:
    lines = [f"Connection: {said}"] if said else []
    one = request("GET", "/api/v1/services", place, *lines, version=version)
    # Behind a request that ends its connection the parser takes nothing more, so only one is sent.
    answers = await send_raw(server, one if answered == "close" else one + one)
    assert parts(answers)[1].get("connection") == answered
    assert answers.count(b"HTTP/1.1 200 OK") == (1 if answered == "close" else 2)


async def test_pipelined_requests_are_answered_in_order(server: RunningServer, place: Place) -> None:
    """A write that waits for its commit goes before a read that is ready at once."""
    body = json.dumps(place.booking(place.at(9))).encode()
    book = request("POST", "/api/v1/bookings", place, "Content-Type: application/json", f"Content-Length: {len(body)}")
    answers = await send_raw(server, book + body + request("GET", "/healthz", place) + request("GET", NOTHING, place))
    assert re.findall(rb"HTTP/1\.1 (\d+)", answers)[0] == b"201"
    assert re.findall(rb"HTTP/1\.1 (\d+)", answers)[-1] == b"404"


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b=c", "a\nb", "a\0b"])
def test_a_header_cannot_end_early(value: str) -> None:
    answer = Answer(b"{}", 200, {"Location": value})
    with pytest.raises(ValueError, match="Location"):
        answer.whole(object())  # type: ignore[arg-type] - it is refused before anything is asked of it


async def test_what_a_caller_names_itself_comes_back_only_when_harmless(server: RunningServer, place: Place) -> None:
    raw = request("GET", "/api/v1/services", place, "X-Request-ID: a b;c")
    assert parts(await send_raw(server, raw))[1]["x-request-id"] != "a b;c"


async def test_answers_that_nobody_takes_do_not_gather(server: RunningServer) -> None:
    """Who asks without reading is made to wait: the server stops reading them, and their answers stay few."""
    assert server.process is not None
    memory = psutil.Process(server.process.pid).memory_info
    before, one = memory().rss, b"GET /asyncapi.json HTTP/1.1\r\nHost: test\r\n\r\n" * 100
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(("127.0.0.1", server.port))
        peer.setblocking(False)
        ends = time.monotonic() + 3
        while time.monotonic() < ends and memory().rss - before < 100_000_000:
            try:
                peer.send(one)
            except BlockingIOError:
                await asyncio.sleep(0.01)
        assert memory().rss - before < 30_000_000

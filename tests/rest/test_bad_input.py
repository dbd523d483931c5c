"""Input that is meant to hurt: each gets its 4xx, and the server goes on."""

import asyncio
import gzip
import json
import re
from typing import Any

import pytest

from tests.rest.helpers import NOBODY, problem, send, send_raw
from tests.support.server import Api, Place, RunningServer


async def still_well(api: Api) -> None:
    assert (await api.with_token(None).get("/readyz")).json["status"] == "ready"


def head_of(api: Api) -> bytes:
    """The beginning of a POST by hand, up to the headers that matter."""
    lines = ("POST /api/v1/clients HTTP/1.1", "Host: x", f"Authorization: Bearer {api.token}")
    return "\r\n".join([*lines, "Content-Type: application/json", ""]).encode()


def fields_of(place: Place) -> list[tuple[str, str, dict[str, Any]]]:
    """Every way to write, with a body that is good."""
    p = f"professionals/{place.professional_id}"
    return [
        ("POST", "clients", {"first_name": "x"}),
        ("PATCH", f"clients/{place.client_id}", {"first_name": "x"}),
        ("POST", "professionals", {"display_name": "x"}),
        ("PATCH", p, {"display_name": "x"}),
        ("POST", "services", {"name": "x", "duration_minutes": 5}),
        ("PATCH", f"services/{place.service_id}", {"name": "x"}),
        ("POST", f"{p}/services", {"name": "x", "duration_minutes": 5}),
        ("PUT", f"{p}/schedule", {"time_zone": "UTC", "weekly": []}),
        ("POST", f"{p}/time-off", {"start": place.at(20), "end": place.at(21), "description": "x"}),
        (
            "POST", "holds",
            {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(9)},
        ),
        ("POST", "bookings", place.booking(place.at(9), notes="x")),
        ("POST", "service-tokens", {"name": "x"}),
        ("POST", "auth/ticket", {}),
    ]  # fmt: skip


async def test_a_field_nobody_knows_is_refused(place: Place) -> None:
    """By every body, also one that would matter elsewhere."""
    for method, path, body in fields_of(place):
        for name in ("nobody_knows", "id", "business_id", "__proto__", "", "ключ"):
            problem(await send(place.api, method, path, {**body, name: 1}), "validation_failed", name)


async def test_a_body_is_an_object(place: Place) -> None:
    """Not an array, a text, a number, a truth or nothing."""
    for method, path, _ in fields_of(place):
        for raw in (b"[]", b"[{}]", b'"x"', b"7", b"true", b"null"):
            problem(await send(place.api, method, path, raw), "validation_failed")


async def test_an_empty_body_lacks_what_is_required(place: Place) -> None:
    """It counts as an object without fields, so that actions need none."""
    problem(await send(place.api, "POST", "clients", b""), "validation_failed", "first_name")
    answer = await place.api.request("POST", "clients")
    problem(answer, "validation_failed", "first_name")
    assert (await place.api.request("POST", "auth/ticket")).status == 201


TEXTS: dict[str, Any] = {
    "NUL": "a\u0000b",
    "CR LF": "a\r\nX-Injected: yes",
    "line separator": "a\u2028b",
    "escape": "\u001b[2J",
    "number": 7,
    "truth": True,
    "list": ["x"],
    "object": {"x": 1},
    "long": "x" * 30_000,
}


@pytest.mark.parametrize("kind", TEXTS)
async def test_a_name_is_one_line_of_text(place: Place, kind: str) -> None:
    """Wherever a name can be given."""
    names = {"first_name", "display_name", "name"}
    for method, path, body in fields_of(place):
        for name in names & set(body):
            problem(await send(place.api, method, path, {**body, name: TEXTS[kind]}), "validation_failed", name)
    guest = place.booking(place.at(9), guest={"name": TEXTS[kind]})
    problem(await send(place.api, "POST", "bookings", guest), "validation_failed", "guest.name")


@pytest.mark.parametrize(
    "raw", [rb'"\ud800"', rb'"\udc00\ud800"', rb'"a\ud83d"', b'"\xed\xa0\x80"', b'"\xff"', b'"\xc0\x80"']
)
async def test_half_a_character_is_no_text(place: Place, raw: bytes) -> None:
    """Lone surrogates and bytes that are not UTF-8, in names, long texts and zones."""
    for method, path, template in (
        ("POST", "clients", b'{"first_name": %s}'),
        ("POST", "professionals", b'{"display_name": "x", "bio": %s}'),
        ("POST", "professionals", b'{"display_name": "x", "time_zone": %s}'),
        ("POST", "auth/login", b'{"username": "x", "password": %s}'),
    ):
        answer = await send(place.api, method, path, template % raw)
        assert answer.status in (400, 422), answer
        problem(answer, answer.json["code"])


IDS = [
    "",
    "x",
    "0",
    NOBODY[:-1],
    NOBODY + "0",
    NOBODY.upper().replace("0", "A", 1),
    "{" + NOBODY + "}",
    NOBODY.replace("-", ""),
    f"urn:uuid:{NOBODY}",
    NOBODY + "\n",
    " " + NOBODY,
    "../" + NOBODY,
    "' OR '1'='1",
    "\u0000",
    7,
    None,
    True,
    [NOBODY],
    {},
]


@pytest.mark.parametrize("bad", IDS, ids=range(len(IDS)))
async def test_an_id_in_a_body_is_a_lower_case_uuid(place: Place, bad: Any) -> None:
    """422 that names the field."""
    for field in ("professional_id", "service_id", "client_id", "hold_id"):
        body = place.booking(place.at(9)) | {field: bad}
        if bad is None and field in ("professional_id", "client_id", "hold_id"):
            continue
        problem(await send(place.api, "POST", "bookings", body), "validation_failed", field)


NUMBERS = [-1, 0, 1001, 10**18, 2**63, 2**64, 10**30, -(10**30), 1.5, "1", True, False, None, [], {}]


@pytest.mark.parametrize("bad", NUMBERS, ids=range(len(NUMBERS)))
async def test_a_number_is_a_whole_one_within_its_bounds(place: Place, bad: Any) -> None:
    """Neither text nor truth, however close."""
    problem(
        await send(place.api, "POST", "bookings", place.booking(place.at(9)) | {"attendees": bad}),
        "validation_failed",
        "attendees",
    )


@pytest.mark.parametrize(
    "raw",
    [b"1e400", b"-1e400", b"1" * 5000, b"0" * 10, b"01", b"+1", b".5", b"1.", b"0x1", b"1_0", b"NaN", b"-Infinity"],
)
async def test_what_is_no_number_of_json_is_refused(place: Place, raw: bytes) -> None:
    """Malformed or out of bounds, but never a crash."""
    body = b'{"first_name": "x", "chat_id": %s}' % raw
    answer = await send(place.api, "POST", "clients", body)
    assert answer.status in (400, 422), answer
    problem(answer, answer.json["code"])


async def test_deep_nesting_is_refused(place: Place) -> None:
    """As deep as a body can be."""
    for raw in (
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"[" * 30_000 + b"]" * 30_000,
        b'{"first_name": ' + b"[" * 50_000 + b"}",
        b'{"first_name": "x", "nobody_knows": ' + b"[" * 25_000 + b"]" * 25_000 + b"}",
    ):
        answer = await send(place.api, "POST", "clients", raw)
        assert answer.status in (400, 422), answer
        problem(answer, answer.json["code"])
    problem(await send(place.api, "POST", "clients", b"[" * 100_000), "body_too_large")
    await still_well(place.api)


async def test_a_huge_body_is_refused_early(server: RunningServer, api: Api) -> None:
    """5 MB, announced or chunked: 413, long before it is read to the end."""
    said = await send_raw(server, head_of(api) + b"Content-Length: 5000000\r\n\r\n" + b"x" * 1000)
    assert said.startswith(b"HTTP/1.1 413 "), said
    assert b'"body_too_large"' in said
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    said = await send_raw(server, head_of(api) + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 80 + b"0\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 413 "), said
    assert b'"body_too_large"' in said
    await still_well(api)


async def test_a_body_as_large_as_allowed_is_read(api: Api) -> None:
    """64 KiB with white space around it."""
    raw = json.dumps({"first_name": "x"}).encode()
    assert (await send(api, "POST", "clients", raw.ljust(64 * 1024))).status == 201
    problem(await send(api, "POST", "clients", raw.ljust(64 * 1024 + 1)), "body_too_large")


async def test_a_compressed_body_cannot_swell(api: Api) -> None:
    """A bomb is 413, and what is not what it says it is 400."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 64 * 1024
    problem(await api.request("POST", "clients", raw=bomb, headers=headers), "body_too_large")
    answer = await api.request("POST", "clients", raw=b"this is not gzip", headers=headers)
    assert 400 <= answer.status < 500, answer
    problem(answer, answer.json["code"])
    good = gzip.compress(b'{"first_name": "x"}')
    assert (await api.request("POST", "clients", raw=good, headers=headers)).status == 201
    cut = await api.request("POST", "clients", raw=good[:15], headers=headers)
    assert 400 <= cut.status < 500, cut
    await still_well(api)


async def test_sql_is_only_text(place: Place) -> None:
    """In names, filters, ids, codes, keys and headers."""
    evil = "x'); DROP TABLE bookings; --"
    made = await place.api.made("clients", {"first_name": evil, "email": "a'--@b.org"}, key="k';DROP--" + NOBODY)
    assert made["first_name"] == evil
    problem(await place.api.get("bookings", status=evil), "validation_failed", "status")
    problem(await place.api.get("bookings/BK-' OR 1=1"), "not_found")
    problem(await place.api.get("clients/' OR 1=1 --"), "not_found")
    made = await place.api.made("bookings", place.booking(place.at(9), notes=evil), headers={"X-Request-ID": "a';--"})
    assert (await place.api.get(f"bookings/{made['id']}")).json["notes"] == evil


SMUGGLED = {
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}   ",
    "length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + b"GET /smuggled HTTP/1.1\r\n\r\n",
    "negative length": b"Content-Length: -1\r\n\r\n",
    "length with a plus": b"Content-Length: +2\r\n\r\n{}",
    "hexadecimal length": b"Content-Length: 0x2\r\n\r\n{}",
    "bad chunk size": b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "unknown encoding": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "space before the colon": b"Content-Length : 2\r\n\r\n{}",
    "no name": b": x\r\n\r\n",
    "NUL in a header": b"X-A: a\x00b\r\n\r\n",
    "bare CR": b"X-A: a\rX-B: b\r\n\r\n",
    "folded": b"X-A: a\r\n b\r\n\r\n",
    "no colon": b"nonsense\r\n\r\n",
    "long line": b"X-A: " + b"a" * 20_000 + b"\r\n\r\n",
    "many headers": b"X-A: a\r\n" * 5_000 + b"\r\n",
}


@pytest.mark.parametrize("kind", SMUGGLED)
async def test_a_request_that_could_be_read_in_two_ways_is_refused(server: RunningServer, api: Api, kind: str) -> None:
    """400 as a problem, and the connection is closed, so that nothing hides behind it."""
    said = await send_raw(server, head_of(api) + SMUGGLED[kind])
    assert re.match(rb"HTTP/1\.[01] 4\d\d ", said), said
    assert b"application/problem+json" in said, said
    assert b"/smuggled" not in said
    assert said.count(b"HTTP/1.") == 1, "only one request was seen"
    assert b"Traceback" not in said
    await still_well(api)


NOT_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x00" * 100,
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / \r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\n\r\n",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
]


@pytest.mark.parametrize("data", NOT_HTTP, ids=range(len(NOT_HTTP)))
async def test_bytes_that_are_no_request_do_no_harm(server: RunningServer, api: Api, data: bytes) -> None:
    """A 4xx or a closed connection; nothing of the server's inside is told."""
    said = await send_raw(server, data, timeout_s=1.0)
    assert said == b"" or re.match(rb"HTTP/1\.[01] 4\d\d ", said), said
    assert b"bytearray" not in said
    assert b"aiohttp." not in said
    await still_well(api)


async def test_a_caller_that_hangs_up_does_no_harm(server: RunningServer, api: Api) -> None:
    """In the middle of a body, and before it hears the answer."""
    for body in (
        b"Content-Length: 100\r\n\r\n{",
        b'Content-Length: 18\r\n\r\n{"first_name":"x"}',
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    ):
        for _ in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(head_of(api) + body)
            await writer.drain()
            writer.transport.abort()
    await still_well(api)


async def test_bad_bytes_in_a_query_are_refused(place: Place) -> None:
    """Half characters and NUL, percent-encoded, are no value of any filter."""
    for value in ("%00", "%ff", "%ed%a0%80", "%c0%80", "%f0%9f%98%80"):
        for path in (
            f"bookings?status={value}",
            f"bookings?date={value}",
            f"bookings?time_zone={value}",
            f"bookings?client_id={value}",
            f"clients?limit={value}",
            f"professionals/{place.professional_id}/slots?from={value}&to={place.day}",
            f"professionals/{place.professional_id}/bookings/dates?month={value}",
            f"professionals/{place.professional_id}/availability?date={value}",
        ):
            said = await send_raw(
                place.api.server,
                f"GET /api/v1/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                f"Authorization: Bearer {place.api.token}\r\n\r\n".encode(),
            )
            assert said.startswith(b"HTTP/1.1 422 "), (path, said)


@pytest.mark.parametrize(
    "zone", ["localtime", "posixrules", "Factory", "right/UTC", "posix/UTC", "GB-Eire", "EST5EDT", "Etc/GMT+12", "UCT"]
)
async def test_an_odd_zone_is_refused_or_works_everywhere(api: Api, zone: str) -> None:
    """A zone that Python knows and the database does not must not fail later."""
    made = await api.post("professionals", {"display_name": "x", "time_zone": zone})
    if made.status == 422:
        problem(made, "validation_failed", "time_zone")
        return
    assert zone[0].isupper(), "analytics ask the database, which knows none of these"
    path = f"professionals/{made.json['id']}"
    assert (await api.get(f"{path}/bookings/dates", month="2027-01")).json["dates"] == []
    assert len((await api.get(f"{path}/availability", date="2027-01-04")).json["slots"]) == 18


@pytest.mark.parametrize("path", ["/static/" + "a" * 300, "/docs/static/" + "a" * 300, "/docs/static/%00"])
async def test_a_file_that_cannot_be_is_not_there(api: Api, path: str) -> None:
    """Also one whose name no file system takes."""
    problem(await api.get(path), "not_found")


async def test_a_header_of_other_bytes_is_no_failure(api: Api) -> None:
    """With a key, If-Match is part of what makes two requests the same, whatever stands in it."""
    headers = {"If-Match": '"\udcff"'}
    answer = await api.with_token(None).post("bookings/BK-22222222/cancel", key="k1", headers=headers)
    assert 400 <= answer.status < 500, answer

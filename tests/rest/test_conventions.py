"""What holds on every route: problems, request ids, media types, methods and lists."""

import asyncio
import re
from typing import Any

import pytest

from protocol.errors import KINDS
from server.app import endpoints
from server.permissions import TABLE
from tests.rest.helpers import NOBODY, acting, all_pages, book, new_business, problem, send, send_raw
from tests.support.server import Api, Place, RunningServer, new_place

WITH_BODY = [e for e in endpoints(None) if e.body is not None]
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def concrete(path: str) -> str:
    return re.sub(r"{\w+}", NOBODY, path)


# Problems


@pytest.mark.parity("A15")
@pytest.mark.parity("E8")
async def test_every_kind_of_error_has_the_same_shape(place: Place) -> None:
    """The seven of the seed system and more: one shape, each with its own status and code."""
    api = place.api
    await book(place, place.at(9))
    seen = {
        "validation_failed": await api.post("clients", {}),
        "malformed_body": await send(api, "POST", "clients", b"{"),
        "unauthorized": await api.with_token("x").get("clients"),
        "forbidden": await acting(api, NOBODY, "client").get("service-tokens"),
        "not_found": await api.get(f"clients/{NOBODY}"),
        "slot_unavailable": await api.post("bookings", place.booking(place.at(9))),
        "outside_hours": await api.post("bookings", place.booking(place.at(23, 45))),
        "method_not_allowed": await api.request("PUT", "clients", {}),
        "unsupported_media_type": await api.request("POST", "clients", raw=b"a", headers={"Content-Type": "text/a"}),
        "body_too_large": await send(api, "POST", "clients", {"first_name": "x" * 70_000}),
        "invalid_cursor": await api.get("clients", cursor="x"),
        "hold_gone": await api.post("bookings", place.booking(place.at(10), hold_id=NOBODY)),
    }  # fmt: skip
    for code, answer in seen.items():
        body = problem(answer, code)
        assert body["title"] == KINDS[code].title
    assert {a.status for a in seen.values()} >= {400, 401, 403, 404, 405, 409, 413, 415, 422}


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/api/v1",
        "/api/v1/",
        "/api/v1/nothing",
        "/api/v2/clients",
        "/api/v1/clients/",
        "//",
        "/%00",
        "/a%0ab",
        "/%ff",
    ],
)
async def test_a_path_that_is_none_is_not_found(api: Api, path: str) -> None:
    """With the same shape of problem as everything else, with and without a login."""
    for caller in (api, api.with_token(None)):
        problem(await caller.request("GET", path), "not_found")


@pytest.mark.parametrize("path", sorted({e.path for e in endpoints(None)}))
async def test_a_method_that_a_route_has_not_is_refused(api: Api, path: str) -> None:
    """405 that lists those it has."""
    has = {e.method for e in endpoints(None) if e.path == path}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - has:
        answer = await api.request(method, concrete(path))
        problem(answer, "method_not_allowed")
        allowed = set(answer.headers["Allow"].split(", "))
        assert has <= allowed
        assert method not in allowed


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "GETS"])
async def test_a_method_nobody_knows_is_refused(server: RunningServer, method: str) -> None:
    """400 or 405, as a problem, and the server goes on."""
    said = await send_raw(server, f"{method} /api/v1/clients HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert re.match(rb"HTTP/1\.[01] (400|405) ", said), said
    assert b"application/problem+json" in said


# Request ids


@pytest.mark.parity("E6")
@pytest.mark.parametrize("given", ["abc", "a-b_c.d:e", "x" * 64, "0198c0de-0000-7000-8000-000000000000"])
async def test_a_usable_request_id_is_kept(api: Api, given: str) -> None:
    """On success, on refusals, and where no route is."""
    for path in ("clients", f"clients/{NOBODY}", "nothing", "/api/health"):
        answer = await api.get(path, headers={"X-Request-ID": given})
        assert answer.headers["X-Request-ID"] == given
        assert answer.status == 200 or answer.json["request_id"] == given


@pytest.mark.parity("E6")
@pytest.mark.parametrize(
    "given", ["", "x" * 65, "two words", "ü", "<script>", "a;b", '"a"', "a\tb", "{{7*7}}", "%0d%0a"]
)
async def test_an_unusable_request_id_is_replaced(api: Api, given: str) -> None:
    """By a fresh UUIDv7, never by a part of what came."""
    answers = [await api.get("clients", headers={"X-Request-ID": given}, limit=1) for _ in range(2)]
    ids = {a.headers["X-Request-ID"] for a in answers}
    assert len(ids) == 2
    assert all(UUID7.fullmatch(i) for i in ids)


async def test_a_request_id_cannot_carry_a_line_break(server: RunningServer) -> None:
    """Neither bare nor folded: nothing of it is answered as a header of its own."""
    for value in (b"a\r\n b", b"a\nSet-Cookie: x=y", b"a\rSet-Cookie: x=y", b"a\x00b"):
        said = await send_raw(server, b"GET /api/health HTTP/1.1\r\nHost: x\r\nX-Request-ID: " + value + b"\r\n\r\n")
        assert re.match(rb"HTTP/1\.[01] (200|400) ", said), said
        assert b"\nset-cookie" not in said.lower()


# Media types


@pytest.mark.parametrize("e", WITH_BODY, ids=lambda e: f"{e.method} {e.path}")
async def test_a_body_is_json_by_its_own_word(api: Api, e: Any) -> None:
    """Anything else is 415; malformed JSON is 400; more than the bound is 413. Before any id is looked up."""
    path, roles = concrete(e.path), TABLE[e.needs] if e.needs else {}
    if roles and "owner" not in roles:
        api = acting(api, "", next(iter(roles))) if "super_admin" in roles else acting(api, NOBODY, next(iter(roles)))
    for content_type in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        "json",
    ):
        answer = await api.request(e.method, path, raw=b"{}", headers={"Content-Type": content_type})
        problem(answer, "unsupported_media_type")
    for raw in (b"{", b"{]", b"nul", b"{'a': 1}", b"{,}", b"\xff\xfe{\x00}\x00", b"NaN", b"-Infinity"):
        problem(await send(api, e.method, path, raw), "malformed_body")
    problem(await send(api, e.method, path, b" " * 70_000), "body_too_large")


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"])
async def test_json_may_be_spelt_as_the_standard_allows(api: Api, content_type: str) -> None:
    """Case and parameters do not matter."""
    answer = await api.request("POST", "clients", raw=b'{"first_name":"x"}', headers={"Content-Type": content_type})
    assert answer.status == 201, answer


async def test_answers_say_what_they_are(place: Place) -> None:
    """JSON in UTF-8; nothing without content."""
    answer = await place.api.get("clients", limit=1)
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    hold = {"professional_id": place.professional_id, "service_id": place.service_id, "start": place.at(9)}
    gone = await place.api.request("DELETE", f"holds/{(await place.api.made('holds', hold))['id']}")
    assert (gone.status, gone.body) == (204, b"")


# Lists


@pytest.fixture
async def full(server: RunningServer, api: Api) -> tuple[Api, dict[str, tuple[str, int]]]:
    """A business with five of everything, and every list of it with how many it holds."""
    owner = acting(api, await new_business(server.dsn), "owner")
    place = await new_place(owner)
    for i in range(4):
        await owner.made("clients", {"first_name": str(i)})
        await owner.made("professionals", {"display_name": str(i)})
        await owner.made(f"professionals/{place.professional_id}/services", {"name": str(i), "duration_minutes": 30})
    for i in range(5):
        await owner.made("service-tokens", {"name": str(i)})
        await book(place, place.at(9 + i))
        off = {"start": place.at(i, day=1), "end": place.at(i, 30, day=1)}
        await owner.made(f"professionals/{place.professional_id}/time-off", off)
    p = f"professionals/{place.professional_id}"
    lists = ("clients", "professionals", "services", "service-tokens", "bookings", f"{p}/bookings", f"{p}/services",
             f"{p}/time-off", f"clients/{place.client_id}/bookings")  # fmt: skip
    return owner, {name: (name, 5) for name in lists}


@pytest.mark.parity("B16")
async def test_every_list_is_paged(full: tuple[Api, dict[str, tuple[str, int]]]) -> None:
    """Each item once and in the same order, whatever the size of the page; the last page has no cursor."""
    owner, lists = full
    for path, count in lists.values():
        whole = [i["id"] for page in await all_pages(owner, path, 200) for i in page]
        assert len(whole) == count, path
        assert len(set(whole)) == count
        for limit in (1, 2, 5):
            pages = await all_pages(owner, path, limit)
            assert [i["id"] for page in pages for i in page] == whole, path
            assert [len(p) for p in pages] == [limit] * (count // limit) + ([count % limit] if count % limit else [])


@pytest.mark.parity("B16")
async def test_the_journal_is_paged_by_version(place: Place) -> None:
    """Without a gap, and on from wherever the reader left."""
    for i in range(5):
        await book(place, place.at(9 + i))
    path = f"professionals/{place.professional_id}/events"
    whole = (await place.api.get(path)).json
    versions = [e["version"] for e in whole["items"]]
    assert versions == list(range(1, len(versions) + 1))
    assert whole["next_cursor"] is None
    found: list[int] = []
    after = "0"
    while after is not None:
        page = (await place.api.get(path, after=after, limit=2)).json
        found += [e["version"] for e in page["items"]]
        after = page["next_cursor"]
    assert found == versions
    for bad in ({"after": -1}, {"after": "x"}, {"after": 2**60}, {"limit": 0}, {"limit": 201}):
        problem(await place.api.get(path, **bad), "validation_failed", next(iter(bad)))


@pytest.mark.parity("B16")
async def test_a_list_that_grows_while_it_is_read_repeats_nothing(stranger: Api) -> None:
    """A cursor is a place in the order, not a number of items to leave out."""
    first = [(await stranger.made("clients", {"first_name": str(i)}))["id"] for i in range(4)]
    page = (await stranger.get("clients", limit=2)).json
    await stranger.made("clients", {"first_name": "late"})
    rest = (await stranger.get("clients", limit=200, cursor=page["next_cursor"])).json
    assert [c["id"] for c in page["items"]] == first[:2]
    assert [c["id"] for c in rest["items"]][:2] == first[2:]


@pytest.mark.parity("B16")
async def test_a_cursor_is_only_what_the_list_gave_out(full: tuple[Api, dict[str, tuple[str, int]]]) -> None:
    """Changed, cut, made up or from another list: 400, on every list."""
    owner, lists = full
    cursors = {path: (await owner.get(path, limit=1)).json["next_cursor"] for path, _ in lists.values()}
    foreign = {"clients": cursors["professionals"], "services": cursors["bookings"]}
    for path, good in cursors.items():
        other = foreign.get(path, cursors["clients"])
        bad = [
            other, good[:-1], good[1:], good[:10], good.split(".")[0], "." + good.split(".")[1], good + "x",
            good.swapcase(), "x", ".", "..", "null.x", "😀", "'; DROP TABLE clients; --", "\x00", "%ff", "A" * 512,
        ]  # fmt: skip
        for cursor in bad:
            problem(await owner.get(path, cursor=cursor), "invalid_cursor")
        problem(await owner.get(path, cursor="A" * 513), "validation_failed", "cursor")
        assert (await owner.get(path, limit=1, cursor=good)).status == 200


@pytest.mark.parity("B16")
@pytest.mark.parametrize("limit", ["-1", "0", "201", "1000000000", "9" * 40, "1.5", "x", "", "true", "0x10", "null"])
async def test_a_limit_is_a_number_from_1_to_200(place: Place, limit: str) -> None:
    """On every list."""
    p = f"professionals/{place.professional_id}"
    lists = ("clients", "professionals", "services", "service-tokens", "bookings", f"{p}/bookings", f"{p}/services",
             f"{p}/time-off", f"{p}/events", f"clients/{place.client_id}/bookings")  # fmt: skip
    for path in lists:
        problem(await place.api.get(path, limit=limit), "validation_failed", "limit")


# Queries


async def test_an_unknown_parameter_is_refused(place: Place) -> None:
    """Also where a route has none at all; a misspelt filter must not list everything."""
    p = f"professionals/{place.professional_id}"
    for path in (
        "clients",
        "bookings",
        f"clients/{place.client_id}",
        p,
        f"{p}/schedule",
        f"{p}/events",
        "service-tokens",
    ):
        problem(await place.api.get(path, limits=1), "validation_failed", "limits")
    problem(
        await place.api.request("POST", "clients", {"first_name": "x"}, dry_run="1"), "validation_failed", "dry_run"
    )


async def test_a_parameter_may_stand_only_once(place: Place) -> None:
    """Which of two would hold is nobody's guess."""
    for query in ("limit=1&limit=2", "limit=1&limit=1", "status=pending&status=confirmed"):
        problem(await place.api.get(f"bookings?{query}"), "validation_failed", "query")


async def test_many_kinds_of_requests_at_once_leave_the_server_well(place: Place) -> None:
    """A mixed crowd, good and bad: each gets its own answer."""
    asks = [
        lambda: place.api.get("clients", limit=1),
        lambda: place.api.get("nothing"),
        lambda: send(place.api, "POST", "clients", b"{"),
        lambda: place.api.with_token(None).get("clients"),
        lambda: place.api.get("/api/health"),
    ]
    answers = await asyncio.gather(*(asks[i % 5]() for i in range(200)))
    assert [a.status for a in answers] == [200, 404, 400, 401, 200] * 40

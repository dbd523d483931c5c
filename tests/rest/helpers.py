"""What the REST tests have in common."""

import asyncio
import json
import uuid
from typing import Any

import asyncpg

from protocol.errors import KINDS
from tests.support.server import Answer, Api, Place, RunningServer, token_for

MEMBERS = {"type", "title", "status", "detail", "code", "request_id"}
NOBODY = "0198c0de-0000-7000-8000-000000000000"


def problem(answer: Answer, code: str, field: str | None = None) -> Any:
    """The body of a refusal, after checking that it is a whole RFC 9457 problem of that code.

    With `field`, one of its `errors` must name that field.
    """
    assert answer.status == KINDS[code].status, answer
    assert answer.headers["Content-Type"] == "application/problem+json", answer
    body = answer.json
    assert set(body) >= MEMBERS, answer
    assert (body["code"], body["status"]) == (code, answer.status), answer
    assert body["type"] == f"urn:slotcast:problem:{code}"
    assert body["title"], answer
    assert body["detail"], answer
    assert body["request_id"] == answer.headers["X-Request-ID"]
    assert "Traceback" not in answer.body.decode(), answer
    assert ".py" not in answer.body.decode(), answer
    if field is not None:
        assert field in [e["field"] for e in body["errors"]], answer
        assert all(e["message"] for e in body["errors"]), answer
    return body


async def new_business(dsn: str, time_zone: str = "Europe/Berlin") -> str:
    """The id of a business that nobody else in the run uses."""
    connection = await asyncpg.connect(dsn)
    try:
        business_id = str(uuid.uuid4())
        await connection.execute(
            "INSERT INTO businesses (id, slug, name, time_zone) VALUES ($1, $2, $3, $4)",
            business_id, f"b-{business_id}", "Another one", time_zone,
        )  # fmt: skip
        return business_id
    finally:
        await connection.close()


def acting(api: Api, business_id: str, role: str, **more: Any) -> Api:
    """The same API with a token of that role."""
    return api.with_token(token_for(business_id, role, **more))


async def all_pages(api: Api, path: str, limit: int, **query: Any) -> list[list[Any]]:
    """The items of every page of a list, page by page."""
    pages: list[list[Any]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await api.get(path, limit=limit, **query, **cursor)
        assert answer.status == 200, answer
        assert set(answer.json) == {"items", "next_cursor"}
        pages.append(answer.json["items"])
        if answer.json["next_cursor"] is None:
            return pages
        cursor = {"cursor": answer.json["next_cursor"]}
        assert len(pages) < 100, "the list never ends"


async def send(api: Api, method: str, path: str, body: Any, **more: Any) -> Answer:
    """A request whose body may hold what the faster encoder refuses: huge integers, NaN, lone surrogates."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await api.request(method, path, raw=raw, headers={"Content-Type": "application/json"}, **more)


async def book(place: Place, start: str, **more: Any) -> Any:
    return await place.api.made("bookings", place.booking(start, **more))


async def approving_place(place: Place) -> Place:
    """The same professional with a second service, whose bookings begin pending."""
    made = await place.api.made(
        f"professionals/{place.professional_id}/services",
        {"name": "By approval", "duration_minutes": 30, "horizon_days": 365, "confirmation": "approval"},
    )
    return Place(place.api, place.professional_id, made["id"], place.client_id, place.day)


async def send_raw(server: RunningServer, data: bytes, timeout_s: float = 5.0) -> bytes:
    """What the server answers to these very bytes, until it closes or falls silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    found = b""
    try:
        writer.write(data)
        await writer.drain()
        while True:
            part = await asyncio.wait_for(reader.read(65536), timeout_s if not found else 0.3)
            if not part:
                break
            found += part
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return found

"""Health, metrics, logs and the published description."""

import re
import time
from typing import Any

import asyncpg
import orjson
import pytest
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families

from server.app import endpoints
from tests.conftest import business_of
from tests.rest.helpers import NOBODY, book, problem
from tests.support.server import Api, Place, RunningServer, eventually, new_place, token_for


@pytest.mark.parity("A2")
async def test_health_answers_without_a_login(api: Api) -> None:
    """The seed system's path and body, and the usual name beside it."""
    anyone = api.with_token(None)
    for path in ("/api/health", "/healthz"):
        answer = await anyone.get(path)
        assert (answer.status, answer.json) == (200, {"status": "healthy"})
    ready = await anyone.get("/readyz")
    assert (ready.status, ready.json) == (200, {"status": "ready", "missing": []})


@pytest.mark.parity("B22")
async def test_readiness_names_what_is_missing(fresh_server: RunningServer, postgres: Any, http: Any) -> None:
    """Without its database the process lives, says what is missing, and refuses writes with a 503."""
    fresh_server.start()
    api = Api(fresh_server, http, token_for(await business_of(fresh_server.dsn)))
    place = await new_place(api)
    name = fresh_server.dsn.split("?")[0].rsplit("/", 1)[1]
    admin = await asyncpg.connect(postgres.dsn)
    try:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)

        async def not_ready() -> Any:
            answer = await api.get("/readyz")
            return answer if answer.status == 503 else None

        answer = await eventually(not_ready)
        assert answer is not None
        assert answer.json == {"status": "not_ready", "missing": ["database"]}
        assert (await api.get("/healthz")).status == 200
        refused = await api.post("clients", {"first_name": "x"})
        problem(refused, "unavailable")
        assert int(refused.headers["Retry-After"]) >= 1
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

        async def ready() -> bool:
            return (await api.get("/readyz")).status == 200

        async def booked() -> bool:
            # The first to write may still find that a connection is gone.
            answer = await api.post("bookings", place.booking(place.at(9)))
            assert answer.status in (201, 503), answer
            return answer.status == 201

        assert await eventually(ready, 20)
        assert await eventually(booked, 20)
    finally:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await admin.close()


# Metrics


async def metrics_of(api: Api) -> dict[str, list[Any]]:
    answer = await api.with_token(None).get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    return {f.name: f.samples for f in text_string_to_metric_families(answer.body.decode())}


def total(samples: list[Any], name: str, **labels: str) -> float:
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


@pytest.mark.parity("A20")
@pytest.mark.parity("E6")
async def test_metrics_tell_duration_status_database_and_connections(place: Place) -> None:
    """All four move with what they measure, and no id becomes a label."""
    before = await metrics_of(place.api)
    await place.api.get(f"clients/{place.client_id}")
    await place.api.get(f"clients/{NOBODY}")
    await book(place, place.at(9))
    after = await metrics_of(place.api)

    def grown(family: str, name: str, **labels: str) -> float:
        return total(after[family], name, **labels) - total(before.get(family, []), name, **labels)

    requests = "slotcast_request_seconds"
    for status in ("200", "404"):
        labels = {"route": "/api/v1/clients/{id}", "method": "GET", "status": status}
        assert grown(requests, f"{requests}_count", **labels) == 1
        assert grown(requests, f"{requests}_sum", **labels) > 0
    assert grown(requests, f"{requests}_count", route="/api/v1/bookings", method="POST", status="201") == 1
    assert grown("slotcast_query_seconds", "slotcast_query_seconds_count") >= 2
    assert grown("slotcast_commit_seconds", "slotcast_commit_seconds_count") >= 1
    assert grown("slotcast_commands", "slotcast_commands_total", command="Book", outcome="ok") == 1
    assert "slotcast_database_connections_in_use" in after
    text = (await place.api.get("/metrics")).body.decode()
    for private in (place.client_id, place.professional_id, NOBODY):
        assert private not in text


@pytest.mark.parity("A20")
async def test_live_connections_are_counted_while_they_last(place: Place) -> None:
    """One more while a socket is open, and none when it has ended."""

    async def connections() -> float:
        found = (await metrics_of(place.api))["slotcast_live_connections"]
        return total(found, "slotcast_live_connections", carrier="websocket")

    before = await connections()
    url = f"{place.api.server.url}/api/v1/live"
    ticket = (await place.api.made("auth/ticket", {}))["ticket"]
    async with place.api.session.ws_connect(url, params={"ticket": ticket}, protocols=["slotcast.v1"]) as socket:
        assert (await socket.receive_json(timeout=5))["type"] == "welcome"
        assert await connections() == before + 1

    async def ended() -> bool:
        return await connections() == before

    assert await eventually(ended)


# Logs


def lines_with(server: RunningServer, text: str) -> list[Any]:
    return [orjson.loads(line) for line in server.logged().splitlines() if text in line]


@pytest.mark.parity("A19")
async def test_the_request_id_ties_answer_log_and_journal(server: RunningServer, place: Place) -> None:
    """One id, given by the caller, in all three; the line has method, path, status and duration."""
    request_id = f"tie-{time.time_ns()}"
    answer = await place.api.post("bookings", place.booking(place.at(9)), headers={"X-Request-ID": request_id})
    assert answer.headers["X-Request-ID"] == request_id
    event = (await place.api.get(f"professionals/{place.professional_id}/events")).json["items"][-1]
    assert (event["type"], event["request_id"]) == ("booking.created", request_id)

    async def logged() -> list[Any]:
        return lines_with(server, request_id)

    [line] = await eventually(logged)
    assert (line["event"], line["level"]) == ("request", "info")
    assert (line["method"], line["path"], line["status"]) == ("POST", "/api/v1/bookings", 201)
    assert 0 < line["duration_ms"] < 30_000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])


@pytest.mark.parity("A19")
async def test_a_made_up_request_id_is_logged_too(server: RunningServer, api: Api) -> None:
    """Refusals and unknown paths have their line as well."""
    for path, status in (("clients/x", 404), ("nothing-here", 404)):
        answer = await api.get(path)
        request_id = answer.headers["X-Request-ID"]

        async def logged(request_id: str = request_id) -> list[Any]:
            return lines_with(server, request_id)

        [line] = await eventually(logged)
        assert (line["status"], line["path"]) == (status, f"/api/v1/{path}")


async def test_logs_hold_no_secrets(server: RunningServer, place: Place) -> None:
    """Neither tokens, nor passwords, nor what a guest was given, nor a line break that could forge a line."""
    secret = f"hunter{time.time_ns()}"
    await place.api.with_token(None).post("auth/login", {"username": "x", "password": secret})
    booked = await place.api.made("bookings", place.booking(place.at(9), guest={"name": "G"}))
    anyone = place.api.with_token(None)
    await anyone.get(f"bookings/{booked['id']}", headers={"X-Manage-Token": booked["manage_token"]})
    await place.api.get("nothing%0a%7b%22event%22:%22forged%22%7d", headers={"X-Request-ID": "last-one"})

    async def logged() -> list[Any]:
        return lines_with(server, "last-one")

    assert await eventually(logged)
    text = server.logged()
    assert secret not in text
    assert booked["manage_token"] not in text
    assert str(place.api.token) not in text
    assert not any(line.startswith('{"event":"forged"') for line in text.splitlines())


# The description


@pytest.mark.parity("B17")
async def test_the_description_is_valid_openapi(api: Api) -> None:
    """OpenAPI 3.1, by the reference validator, with every route that there is."""
    answer = await api.with_token(None).get("/openapi.json")
    assert answer.status == 200
    document = answer.json
    validate(document)
    assert document["openapi"].startswith("3.1")
    described = {(m.upper(), p) for p, found in document["paths"].items() for m in found}
    assert described == {(e.method, e.path) for e in endpoints(None)}
    ids = [o["operationId"] for found in document["paths"].values() for o in found.values()]
    assert len(set(ids)) == len(ids), "a generated client names its functions by these"


@pytest.mark.parity("B17")
async def test_the_description_tells_what_the_server_does(place: Place) -> None:
    """Statuses and bodies of real answers are among those described, and refuse unknown fields alike."""
    document = (await place.api.get("/openapi.json")).json
    schemas = document["components"]["schemas"]
    booking = await book(place, place.at(9), notes="x")
    assert set(booking) <= set(schemas["Booking"]["properties"])
    assert schemas["BookingCreate"]["additionalProperties"] is False
    posted = document["paths"]["/api/v1/bookings"]["post"]
    assert {"201", "401", "403", "404", "409", "413", "415", "422", "503"} <= set(posted["responses"])
    assert "`slot_unavailable`" in posted["responses"]["409"]["description"]
    taken = await place.api.post("bookings", place.booking(place.at(9)))
    assert set(taken.json) <= set(schemas["Problem"]["properties"])
    names = {p["name"] for p in document["paths"]["/api/v1/bookings"]["get"]["parameters"]}
    assert {"status", "date", "date_from", "date_to", "professional_id", "client_id", "limit", "cursor"} <= names
    slots = document["paths"]["/api/v1/professionals/{id}/slots"]["get"]["parameters"]
    assert {p["name"]: p["required"] for p in slots} == {
        "id": True, "from": True, "to": True, "service_id": False, "time_zone": False, "duration_minutes": False,
    }  # fmt: skip
    assert document["paths"]["/api/health"]["get"]["security"] == []


OUTSIDE = re.compile(
    r"""(?:src|href|action)\s*=\s*["']?\s*(?:https?:)?//|url\(\s*["']?(?:https?:)?//|@import\s+["'](?:https?:)?//""",
    re.I,
)


@pytest.mark.parity("B17")
async def test_the_page_of_the_api_comes_whole_from_the_server(api: Api) -> None:
    """HTML, styles and scripts that `/docs` needs are served here and point to no other host."""
    anyone = api.with_token(None)
    page = await anyone.get("/docs")
    assert page.status == 200, page
    html = page.body.decode()
    assert not OUTSIDE.search(html), OUTSIDE.search(html)
    assert not re.search(r"https?://(?!localhost|127\.0\.0\.1)", html), "the page names another host"
    files = re.findall(r"""(?:src|href)=["']([^"'#]+)["']""", html)
    assert any(f.split("?")[0].endswith(".js") for f in files)
    assert any(f.split("?")[0].endswith(".css") for f in files)
    for file in files:
        answer = await anyone.get(file if file.startswith("/") else f"/docs/{file.removeprefix('./')}")
        assert answer.status == 200, (file, answer)
        if file.split("?")[0].endswith(".css"):
            text = answer.body.decode()
            assert not OUTSIDE.search(text), OUTSIDE.search(text)
    # Where the page asks for the description, it is there.
    config = await anyone.get("/docs/swagger.json")
    assert config.status in (200, 404)
    assert "openapi.json" in html
    # Swagger UI sends what it shows to a validator on the internet, unless it is told not to.
    assert re.search(r"validatorUrl[\"']?\s*:\s*(null|\"none\"|'none'|\"\")", html), "its validator must be off"


async def test_the_live_protocol_is_described(api: Api) -> None:
    """As AsyncAPI 3, without a login."""
    answer = await api.with_token(None).get("/asyncapi.json")
    assert answer.status == 200
    assert answer.json["asyncapi"].startswith("3.")

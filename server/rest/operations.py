"""Health, metrics and the machine-readable contract. Outside the base path, without login."""

from functools import cache
from pathlib import Path
from typing import Any, Final

import prometheus_client
from aiohttp import web
from swagger_ui.core import ApplicationDocument  # type: ignore[import-untyped]

from protocol import bodies
from protocol.errors import Refused
from protocol.people import JsonWebKeys
from server.edge import Call, Endpoint, Reply
from server.keys import LOOK_EVERY_S, public_jwk
from server.page import HEADERS, PAGES, PageQuery, shown

_PAGES: Final = PAGES
_PAGE_HEADERS: Final = HEADERS
_DOCS_HEADERS: Final = {"Content-Security-Policy": "frame-ancestors 'none'", "Referrer-Policy": "same-origin"}
_KEYS_MAX_AGE_S: Final = int(LOOK_EVERY_S)
"""Whoever keeps the keys for as long knows a new one before it signs."""


async def health(call: Call[Any, Any]) -> bodies.Health:
    return bodies.Health(status="healthy")


async def ready(call: Call[Any, Any]) -> Reply:
    missing = call.node.missing()
    if "database" not in missing:
        # The journal has a connection of its own; the pool may be in trouble although the journal is not.
        try:
            await call.node.database.value("shard_count")
        except Refused:
            missing.append("database")
    status = "not_ready" if missing else "ready"
    return Reply(bodies.Readiness(status=status, missing=missing), 503 if missing else 200)


async def metrics(call: Call[Any, Any]) -> Reply:
    text = prometheus_client.generate_latest(call.node.metrics.registry)
    return Reply(text, headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST})


async def openapi(call: Call[Any, Any]) -> bytes:
    return call.node.documents["openapi"]


async def asyncapi(call: Call[Any, Any]) -> bytes:
    return call.node.documents["asyncapi"]


async def jwks(call: Call[Any, Any]) -> Reply:
    """Empty while tokens are signed with the secret."""
    keys = [public_jwk(key) for key in call.node.auth.keys if key.algorithm != "HS256"]
    return Reply(JsonWebKeys(keys=keys), headers={"Cache-Control": f"public, max-age={_KEYS_MAX_AGE_S}"})


async def demo_page(call: Call[Any, PageQuery]) -> Reply:
    return shown("index", call.request, call.query)


async def analytics_page(call: Call[Any, PageQuery]) -> Reply:
    return shown("analytics", call.request, call.query)


async def demo_config(call: Call[Any, Any]) -> dict[str, Any]:
    row = await call.node.database.row("demo_calendar")
    if row is None:
        raise Refused("not_found", "there is no demo business; start with --demo")
    return {
        "business": {"slug": row["slug"], "name": row["business_name"]},
        "professional": {"id": row["id"], "display_name": row["display_name"], "time_zone": row["time_zone"]},
        "service": {
            "id": row["service_id"],
            "name": row["service_name"],
            "duration_minutes": row["duration_minutes"],
        },
    }


async def static(request: web.BaseRequest, name: str) -> web.StreamResponse:
    """The pages' own files."""
    return _file(_PAGES, name, _PAGE_HEADERS)


async def docs(request: web.BaseRequest) -> web.StreamResponse:
    """Swagger UI over `/openapi.json`."""
    return web.Response(text=_swagger().doc_html, content_type="text/html", headers=_DOCS_HEADERS)


async def docs_static(request: web.BaseRequest, name: str) -> web.StreamResponse:
    """Swagger UI's files, out of its package."""
    return _file(Path(_swagger().static_dir), name, {})


@cache
def _swagger() -> Any:
    # Swagger UI shows the description to a validator on the internet unless told not to.
    return ApplicationDocument(
        None,
        config_rel_url="/../openapi.json",
        url_prefix="/docs",
        title="Slotcast API",
        parameters={"validatorUrl": "null"},
    )


def _file(folder: Path, name: str, headers: dict[str, str]) -> web.StreamResponse:
    """A file right in that folder; a name cannot leave it. Raises `Refused(not_found)`."""
    path = folder / name
    try:
        found = path.parent == folder and path.is_file()
    except (OSError, ValueError):
        found = False
    if not found:
        raise Refused("not_found")
    return web.FileResponse(path, headers={**headers, "Cache-Control": "no-cache"})


def routes(node: Any) -> list[Endpoint]:
    def page(path: str, handler: Any, summary: str, answer: Any = None) -> Endpoint:
        return Endpoint(node, "GET", path, handler, needs=None, summary=summary, answer=answer, area="operations")

    return [
        page("/api/health", health, "Whether the process answers", bodies.Health),
        page("/healthz", health, "Whether the process answers", bodies.Health),
        page("/readyz", ready, "Whether it can serve, or what is missing", bodies.Readiness),
        page("/metrics", metrics, "Prometheus metrics"),
        page("/.well-known/jwks.json", jwks, "The public keys of access tokens", JsonWebKeys),
        page("/openapi.json", openapi, "This description"),
        page("/asyncapi.json", asyncapi, "The live protocol"),
        Endpoint(node, "GET", "/", demo_page, needs=None, summary="The demo page", query=PageQuery, area="operations"),
        Endpoint(
            node,
            "GET",
            "/analytics",
            analytics_page,
            needs=None,
            query=PageQuery,
            area="operations",
            summary="The page of analytics, which asks for a login",
        ),
        page("/demo.json", demo_config, "What the demo page shows"),
    ]

"""The aiohttp application: every route in one list, and what is not an endpoint beside it."""

import logging
from typing import Any, Final

import orjson
from aiohttp import web
from swagger_ui import api_doc  # type: ignore[import-untyped]

from protocol import limits
from protocol.errors import Refused
from server import asyncapi, openapi
from server.edge import Endpoint, make_middleware, problem_response, request_id_of
from server.live.socket import live_socket
from server.live.sse import live_stream
from server.node import Node
from server.rest import access, availability, bookings, catalogue, journal, operations, people

log = logging.getLogger("slotcast.app")

_AREAS: Final = (access, people, catalogue, availability, bookings, journal, operations)


def endpoints(node: Any) -> list[Endpoint]:
    """All of them, in the order of the contract."""
    return [endpoint for area in _AREAS for endpoint in area.routes(node)]


def make_app(node: Node) -> web.Application:
    app = web.Application(middlewares=[make_middleware(node)], client_max_size=limits.body_bytes_max, logger=log)
    found = endpoints(node)
    for endpoint in found:
        app.router.add_route(endpoint.method, endpoint.path, endpoint)
    app["openapi"] = orjson.dumps(openapi.document(found))
    app["asyncapi"] = orjson.dumps(asyncapi.document())
    app.router.add_get("/api/v1/live", _live(node, live_socket, "/api/v1/live"))
    app.router.add_get("/api/v1/live/sse", _live(node, live_stream, "/api/v1/live/sse"))
    app.router.add_get("/static/{name}", operations.static)
    api_doc(app, config_rel_url="/../openapi.json", url_prefix="/docs", title="Slotcast API")
    return app


def _live(node: Node, handler: Any, route: str) -> Any:
    """Live connections last; what counts as a request is only how they began."""

    async def begin(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(node, request)
        except Refused as refused:
            response = problem_response(refused, request_id_of(request))
            node.finished(request, route, request_id_of(request), response.status, 0.0)
            return response

    return begin

"""The aiohttp application: every route in one list, and what is not an endpoint beside it."""

import logging
from functools import partial
from typing import Any, Final

import orjson
from aiohttp import web
from swagger_ui import api_doc  # type: ignore[import-untyped]

from protocol import limits
from protocol.errors import Refused
from server import asyncapi, openapi
from server.edge import Elsewhere, Endpoint, problem_response, request_id_of, speak_problems
from server.live.socket import live_socket
from server.live.sse import live_stream
from server.node import Node
from server.rest import access, availability, bookings, catalogue, journal, operations, people

log = logging.getLogger("slotcast.app")

_PAGE: Final = {"validatorUrl": "null"}
"""Swagger UI shows the description to a validator on the internet unless told not to."""

# aiohttp tries the dynamic routes of a prefix in order, so what is asked most comes first.
_AREAS: Final = (availability, bookings, access, people, catalogue, journal, operations)


def endpoints(node: Any) -> list[Endpoint]:
    """All of them."""
    return [endpoint for area in _AREAS for endpoint in area.routes(node)]


def make_app(node: Node) -> web.Application:
    speak_problems()
    app = web.Application(client_max_size=limits.body_bytes_max, logger=log)
    found = endpoints(node)
    for endpoint in found:
        if endpoint.method == "GET":
            # Answers HEAD as well.
            app.router.add_get(endpoint.path, endpoint.handle)
        else:
            app.router.add_route(endpoint.method, endpoint.path, endpoint.handle)
    app[operations.OPENAPI] = orjson.dumps(openapi.document(found))
    app[operations.ASYNCAPI] = orjson.dumps(asyncapi.document())
    app.router.add_get("/api/v1/live", _plain(node, partial(live_socket, node), "/api/v1/live"))
    app.router.add_get("/api/v1/live/sse", _plain(node, partial(live_stream, node), "/api/v1/live/sse"))
    app.router.add_get("/static/{name}", _plain(node, operations.static, "/static/{name}"))
    api_doc(app, config_rel_url="/../openapi.json", url_prefix="/docs", title="Slotcast API", parameters=_PAGE)
    app.router.add_route("*", r"/{path:[\s\S]*}", Elsewhere(node, found).handle)
    return app


def _plain(node: Node, handler: Any, route: str) -> Any:
    """For what is no endpoint: connections that last, and files. What counts as a request is how they fail."""

    async def begin(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refused as refused:
            request_id = request_id_of(request)
            response = problem_response(refused, request_id)
            node.finished(request, route, request_id, response.status, 0.0)
            return response

    return begin

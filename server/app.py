"""What a node answers over HTTP: every route, and the server that finds them."""

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any, Final

import orjson
from aiohttp import web

from protocol import limits
from protocol.errors import Refused
from server import asyncapi, openapi, page, translations
from server.answer import ALWAYS, say_hsts
from server.edge import Endpoint, attempt, handle_error, refuse, request_id_of
from server.front import Front
from server.live.socket import LIVE_PATH, live_socket
from server.live.sse import live_stream
from server.node import Node
from server.outbox import OUTBOX, outbox_pages
from server.remote import PROXIES, networks
from server.rest import (
    access,
    analytics,
    audit,
    availability,
    bans,
    bookings,
    businesses,
    catalogue,
    cluster,
    feeds,
    holidays,
    inquiries,
    jobs,
    journal,
    locations,
    memberships,
    messages,
    offerings,
    operations,
    people,
    permission_requests,
    personal,
    platform,
    professionals,
    public,
    schedule,
    series,
    tokens,
    users,
    verification,
    waitlist,
    webhooks,
)
from server.router import Found, Handler, Parameters, Router

_KEEP_ALIVE_S: Final = 75.0
_PROBES: Final = ("/healthz", "/readyz", "/metrics")
_AREAS: Final = (
    access, verification, users, tokens, businesses, locations, memberships, permission_requests, people, personal,
    bans, professionals, catalogue, availability, schedule, holidays, bookings, series, inquiries, waitlist,
    offerings, public, journal, webhooks, messages, analytics, feeds, audit, platform, cluster, jobs, operations,
)  # fmt: skip


def endpoints(node: Any) -> list[Endpoint]:
    """All of them, in the order of the contract."""
    return [endpoint for area in _AREAS for endpoint in area.routes(node)]


def make_server(node: Node) -> web.Server:
    """The server for `web.ServerRunner`."""
    say_hsts(node.settings.hsts)
    translations.prepare()
    page.prepare()
    router = Router()
    found = endpoints(node)
    for endpoint in found:
        router.add(endpoint.method, endpoint.path, endpoint.handle)
    node.documents = {"openapi": orjson.dumps(openapi.document(found)), "asyncapi": orjson.dumps(asyncapi.document())}
    router.add("GET", LIVE_PATH, partial(live_socket, node), streams=True)
    if node.settings.smtp_url == OUTBOX:
        for path, handler in outbox_pages(node.settings.data_dir):
            router.add("GET", path, _plain(node, handler, path), streams=True)
    for path, handler in (
        ("/api/v1/live/sse", partial(live_stream, node)),
        ("/static/{name}", operations.static),
        ("/docs", operations.docs),
        ("/docs/", operations.docs),
        ("/docs/static/{name}", operations.docs_static),
    ):
        router.add("GET", path, _plain(node, handler, path), streams=True)
    return _serving(node, router)


def make_probes(node: Node) -> web.Server:
    """The server for a port of this node alone: of several behind one port, a scrape would reach any."""
    router = Router()
    for endpoint in operations.routes(node):
        if endpoint.path in _PROBES:
            router.add(endpoint.method, endpoint.path, endpoint.handle)
    return _serving(node, router)


def _serving(node: Node, router: Router) -> web.Server:
    def find(method: str, path: str) -> Found:
        try:
            return router.find(method, path)
        except Refused as refused:
            return partial(_refuse, node, refused), {}, False

    def answer(request: web.BaseRequest, found: Found | None) -> Awaitable[web.StreamResponse]:
        handler, parameters, _ = found or find(request.method, request.path)
        if node.leaving:
            return _last(handler(request, parameters))
        return handler(request, parameters)

    web.RequestHandler.handle_error = handle_error  # type: ignore[method-assign] - it offers no other hook
    loop = asyncio.get_running_loop()
    proxies = networks(node.settings.trusted_proxies)

    def request_of(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        request = web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=limits.body_bytes_max)
        if proxies:
            request[PROXIES] = proxies
        return request

    return Front(
        find,
        answer,
        node.spawn,
        _KEEP_ALIVE_S,
        {PROXIES: proxies} if proxies else {},
        request_factory=request_of,
        access_log=None,
        max_line_size=limits.header_line_bytes_max,
        max_field_size=limits.header_line_bytes_max,
    )


async def _last(work: Awaitable[web.StreamResponse]) -> web.StreamResponse:
    """Ends the connection with its answer, so that the next request goes to a node that stays."""
    reply = await work
    reply.force_close()
    return reply


async def _refuse(node: Node, refused: Refused, request: web.BaseRequest, _: Parameters) -> web.StreamResponse:
    """Any path that is one answers what may be done there."""
    if request.method == "OPTIONS" and refused.code == "method_not_allowed":
        return await attempt(node, request, "", _options(node, request, refused))
    return refuse(node, request, "", refused, request_id_of(request))


async def _options(node: Node, request: web.BaseRequest, refused: Refused) -> web.StreamResponse:
    assert refused.extra is not None
    return await node.origins.preflight(request, refused.extra["allow"], request_id_of(request))


def _plain(node: Node, handler: Any, route: str) -> Handler:
    """For what is no endpoint: streams and files."""

    async def answered(request: web.BaseRequest, parameters: Parameters) -> web.StreamResponse:
        response = await handler(request, **parameters)
        if not response.prepared:
            response.headers.update(ALWAYS)
        return response

    def begin(request: web.BaseRequest, parameters: Parameters) -> Awaitable[web.StreamResponse]:
        return attempt(node, request, route, answered(request, parameters))

    return begin

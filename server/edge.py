"""The edge: one way in for every route. Around each handler it does, in order: request id, authentication,
permission, decoding, the handler, encoding, and what is said when any of it fails; then metrics and the access line.
"""

import hashlib
import logging
import re
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec
import orjson
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from actors.ports import IdempotencyKey
from actors.switchboard import answered_by
from protocol import limits
from protocol.errors import Refused, invalid, retry_after_s
from protocol.ids import is_uuid, new_id
from protocol.languages import DEFAULT, Language
from server import permissions
from server.answer import Answer
from server.principal import Principal
from server.reading import decode, must_be_json, read_body, validation_problem
from server.remote import network_of
from server.router import Parameters
from server.speech import language_of, language_of_problem
from server.throttle import Spent
from server.translations import teller
from server.whole import WholeRequest

if TYPE_CHECKING:
    from server.node import Node
    from storage.postgres import Transaction

log = logging.getLogger("slotcast.edge")

B = TypeVar("B")
Q = TypeVar("Q")
T = TypeVar("T")

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")
_KEY: Final = re.compile(r"[\x21-\x7e]{1,128}\Z")
_encode = msgspec.json.Encoder().encode

_JSON: Final = "application/json; charset=utf-8"
_PROBLEM: Final = "application/problem+json"
_VARY: Final = {"Vary": "Accept-Language"}


class NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Reply:
    """An answer that is more than a body: `body` is a Struct, a dict, or bytes that are JSON already."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.body = body
        self.status = status
        self.headers = headers


class Call(Generic[B, Q]):
    """One request, understood. `tx` is open for routes that write outside calendars."""

    __slots__ = (
        "_principal",
        "after_commit",
        "body",
        "key",
        "node",
        "params",
        "query",
        "request",
        "request_id",
        "tx",
    )

    def __init__(
        self, node: "Node", request: web.BaseRequest, params: Parameters, request_id: str, principal: Principal | None
    ) -> None:
        self.node = node
        self.request = request
        self.request_id = request_id
        self.params = params
        self._principal = principal
        self.body: B
        self.query: Q
        self.key: IdempotencyKey | None = None
        self.tx: Transaction
        self.after_commit: list[Callable[[], Awaitable[None]]] = []

    @property
    def principal(self) -> Principal:
        assert self._principal is not None, "a route without a permission has no principal"
        return self._principal

    @property
    def login(self) -> Principal | None:
        """The caller on a route that needs none: `None` without a token, and on a public route with a bad one."""
        return self._principal

    @property
    def business_id(self) -> str:
        return self.principal.business_id

    async def may_touch(self, permission: str, professional_id: str) -> None:
        """Raises `Refused` unless the caller may do that to what belongs to the professional."""
        await self.node.desk.may_touch(self.principal, permission, professional_id)

    def id(self, name: str) -> str:
        """A path parameter that must be a UUID; anything else is simply not found."""
        value = self.params[name].lower()
        if not is_uuid(value):
            raise Refused("not_found")
        return value

    def if_match(self) -> int | None:
        """The booking version of `If-Match`, or `None`. `*` matches any."""
        value = self.request.headers.get("If-Match")
        if value is None or value.strip() == "*":
            return None
        match = re.fullmatch(r'\s*"(\d{1,9})"\s*', value)
        if match is None:
            raise Refused("version_mismatch", "If-Match must be one ETag of a booking, quotes included")
        return int(match[1])


class Endpoint:
    """A route and everything OpenAPI says about it; `handle` is the aiohttp handler.

    `needs` names a permission of `permissions.TABLE`; `None` is public. With `guests` a login may be left out, but is
    good where it is sent, and the handler judges the rest; `visitors` the same, for who shows nothing at all.
    `limit` is a quota of its own, one of `throttle.DEFAULTS`. With `tx` the handler runs in a transaction that also
    keeps its Idempotency-Key. With `ready` a repeated question is answered from its bytes.
    """

    def __init__(
        self,
        node: "Node",
        method: str,
        path: str,
        handler: Callable[[Any], Awaitable[Any]],
        *,
        needs: str | None,
        guests: bool = False,
        visitors: bool = False,
        summary: str,
        answer: Any = None,
        status: int = 200,
        body: Any = None,
        query: Any = NoQuery,
        tx: bool = False,
        ready: bool = False,
        keyed: bool | None = None,
        limit: str | None = None,
        errors: tuple[str, ...] = (),
        area: str = "",
    ) -> None:
        self.node = node
        self.method = method
        self.path = path
        self.handler = handler
        self.needs = needs
        self.guests = guests
        self.visitors = visitors
        self.summary = summary
        self.answer = answer
        self.status = status
        self.body = body
        self.query = query
        self.tx = tx
        self.ready = ready
        self.keyed = tx if keyed is None else keyed
        self.errors = errors
        self.area = area
        self.limit = limit
        self._counted = area != "operations"
        # What depends on a secret in the request is nobody else's to keep.
        self._fixed = {"Cache-Control": "no-store"} if guests or area in ("auth", "users") else None
        self._decode = msgspec.json.Decoder(body).decode if body is not None else None

    async def handle(self, request: web.BaseRequest, params: Parameters) -> Answer:
        started = perf_counter()
        request_id = request_id_of(request)
        node = self.node
        principal: Principal | None = None
        refused: Refused | None = None
        spent: Spent | None = None
        try:
            try:
                principal = self._caller(request)
            except Refused as nobody:
                refused = nobody
            if (principal is None or principal.role in node.throttle.bound) and self._counted:
                spent = Spent()
                await node.throttle.admit(spent, principal, network_of(request), self.limit)
            if refused is not None:
                raise refused
            reply = await self._answer(request, params, request_id, principal)
        except Refused as refused:
            language = await language_of_problem(node, request, principal, params, refused)
            reply = problem_response(refused, request_id, language)
        except Exception:
            log.exception("%s %s failed", self.method, self.path, extra={"request_id": request_id})
            reply = problem_response(Refused("internal_error"), request_id, language_of(request))
        fields = reply.fields
        if self._fixed is not None:
            fields.update(self._fixed)
        if spent is not None:
            fields.update(spent.headers())
        if (origin := request.headers.get("Origin")) is not None:
            fields.update(await node.origins.headers(origin, principal, params.get("slug")))
        if node.cluster is not None:
            fields["X-Slotcast-Node"] = _nodes(node.cluster.me.name)
        node.finished(request, self.path, request_id, reply.status, perf_counter() - started)
        return reply

    def _caller(self, request: web.BaseRequest) -> Principal | None:
        """Raises `Refused(unauthorized)` where a login is needed, or one is shown to a route that has a use for it."""
        authorization = request.headers.get("Authorization")
        if authorization is None and (self.guests or self.visitors or self.needs is None):
            return None
        if self.needs is not None or self.guests:
            return self.node.auth.verify_header(authorization)
        try:
            return self.node.auth.verify_header(authorization)
        except Refused:
            return None

    async def _answer(
        self, request: web.BaseRequest, params: Parameters, request_id: str, principal: Principal | None
    ) -> Answer:
        node = self.node
        if self.needs is not None and principal is not None:
            permissions.reach(principal, self.needs)
            if self.ready and (found := node.ready.find(request.raw_path, principal)) is not None:
                return Answer(found, 200, {"X-Request-ID": request_id, "Content-Type": _JSON})
        call: Call[Any, Any] = Call(node, request, params, request_id, principal)
        raw = b""
        if self._decode is not None:
            raw = request.body if isinstance(request, WholeRequest) else await read_body(request)
            if raw:  # Some clients name a type for a body that is not there; that means nothing.
                must_be_json(request)
            call.body = decode(self._decode, raw)
        call.query = NO_QUERY if self.query is NoQuery and "?" not in request.raw_path else self._query(request)
        if self.keyed:
            call.key = self._key(request, call, raw)
        node.admit()
        if self.tx:
            return await self._in_transaction(call)
        return self._respond(await self.handler(call), request_id)

    def _query(self, request: web.BaseRequest) -> Any:
        pairs = request.query
        values: dict[str, str] = dict(pairs)
        if len(values) != len(pairs):
            raise invalid("query", "a parameter stands there twice")
        for name, value in values.items():
            # The lenient conversion below reads "null" as an absent value; a filter must not vanish.
            if not value or value.lower() == "null":
                raise invalid(name, "must not be empty")
        try:
            return msgspec.convert(values, self.query, strict=False)
        except msgspec.ValidationError as error:
            raise validation_problem(error) from None

    def _key(self, request: web.BaseRequest, call: Call[Any, Any], raw: bytes) -> IdempotencyKey | None:
        text = request.headers.get("Idempotency-Key")
        if text is None:
            return None
        # The draft standard writes the key as a quoted string; most clients do not.
        text = text.strip('"')
        if not _KEY.match(text):
            raise invalid("Idempotency-Key", f"1 to {limits.idempotency_key_chars_max} visible ASCII characters")
        about = f"{request.method} {request.path_qs} {request.headers.get('If-Match', '')}\n"
        scope = call.login.scope if call.login is not None else f"public:{self.path}"
        return IdempotencyKey(
            scope, text, hashlib.blake2b(about.encode(errors="surrogateescape") + raw, digest_size=16).digest()
        )

    async def _in_transaction(self, call: Call[Any, Any]) -> Answer:
        """The key is stored with the write: both are there or neither."""
        async with self.node.database.transaction() as tx:
            call.tx = tx
            if call.key is not None:
                stored = await self.node.keys.claim(
                    tx, call.key, (call.login.business_id if call.login else "") or None
                )
                if stored is not None:
                    return Answer(stored.body, stored.status, {**stored.headers, "X-Request-ID": call.request_id})
            response = self._respond(await self.handler(call), call.request_id)
            if call.key is not None:
                headers = {name: value for name, value in response.fields.items() if name != "X-Request-ID"}
                await self.node.keys.keep(tx, call.key, response.status, response.body, headers)
        for callback in call.after_commit:
            await callback()
        return response

    def _respond(self, result: Any, request_id: str) -> Answer:
        headers = {"X-Request-ID": request_id}
        status = self.status
        if isinstance(result, Reply):
            status = result.status
            if result.headers:
                headers.update(result.headers)
            result = result.body
        if result is None:
            return Answer(b"", 204, headers)
        headers.setdefault("Content-Type", _JSON)
        return Answer(result if isinstance(result, bytes) else _encode(result), status, headers)


def _nodes(here: str) -> str:
    """Which node answered, and which one the calendar was asked of."""
    other = answered_by.get()
    if not other:
        return here
    answered_by.set("")
    return f"{here}, {other}"


NO_QUERY: Final = NoQuery()


def refuse(node: "Node", request: web.BaseRequest, route: str, refused: Refused, request_id: str) -> Answer:
    """The problem as an answer, counted and logged like any other."""
    response = problem_response(refused, request_id, language_of(request))
    node.finished(request, route, request_id, response.status, 0.0)
    return response


async def attempt(node: "Node", request: web.BaseRequest, route: str, work: Awaitable[T]) -> T | Answer:
    """What `work` gives, or how it failed. For connections that last: only their failing counts as a request."""
    try:
        return await work
    except Refused as refused:
        return refuse(node, request, route, refused, request_id_of(request))
    except ConnectionError:
        # The peer has gone; aiohttp knows what to do.
        raise
    except Exception:
        request_id = request_id_of(request)
        log.exception("%s %s failed", request.method, route, extra={"request_id": request_id})
        return refuse(node, request, route, Refused("internal_error"), request_id)


def request_id_of(request: web.BaseRequest) -> str:
    """The caller's `X-Request-ID` where it is usable, else a new one. Asked once per request."""
    given = request.headers.get("X-Request-ID")
    return given if given is not None and _REQUEST_ID.match(given) else new_id()


def problem_response(refused: Refused, request_id: str, language: Language) -> Answer:
    headers = {"X-Request-ID": request_id, "Content-Type": _PROBLEM, "Content-Language": language, **_VARY}
    wait = retry_after_s(refused)
    if wait is not None:
        headers["Retry-After"] = str(wait)
    if refused.code == "unauthorized":
        headers["WWW-Authenticate"] = 'Bearer realm="slotcast"'
    if refused.kind.status == 405 and refused.extra:
        headers["Allow"] = refused.extra["allow"]
    body = orjson.dumps(teller(language)(refused, request_id))
    response = Answer(body, refused.kind.status, headers)
    if refused.code == "malformed_request":
        # Where the next request would begin is not known, so there is none on this connection.
        response.force_close()
    return response


def handle_error(
    _handler: web.RequestHandler,
    request: web.BaseRequest,
    status: int = 500,
    exc: BaseException | None = None,
    _message: str | None = None,
) -> web.StreamResponse:
    if status >= 500:
        response = failed(request, exc)
    else:
        too_long = f"a line is longer than {limits.header_line_bytes_max} bytes"
        detail = too_long if isinstance(exc, LineTooLong) else "these bytes are not an HTTP request"
        response = problem_response(Refused("malformed_request", detail), request_id_of(request), DEFAULT)
    if request.writer.output_size > 0:
        raise ConnectionError("an answer had begun already")
    return response


def failed(request: web.BaseRequest, error: BaseException | None) -> Answer:
    """For what no handler has caught. It ends the connection."""
    request_id = request_id_of(request)
    log.error("%s %s failed", request.method, request.path, exc_info=error, extra={"request_id": request_id})
    response = problem_response(Refused("internal_error"), request_id, DEFAULT)
    response.force_close()
    return response

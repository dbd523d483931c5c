"""OpenAPI 3.1, generated from the endpoints and the types their handlers use."""

import re
from collections.abc import Sequence
from typing import Any, Final, get_args, get_origin

import msgspec

from protocol import bodies
from protocol.errors import KINDS
from server import examples
from server.edge import Endpoint, NoQuery

_REF: Final = "#/components/schemas/{name}"
_ALWAYS: Final = ("validation_failed", "not_found", "unavailable", "rate_limited")
_SECURITY: Final = {
    "bearer": {
        "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
        "description": "A token from POST /api/v1/auth/login or POST /api/v1/service-tokens.",
    },
    "manageToken": {
        "type": "apiKey", "in": "header", "name": "X-Manage-Token",
        "description": "For guests: what the answer to their booking had as manage_token. Good for that booking.",
    },
}  # fmt: skip
_STATUS_TEXT: Final = {200: "Done", 201: "Made", 202: "Begun", 204: "Done, nothing to say"}


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The whole document. Lists are `{items, next_cursor}`; problems are RFC 9457."""
    types: list[Any] = [bodies.Problem]
    for e in endpoints:
        types += [t for t in (_item(e.answer), e.body) if t is not None]
    _, components = msgspec.json.schema_components(types, ref_template=_REF)
    paths: dict[str, Any] = {}
    for e in endpoints:
        paths.setdefault(e.path, {})[e.method.lower()] = _operation(e)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Slotcast",
            "version": "1",
            "description": "Real-time scheduling. Live updates are described in /asyncapi.json.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [{"name": a} for a in dict.fromkeys(e.area for e in endpoints)],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": _SECURITY,
        },
    }


def _item(answer: Any) -> Any:
    return get_args(answer)[0] if get_origin(answer) is list else answer


def _operation(e: Endpoint) -> dict[str, Any]:
    parameters = [
        {"name": n, "in": "path", "required": True, "schema": {"type": "string"}}
        for n in re.findall(r"{(\w+)}", e.path)
    ]
    parameters += _query_parameters(e.query)
    if e.keyed:
        schema = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]*$"}
        parameters.append({"name": "Idempotency-Key", "in": "header", "schema": schema})
    operation: dict[str, Any] = {
        "operationId": _operation_id(e),
        "summary": e.summary,
        "description": _needed(e),
        "tags": [e.area],
        "x-permission": e.needs,
        "responses": _responses(e),
    }
    if parameters:
        operation["parameters"] = parameters
    if e.body is not None:
        name = e.body.__name__
        content: dict[str, Any] = {"schema": {"$ref": _REF.format(name=name)}}
        if name in examples.BODIES:
            content["example"] = examples.BODIES[name]
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    if e.needs is None:
        operation["security"] = [{}, {"bearer": []}] if e.guests else []
    elif e.visitors:
        operation["security"] = [{}, {"bearer": []}]
    elif e.guests:
        operation["security"] = [{"bearer": []}, {"manageToken": []}]
    return operation


def _needed(e: Endpoint) -> str:
    if e.needs is None:
        return "Needs no login; one that is sent counts." if e.guests else "Needs no login."
    if e.visitors:
        return f"Needs the permission `{e.needs}`; for an offering, by its code, no login."
    return f"Needs the permission `{e.needs}`" + (", or the booking's manage token." if e.guests else ".")


def _operation_id(e: Endpoint) -> str:
    return re.sub(r"\W+", "_", getattr(e.handler, "__name__", e.path)).strip("_") + (
        "" if e.path.startswith("/api/v1") else "_" + (re.sub(r"\W+", "_", e.path).strip("_") or "root")
    )


def _query_parameters(query: Any) -> list[dict[str, Any]]:
    if query is NoQuery:
        return []
    schema = msgspec.json.schema(query)
    body = schema.get("$defs", {}).get(query.__name__, schema)
    required = set(body.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": s}
        for name, s in body.get("properties", {}).items()
    ]


def _responses(e: Endpoint) -> dict[str, Any]:
    responses: dict[str, Any] = {str(e.status): {"description": _STATUS_TEXT[e.status]}}
    if e.answer is not None:
        schema: dict[str, Any] = {"$ref": _REF.format(name=_item(e.answer).__name__)}
        if get_origin(e.answer) is list:
            schema = {
                "type": "object",
                "required": ["items", "next_cursor"],
                "properties": {
                    "items": {"type": "array", "items": schema},
                    "next_cursor": {"type": ["string", "null"]},
                },
            }
        responses[str(e.status)]["content"] = {"application/json": {"schema": schema}}
    if e.path == "/readyz":
        responses["503"] = {**responses["200"], "description": "Not ready"}
        return responses
    if e.path == "/api/v1/feeds/{file}":
        responses["200"]["content"] = {"text/calendar": {"schema": {"type": "string"}}}
        responses["304"] = {"description": "Not changed since the caller has seen it"}
    if e.path == "/api/v1/clients" and e.method == "POST":
        responses["200"] = {**responses["201"], "description": "There already, by its chat_id"}
    by_status: dict[int, list[str]] = {}
    codes = [*_ALWAYS, *e.errors]
    if e.area == "operations":
        codes = ["validation_failed"] if e.query is not NoQuery else []
    if e.needs is not None or e.area == "auth":
        codes += ["unauthorized", "forbidden"]
    if e.body is not None:
        codes += ["malformed_body", "body_too_large", "unsupported_media_type"]
    if "cursor" in getattr(e.query, "__struct_fields__", ()):
        codes.append("invalid_cursor")
    for code in dict.fromkeys(codes):
        by_status.setdefault(KINDS[code].status, []).append(code)
    for status, found in sorted(by_status.items()):
        responses[str(status)] = {
            "description": "`code` is one of: " + ", ".join(f"`{c}`" for c in found),
            "content": {"application/problem+json": {"schema": {"$ref": _REF.format(name="Problem")}}},
        }
    return responses

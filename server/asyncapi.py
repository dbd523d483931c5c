"""AsyncAPI 3, generated from the live protocol's message types."""

from typing import Any, Final, get_args

import msgspec

from protocol import live
from protocol.languages import LANGUAGES

_REF: Final = "#/components/schemas/{name}"


def document() -> dict[str, Any]:
    received, sent = get_args(live.AnyClientMessage), get_args(live.AnyServerMessage)
    _, schemas = msgspec.json.schema_components([*received, *sent], ref_template=_REF)
    messages = {
        t.__struct_config__.tag: {
            "name": t.__struct_config__.tag,
            "summary": " ".join((t.__doc__ or "").split())[:300] if t.__doc__ else t.__name__,
            "payload": {"$ref": _REF.format(name=t.__name__)},
        }
        for t in (*received, *sent)
    }

    def refs(types: tuple[Any, ...]) -> list[dict[str, str]]:
        return [{"$ref": f"#/channels/live/messages/{t.__struct_config__.tag}"} for t in types]

    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Slotcast live",
            "version": "1",
            "description": f"JSON text frames over WebSocket, subprotocol `{live.SUBPROTOCOL}`. "
            "Commands have the bodies and problems of REST. Close codes: "
            + ", ".join(f"{c.value} {c.name.lower()}" for c in live.Close)
            + ". GET /api/v1/live/sse sends the same server messages as server-sent events.",
        },
        "channels": {
            "live": {
                "address": "/api/v1/live",
                "messages": {tag: {"$ref": f"#/components/messages/{tag}"} for tag in messages},
                "bindings": {"ws": {"method": "GET", "query": _TICKET}},
            }
        },
        "operations": {
            "receive": {
                "action": "receive",
                "channel": {"$ref": "#/channels/live"},
                "messages": refs(received),
            },
            "send": {"action": "send", "channel": {"$ref": "#/channels/live"}, "messages": refs(sent)},
        },
        "components": {"messages": messages, "schemas": schemas},
    }


_TICKET: Final = {
    "type": "object",
    "properties": {
        "ticket": {"type": "string", "description": "From POST /api/v1/auth/ticket, good once"},
        "lang": {"enum": list(LANGUAGES), "description": "The language of problems, instead of Accept-Language"},
    },
}

"""Cursors: opaque to callers, signed, so that only what a list gave out comes back."""

import base64
import hmac
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import orjson
from msgspec import Meta

from protocol import limits
from protocol.errors import Refused
from server.auth import Auth

Limit = Annotated[int, Meta(ge=1, le=limits.page_size_max)]
Cursor = Annotated[str, Meta(max_length=512)]


class PageQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    limit: Limit = limits.page_size_default
    cursor: Cursor | None = None


def encode_cursor(auth: Auth, what: str, position: Sequence[Any]) -> str:
    """`what` names the list, so that a cursor of one is no cursor of another."""
    body = orjson.dumps([what, *position])
    text = base64.urlsafe_b64encode(body).decode().rstrip("=")
    return f"{text}.{auth.sign(text)}"


def decode_cursor(auth: Auth, what: str, cursor: str | None) -> list[Any] | None:
    """The position a cursor stands for. Raises `Refused(invalid_cursor)`."""
    if cursor is None:
        return None
    text, _, signature = cursor.partition(".")
    if not hmac.compare_digest(signature.encode(), auth.sign(text).encode()):
        raise Refused("invalid_cursor")
    found, *position = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    if found != what:
        raise Refused("invalid_cursor", "it belongs to another list")
    return position


def page(
    auth: Auth,
    what: str,
    items: list[Any],
    limit: int,
    position_of: Callable[[Any], Sequence[Any]] | None = None,
) -> dict[str, Any]:
    """The body of a list, from one item more than asked for: that there is one more makes the cursor.

    `position_of` gives the sort key of an item; its `id` when absent.
    """
    more = len(items) > limit
    items = items[:limit]
    cursor = (
        encode_cursor(auth, what, position_of(items[-1]) if position_of else (items[-1].id,))
        if more and items
        else None
    )
    return {"items": items, "next_cursor": cursor}

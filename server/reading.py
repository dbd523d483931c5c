"""The body of a request: read within bounds, and decoded into its type."""

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from protocol import limits
from protocol.errors import Refused, not_valid
from server.whole import WholeRequest


async def read_body(request: web.BaseRequest) -> bytes:
    """The whole body. Raises `Refused`: 413 beyond `body_bytes_max`, 415 when it is not JSON by its own word."""
    raw = request.body if isinstance(request, WholeRequest) else await _rest(request)
    # Some clients name a type for a body that is not there; that means nothing.
    if raw and not request.headers.get("Content-Type", "").lower().startswith("application/json"):
        raise Refused("unsupported_media_type", "send Content-Type: application/json")
    return raw


async def _rest(request: web.BaseRequest) -> bytes:
    content = request.content
    try:
        if (request.content_length or 0) > limits.body_bytes_max:
            raise _too_large()
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_large() from None
    except (web.RequestPayloadError, ConnectionError):
        content.feed_eof()
        raise Refused("malformed_request", "the body could not be read") from None


def _too_large() -> Refused:
    return Refused("body_too_large", f"at most {limits.body_bytes_max} bytes")


def decode(decoder: Callable[[bytes], Any], raw: bytes) -> Any:
    try:
        return decoder(raw or b"{}")
    except msgspec.ValidationError as error:
        raise validation_problem(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused("malformed_body", str(error)) from None
    except RecursionError:
        raise Refused("malformed_body", "nested too deep") from None


def validation_problem(error: msgspec.ValidationError) -> Refused:
    return not_valid(str(error))

"""The body of a request: read within bounds, and decoded into its type."""

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from protocol import limits
from protocol.errors import Refused, not_valid


async def read_body(request: web.BaseRequest) -> bytes:
    """The whole body of a request that may still be coming. Raises `Refused` with 413 beyond `body_bytes_max`."""
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


def must_be_json(request: web.BaseRequest) -> None:
    """Raises `Refused` with 415 for a body that is something else by its own word."""
    if not request.headers.get("Content-Type", "").lower().startswith("application/json"):
        raise Refused("unsupported_media_type", "send Content-Type: application/json")


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

"""Where a request comes from."""

from typing import Final

import msgspec
from aiohttp import web

_USER_AGENT_CHARS_MAX: Final = 200


class Remote(msgspec.Struct, frozen=True):
    address: str | None
    user_agent: str | None


def remote_of(request: web.BaseRequest) -> Remote:
    """The peer's address, and what it calls itself: text that any database takes."""
    agent = request.headers.get("User-Agent")
    if agent is not None:
        agent = agent[:_USER_AGENT_CHARS_MAX].encode(errors="replace").decode()
    return Remote(request.remote, agent)

"""From method and path to a handler, over aiohttp's low-level server.

The application framework on top of it would look at routes one after the other and cost every request a tenth of what
it costs to answer; ours is one look-up per segment. Path parameters are written `{name}`; a fixed segment goes first.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from protocol.errors import Refused

Parameters = dict[str, str]
Handler = Callable[[web.BaseRequest, Parameters], Awaitable[web.StreamResponse]]
Found = tuple[Handler, Parameters, bool]
"""What answers, with what of the path, and whether by something else than an `Answer`: a stream or a file."""

log = logging.getLogger("slotcast.router")

_NONE: Final[Parameters] = {}


class _Place:
    """A segment of the tree: what comes after it, and who answers a path that ends here."""

    __slots__ = ("any", "fixed", "handlers", "names")

    def __init__(self) -> None:
        self.fixed: dict[str, _Place] = {}
        self.any: _Place | None = None
        self.handlers: dict[str, tuple[Handler, bool]] = {}
        self.names: tuple[str, ...] = ()


class Router:
    def __init__(self) -> None:
        self._root = _Place()
        self._whole: dict[tuple[str, str], Found] = {}

    def add(self, method: str, path: str, handler: Handler, *, streams: bool = False) -> None:
        """`GET` answers `HEAD` as well."""
        place, names = self._root, []
        for segment in path.split("/")[1:]:
            if segment.startswith("{"):
                names.append(segment[1:-1])
                place.any = place.any or _Place()
                place = place.any
            else:
                place = place.fixed.setdefault(segment, _Place())
        place.names = tuple(names)
        for m in ("GET", "HEAD") if method == "GET" else (method,):
            place.handlers[m] = handler, streams
            if not names:
                self._whole[m, path] = handler, _NONE, streams

    def find(self, method: str, path: str) -> Found:
        """Raises `Refused(not_found)`, or `method_not_allowed` with the methods there are as `allow`."""
        whole = self._whole.get((method, path))
        if whole is not None:
            return whole
        place, values = self._root, []
        for segment in path.split("/")[1:]:
            following = place.fixed.get(segment)
            if following is None:
                if place.any is None or not segment:
                    raise Refused("not_found")
                following = place.any
                values.append(segment)
            place = following
        there = place.handlers.get(method)
        if there is not None:
            return there[0], dict(zip(place.names, values, strict=True)), there[1]
        if not place.handlers:
            raise Refused("not_found")
        allow = ", ".join(sorted(place.handlers))
        raise Refused("method_not_allowed", f"allowed here: {allow}", extra={"allow": allow})

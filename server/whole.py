"""A request that came in one piece: nothing of it is still on its way, so nothing of it has to be waited for."""

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from aiohttp import HttpVersion11, web
from multidict import CIMultiDict, MultiMapping
from yarl import URL

if TYPE_CHECKING:
    from server.front import Connection


class WholeRequest(web.BaseRequest):
    """What handlers ask of a request. What the base class has beside this belongs to its streams and is not there."""

    version: Final = HttpVersion11  # type: ignore[assignment,misc] - a property there
    scheme: Final = "http"  # type: ignore[assignment,misc]

    def __init__(
        self,
        connection: "Connection",
        method: str,
        target: str,
        headers: CIMultiDict[str],
        body: bytes,
        keep_alive: bool,
        state: dict[Any, Any],
    ) -> None:
        # The base class would set up a payload to be read piece by piece.
        self._connection = connection
        self._method = method
        self._target = target
        self._fields = headers
        self._kept = keep_alive
        self._state = state
        self.body = body
        self.whole_path = target if "%" not in target and "?" not in target else self.whole_url.path

    def __repr__(self) -> str:
        return f"<WholeRequest {self._method} {self._target}>"

    @cached_property
    def whole_url(self) -> URL:
        path, _, query = self._target.partition("?")
        return URL.build(path=path, query_string=query, encoded=True)

    @property
    def method(self) -> str:  # type: ignore[override]
        return self._method

    @property
    def raw_path(self) -> str:  # type: ignore[override]
        return self._target

    @property
    def path(self) -> str:  # type: ignore[override]
        return self.whole_path

    @property
    def path_qs(self) -> str:  # type: ignore[override]
        return str(self.whole_url) if "?" in self._target else self._target

    @property
    def query(self) -> MultiMapping[str]:  # type: ignore[override]
        return self.whole_url.query

    @property
    def headers(self) -> MultiMapping[str]:  # type: ignore[override]
        return self._fields

    @property
    def host(self) -> str:  # type: ignore[override]
        return self._fields["Host"]

    @property
    def remote(self) -> str | None:  # type: ignore[override]
        return self._connection.peer

    @property
    def keep_alive(self) -> bool:  # type: ignore[override]
        return self._kept

"""What followers and handlers need of the world outside, and `server` gives them."""

from collections.abc import Mapping
from typing import Protocol

import msgspec


class Posted(msgspec.Struct, frozen=True):
    """What a target answered. `excerpt` is the beginning of its body, as text; `retry_after_s` what it asked for."""

    status: int
    excerpt: str
    seconds: float
    retry_after_s: float | None = None


class NotPosted(Exception):
    """No answer came: `reason` may be shown to whoever set the target up. Whether it was received is not known."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TargetRefused(NotPosted):
    """Nothing was sent, because of where it would have gone."""


class Poster(Protocol):
    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Posted:
        """Posts to an address that somebody else has chosen: never into private networks, and nowhere it is sent on to.

        Takes a bounded time. Raises `NotPosted`.
        """
        ...

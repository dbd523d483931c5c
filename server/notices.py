"""What a node does about the bulletin's notices: takes in changed terms of service, and ends revoked tokens.

After a gap it reads again whatever a missed notice may have been about.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from actors.roster import Roster
from protocol.errors import Refused

if TYPE_CHECKING:
    from server.node import Node

TERMS: Final = "terms"
"""The ids are of professionals whose services, or the terms of these, have changed."""
TOKENS: Final = "tokens"
"""The ids are of service tokens that were revoked."""

_RETRY_S: Final = 1.0


async def refresh_terms(roster: Roster, calendar_ids: Sequence[str]) -> None:
    """Lets active calendars take in new terms; where these cannot be read, the calendars are loaded anew."""
    try:
        await roster.refresh_services(calendar_ids)
    except Refused:
        roster.forget_services(calendar_ids)


class Notices:
    def __init__(self, node: "Node") -> None:
        self._node = node
        self._changed: set[str] = set()
        self._refreshing = False
        node.bulletin.subscribe(TERMS, self._take_in_terms)
        node.bulletin.subscribe(TOKENS, self.revoke)
        node.bulletin.on_gap(self._after_gap)

    def revoke(self, token_ids: Iterable[str]) -> None:
        """Ends what was opened with these tokens and opens nothing more."""
        for token_id in token_ids:
            self._node.auth.revoked.add(token_id)
            self._node.live.end_sessions_of(token_id)

    async def read_revoked(self) -> None:
        rows = await self._node.database.fetch("revoked_tokens")
        self.revoke({row["id"] for row in rows} - self._node.auth.revoked)

    def _take_in_terms(self, calendar_ids: Iterable[str]) -> None:
        # However many notices come, one task reads: what comes meanwhile is its next round.
        self._changed.update(calendar_ids)
        if not self._refreshing:
            self._refreshing = True
            self._node.spawn(self._refresh(), "changed terms")

    async def _refresh(self) -> None:
        roster = self._node.runtime.roster
        try:
            while self._changed:
                changed = list(self._changed)
                self._changed.clear()
                try:
                    await refresh_terms(roster, changed)
                except Exception:
                    self._node.log.exception("changed terms could not be read")
                    roster.forget_services(changed)
        finally:
            self._refreshing = False

    def _after_gap(self) -> None:
        self._take_in_terms(self._node.runtime.roster.actors)
        self._node.spawn(self._reread_revoked(), "revoked tokens")

    async def _reread_revoked(self) -> None:
        while True:
            try:
                await self.read_revoked()
            except Refused:
                await asyncio.sleep(_RETRY_S)
            else:
                return

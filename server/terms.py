"""What the catalogue says of calendars (services, holidays, locations): taken in by those that are active here."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from actors.roster import Roster
from protocol.errors import Refused

if TYPE_CHECKING:
    from server.edge import Call
    from server.node import Node


async def refresh_terms(roster: Roster, calendar_ids: Sequence[str]) -> None:
    """Lets active calendars take in new terms; where these cannot be read, the calendars are loaded anew."""
    try:
        await roster.refresh_services(calendar_ids)
    except Refused:
        roster.load_anew(calendar_ids)


async def take_in(call: "Call[Any, Any]", calendar_ids: Sequence[str]) -> None:
    """Lets active calendars take in new terms once these are durable: here before the answer, elsewhere soon."""
    await call.node.notices.post(call.tx, "terms", calendar_ids)
    call.after_commit.append(lambda: refresh_terms(call.node.runtime.roster, calendar_ids))


class ChangedTerms:
    """However many notices come, one task reads: what comes meanwhile is its next round."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._changed: set[str] = set()
        self._refreshing = False

    def take_in(self, calendar_ids: Iterable[str]) -> None:
        self._changed.update(calendar_ids)
        if not self._refreshing:
            self._refreshing = True
            self._node.spawn(self._refresh(), "changed terms")

    def take_in_all(self) -> None:
        self.take_in(self._node.runtime.roster.actors)

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
                    roster.load_anew(changed)
        finally:
            self._refreshing = False

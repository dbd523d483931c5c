"""What a node remembers and a write makes untrue: told to every node that remembers it, once the write is durable.

businesses   settings or state of a business changed; ids of businesses
sessions     sessions have ended; their ids
tokens       service tokens were revoked; their ids
places       professionals moved to another location; their ids
terms        services of professionals, the terms of these, their holidays or locations changed; ids of professionals
calendars    professionals were removed or came back; their ids
clients      clients were removed or erased; their ids
waitlist     somebody has begun to wait for something in these calendars

The node that writes hears it at once, the others by the bulletin. Some may be missed while the database is away: then
`after_gap` runs, and what is not remembered for seconds only is read again.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from storage.bulletin import Bulletin
from storage.postgres import Transaction

Callback = Callable[[Sequence[str]], None]

KINDS: Final = ("businesses", "sessions", "tokens", "places", "terms", "calendars", "clients", "waitlist")


class Notices:
    def __init__(self, bulletin: Bulletin) -> None:
        self._bulletin = bulletin
        self._listeners: dict[str, list[Callback]] = {kind: [] for kind in KINDS}
        for kind in KINDS:
            bulletin.subscribe(kind, partial(self.deliver, kind))

    def listen(self, kind: str, callback: Callback) -> None:
        """Calls back with the ids of every notice of that kind; more than once for one that was posted here."""
        self._listeners[kind].append(callback)

    def after_gap(self, callback: Callable[[], None]) -> None:
        self._bulletin.on_gap(callback)

    async def post(self, tx: Transaction, kind: str, ids: Sequence[str]) -> None:
        """Part of the transaction: told if it commits, and not otherwise."""
        if ids:
            await self._bulletin.post(tx, kind, ids)
            tx.after_commit.append(partial(self.deliver, kind, ids))

    def deliver(self, kind: str, ids: Sequence[str]) -> None:
        for callback in self._listeners[kind]:
            callback(ids)

"""What a node remembers and a write makes untrue: told to whoever remembers it, once the write is durable.

businesses   settings or state of a business changed; ids of businesses
sessions     sessions have ended; their ids
tokens       service tokens were revoked; their ids
places       professionals moved to another location; their ids
calendars    professionals were removed or came back; their ids
clients      clients were removed or erased; their ids
"""

from collections.abc import Callable, Sequence
from typing import Final

from storage.postgres import Transaction

Callback = Callable[[Sequence[str]], None]

KINDS: Final = frozenset({"businesses", "sessions", "tokens", "places", "calendars", "clients"})


class Notices:
    def __init__(self) -> None:
        self._listeners: dict[str, list[Callback]] = {kind: [] for kind in KINDS}

    def listen(self, kind: str, callback: Callback) -> None:
        """Calls back with the ids of every notice of that kind."""
        self._listeners[kind].append(callback)

    async def post(self, tx: Transaction, kind: str, ids: Sequence[str]) -> None:
        """Part of the transaction: told if it commits, and not otherwise."""
        if ids:
            tx.after_commit.append(lambda: self.deliver(kind, ids))

    def deliver(self, kind: str, ids: Sequence[str]) -> None:
        for callback in self._listeners[kind]:
            callback(ids)

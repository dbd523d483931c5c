"""A node that lacks what keeps it honest, to see that the checker notices.

`python -m tests.faults.broken_node --no-fence serve` writes whatever epoch and position a shard has by now; with
`--hasty` it says that something is durable before it is written.
"""

import asyncio
import sys
from collections.abc import Sequence, Set

from actors.ports import Entry, JournalListener, Loss
from server import cli, node
from storage.journal import PostgresJournal
from storage.queries import queries


def take_the_fence_down() -> None:
    """Events go to the end of the shard, wherever that is, under the epoch that the node believes in; and nobody who
    asks hears of another.
    """
    text = queries()["append_batch"]
    for old, new in (
        ("SET seq = f.seq_to\n", "SET seq = s.seq + f.seq_to - f.seq_from\n"),
        ("WHERE s.id = f.id AND s.epoch = f.epoch AND s.seq = f.seq_from\n", "WHERE s.id = f.id\n"),
        ("RETURNING s.id\n", "RETURNING s.id, s.seq - f.seq_to AS ahead\n"),
        ("SELECT a.shard, a.seq,", "SELECT a.shard, a.seq + (SELECT ahead FROM fence WHERE fence.id = a.shard),"),
    ):
        assert text.count(old) == 1, f"the statement has changed: {old!r} stands in it {text.count(old)} times"
        text = text.replace(old, new)
    queries()["append_batch"] = text
    queries()["shards_now"] += " AND false"


class HastyJournal(PostgresJournal):
    """Tells `committed` of everything it takes; what then becomes of it is nobody's business."""

    async def start(self, listener: JournalListener) -> None:
        self._told = listener
        await super().start(_Deaf(listener))

    def append(self, entry: Entry) -> None:
        super().append(entry)
        asyncio.get_running_loop().call_soon(self._told.committed, [entry])


class _Deaf(JournalListener):
    """Whoever was told that all is well need not hear how it went on."""

    def __init__(self, listener: JournalListener) -> None:
        self._listener = listener

    def committed(self, entries: Sequence[Entry]) -> None:
        """Told already."""

    def lost(self, entries: Sequence[Entry], loss: Loss) -> None:
        for entry in entries:
            entry.owner.stale = True

    def unsettled(self, entries: Sequence[Entry]) -> None:
        """Told already."""

    def fenced(self, shards: Set[int]) -> None:
        self._listener.fenced(shards)


def main() -> None:
    how = sys.argv.pop(1)
    if how == "--no-fence":
        take_the_fence_down()
    elif how == "--hasty":
        node.PostgresJournal = HastyJournal  # type: ignore[misc]
    else:
        raise SystemExit(f"no such fault: {how}")
    cli.main()


if __name__ == "__main__":
    main()

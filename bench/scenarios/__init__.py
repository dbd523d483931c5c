"""One module per scenario; `SCENARIOS` names them in the order they run."""

from collections.abc import Awaitable, Callable

from bench.report import Row
from bench.runner import Bench
from bench.scenarios import (
    activate,
    book_hot,
    book_live,
    book_spread,
    cluster,
    contend,
    fanout,
    followers,
    growth,
    idle,
    mixed,
    read_availability,
    read_slots,
    resubscribe,
    stalled,
)

Scenario = Callable[[Bench], Awaitable[list[Row]]]

SCENARIOS: dict[str, Scenario] = {
    "book-hot": book_hot.run,
    "book-spread": book_spread.run,
    "contend": contend.run,
    "read-slots": read_slots.run,
    "read-availability": read_availability.run,
    "fanout": fanout.run,
    "book-live": book_live.run,
    "resubscribe": resubscribe.run,
    "stalled": stalled.run,
    "idle": idle.run,
    "activate": activate.run,
    "growth": growth.run,
    "mixed": mixed.run,
    "followers": followers.run,
    "cluster": cluster.run,
}

NOT_QUICK = frozenset({"activate", "cluster", "contend", "followers", "growth", "mixed"})
"""Those with too many processes, or too long, for a quick run of everything, or that say little in short windows;
`--only` runs them, `--quick` or not.
"""

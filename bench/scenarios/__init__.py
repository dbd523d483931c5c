"""One module per scenario; `SCENARIOS` names them in the order they run."""

from collections.abc import Awaitable, Callable

from bench.report import Row
from bench.runner import Bench
from bench.scenarios import book_hot, book_spread, fanout, idle, read_availability, read_slots

Scenario = Callable[[Bench], Awaitable[list[Row]]]

SCENARIOS: dict[str, Scenario] = {
    "book-hot": book_hot.run,
    "book-spread": book_spread.run,
    "read-slots": read_slots.run,
    "read-availability": read_availability.run,
    "fanout": fanout.run,
    "idle": idle.run,
}

"""One calendar's actor: its state, and what is on its way.

An actor is loaded, decides while it is active, turns stale when the journal lost one of its entries, and is loaded
again; an idle one that nobody watches is dropped. When its shard is given up or lost it is stale at once, and then
dropped whoever watches it.

    (absent) ──load──► active ──lost──► stale ──load──► active ──idle──► (absent)
                         └──shard given up──► stale ──► (absent)

`calendar.version` counts tentative events too; `committed` only durable ones. An answer that rests on tentative
events is parked until they are durable.
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from actors.calendar.state import Calendar
from actors.ports import Loaded, Work
from actors.questions import Question
from actors.views import View, ViewKey


class Parked(NamedTuple):
    """Something to tell once `version` is committed; `again` runs instead when it never will be.

    `work` is whose answer it is, where there is a deadline to keep.
    """

    version: int
    tell: Callable[[], None]
    again: Callable[[], None]
    work: Work | None = None


class Answer(msgspec.Struct, frozen=True, gc=False):
    """An encoded answer to a read, true for `version` until `valid_until` (microseconds)."""

    version: int
    valid_until: int
    body: bytes


class Actor:
    __slots__ = (
        "answers",
        "business_id",
        "calendar",
        "committed",
        "inflight_keys",
        "keys",
        "last_used",
        "parked",
        "pending",
        "shard",
        "stale",
        "views",
    )

    def __init__(self, loaded: Loaded, now_s: float) -> None:
        self.calendar: Calendar = loaded.calendar
        self.business_id = loaded.business_id
        self.shard = loaded.shard
        self.committed = loaded.calendar.version
        self.pending = 0
        self.stale = False
        self.last_used = now_s
        # Made on first need: most calendars of a large site are idle, and an empty container costs memory.
        self.keys: set[int] | None = set(loaded.recent_keys) or None
        self.inflight_keys: dict[tuple[str, str], Work] | None = None
        self.parked: list[Parked] | None = None
        self.views: dict[ViewKey, View] | None = None
        self.answers: dict[Question, Answer] | None = None

    def replace_state(self, loaded: Loaded) -> None:
        """Back to what the database has."""
        self.calendar = loaded.calendar
        self.committed = loaded.calendar.version
        self.keys = set(loaded.recent_keys) or None
        self.answers = None
        self.stale = False

    def park(self, parked: Parked) -> None:
        if self.parked is None:
            self.parked = []
        self.parked.append(parked)

    def release_parked(self) -> None:
        """Tells everything that rests on versions now committed."""
        parked, self.parked = self.parked, None
        for p in parked or ():
            if p.version <= self.committed:
                p.tell()
            else:
                self.park(p)

    def take_overdue(self, now_s: float) -> list[Work]:
        """Whose answers cannot be told in time; they are parked no longer."""
        overdue = [p.work for p in self.parked or () if p.work is not None and p.work.deadline < now_s]
        if overdue:
            self.parked = [p for p in self.parked or () if p.work is None or p.work.deadline >= now_s] or None
        return overdue

    def retry_parked(self) -> None:
        """Runs again what rested on events that were lost."""
        parked, self.parked = self.parked, None
        for p in parked or ():
            p.again()

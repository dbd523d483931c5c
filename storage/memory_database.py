"""A database in memory that checks a batch as Postgres does, and keeps it whole or not at all.

Nothing outlives the process, and what only Postgres reads back (notes, guests, text of time off) is not kept.
"""

from collections.abc import Mapping, Sequence, Set
from typing import Final, NamedTuple

import msgspec

from actors.calendar.state import Service
from actors.ports import Entry, Loss, StoredOutcome
from protocol import events as ev
from storage.batch import Fence

_ACTIVE: Final = ("held", "pending", "confirmed")


class MemoryRow(msgspec.Struct):
    """A hold or booking as the guards see it."""

    calendar_id: str
    status: str
    start: int
    blocked_from: int
    blocked_to: int
    session: str
    capacity: int
    places: int
    code: str | None = None
    doubled: bool = False


class MemoryCalendar(msgspec.Struct):
    business_id: str
    shard: int
    time_zone: str
    service_ids: set[str]
    holidays: frozenset[str] = frozenset()


class StoredEvent(NamedTuple):
    shard: int
    seq: int
    version: int
    epoch: int
    data: bytes


class Fenced(Exception):
    """Carries the shards that have another epoch or position than the writer thought."""

    def __init__(self, shards: Set[int]) -> None:
        super().__init__(shards)
        self.shards = shards


class Guarded(Exception):
    """A guard refused a batch; `loss` says which."""

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss)
        self.loss = loss


class MemoryDatabase:
    """What is durable. `write` trusts no decision: it checks the rows."""

    def __init__(self, shard_count: int = 4) -> None:
        self.shards = {i: Fence(0, 0) for i in range(shard_count)}
        self.calendars: dict[str, MemoryCalendar] = {}
        self.services: dict[str, Service] = {}
        self.events: dict[str, list[StoredEvent]] = {}
        self.rows: dict[str, MemoryRow] = {}
        self.outcomes: dict[tuple[str, str], StoredOutcome] = {}

    def take(self, shards: Sequence[int]) -> dict[int, Fence]:
        """Advances the epochs: from now on older owners are fenced."""
        for shard in shards:
            self.shards[shard].epoch += 1
        return {s: Fence(self.shards[s].epoch, self.shards[s].seq) for s in shards}

    def write(self, entries: Sequence[Entry], fences: Mapping[int, Fence]) -> None:
        """Raises `Fenced` or `Guarded`, and has written nothing then."""
        wrong = {e.shard for e in entries if self.shards[e.shard] != fences[e.shard]}
        if wrong:
            raise Fenced(wrong)
        rows, outcomes = dict(self.rows), dict(self.outcomes)
        added: list[tuple[str, StoredEvent]] = []
        seq = {e.shard: fences[e.shard].seq for e in entries}
        touched: set[str] = set()
        for entry in entries:
            calendar_id, key = entry.work.calendar_id, entry.work.key
            for version, event in enumerate(entry.events, entry.first_version):
                seq[entry.shard] += 1
                epoch = fences[entry.shard].epoch
                stored = StoredEvent(entry.shard, seq[entry.shard], version, epoch, ev.encode(event))
                added.append((calendar_id, stored))
                _project(rows, calendar_id, event)
                touched.add(calendar_id)
            if key is not None:
                if (key.scope, key.key) in outcomes:
                    raise Guarded(Loss.KEY_TAKEN)
                outcomes[key.scope, key.key] = StoredOutcome(calendar_id, key.fingerprint, entry.outcome)
        self._check(rows, touched)
        self._check_versions(added)
        self.rows, self.outcomes = rows, outcomes
        for calendar_id, stored in added:
            self.events.setdefault(calendar_id, []).append(stored)
        for shard, position in seq.items():
            self.shards[shard].seq = position

    def _check(self, rows: Mapping[str, MemoryRow], touched: Set[str]) -> None:
        codes = [r.code for r in rows.values() if r.code is not None]
        if len(codes) != len(set(codes)):
            raise Guarded(Loss.CODE_TAKEN)
        for calendar_id in touched:
            active = [
                r for r in rows.values() if r.calendar_id == calendar_id and r.status in _ACTIVE and not r.doubled
            ]
            active.sort(key=lambda r: r.blocked_from)
            for i, row in enumerate(active):
                for other in active[i + 1 :]:
                    if other.blocked_from < row.blocked_to and other.session != row.session:
                        raise Guarded(Loss.GUARD)
            for session in {r.session for r in active if r.capacity > 1}:
                members = [r for r in active if r.session == session]
                if sum(r.places for r in members) > members[0].capacity:
                    raise Guarded(Loss.GUARD)

    def _check_versions(self, added: Sequence[tuple[str, StoredEvent]]) -> None:
        last = {c: self.version_of(c) for c, _ in added}
        for calendar_id, stored in added:
            if stored.version != last[calendar_id] + 1:
                raise Guarded(Loss.GUARD)
            last[calendar_id] = stored.version

    def version_of(self, calendar_id: str) -> int:
        events = self.events.get(calendar_id)
        return events[-1].version if events else 0


def _project(rows: dict[str, MemoryRow], calendar_id: str, event: ev.Event) -> None:
    """What an event does to the rows. Those that stand before the batch are replaced, never changed."""
    if isinstance(event, ev.HoldPlaced | ev.Booked) and not (isinstance(event, ev.Booked) and event.from_hold):
        booked = isinstance(event, ev.Booked)
        rows[event.id] = MemoryRow(
            calendar_id, event.status if booked else "held", event.start, event.start - event.before,
            event.start + event.duration + event.after, event.session or event.id, event.capacity, event.places,
            event.code if booked else None, booked and event.doubled,
        )  # fmt: skip
    elif isinstance(event, ev.Booked):
        rows[event.id] = msgspec.structs.replace(rows[event.id], status=event.status, code=event.code)
    elif isinstance(event, ev.HoldReleased | ev.HoldExpired):
        del rows[event.id]
    elif isinstance(event, ev.Rescheduled):
        rows[event.id] = msgspec.structs.replace(
            rows[event.id], start=event.start, blocked_from=event.start - event.before,
            blocked_to=event.start + event.duration + event.after, session=event.session or event.id,
            capacity=event.capacity, doubled=event.doubled,
        )  # fmt: skip
    elif isinstance(event, ev.Confirmed | ev.Cancelled | ev.Rejected | ev.Completed | ev.NoShow | ev.Expired):
        rows[event.id] = msgspec.structs.replace(rows[event.id], status=ev.tag_of(event).removeprefix("booking."))

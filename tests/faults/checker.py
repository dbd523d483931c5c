"""Reads tables and history, and says which promises were broken. It shares no code with the server.

It trusts no constraint: overlaps are found by comparing times, capacity by adding up rows, and what should be active by
replaying the journal from its first event. `python -m tests.faults.checker FILE …` looks at saved histories again.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import msgspec

from tests.faults.answers import SLACK_US, unexplained
from tests.faults.history import Frame, History, load
from tests.faults.model import Calendar, replayed
from tests.faults.order import Bounds, backwards, made_by_key, marks_of
from tests.faults.sights import Replica, left_behind, untrue
from tests.faults.tables import Event, Row, Tables

_ACTIVE = ("held", "pending", "confirmed")


def wrongs(tables: Tables, history: History) -> list[str]:
    """Every broken promise, in words; empty when all were kept. Settle the history first."""
    return [*_tables(tables), *_calendars(tables, history)]


# The tables by themselves


def _tables(tables: Tables) -> Iterator[str]:
    by_calendar: defaultdict[str, list[Row]] = defaultdict(list)
    for row in tables.rows:
        if row.active:
            by_calendar[row.calendar_id].append(row)
    for rows in by_calendar.values():
        yield from _overlaps(rows)
    yield from _versions(tables.events)
    yield from _positions(tables)


def _overlaps(rows: list[Row]) -> Iterator[str]:
    """Of one calendar: rows of different sessions that block the same time, and sessions that are too full."""
    rows = sorted(rows, key=lambda r: min(r.start, r.blocked_from))
    for i, a in enumerate(rows):
        for b in rows[i + 1 :]:
            if min(b.start, b.blocked_from) >= max(a.ends, a.blocked_to):
                break
            meet = a.start < b.ends and b.start < a.ends
            block = a.blocked_from < b.blocked_to and b.blocked_from < a.blocked_to
            if a.session != b.session and (meet or block):
                yield f"overlap: {a.id} {b.id} in {a.calendar_id}"
    taken: Counter[str] = Counter()
    for row in rows:
        taken[row.session] += row.attendees
    for row in rows:
        if taken[row.session] > row.capacity:
            yield f"over capacity: session {row.session} has {taken[row.session]} of {row.capacity}"


def _versions(events: Iterable[Event]) -> Iterator[str]:
    versions: defaultdict[str, list[int]] = defaultdict(list)
    for event in events:
        versions[event.calendar_id].append(event.version)
    for calendar_id, there in versions.items():
        if sorted(there) != list(range(1, len(there) + 1)):
            yield f"version gap: {calendar_id} has {len(there)} events, versions {min(there)} to {max(there)}"


def _positions(tables: Tables) -> Iterator[str]:
    """Positions without holes, and epochs that only rise along them."""
    shards = {s.id: s for s in tables.shards}
    last = dict.fromkeys(shards, 0)
    for shard_id, events in groupby(tables.events, key=lambda e: e.shard):
        position = epoch = version = 0
        versions: dict[str, int] = {}
        for event in events:
            if event.seq != position + 1:
                yield f"position gap: shard {shard_id} goes from {position} to {event.seq}"
            if event.epoch < epoch:
                yield f"epoch went back: shard {shard_id} position {event.seq} has {event.epoch} after {epoch}"
            version = versions.get(event.calendar_id, 0)
            if event.version != version + 1:
                yield f"version out of place: {event.calendar_id} {event.version} follows {version} in its shard"
            position, epoch = event.seq, max(epoch, event.epoch)
            versions[event.calendar_id] = event.version
        last[shard_id] = position
        if shard_id not in shards or epoch > shards[shard_id].epoch:
            yield f"epoch went back: shard {shard_id} has events of epoch {epoch}"
    for shard in tables.shards:
        if shard.seq != last[shard.id]:
            yield f"position gap: shard {shard.id} stands at {shard.seq}, its last event at {last[shard.id]}"


# The tables against what was told


def _calendars(tables: Tables, history: History) -> Iterator[str]:
    made = made_by_key(tables.events)
    known = {r.key for r in history.requests} | history.others
    frames: defaultdict[str, list[Frame]] = defaultdict(list)
    for frame in history.frames:
        frames[frame.calendar_id].append(frame)
    for calendar_id in history.terms:
        calendar, illegal = replay(tables, history, calendar_id)
        yield from illegal
        yield from _rows(calendar, [r for r in tables.rows if r.calendar_id == calendar_id])
        for key, events in made.items():
            if events[0].calendar_id == calendar_id and key not in known:
                yield f"from nowhere: {events[0].type} of request {key}"
        requests = [r for r in history.requests if r.calendar_id == calendar_id]
        marks = marks_of(requests, frames[calendar_id], made)
        bounds = Bounds(marks, calendar.version)
        yield from backwards(marks, bounds)
        for request in requests:
            yield from unexplained(history, calendar, request, made.get(request.key, []), bounds)
        for watcher in sorted({f.watcher for f in frames[calendar_id]}):
            yield from untrue(history, calendar, [f for f in frames[calendar_id] if f.watcher == watcher])


def replay(tables: Tables, history: History, calendar_id: str) -> tuple[Calendar, list[str]]:
    events = [e for e in tables.events if e.calendar_id == calendar_id]
    return replayed(history.terms[calendar_id], sorted(events, key=lambda e: e.version))


def _rows(calendar: Calendar, rows: list[Row]) -> Iterator[str]:
    """The journal from its beginning against the rows."""
    there = {r.id: (r.status, r.start, r.version) for r in rows if r.active}
    wanted = {c.id: (c.status, c.start, c.version) for c in calendar.claims.values()}
    for claim_id in there.keys() | wanted.keys():
        if there.get(claim_id) != wanted.get(claim_id):
            yield f"journal and rows differ: {claim_id} {wanted.get(claim_id)} {there.get(claim_id)}"
    for row in rows:
        status = calendar.was(row.id, calendar.version)[0]
        if row.status != status:
            yield f"status: booking {row.id} is {row.status}, the journal says {status or 'nothing'}"
        booked = next((e for e in calendar.events.values() if e.data.get("code") == row.code and row.code), None)
        if row.code and (booked is None or booked.data["id"] != row.id or (row.notes and row.notes != booked.key)):
            yield f"not what was told: booking {row.id} with code {row.code} and notes {row.notes}"


def behind(tables: Tables, history: History, watchers: Sequence[tuple[int, str, Replica]], at: float) -> list[str]:
    """Watchers (number, calendar, replica) whose state at a time is not what the tables say of that time.

    A hold that has ended since may have left its end in the tables, and nobody was there to be shown it.
    """
    now = history.wall(at)
    by_then = msgspec.structs.replace(tables, events=[e for e in tables.events if e.at <= now - SLACK_US])
    calendars = {id_: replay(by_then, history, id_)[0] for _, id_, _ in watchers}
    return [
        f"watcher {number} of {calendar_id} {text}"
        for number, calendar_id, replica in watchers
        for text in left_behind(calendars[calendar_id], replica, now)
    ]


def last_seen(history: History) -> list[tuple[int, str, Replica]]:
    """The replicas that the recorded frames lead to."""
    replicas: dict[tuple[int, str], Replica] = {}
    for frame in history.frames:
        if frame.message["type"] in ("snapshot", "delta"):
            replicas.setdefault((frame.watcher, frame.calendar_id), Replica()).take(frame)
    return [(number, calendar_id, replica) for (number, calendar_id), replica in replicas.items()]


def main(paths: list[str]) -> int:
    """Prints what is wrong in saved histories; 1 when anything is."""
    failed = False
    for path in paths:
        with Path(path).open("rb") as file:
            history, tables = load(file)
        found = wrongs(tables, history)
        found += behind(tables, history, last_seen(history), history.until)
        failed |= bool(found)
        sys.stdout.write(
            f"{path}: seed {history.seed}, {len(history.requests)} requests ({history.acknowledged} acknowledged), "
            f"{len(history.frames)} frames, {len(tables.events)} events: {len(found)} wrong\n"
        )
        for strike in history.strikes:
            sys.stdout.write(f"  {strike.began:8.3f} to {strike.ended:8.3f}  {strike.name}\n")
        for text in found:
            sys.stdout.write(f"  {text}\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Reads the tables and the history, and says what is wrong. It shares no code with the server.

It trusts no constraint: overlaps are found by comparing times, capacity by adding up rows, and the bookings that should
be active by folding the journal from its first event.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import orjson

from tests.faults.history import History, Request, Said, Watcher

_OVERLAPS: Final = """
SELECT a.id, b.id FROM bookings a JOIN bookings b ON a.calendar_id = b.calendar_id AND a.id < b.id
    AND a.session_id <> b.session_id
    AND (a.start_at < b.end_at AND b.start_at < a.end_at
         OR lower(a.blocked) < upper(b.blocked) AND lower(b.blocked) < upper(a.blocked))
WHERE a.status IN ('held', 'pending', 'confirmed') AND b.status IN ('held', 'pending', 'confirmed')"""
_OVERFULL: Final = """
SELECT session_id, sum(attendees), min(capacity) FROM bookings WHERE status IN ('held', 'pending', 'confirmed')
GROUP BY session_id HAVING sum(attendees) > min(capacity)"""
_VERSION_GAPS: Final = """
SELECT calendar_id, count(*), min(version), max(version) FROM events
GROUP BY calendar_id HAVING min(version) <> 1 OR count(*) <> max(version)"""
_SEQ_GAPS: Final = """
SELECT s.id, s.seq, count(e.seq), min(e.seq), max(e.seq) FROM shards s LEFT JOIN events e ON e.shard = s.id
GROUP BY s.id, s.seq
HAVING coalesce(min(e.seq), 1) <> 1 OR count(e.seq) <> s.seq OR coalesce(max(e.seq), 0) <> s.seq"""
_EPOCHS_BACK: Final = """
SELECT shard, seq FROM (
    SELECT shard, seq, epoch, max(epoch) OVER (PARTITION BY shard ORDER BY seq) AS before FROM events) e
WHERE epoch < before
UNION ALL SELECT e.shard, e.seq FROM events e JOIN shards s ON s.id = e.shard WHERE e.epoch > s.epoch"""
_TWICE: Final = """
SELECT split_part(request_id, '.', 1), count(*) FROM events
WHERE type IN ('booking.created', 'hold.created') GROUP BY 1 HAVING count(*) > 1"""

_ENDS: Final = {
    "booking.cancelled", "booking.rejected", "booking.completed", "booking.no_show", "booking.expired",
    "hold.released", "hold.expired",
}  # fmt: skip


async def wrongs(connection: asyncpg.Connection, history: History) -> list[str]:
    """Every broken promise, in words; empty when all were kept. Settle the history first."""
    found: list[str] = []
    for what, query in (
        ("overlap", _OVERLAPS),
        ("over capacity", _OVERFULL),
        ("version gap", _VERSION_GAPS),
        ("position gap", _SEQ_GAPS),
        ("epoch went back", _EPOCHS_BACK),
        ("made twice", _TWICE),
    ):
        found += [f"{what}: {tuple(map(str, row))}" for row in await connection.fetch(query)]
    found += await _fold(connection)
    rows = {str(r["id"]): r for r in await connection.fetch("SELECT id, code, status, start_at, notes FROM bookings")}
    made = await _made(connection)
    found += _acknowledged(history, rows, made)
    found += [w for r in history.requests for w in _same_answers(r)]
    keys = {r.key for r in history.requests}
    found += [f"from nowhere: booking {i}" for i, r in rows.items() if r["notes"] and r["notes"] not in keys]
    return found


async def _made(connection: asyncpg.Connection) -> set[str]:
    """The keys of requests that have left a booking or a hold."""
    query = "SELECT DISTINCT split_part(request_id, '.', 1) FROM events WHERE type = ANY ($1)"
    return {r[0] for r in await connection.fetch(query, ["booking.created", "hold.created"])}


async def _fold(connection: asyncpg.Connection) -> Iterable[str]:
    """The journal from its beginning against the rows."""
    active: dict[str, tuple[str, int]] = {}
    for e in await connection.fetch("SELECT type, data FROM events ORDER BY calendar_id, version"):
        data = orjson.loads(e["data"])
        if e["type"] == "booking.created":
            active[data["id"]] = (data["status"], data["start"])
        elif e["type"] == "hold.created":
            active[data["id"]] = ("held", data["start"])
        elif e["type"] == "booking.confirmed":
            active[data["id"]] = ("confirmed", active[data["id"]][1])
        elif e["type"] == "booking.rescheduled":
            active[data["id"]] = (active[data["id"]][0], data["start"])
        elif e["type"] in _ENDS:
            active.pop(data["id"], None)
    rows = {
        str(r["id"]): (r["status"], round(r["start_at"].timestamp() * 1_000_000))
        for r in await connection.fetch(
            "SELECT id, status, start_at FROM bookings WHERE status IN ('held', 'pending', 'confirmed')"
        )
    }
    return [
        f"journal and rows differ: {i} {active.get(i)} {rows.get(i)}"
        for i in active.keys() | rows.keys()
        if active.get(i) != rows.get(i)
    ]


def _acknowledged(history: History, rows: dict[str, Any], made: set[str]) -> Iterable[str]:
    cancels: defaultdict[str, list[Request]] = defaultdict(list)
    for r in history.of("cancel"):
        cancels[r.target].append(r)
    for r in history.requests:
        if r.answer is None:
            yield f"not settled: {r.key}"
        elif r.kind in ("book", "hold") and r.done != (r.key in made):
            yield f"{'lost' if r.done else 'refused but made'}: {r.kind} {r.key}"
        elif r.kind == "book" and r.done:
            yield from _is_there(r, rows, cancels[r.answer.body["id"]])


def _is_there(request: Request, rows: dict[str, Any], cancels: list[Request]) -> Iterable[str]:
    assert request.answer is not None
    body = request.answer.body
    row = rows.get(body["id"])
    if row is None:
        yield f"lost: booking {body['id']} of {request.key}"
        return
    if row["code"] != body["code"] or row["notes"] != request.key or _text(row["start_at"]) != request.start:
        yield f"not what was told: booking {body['id']} of {request.key}"
    # A cancellation that was refused may still have been another's to make.
    wanted = {"cancelled"} if cancels else {"confirmed"}
    if not any(c.done for c in cancels):
        wanted.add("confirmed")
    if row["status"] not in wanted:
        yield f"status: booking {body['id']} is {row['status']} and should be {sorted(wanted)}"


def _same_answers(request: Request) -> Iterable[str]:
    """The same key has the same result, whatever happened in between."""
    if request.kind in ("book", "hold") and len({_gist(a) for a in request.answers}) > 1:
        yield f"another answer: {request.key} {[_gist(a) for a in request.answers]}"


def _gist(said: Said) -> tuple[Any, ...]:
    body = said.body
    if said.status < 300:
        return said.status, body["id"], body.get("code"), body["start"], body["calendar_version"]
    return said.status, body["code"], body.get("calendar_version"), str(body.get("alternatives"))


async def differences(connection: asyncpg.Connection, watcher: Watcher, capacity: int) -> list[str]:
    """Where a replica is not what the rows say: half-hour slots round the clock, `capacity` places each."""
    taken: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for r in await connection.fetch(
        "SELECT start_at, status, attendees FROM bookings "
        "WHERE calendar_id = $1 AND status IN ('held', 'pending', 'confirmed')",
        watcher.place.professional_id,
    ):
        taken[_text(r["start_at"])].append((r["status"], r["attendees"]))
    true: dict[str, tuple[str, int]] = {}
    for start in watcher.slots:
        there = taken.pop(start, [])
        left = capacity - sum(n for _, n in there)
        if left > 0:
            true[start] = ("open", left)
        else:
            true[start] = ("held" if all(s == "held" for s, _ in there) else "booked", 0)
    if capacity > 1:
        # Which of a full session's places are only held is told differently; that it is full is what counts.
        seen = {s: ("full", 0) if v[1] == 0 else v for s, v in watcher.slots.items()}
        true = {s: ("full", 0) if v[1] == 0 else v for s, v in true.items()}
    else:
        seen = watcher.slots
    if not seen:
        return ["the watcher has seen nothing"]
    found = [f"replica: {s} shows {v}, true is {true[s]}" for s, v in seen.items() if v != true[s]]
    return found + [f"replica: {s} is missing" for s in taken]


def _text(moment: datetime) -> str:
    assert re.match(r"00|30", f"{moment:%M}")
    assert moment.utcoffset() == timedelta(0)
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"

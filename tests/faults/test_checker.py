"""The checker itself: it finds nothing where nothing is wrong, and each kind of wrong where it was made."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.faults.checker import behind, last_seen, main, wrongs
from tests.faults.conftest import Site
from tests.faults.history import History, Kind, Request, Said, load
from tests.faults.tables import Tables, read_tables

Falsify = Callable[[History], object]

_ANY = "(SELECT id FROM bookings WHERE status = 'confirmed' AND capacity = 1 AND notes IS NOT NULL LIMIT 1)"
_UNGUARDED = "ALTER TABLE bookings DROP CONSTRAINT bookings_never_overlap"
_LAST = "SELECT calendar_id, version FROM events ORDER BY version DESC LIMIT 1"
_COPY = """
INSERT INTO bookings SELECT (jsonb_populate_record(b, jsonb_build_object(
    'id', gen_random_uuid(), 'session_id', gen_random_uuid(), 'code', 'BK-FALSE'))).* FROM bookings b
WHERE id = """ + _ANY  # fmt: skip
_ONE_CREATED = "(SELECT {} FROM events WHERE type = 'booking.created' ORDER BY calendar_id, version LIMIT 1)"


def _done(history: History, kind: Kind) -> Iterator[Request]:
    return (r for r in history.of(kind) if r.done)


def _refused(history: History, code: str) -> Request:
    return next(r for r in history.requests if r.kind in ("book", "hold") and r.answers and r.answers[0].code == code)


def _answered_otherwise(history: History) -> None:
    other = copy.deepcopy(history.booked[0].said[-1])
    other.body["id"] = "other"
    history.booked[0].said.append(other)


def _never_answered(history: History) -> None:
    request = next(r for r in history.booked if r.keyed)
    request.said.clear()


def _told_no(history: History) -> None:
    answer = history.booked[0].answers[0]
    answer.status, answer.body = 409, {"code": "slot_unavailable"}


def _told_that_nothing_happened(history: History) -> None:
    answer = history.booked[0].said[0]
    answer.status, answer.body = 503, {"code": "unavailable"}


def _told_an_error(history: History) -> None:
    history.booked[0].said.append(Said(9, "", 0.0, 0.0, 500, {"code": "internal_error"}))


def _forgotten(history: History) -> None:
    history.requests.remove(history.booked[0])


def _later_one_was_over_before(history: History) -> None:
    first = history.booked[0]
    later = next(r for r in history.booked[::-1] if r.calendar_id == first.calendar_id)
    assert later is not first
    for said in later.said:
        said.began, said.ended = first.said[0].began - 2, first.said[0].began - 1


def _stale(history: History) -> None:
    """A reading that shows what was true, and is so no longer."""
    old = next(_done(history, "slots"))
    new = next(r for r in history.of("slots")[::-1] if r.calendar_id == old.calendar_id and r.done)
    assert new.said[0].body["version"] > old.said[0].body["version"]
    new.start, new.target = old.start, old.target
    new.said[0].body = old.said[0].body


def _one_slot_less(history: History) -> None:
    next(_done(history, "slots")).said[0].body["slots"].pop()


def _looked_up_as_pending(history: History) -> None:
    next(_done(history, "look")).said[0].body["status"] = "pending"


def _lost_to_readers(history: History) -> None:
    said = next(_done(history, "look")).said[0]
    said.status, said.body = 404, {"code": "not_found"}


def _refused_what_was_free(history: History) -> None:
    _refused(history, "slot_unavailable").start = "2040-01-01T00:00:00Z"


def _offers_what_is_taken(history: History) -> None:
    request = _refused(history, "slot_unavailable")
    request.answers[0].body["alternatives"][0]["start"] = request.start


def _refused_by_what_never_was(history: History) -> None:
    _refused(history, "slot_unavailable").answers[0].body["calendar_version"] = 10**6


def _shown_otherwise(history: History) -> None:
    frame = next(f for f in history.frames if f.message["type"] == "delta" and f.message["changes"])
    shown = frame.message["changes"][0]
    shown["state"], shown["remaining"] = ("booked", 0) if shown["state"] == "open" else ("open", 1)


def _not_shown(history: History) -> None:
    """A change is left out and never mended."""
    frame = next(f for f in history.frames if f.message["type"] == "delta" and f.message["changes"])
    frame.message["changes"].pop()


def _shown_backwards(history: History) -> None:
    history.frames.append(next(f for f in history.frames if f.message["type"] == "snapshot"))


_FALSIFIED: dict[str, list[str | Falsify]] = {
    "overlap": [_UNGUARDED, _COPY],
    "over capacity": [
        "ALTER TABLE sessions DROP CONSTRAINT sessions_within_capacity",
        "UPDATE bookings SET attendees = 9 WHERE id = (SELECT id FROM bookings WHERE capacity > 1 "
        "AND status = 'confirmed' LIMIT 1)",
    ],
    "version gap": ["DELETE FROM events WHERE version = 5"],
    "position gap": ["UPDATE shards SET seq = seq + 1 WHERE seq > 0"],
    "epoch went back": [f"UPDATE events SET epoch = 0 WHERE (calendar_id, version) = ({_LAST})"],
    "epoch went back: shard": ["UPDATE shards SET epoch = 0"],
    "made twice": [
        f"UPDATE events SET request_id = {_ONE_CREATED.format('request_id')} WHERE type = 'booking.created'"
    ],
    "illegal event": [
        f"UPDATE events SET data = data || jsonb_build_object('start', {_ONE_CREATED.format('data -> $$start$$')}) "
        f"WHERE type = 'booking.created' AND calendar_id = {_ONE_CREATED.format('calendar_id')}"
    ],
    "journal and rows differ": [f"DELETE FROM bookings WHERE id = {_ANY}"],
    "status": [f"UPDATE bookings SET status = 'no_show' WHERE id = {_ANY}"],
    "not what was told": [f"UPDATE bookings SET code = 'BK-FALSE' WHERE id = {_ANY}"],
    "lost": [
        "UPDATE events SET request_id = 'other.1' WHERE (calendar_id, version) = "
        + _ONE_CREATED.format("calendar_id, version")
    ],
    "another answer": [_answered_otherwise],
    "not settled": [_never_answered],
    "refused but made": [_told_no],
    "told that nothing was changed": [_told_that_nothing_happened],
    "answered badly": [_told_an_error],
    "from nowhere": [_forgotten],
    "out of order: book": [_later_one_was_over_before],
    "out of order: slots": [_stale],
    "reading: slots": [_one_slot_less],
    "reading: look": [_looked_up_as_pending],
    "not found": [_lost_to_readers],
    "without reason": [_refused_what_was_free],
    "no alternative": [_offers_what_is_taken],
    "from the future": [_refused_by_what_never_was],
    "shown": [_shown_otherwise],
    "shown: watcher": [_not_shown],
    "went back": [_shown_backwards],
}


async def _falsified(db: asyncpg.Connection, history: History, steps: list[str | Falsify]) -> Tables:
    """Carries out the steps; the tables as they leave them, which is undone."""
    transaction = db.transaction(isolation="repeatable_read")
    await transaction.start()
    try:
        for step in steps:
            if isinstance(step, str):
                assert not (await db.execute(step)).endswith(" 0"), f"nothing was falsified: {step}"
            else:
                step(history)
        return await read_tables(db)
    finally:
        await transaction.rollback()


async def test_the_checker_catches_what_is_wrong(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A clean run is found clean; each falsified table or history is caught, and by the check that is meant to."""
    await site.open()
    await site.some_more(100)
    await site.check()
    await site.db.execute("SET lock_timeout = '5s'")
    site.server.kill()
    for name, steps in _FALSIFIED.items():
        history = copy.deepcopy(site.history)
        tables = await _falsified(site.db, history, steps)
        found = wrongs(tables, history)
        assert any(w.startswith(name) for w in found), f"{name} was not caught: {found[:5]}"
    tables = await read_tables(site.db)
    assert wrongs(tables, site.history) == []

    watcher = site.watchers[0]
    replica = copy.deepcopy(watcher.replica)
    start, (state, _) = next(iter(replica.slots.items()))
    replica.slots[start] = ("open", 1) if state != "open" else ("booked", 0)
    assert len(behind(tables, site.history, [(0, watcher.place.professional_id, replica)], site.history.until)) == 1

    # What is saved is judged the same.
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    site.history.save(good, tables)
    with good.open("rb") as file:
        history, again = load(file)
    assert again == tables
    assert history.requests == site.history.requests
    assert {(n, c): r.slots for n, c, r in last_seen(history)} == {
        (w.number, w.place.professional_id): w.replica.slots for w in site.watchers
    }
    _told_no(history)
    history.save(bad, tables)
    assert main([str(good)]) == 0
    assert main([str(good), str(bad)]) == 1
    assert "refused but made" in capsys.readouterr().out

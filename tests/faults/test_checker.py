"""The checker itself: it finds nothing where nothing is wrong, and each kind of wrong where it was made."""

import copy
from collections.abc import Awaitable, Callable

import asyncpg

from tests.faults.checker import differences, wrongs
from tests.faults.conftest import Site
from tests.faults.history import History

Falsify = Callable[[asyncpg.Connection, History], Awaitable[object] | None]

_ANY = "(SELECT id FROM bookings WHERE status = 'confirmed' AND capacity = 1 AND notes IS NOT NULL LIMIT 1)"
_UNGUARDED = "ALTER TABLE bookings DROP CONSTRAINT bookings_never_overlap"
_LAST = "SELECT calendar_id, version FROM events ORDER BY version DESC LIMIT 1"
_COPY = """
INSERT INTO bookings SELECT (jsonb_populate_record(b, jsonb_build_object(
    'id', gen_random_uuid(), 'session_id', gen_random_uuid(), 'code', 'BK-FALSE'))).* FROM bookings b
WHERE id = """ + _ANY  # fmt: skip


def _answered_otherwise(_: asyncpg.Connection, history: History) -> None:
    request = history.booked[0]
    other = copy.deepcopy(request.answers[0])
    other.body["id"] = "other"
    request.answers.append(other)


def _never_answered(_: asyncpg.Connection, history: History) -> None:
    history.booked[0].answers.clear()


def _told_no(_: asyncpg.Connection, history: History) -> None:
    answer = history.booked[0].answers[0]
    answer.status, answer.body = 409, {"code": "slot_unavailable"}


def _told_cancelled(_: asyncpg.Connection, history: History) -> None:
    cancelled = {c.target for c in history.of("cancel")}
    booked = next(b for b in history.booked if b.answers[0].body["id"] not in cancelled)
    cancel = copy.deepcopy(booked)
    cancel.kind, cancel.key, cancel.target = "cancel", "x-1", booked.answers[0].body["id"]
    history.requests.append(cancel)


def _forgotten(_: asyncpg.Connection, history: History) -> None:
    history.requests.remove(history.booked[0])


_FALSIFIED: dict[str, list[str | Falsify]] = {
    "overlap": [_UNGUARDED, _COPY],
    "over capacity": [
        "ALTER TABLE sessions DROP CONSTRAINT sessions_within_capacity",
        "UPDATE bookings SET attendees = 9 WHERE id = (SELECT id FROM bookings WHERE capacity > 1 "
        "AND status = 'confirmed' LIMIT 1)",
    ],
    "version gap": ["DELETE FROM events WHERE version = 5"],
    "position gap": ["UPDATE shards SET seq = seq + 1 WHERE seq > 0"],
    "epoch went back": ["UPDATE events SET epoch = 0 WHERE (calendar_id, version) = (" + _LAST + ")"],
    "made twice": [
        "UPDATE events SET request_id = (SELECT request_id FROM events WHERE type = 'booking.created' LIMIT 1) "
        "WHERE type = 'booking.created'"
    ],
    "journal and rows differ": [f"UPDATE bookings SET status = 'no_show' WHERE id = {_ANY}"],
    "lost": [f"DELETE FROM bookings WHERE id = {_ANY}"],
    "not what was told": [f"UPDATE bookings SET code = 'BK-FALSE' WHERE id = {_ANY}"],
    "status": [_told_cancelled],
    "another answer": [_answered_otherwise],
    "not settled": [_never_answered],
    "refused but made": [_told_no],
    "from nowhere": [_forgotten],
}


async def test_the_checker_catches_what_is_wrong(site: Site) -> None:
    """A clean run is found clean; each falsified table or history is caught, and by the check that is meant to."""
    await site.open()
    await site.check()
    await site.db.execute("SET lock_timeout = '5s'")
    site.server.kill()
    for name, steps in _FALSIFIED.items():
        history = copy.deepcopy(site.history)
        transaction = site.db.transaction()
        await transaction.start()
        for step in steps:
            if isinstance(step, str):
                assert not (await site.db.execute(step)).endswith(" 0"), f"{name}: nothing was falsified"
            else:
                step(site.db, history)
        found = await wrongs(site.db, history)
        await transaction.rollback()
        assert any(w.startswith(name) for w in found), f"{name} was not caught: {found[:5]}"
    assert await wrongs(site.db, site.history) == []

    watcher = site.watchers[0]
    start, (state, _) = next(iter(watcher.slots.items()))
    watcher.slots[start] = ("open", 1) if state != "open" else ("booked", 0)
    assert len(await differences(site.db, watcher, 1)) == 1

"""What every journal promises, asked with entries made by hand."""

from collections.abc import Callable
from typing import Any

from actors.ports import IdempotencyKey, Loss
from protocol import events as ev
from protocol import limits
from protocol.ids import booking_code, new_id
from protocol.times import HOUR, MINUTE
from tests.contract.world import NOON, Scribe, Told, World, booked

Journals = Callable[[Told], Any]


async def scribe(world: World, shard: int = 0) -> Scribe:
    return Scribe(world, await world.calendar(shard=shard), shard)


async def test_entries_are_committed_in_order_and_told_once_per_batch(world: World, journals: Journals) -> None:
    """Each entry is told exactly once, in the order of its shard; what waits together is one batch."""
    told = Told()
    journal = await journals(told)
    scribes = [await scribe(world, shard) for shard in (0, 1, 0)]
    entries = [s.entry(booked(30 * i)) for i in range(20) for s in scribes]
    for entry in entries:
        journal.append(entry)
    await told.until(len(entries))
    assert told.losses == []
    for shard in (0, 1):
        assert [e for e in told.committed_entries if e.shard == shard] == [e for e in entries if e.shard == shard]
    assert len(told.committed_entries) == len(entries)
    assert len(told.batches) <= 4


async def test_a_batch_is_bounded(world: World, journals: Journals) -> None:
    """More than fits waits for the next; nothing is left behind."""
    told = Told()
    journal = await journals(told)
    mine = await scribe(world)
    count = limits.batch_events_max + 5
    for i in range(count):
        journal.append(mine.entry(booked(30 * i)))
    await told.until(count)
    assert [len(b) for b in told.batches] == [limits.batch_events_max, 5]


async def test_versions_and_positions_have_no_gaps(world: World, journals: Journals) -> None:
    """A calendar's versions and a shard's positions rise by one; the fence stands at the last position."""
    told = Told()
    journal = await journals(told)
    a, b = await scribe(world, 2), await scribe(world, 2)
    before = await world.position(2)
    for i in range(10):
        journal.append(a.entry(booked(30 * i), booked(30 * i + 600)))
        journal.append(b.entry(booked(30 * i)))
    await told.until(20)
    found_a, found_b = await world.events(a.calendar_id), await world.events(b.calendar_id)
    assert [e.version for e in found_a] == list(range(1, 21))
    assert [e.version for e in found_b] == list(range(1, 11))
    positions = sorted(e.seq for e in found_a + found_b)
    assert positions == list(range(before + 1, before + 31))
    assert await world.position(2) == before + 30
    assert {e.epoch for e in found_a} == {found_a[0].epoch}


async def test_events_come_back_as_they_went_in(world: World, journals: Journals) -> None:
    """Every kind of event, with every field set."""
    told = Told()
    journal = await journals(told)
    mine = await scribe(world)
    hold, direct, pending = new_id(), new_id(), new_id()
    placed = ev.HoldPlaced(
        hold, new_id(), NOON, 30 * MINUTE, MINUTE, MINUTE, 2, NOON + MINUTE, "ann", new_id(), 3, new_id()
    )  # fmt: skip
    events = [
        placed,
        ev.Booked(hold, booking_code(), "pending", placed.service_id, NOON, 30 * MINUTE, MINUTE, MINUTE, 2, new_id(),
                  placed.session, 3, from_hold=True),
        ev.Confirmed(hold),
        ev.Amended(hold),
        ev.Rescheduled(hold, NOON + HOUR, 30 * MINUTE, 0, MINUTE, new_id(), 4),
        ev.Cancelled(hold, "client"),
        booked(0, id_=direct),
        ev.Completed(direct),
        booked(60, id_=pending),
        ev.Rejected(pending),
        ev.TimeBlocked(new_id(), NOON, NOON + HOUR, True),
        ev.ScheduleChanged(ev.Schedule("UTC", (ev.WeeklyRange(0, 0, 60),), (ev.Override("2026-01-01", ((0, 1),)),))),
    ]  # fmt: skip
    for event in events:
        journal.append(mine.entry(event))
    await told.until(len(events))
    assert told.losses == []
    assert [e.event for e in await world.events(mine.calendar_id)] == events


async def test_a_newer_owner_fences_the_older(world: World, journals: Journals) -> None:
    """Once another journal has taken the shards, the first loses all it was given and writes nothing."""
    first, second = Told(), Told()
    old = await journals(first)
    mine, other = await scribe(world, 1), await scribe(world, 3)
    new = await journals(second)
    for i in range(5):
        old.append(mine.entry(booked(30 * i)))
        old.append(other.entry(booked(30 * i)))
    await first.until(10)
    assert first.committed_entries == []
    assert {loss for _, loss in first.losses} <= {Loss.FENCED, Loss.NEIGHBOUR}
    assert (first.losses[0][1], len(first.losses)) == (Loss.FENCED, 10)
    assert first.fenced_shards >= {1, 3}
    assert not old.owns(1)
    assert await world.events(mine.calendar_id) == []
    assert await world.rows(mine.calendar_id) == {}
    fresh = Scribe(world, mine.calendar_id, 1)
    new.append(fresh.entry(booked(0)))
    await second.until(1)
    assert second.losses == []


async def test_a_forged_overlap_is_lost_alone(world: World, journals: Journals) -> None:
    """The guard stops it, its neighbours in other calendars are written, later ones of its own are not."""
    told = Told()
    journal = await journals(told)
    mine, other = await scribe(world), await scribe(world)
    good = mine.entry(booked(0))
    beside = other.entry(booked(0))
    forged = mine.entry(booked(15))
    after = mine.entry(booked(120))
    beside_too = other.entry(booked(30))
    for entry in (good, beside, forged, after, beside_too):
        journal.append(entry)
    await told.until(5)
    assert dict(told.losses) == {forged: Loss.GUARD, after: Loss.NEIGHBOUR}
    assert set(told.committed_entries) == {good, beside, beside_too}
    assert [e.version for e in await world.events(mine.calendar_id)] == [1]
    assert len(await world.rows(other.calendar_id)) == 2


async def test_buffers_are_guarded_too(world: World, journals: Journals) -> None:
    """What must not overlap is the blocked span; spans that only touch are fine."""
    told = Told()
    journal = await journals(told)
    mine = await scribe(world)
    journal.append(mine.entry(booked(0, after=10 * MINUTE)))
    touching = mine.entry(booked(50, before=10 * MINUTE))
    overlapping = mine.entry(booked(85, before=10 * MINUTE))
    journal.append(touching)
    journal.append(overlapping)
    await told.until(3)
    assert told.losses == [(overlapping, Loss.GUARD)]


async def test_a_span_is_free_again_once_it_was_left(world: World, journals: Journals) -> None:
    """In one batch: cancelled, moved away and ended holds make room for what follows."""
    told = Told()
    journal = await journals(told)
    mine = await scribe(world)
    a, b, hold = new_id(), new_id(), new_id()
    held = ev.HoldPlaced(hold, new_id(), NOON + 2 * HOUR, 30 * MINUTE, 0, 0, 1, NOON, "ann")
    for _ in range(2):  # once within one batch, once more on rows that stand already
        entries = [
            mine.entry(booked(0, id_=a)), mine.entry(booked(60, id_=b)), mine.entry(held),
            mine.entry(ev.Cancelled(a, "client"), booked(0)),
            mine.entry(ev.Rescheduled(b, NOON + 5 * HOUR, 30 * MINUTE, 0, 0), booked(60)),
            mine.entry(ev.HoldExpired(hold), booked(120)),
        ]  # fmt: skip
        for entry in entries:
            journal.append(entry)
        await told.until(len(entries))
        assert told.losses == []
        told = Told()
        journal = await journals(told)
        mine = await scribe(world)
        a, b, hold = new_id(), new_id(), new_id()
        held = ev.HoldPlaced(hold, new_id(), NOON + 2 * HOUR, 30 * MINUTE, 0, 0, 1, NOON, "ann")


async def test_a_session_over_capacity_is_refused(world: World, journals: Journals) -> None:
    """Places are counted by the database; up to capacity they share one span."""
    told = Told()
    journal = await journals(told)
    mine = await scribe(world)
    session = {"session": new_id(), "capacity": 3}
    two, one, more = (mine.entry(booked(0, places=p, **session)) for p in (2, 1, 1))
    for entry in (two, one, more):
        journal.append(entry)
    await told.until(3)
    assert told.losses == [(more, Loss.GUARD)]
    assert told.committed_entries == [two, one]
    rows = await world.rows(mine.calendar_id)
    assert sorted(r.places for r in rows.values()) == [1, 2]


async def test_places_that_were_given_back_can_be_taken(world: World, journals: Journals) -> None:
    """A full session has room again once a member left it."""
    told = Told()
    journal = await journals(told)
    mine = await scribe(world)
    session = {"session": new_id(), "capacity": 2}
    first = new_id()
    for events in (
        [booked(0, places=2, id_=first, **session)],
        [ev.Cancelled(first, "client"), booked(0, places=2, **session)],
    ):
        journal.append(mine.entry(*events))
        await told.until(mine.version if mine.version < 2 else 2)
    assert told.losses == []


async def test_a_code_that_is_taken(world: World, journals: Journals) -> None:
    """Codes are unique across calendars."""
    told = Told()
    journal = await journals(told)
    mine, other = await scribe(world), await scribe(world)
    code = booking_code()
    first, second = mine.entry(booked(0, code=code)), other.entry(booked(0, code=code))
    journal.append(first)
    await told.until(1)
    journal.append(second)
    await told.until(2)
    assert told.losses == [(second, Loss.CODE_TAKEN)]


async def test_a_key_that_is_taken(world: World, journals: Journals) -> None:
    """In an earlier batch or in the same one, on whatever calendar."""
    told = Told()
    journal = await journals(told)
    mine, other = await scribe(world), await scribe(world)
    for pause in (True, False):
        key = IdempotencyKey("caller", new_id(), b"a")
        first, second = mine.entry(booked(mine.version * 30), key=key), other.entry(booked(0), key=key)
        known = len(told.committed_entries) + len(told.losses)
        journal.append(first)
        if pause:
            await told.until(known + 1)
        journal.append(second)
        await told.until(known + 2)
        assert told.losses[-1] == (second, Loss.KEY_TAKEN)
        assert told.committed_entries[-1] == first
        stored = await world.store.find_outcome(key.scope, key.key)
        assert stored is not None
        assert (stored.calendar_id, stored.outcome) == (mine.calendar_id, first.outcome)
        other = await scribe(world)


async def test_a_refusal_is_stored_under_its_key(world: World, journals: Journals) -> None:
    """An entry without events moves neither version nor position."""
    told = Told()
    journal = await journals(told)
    mine = await scribe(world)
    before = await world.position(0)
    key = IdempotencyKey("caller", new_id(), b"a")
    entry = mine.entry(key=key)
    journal.append(entry)
    await told.until(1)
    assert told.committed_entries == [entry]
    assert await world.position(0) == before
    stored = await world.store.find_outcome(key.scope, key.key)
    assert stored is not None
    assert (stored.fingerprint, stored.outcome) == (b"a", entry.outcome)


async def test_hold_booked_and_cancelled_in_one_batch_is_one_row(world: World, journals: Journals) -> None:
    """The last state of a row is what is written, under the code it got meanwhile."""
    told = Told()
    journal = await journals(told)
    mine = await scribe(world)
    hold, gone = new_id(), new_id()
    placed = ev.HoldPlaced(hold, new_id(), NOON, 30 * MINUTE, MINUTE, 0, 1, NOON + MINUTE, "ann")
    code = booking_code()
    taken = ev.Booked(hold, code, "confirmed", placed.service_id, NOON, 30 * MINUTE, MINUTE, 0, 1, from_hold=True)
    released = ev.HoldPlaced(gone, new_id(), NOON + HOUR, 30 * MINUTE, 0, 0, 1, NOON + MINUTE, "ann")
    for event in (placed, taken, ev.Cancelled(hold, "client"), released, ev.HoldReleased(gone)):
        journal.append(mine.entry(event))
    await told.until(5)
    assert told.losses == []
    assert len(told.batches) == 1
    rows = await world.rows(mine.calendar_id)
    assert set(rows) == {hold}
    row = rows[hold]
    assert (row.status, row.code, row.session) == ("cancelled", code, hold)
    assert (row.start, row.blocked_from, row.blocked_to) == (NOON, NOON - MINUTE, NOON + 30 * MINUTE)
    assert [e.version for e in await world.events(mine.calendar_id)] == [1, 2, 3, 4, 5]

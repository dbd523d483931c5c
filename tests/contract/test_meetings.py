"""Meetings whose coordinator fails at every step: what is left comes to an end that docs/meetings.md allows.

On Postgres alone, because what is astray is told by SQL.
"""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from actors.calendar import commands as cmd
from actors.switchboard import Switchboard
from protocol import events as ev
from protocol.errors import Refused
from server.meetings import Met
from tests.contract.meeting_rooms import Crashed, Rooms, Unsteady, closed, failing_at, opened, start, unsteady

_STEPS = 14


@pytest.fixture
async def rooms(contract_dsn: str) -> AsyncIterator[Rooms]:
    world, house, clock = await opened(contract_dsn)
    yield await Rooms(world, house, clock).open()
    await closed(world, house)


def booked_id(met: Met) -> str:
    assert isinstance(met.outcome.event, ev.Booked)
    return met.outcome.event.id


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_booking_cut_short_anywhere(rooms: Rooms, when: str) -> None:
    """Nobody asks again: once holds have ended, there is the whole meeting or nothing."""
    ends: set[bool] = set()
    for step in range(1, _STEPS):
        before = await rooms.active()
        broken = Unsteady(rooms.house, *failing_at(step, when))
        try:
            met = await rooms.book(rooms.meetings(broken), f"cut {when} {step}", start(step))
        except Crashed:
            met = None
        await rooms.tend()
        await rooms.later()
        assert await rooms.astray() == []
        after = [b for b in await rooms.active() if b not in before]
        assert len(after) <= 1
        ends.add(bool(after))
        if met is not None:
            assert after == [booked_id(met)]
            break
    else:
        raise AssertionError("it was never carried out")
    assert ends == {True, False}


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_booking_asked_for_again(rooms: Rooms, when: str) -> None:
    """With the same key after the coordinator failed: always booked, always once, and the same once more."""
    for step in range(1, _STEPS):
        before, key = await rooms.active(), f"again {when} {step}"
        broken = Unsteady(rooms.house, *failing_at(step, when))
        whole = False
        try:
            await rooms.book(rooms.meetings(broken), key, start(step))
            whole = True
        except Crashed:
            pass
        met = await rooms.book(rooms.meetings(), key, start(step))
        again = await rooms.book(rooms.meetings(), key, start(step))
        assert (booked_id(again), again.calendar_id, again.parts) == (booked_id(met), met.calendar_id, met.parts)
        await rooms.later()
        assert await rooms.astray() == []
        assert [b for b in await rooms.active() if b not in before] == [booked_id(met)]
        if whole:
            return
    raise AssertionError("it was never carried out")


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_hold_cut_short_anywhere(rooms: Rooms, when: str) -> None:
    """Asked for again it is the same hold; afterwards nothing of it is left."""
    for step in range(1, _STEPS):
        key = f"hold {when} {step}"
        broken = Unsteady(rooms.house, *failing_at(step, when))
        whole = False
        try:
            await rooms.hold(rooms.meetings(broken), key, start(step))
            whole = True
        except Crashed:
            pass
        await rooms.tend()
        held = await rooms.hold(rooms.meetings(), key, start(step))
        assert held.held is not None
        assert await rooms.active() == [held.held.id]
        assert (await rooms.hold(rooms.meetings(), key, start(step))).held == held.held
        await rooms.later()
        assert await rooms.active() == []
        assert await rooms.astray() == []
        if whole:
            return
    raise AssertionError("it was never carried out")


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_move_cut_short_anywhere(rooms: Rooms, when: str) -> None:
    """The meeting is whole, at the old time or at the new one; asked for again, at the new one."""
    for step in range(1, _STEPS):
        met = await rooms.book(rooms.meetings(), f"to move {when} {step}", start(0))
        key = f"move {when} {step}"
        broken = Unsteady(rooms.house, *failing_at(step, when))
        whole = False
        try:
            await rooms.move(rooms.meetings(broken), key, met, start(4))
            whole = True
        except Crashed:
            pass
        await rooms.tend()
        moved = await rooms.move(rooms.meetings(), key, met, start(4))
        assert isinstance(moved.event, ev.Rescheduled)
        await rooms.later()
        assert await rooms.active() == [booked_id(met)]
        assert await rooms.astray() == []
        now = await rooms.led(booked_id(met))
        await rooms.cancel(rooms.meetings(), Switchboard(rooms.house.runtime, rooms.world.store), None, met)
        await rooms.later(0)
        assert (now.parts, await rooms.active(), await rooms.astray()) == (moved.event.parts, [], [])
        rooms.clock.now -= 2 * 60_000_000
        if whole:
            return
    raise AssertionError("it was never carried out")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", [1, 2, 3])
async def test_a_cancellation_cut_short(rooms: Rooms, when: str, step: int) -> None:
    met = await rooms.book(rooms.meetings(), None, start(1))
    broken = Unsteady(rooms.house, *failing_at(step, when))
    with pytest.raises(Crashed):
        await rooms.cancel(rooms.meetings(broken), broken, None, met)
    await rooms.tend()
    assert await rooms.astray() == []
    assert len(await rooms.active()) == (1 if (step, when) == (1, "before") else 0)


async def test_time_ends_a_meeting_everywhere(rooms: Rooms) -> None:
    """Over, it is completed in the leader's calendar by time alone, and its parts with it."""
    met = await rooms.book(rooms.meetings(), None, start(0))
    await rooms.later(120)
    assert (await rooms.led(booked_id(met))).status == "completed"
    for part in met.parts:
        rows = await rooms.world.rows(part.calendar_id)
        assert rows[part.id].status == "completed"


async def test_a_part_that_comes_too_late(rooms: Rooms) -> None:
    """Placed after the leader's hold has ended, as by a node that was frozen: nobody names it, and it goes."""
    ended = False

    async def freeze() -> None:
        nonlocal ended
        if not ended and await rooms.active():
            ended = True
            await rooms.later()

    async def nothing() -> None:
        pass

    with pytest.raises(Refused) as refused:
        await rooms.book(rooms.meetings(Unsteady(rooms.house, freeze, nothing)), None, start(3))
    assert refused.value.code == "slot_unavailable"
    await rooms.later()
    assert (await rooms.active(), await rooms.astray()) == ([], [])


async def test_who_was_refused_leaves_what_another_has_booked(rooms: Rooms) -> None:
    """One of two that run the same request meets a room that is closed for a moment, the other books the very hold they
    share: the first has nothing to let go of, and answers with the booking.
    """
    room, asked, other = rooms.rooms[0], 0, []
    chosen = {"professional_ids": tuple(rooms.people[:2]), "resource_ids": (room,)}

    async def close() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            await rooms.house.ask(room, cmd.BlockTime(room, start(1), start(2)))

    async def reopen() -> None:
        if asked == 3 and not other:
            await rooms.house.ask(room, cmd.Unblock(room))
            other.append(await rooms.book(rooms.meetings(), "shared", start(1), **chosen))

    met = await rooms.book(rooms.meetings(Unsteady(rooms.house, close, reopen)), "shared", start(1), **chosen)
    assert (booked_id(met), met.parts) == (booked_id(other[0]), other[0].parts)
    assert await rooms.astray() == []
    assert await rooms.active() == [booked_id(met)]


@pytest.mark.parametrize("seed", range(6))
async def test_a_storm(rooms: Rooms, seed: int) -> None:
    """Many requests for few calendars, each run by several coordinators at once that fail now and then, beside a busy
    tender. Every key has one answer, and what stands is what was answered.
    """
    rng = random.Random(seed)
    answers: dict[str, set[str]] = {}

    async def once(key: str, where: int, share: float) -> bool:
        moment = unsteady(rng, share)
        meetings = rooms.meetings(Unsteady(rooms.house, moment, moment))
        try:
            said = booked_id(await rooms.book(meetings, key, start(where)))
        except Crashed:
            return False
        except Refused as refused:
            said = refused.code
        answers.setdefault(key, set()).add(said)
        return True

    async def insist(number: int) -> None:
        key, where = f"storm {seed} {number}", number % 2
        await asyncio.gather(*(once(key, where, 0.1) for _ in range(2)))
        while not await once(key, where, 0.05):
            pass

    async def tend() -> None:
        while True:
            await rooms.tend()
            await asyncio.sleep(0.005)

    tending = asyncio.create_task(tend())
    await asyncio.gather(*(insist(n) for n in range(8)))
    tending.cancel()
    assert all(len(said) == 1 for said in answers.values()), answers
    await rooms.later()
    assert await rooms.astray() == []
    # What is not an id is a refusal's code, and no other one is expected.
    assert sorted([*await rooms.active(), "slot_unavailable"]) == sorted({s for said in answers.values() for s in said})

"""Several nodes in one process, over Postgres and in memory: requests and views find their calendar wherever it is."""

import asyncio
from collections.abc import Mapping

import pytest

from actors.cluster.ports import Member
from actors.questions import Zone
from protocol.errors import Refused
from protocol.ids import new_id
from protocol.times import HOUR
from tests.contract.cluster_nodes import CUT, DEADLINE_S, TIMES, Node, Nodes, pair
from tests.contract.cluster_world import until
from tests.contract.world import NOON, SHARDS


async def test_a_command_is_answered_wherever_it_is_asked(nodes: Nodes) -> None:
    calendar, owner, other = await pair(nodes)
    assert (await other.book(calendar, NOON)).version == 1
    refused = await owner.book(calendar, NOON)
    assert refused.refusal is not None
    assert refused.refusal.code == "slot_unavailable"
    again = await other.book(calendar, NOON)
    assert again.refusal == refused.refusal
    assert other.board.forwarded["ask", "ok"] == 2
    assert len(await nodes.world.rows(calendar)) == 1


async def test_a_question_is_answered_wherever_it_is_asked(nodes: Nodes) -> None:
    calendar, owner, other = await pair(nodes)
    for node in (owner, other):
        assert await node.board.read(calendar, nodes.world.business, Zone()) == b'"UTC"'
        with pytest.raises(Refused, match="not_found"):
            await node.board.read(calendar, new_id(), Zone())


async def test_the_same_key_gives_the_same_outcome_on_every_node(nodes: Nodes) -> None:
    calendar, owner, other = await pair(nodes)
    key = new_id()
    first = await other.book(calendar, NOON, key)
    assert await owner.book(calendar, NOON, key) == first
    assert len(await nodes.world.rows(calendar)) == 1


async def test_viewers_of_another_node_see_every_change(nodes: Nodes) -> None:
    calendar, owner, other = await pair(nodes)
    near, far = await owner.watch(calendar), await other.watch(calendar)
    also_far = await other.watch(calendar)
    assert near.shown() == far.shown()
    await owner.book(calendar, NOON + HOUR)
    await other.book(calendar, NOON + 3 * HOUR)
    await until(lambda: len(far.frames) == 2 and len(also_far.frames) == 2)
    assert far.frames == near.frames
    assert near.shown() == far.shown()
    assert owner.cluster.host.relays == 1


async def test_a_lost_frame_is_noticed_and_mended(nodes: Nodes) -> None:
    calendar, owner, other = await pair(nodes)
    near, far = await owner.watch(calendar), await other.watch(calendar)
    other.bus.reachable = False
    await owner.book(calendar, NOON + HOUR)
    other.bus.reachable = True
    assert near.shown() != far.shown()
    await until(lambda: near.shown() == far.shown())


async def test_shards_move_without_losing_a_request_or_a_viewer(nodes: Nodes) -> None:
    [a] = await nodes.start("a")
    await nodes.settled()
    calendars = [await nodes.world.calendar(CUT) for _ in range(3 * SHARDS)]
    [b] = await nodes.start("b")
    await nodes.settled()
    watchers = [(c, await node.watch(c)) for c in calendars for node in (a, b)]
    booked = 0

    async def keep_booking(calendar: str) -> None:
        nonlocal booked
        for i in range(20):
            for node in (a, b):
                outcome = await node.book(calendar, NOON + i * HOUR // 2)
                booked += outcome.refusal is None

    async def converge(node: Node) -> None:
        for calendar, watcher in watchers:
            truth = await node.watch(calendar)
            await until(lambda t=truth, w=watcher: t.shown() == w.shown())

    under_way = asyncio.gather(*(keep_booking(c) for c in calendars))
    await a.cluster.drain(asyncio.get_running_loop().time() + DEADLINE_S)
    assert not a.runtime.owned
    await under_way
    rows = [await nodes.world.rows(c) for c in calendars]
    assert [len(r) for r in rows] == [20] * len(calendars)
    assert booked == 20 * len(calendars)
    await converge(b)
    [c] = await nodes.start("c")
    await nodes.settled()
    await b.cluster.drain(asyncio.get_running_loop().time() + DEADLINE_S)
    await until(lambda: set(c.runtime.owned) == set(range(SHARDS)))
    for calendar in calendars:
        await a.book(calendar, NOON - HOUR)
    await converge(c)


async def test_a_crashed_owner_is_replaced_and_keyed_requests_find_their_answer(nodes: Nodes) -> None:
    calendar, owner, other = await pair(nodes)
    key = new_id()
    first = await other.book(calendar, NOON, key)
    far = await other.watch(calendar)
    await owner.crash()
    assert await other.book(calendar, NOON, key) == first
    await other.book(calendar, NOON + 3 * HOUR)
    truth = await other.watch(calendar)
    await until(lambda: truth.shown() == far.shown())
    assert [e.version for e in await nodes.world.events(calendar)] == [1, 2]


async def test_a_command_without_a_key_whose_owner_dies_ends_unknown(nodes: Nodes) -> None:
    calendar, owner, other = await pair(nodes)
    # It hears the request and dies before it can say anything.
    owner.cluster.host.received = lambda sender, message: None  # type: ignore[method-assign]
    asked = asyncio.ensure_future(other.book(calendar, NOON))
    await asyncio.sleep(0.05)
    await owner.crash()
    with pytest.raises(Refused, match="unknown_outcome"):
        await asked


async def test_who_wakes_first_after_a_standstill_gives_nobody_up(nodes: Nodes) -> None:
    """All heartbeats end when a machine stands still; that others have none yet does not mean that they are gone."""
    calendar, owner, other = await pair(nodes)
    received, held = owner.cluster.host.received, []
    owner.cluster.host.received = lambda *heard: held.append(heard)  # type: ignore[method-assign]
    asked = asyncio.ensure_future(other.book(calendar, NOON))
    await until(lambda: held)
    await stand_still(nodes, owner, other)
    owner.directory.reachable = True
    await until(lambda: owner.cluster.me.id in seen_by(other))
    for heard in held:
        received(*heard)
    assert (await asked).version == 1


async def test_an_owner_that_died_in_a_standstill_is_given_up_later(nodes: Nodes) -> None:
    calendar, owner, other = await pair(nodes)
    held: list[object] = []
    owner.cluster.host.received = lambda *heard: held.append(heard)  # type: ignore[method-assign]
    work = other.work(calendar, NOON)
    asked = asyncio.ensure_future(other.board.ask(work))
    await until(lambda: held)
    await stand_still(nodes, owner, other)
    await owner.crash()
    with pytest.raises(Refused, match="unknown_outcome"):
        await asked
    assert asyncio.get_running_loop().time() < work.deadline


def seen_by(node: Node) -> Mapping[str, Member]:
    assert node.cluster.keeper.sight is not None
    return node.cluster.keeper.sight.members


async def stand_still(nodes: Nodes, owner: Node, other: Node) -> None:
    """Until neither has a heartbeat any more; returns when `other` has woken, and sees the owner nowhere."""
    owner.directory.reachable = other.directory.reachable = False
    await until(lambda: not any(nodes.hub.is_alive(n.cluster.me.id) for n in (owner, other)))
    other.directory.reachable = True
    await until(lambda: owner.cluster.me.id not in seen_by(other))


async def test_an_owner_without_the_directory_goes_on_for_its_own_calendars(nodes: Nodes) -> None:
    calendar, owner, other = await pair(nodes)
    nodes.hub.down = True
    assert (await owner.book(calendar, NOON)).version == 1
    await asyncio.sleep(2 * TIMES.lease_s)
    assert (await owner.book(calendar, NOON + HOUR)).version == 2
    with pytest.raises(Refused, match="unavailable"):
        await other.book(calendar, NOON + 2 * HOUR)
    nodes.hub.down = False
    await nodes.settled()
    assert (await other.book(calendar, NOON + 3 * HOUR)).version == 3


async def test_a_flushed_directory_moves_nothing(nodes: Nodes) -> None:
    calendar, _, other = await pair(nodes)
    before = {n.cluster.me.id: set(n.runtime.owned) for n in nodes.all}
    nodes.hub.flush()
    assert (await other.book(calendar, NOON)).version == 1
    await asyncio.sleep(3 * TIMES.lease_s)
    assert {n.cluster.me.id: set(n.runtime.owned) for n in nodes.all} == before
    assert [n.cluster.keeper.counts.lost for n in nodes.all] == [0, 0]


async def test_an_unknown_calendar_is_found_nowhere(nodes: Nodes) -> None:
    await pair(nodes)
    for node in nodes.all:
        with pytest.raises(Refused, match="not_found"):
            await node.book(new_id(), NOON)
        with pytest.raises(Refused, match="not_found"):
            await node.watch(new_id())

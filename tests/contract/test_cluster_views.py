"""Views that go from one node to another: whoever watches goes on seeing what is true."""

import asyncio

import msgspec
import pytest

from actors.cluster.replica import Replica
from protocol.errors import Refused
from protocol.ids import new_id
from protocol.times import DAY, HOUR
from tests.contract.cluster_nodes import DEADLINE_S, Node, Nodes, Watcher, pair
from tests.contract.cluster_world import until
from tests.contract.world import NOON


async def drain(node: Node) -> None:
    await node.cluster.drain(asyncio.get_running_loop().time() + DEADLINE_S)


async def converged(watcher: Watcher, where: Node, calendar: str) -> None:
    truth = await where.watch(calendar)
    await until(lambda: watcher.shown() == truth.shown(), 3.0)


def followed(frames: list[bytes], version: int) -> int:
    """The version that a viewer ends with who goes by the rules of the contract. A gap fails."""
    for message in map(msgspec.json.decode, frames):
        assert message["type"] == "delta", "a snapshot to everybody is what a delta is there to spare"
        assert message["from_version"] <= version, "nothing was missed"
        version = message["version"]
    return version


async def test_viewers_of_a_calendar_that_was_used_before_they_came_stay_with_it(nodes: Nodes) -> None:
    calendar, owner, other = await pair(nodes)
    await owner.book(calendar, NOON)
    watcher = await owner.watch(calendar)
    await drain(owner)
    await other.book(calendar, NOON + HOUR)
    await converged(watcher, other, calendar)


async def test_a_view_that_is_followed_already_is_shown_to_its_business_only(nodes: Nodes) -> None:
    calendar, _, other = await pair(nodes)
    await other.watch(calendar)
    nodes.world.business = new_id()
    with pytest.raises(Refused, match="not_found"):
        await other.watch(calendar)


async def test_a_move_is_no_gap_to_viewers(nodes: Nodes) -> None:
    """Also when what happened last is outside what they watch, and so was never told."""
    calendar, owner, other = await pair(nodes)
    near, far = await owner.watch(calendar), await other.watch(calendar)
    await owner.book(calendar, NOON)
    await owner.book(calendar, NOON + 2 * DAY)
    await until(lambda: len(far.frames) == 1)
    await drain(owner)
    await until(lambda: isinstance(near.view, Replica) and near.view.fed and not isinstance(far.view, Replica))
    await other.book(calendar, NOON + HOUR)
    await converged(near, other, calendar)
    assert followed(near.frames, 0) == followed(far.frames, 0) == 3


async def test_who_joins_a_view_that_has_just_left_watches_it_from_afar(nodes: Nodes) -> None:
    calendar, owner, other = await pair(nodes)
    late = await owner.watch(calendar)
    view = late.view
    assert view is not None
    owner.board.leave(view, late)
    await drain(owner)
    assert view.gone
    joined = owner.board.join(view, late)
    assert joined is late.view is not view
    await other.book(calendar, NOON)
    await converged(late, other, calendar)

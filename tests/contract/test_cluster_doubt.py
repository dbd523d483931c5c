"""What a node must not answer from memory once others may have taken its calendars."""

import asyncio

import pytest

from actors.calendar import commands as cmd
from actors.cluster import messages as m
from actors.placement import shard_of
from actors.ports import Outcome, Work
from actors.questions import Zone
from actors.switchboard import answered_by
from protocol.errors import Refused
from protocol.ids import new_id
from tests.contract.cluster_nodes import DEADLINE_S, Node, Nodes, pair
from tests.contract.cluster_world import until
from tests.contract.world import NOON, SHARDS


class Paused:
    """A calendar whose owner was stopped for so long that another node has it, and has freed `NOON` there."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.calendar = ""
        self.owner: Node
        self.other: Node

    async def begin(self) -> "Paused":
        self.calendar, self.owner, self.other = await pair(self.nodes)
        booked = await self.owner.book(self.calendar, NOON)
        await self.stop()
        shard = shard_of(self.calendar, SHARDS)
        await until(lambda: shard in self.other.runtime.owned)
        assert shard in self.owner.runtime.owned
        assert booked.event is not None
        cancel = self.other.work(self.calendar, NOON)
        cancel.command = cmd.Cancel(booked.event.id, "owner")  # type: ignore[union-attr] - it is a `Booked`
        await self.other.board.ask(cancel)
        return self

    async def stop(self) -> None:
        self.owner.directory.reachable = False
        keeping = [t for t in self.owner.tasks if t.get_name() in ("keeper", "verify")]
        for task in keeping:
            task.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)

    def resume(self) -> None:
        self.owner.directory.reachable = True
        self.owner.spawn(self.owner.cluster.keeper.run(), "keeper")


@pytest.fixture
async def paused(nodes: Nodes) -> Paused:
    return await Paused(nodes).begin()


async def test_a_refusal_is_not_told_from_memory_after_a_pause(paused: Paused) -> None:
    """Nothing is written when a command is refused, so no fence stands behind it."""
    asked = asyncio.ensure_future(paused.owner.book(paused.calendar, NOON))
    await asyncio.sleep(0)
    paused.resume()
    outcome: Outcome = await asked
    assert outcome.refusal is None
    assert outcome.version == 3


async def test_nor_to_other_nodes(paused: Paused) -> None:
    work: Work = paused.other.work(paused.calendar, NOON)
    asked = paused.other.cluster.post.request(
        paused.owner.cluster.me.id,
        lambda i: m.Ask(i, paused.calendar, work.command, work.caller, 5.0),  # type: ignore[arg-type] - all of them
        work.deadline,
    )
    with pytest.raises(Refused, match="moved"):
        await asked


async def test_without_a_bus_nobody_waits_until_the_deadline(nodes: Nodes) -> None:
    """The directory answers all the while."""
    calendar, _, other = await pair(nodes)
    other.bus.reachable = False
    asked = asyncio.ensure_future(other.book(calendar, NOON))
    done, _ = await asyncio.wait([asked], timeout=DEADLINE_S / 2)
    assert done, "it goes on waiting"
    with pytest.raises(Refused, match="unavailable"):
        await asked


async def test_only_who_answered_is_named(nodes: Nodes) -> None:
    calendar, owner, other = await pair(nodes)
    await other.book(calendar, NOON)
    assert answered_by.get() == owner.cluster.me.name
    await owner.book(calendar, NOON)
    await owner.board.read(calendar, nodes.world.business, Zone())
    assert answered_by.get() == ""


async def test_what_was_lost_on_the_way_is_asked_again_in_time(nodes: Nodes) -> None:
    """Questions, and commands with a key; one without may not be done twice."""
    calendar, owner, other = await pair(nodes)
    host, lost = owner.cluster.host, list[m.AnyMessage]()
    hear = host.received

    def lose_one_of_each(sender: str, message: m.AnyMessage) -> None:
        if type(message) in map(type, lost):
            hear(sender, message)
        else:
            lost.append(message)

    host.received = lose_one_of_each  # type: ignore[method-assign]
    async with asyncio.timeout(DEADLINE_S / 2):
        zone, outcome = await asyncio.gather(
            other.board.read(calendar, nodes.world.business, Zone()), other.book(calendar, NOON, new_id())
        )
    assert (zone, outcome.version) == (b'"UTC"', 1)
    assert {type(message) for message in lost} == {m.Ask, m.Read}

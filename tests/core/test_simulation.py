"""Placement and hand-over in made-up time: in calm only what must move moves, and no storm leaves a lasting trace.

The storms come from a seed each. `SLOTCAST_PROVE=long` runs many more; `SLOTCAST_TEST_SEED=…` replays one.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable
from typing import Final

import pytest

from actors.cluster.certainty import Certainty
from actors.cluster.plan import Plan
from actors.placement import preferred
from protocol import limits
from storage.memory_cluster import MemoryDirectory
from tests.core.simulation import TIMES, Node, World, simulate
from tests.core.storms import Storm

LONG: Final = os.environ.get("SLOTCAST_PROVE") == "long"
_CALM_SEEDS: Final = 40 if LONG else 4
_STORMS: Final = 20_000 if LONG else 500
_TRIED_WITH_MUTATION: Final = 200


# In calm


@pytest.fixture(params=range(_CALM_SEEDS))
def seed(request: pytest.FixtureRequest) -> int:
    return request.param


async def steady(world: World, nodes: int = 3) -> list[Node]:
    started = [world.join(f"node-{i}") for i in range(nodes)]
    await world.settled(2 * TIMES.lease_s)
    return started


def demanded(world: World, before: list[Node], after: list[Node]) -> Counter[int]:
    """Shards whose preferred member is another in the new company, once each."""
    old, new = [n.member for n in before], [n.member for n in after]
    shards = range(world.shard_count)
    return Counter(s for s in shards if preferred(s, old) != preferred(s, new))


def test_a_cluster_that_starts_is_owned_within_two_beats(seed: int) -> None:
    async def scenario(world: World) -> None:
        world.join("one")
        world.join("two")
        await world.until(lambda: not world.unowned(), 2 * TIMES.beat_s, world.unowned)
        await world.settled(TIMES.lease_s)

    simulate(seed, scenario, shard_count=64)


def test_who_joins_gets_what_it_wins_and_nothing_else_moves(seed: int) -> None:
    async def scenario(world: World) -> None:
        before = await steady(world)
        since = world.now
        one = world.join("another")
        await world.settled(TIMES.lease_s)
        assert world.takes_since(since) == demanded(world, before, [*before, one])
        assert {node for at, _, node in world.database.takes if at >= since} == {one.id}

    simulate(seed, scenario, shard_count=64)


def test_the_shards_of_the_dead_are_owned_again_within_the_lease(seed: int) -> None:
    async def scenario(world: World) -> None:
        nodes = await steady(world)
        await asyncio.sleep(TIMES.lease_s)
        await asyncio.sleep(world.random.uniform(0, TIMES.beat_s))
        since = world.now
        nodes[0].kill()
        await world.until(lambda: not world.unowned(), TIMES.lease_s + 0.5, world.unowned)
        await world.settled(TIMES.lease_s)
        assert world.takes_since(since) == demanded(world, nodes, nodes[1:])
        assert sum(n.keeper.counts.takeovers for n in nodes) == world.takes_since(since).total()

    simulate(seed, scenario, shard_count=64)


def test_draining_moves_every_shard_once_and_each_for_a_moment(seed: int) -> None:
    async def scenario(world: World) -> None:
        nodes = await steady(world)
        await asyncio.sleep(TIMES.lease_s)
        since = world.now
        draining = asyncio.create_task(nodes[0].drain())
        between: Counter[int] = Counter()
        while not draining.done():
            between = Counter({shard: between[shard] + 1 for shard in world.unowned()})
            # Those that leave, those that wait for an heir, and those that it is just taking.
            assert len(between) <= 3 * limits.moves_at_once
            assert not between or max(between.values()) < 25, "a quarter of a second"
            await asyncio.sleep(0.01)
        assert not nodes[0].shards.owned
        assert world.now - since < TIMES.lease_s
        await world.settled(TIMES.lease_s)
        assert world.takes_since(since) == demanded(world, nodes, nodes[1:])
        assert not any(n.keeper.counts.takeovers for n in nodes)

    simulate(seed, scenario, shard_count=64)


def test_a_rolling_restart_moves_each_shard_away_and_back(seed: int) -> None:
    async def scenario(world: World) -> None:
        nodes = await steady(world)
        for old in nodes:
            rest = [n for n in world.living() if n is not old]
            since = world.now
            await old.drain()
            world.join(old.name)
            await world.settled(TIMES.lease_s)
            moved = demanded(world, [*rest, old], rest)
            assert world.takes_since(since) == moved + moved

    simulate(seed, scenario, shard_count=32)


@pytest.mark.parametrize("away_s", [0.5, 3.0, 12.0])
@pytest.mark.parametrize("forgetful", [False, True])
def test_without_the_directory_everybody_keeps_what_they_have(seed: int, away_s: float, forgetful: bool) -> None:
    async def scenario(world: World) -> None:
        nodes = await steady(world)
        since = world.now
        world.hub.down = True
        await asyncio.sleep(away_s)
        assert not any(n.is_certain() for n in nodes) or away_s < TIMES.lease_s
        if forgetful:
            world.hub.flush()
        world.hub.down = False
        await asyncio.sleep(3 * TIMES.lease_s)
        assert not world.takes_since(since)
        assert world.is_settled()
        assert not any(n.keeper.doubtful for n in nodes)

    simulate(seed, scenario)


def test_a_node_that_was_paused_comes_back_to_its_shards(seed: int) -> None:
    async def scenario(world: World) -> None:
        nodes = await steady(world)
        await asyncio.sleep(TIMES.lease_s)
        since = world.now
        nodes[0].going.clear()
        await asyncio.sleep(2 * TIMES.lease_s)
        assert nodes[0].keeper.doubtful
        nodes[0].going.set()
        await world.settled(2 * TIMES.lease_s)
        moved = demanded(world, nodes, nodes[1:])
        assert world.takes_since(since) == moved + moved
        assert nodes[0].keeper.counts.lost == moved.total()

    simulate(seed, scenario)


def test_one_that_comes_and_goes_does_not_drag_its_shards_along(seed: int) -> None:
    async def scenario(world: World) -> None:
        nodes = await steady(world)
        for _ in range(4):
            await _flap(nodes[0])
        since = world.now
        for _ in range(8):
            await _flap(nodes[0])
        assert not world.takes_since(since)
        await world.settled(40 * TIMES.beat_s)
        assert world.takes_since(since) == demanded(world, nodes[1:], nodes)

    simulate(seed, scenario)


async def _flap(node: Node) -> None:
    node.going.clear()
    await asyncio.sleep(1.2 * TIMES.lease_s)
    node.going.set()
    await asyncio.sleep(1.4 * TIMES.lease_s)


def test_who_cannot_reach_postgres_hands_over_in_the_end_and_gets_them_back(seed: int) -> None:
    async def scenario(world: World) -> None:
        nodes = await steady(world)
        since = world.now
        nodes[0].has_postgres = False
        await world.until(lambda: not nodes[0].shards.owned, 4 * TIMES.lease_s, lambda: nodes[0].shards.owned)
        await asyncio.sleep(TIMES.lease_s)
        assert not world.unowned()
        nodes[0].has_postgres = True
        await world.settled(3 * TIMES.lease_s)
        moved = demanded(world, nodes, nodes[1:])
        assert world.takes_since(since) == moved + moved

    simulate(seed, scenario)


# In storms


async def storm(world: World) -> None:
    raging = Storm(world)
    try:
        await raging.rage(world.random.uniform(3, 25))
        await raging.calm()
    except AssertionError as error:
        raise AssertionError(f"{error}\n" + "\n".join(raging.story)) from error


@pytest.mark.timeout(3600 if LONG else 300)
def test_no_storm_leaves_a_lasting_trace() -> None:
    given = os.environ.get("SLOTCAST_TEST_SEED")
    # The short form strikes the same storms each time; docs/clustering.md tells of one in thousands that breaks it.
    first = random.randrange(10**9) if LONG else 1
    seeds = [int(given)] if given is not None else range(first, first + _STORMS)
    commits = takes = 0
    for number in seeds:
        try:
            world = simulate(number, storm)
        except BaseException:
            test = f"tests/core/test_simulation.py::{test_no_storm_leaves_a_lasting_trace.__name__}"
            print(f"seed {number}; replay: SLOTCAST_TEST_SEED={number} pytest '{test}'")  # noqa: T201
            raise
        commits += world.database.commits
        takes += len(world.database.takes)
    if given is None:
        assert commits > 20 * len(seeds), "a storm in which nobody decides proves nothing"
        assert takes > 8 * len(seeds)


# What is broken on purpose is found


def found_by_storms(break_it: Callable[[World], None] = lambda world: None) -> str:
    """The first thing that goes wrong in one of some hundred storms."""

    async def scenario(world: World) -> None:
        break_it(world)
        await storm(world)

    for number in range(_TRIED_WITH_MUTATION):
        try:
            simulate(number, scenario)
        except AssertionError as error:
            return str(error)
    return ""


def test_epochs_that_are_not_advanced_are_found() -> None:
    def break_it(world: World) -> None:
        world.database.step = 0

    assert "under one epoch" in found_by_storms(break_it)


def test_a_fence_that_is_off_is_found() -> None:
    def break_it(world: World) -> None:
        world.database.fence = False

    assert "committed to shard" in found_by_storms(break_it)


def test_claims_that_do_not_wait_for_the_heartbeat_to_end_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Plan._may_claim

    def hasty(plan: Plan, shard: int, lease, me: str, now: float) -> bool:
        return waits(plan, shard, lease, me, now) or plan._claimants.of(shard) == me

    monkeypatch.setattr(Plan, "_may_claim", hasty)
    monkeypatch.setattr(MemoryDirectory, "_may_claim", lambda *_: True)
    assert "which was certain of it" in found_by_storms()


def test_heirs_that_never_come_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Plan._may_claim

    def idle(plan: Plan, shard: int, lease, me: str, now: float) -> bool:
        return (lease is None or lease.node != "") and waits(plan, shard, lease, me, now)

    monkeypatch.setattr(Plan, "_may_claim", idle)
    assert "still" in found_by_storms()


def test_certainty_that_lasts_too_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def forever(certainty: Certainty, asked_at: float, undisputed: bool) -> None:
        certainty.until = asked_at + 60

    monkeypatch.setattr(Certainty, "beaten", forever)
    assert "which was certain of it" in found_by_storms()


def test_moves_to_those_who_cannot_be_trusted_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sees another order of preference, so that shards go round."""
    monkeypatch.setattr("actors.cluster.plan._Preference.of", lambda self, shard: self._members[-1].id)
    assert found_by_storms()

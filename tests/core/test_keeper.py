"""The keeper by itself: each step may fail, and what it answers about owners and doubt is right all the same."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from actors.cluster.ports import Lease, Member
from protocol.errors import Refused
from tests.core.keepers import OF_A, SHARDS, TIMES, A, B, Site, eventually, in_fake_time, now

# Steps that fail


@in_fake_time
async def test_a_take_that_fails_is_tried_again_without_another_claim(site: Site) -> None:
    keeper, shards, _ = await site.node(A)
    shards.fails = [("take", Refused("unavailable")), ("take", Refused("unavailable"))]
    await eventually(lambda: len(shards.owned) == SHARDS)
    assert set(site.epochs.epochs.values()) == {1}
    assert shards.asked.count("take") == 3
    assert keeper.counts.taken == SHARDS


@in_fake_time
async def test_who_cannot_take_leaves_it_to_others(site: Site) -> None:
    _, broken, _ = await site.node(A)
    broken.fails = [(step, Refused("unavailable")) for step in ("take", "verify") for _ in range(100)]
    await asyncio.sleep(2 * TIMES.lease_s)
    keeper, shards, _ = await site.node(B)
    await eventually(lambda: len(shards.owned) == SHARDS, 2 * TIMES.lease_s)
    sight = keeper.sight
    assert sight is not None
    assert sight.members[A.id].weight == 0.0
    broken.fails.clear()
    await eventually(lambda: set(broken.owned) == OF_A)


@in_fake_time
async def test_what_was_taken_is_decided_for_though_the_beat_after_it_fails(site: Site) -> None:
    keeper, shards, directory = await site.node(A)
    await eventually(lambda: "take" in shards.asked)
    directory.reachable = False
    await eventually(lambda: shards.owned)
    assert keeper.owner_of(0) == A
    await asyncio.sleep(TIMES.lease_s)
    site.hub.flush()
    directory.reachable = True
    await eventually(lambda: site.hub.leases.get(0) == Lease(A.id, 1))
    assert set(site.epochs.epochs.values()) == {1}


@in_fake_time
async def test_a_move_whose_release_fails_is_tried_again(site: Site) -> None:
    keeper, shards, _ = await site.node(A)
    await eventually(lambda: len(shards.owned) == SHARDS)
    shards.fails = [("release", Refused("unavailable")), ("release", RuntimeError("a bug"))]
    _, others, _ = await site.node(B)
    await eventually(lambda: set(shards.owned) == OF_A)
    await eventually(lambda: len(others.owned) == SHARDS - len(OF_A))
    assert keeper.counts.moves_out == SHARDS - len(OF_A)
    assert not any(lease.heir for lease in site.hub.leases.values())


@in_fake_time
async def test_a_release_that_does_not_reach_the_directory_is_said_later(site: Site) -> None:
    _, shards, directory = await site.node(A)
    await eventually(lambda: len(shards.owned) == SHARDS)
    shards.hold.clear()
    _, others, _ = await site.node(B)
    await eventually(lambda: "release" in shards.asked)
    directory.reachable = False
    shards.hold.set()
    await eventually(lambda: set(shards.owned) == OF_A)
    assert not others.owned
    directory.reachable = True
    await eventually(lambda: len(others.owned) == SHARDS - len(OF_A), TIMES.lease_s)
    assert {site.epochs.epochs[s] for s in OF_A} == {1}


@in_fake_time
async def test_a_claim_that_comes_late_takes_nothing_from_who_came_first(site: Site) -> None:
    _, shards, directory = await site.node(A)
    claim = directory.claim

    async def late(node: str, wanted: Sequence[int]) -> dict[int, Lease]:
        # Meanwhile somebody else has it, and means to hand it over to this node, but has not done so.
        site.hub.put(3, Lease(B.id, 5, A.id))
        directory.claim = claim  # type: ignore[method-assign]
        return await claim(node, wanted)

    directory.claim = late  # type: ignore[method-assign]
    await eventually(lambda: shards.owned)
    assert 3 not in shards.owned
    await eventually(lambda: 3 in shards.owned)


@in_fake_time
async def test_nothing_that_is_raised_ends_it(site: Site) -> None:
    keeper, shards, directory = await site.node(A)
    beat = directory.beat
    calls = 0

    async def failing(me: Member, owned: Mapping[int, int]) -> Any:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise (ValueError("a bug"), Refused("unavailable"))[calls % 4 == 1]
        return await beat(me, owned)

    directory.beat = failing  # type: ignore[method-assign]
    keeper.on_change(lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    shards.fails = [(step, RuntimeError("a bug")) for step in ("take", "verify")]
    await eventually(lambda: len(shards.owned) == SHARDS)
    assert keeper.counts.failures > 2
    assert not site.tasks[A.id].done()


# Doubt


@in_fake_time
async def test_doubt_begins_before_others_may_claim_and_ends_with_a_beat_and_a_look(site: Site) -> None:
    keeper, shards, directory = await site.node(A)
    await eventually(lambda: shards.owned and not keeper.doubtful)
    await asyncio.sleep(TIMES.lease_s)
    directory.reachable = False
    heartbeat = site.hub.heartbeats[A.id]
    await eventually(lambda: keeper.certainty.until < now() + 0.1)
    shards.fails = [("verify", Refused("unavailable"))] * 100
    await eventually(lambda: keeper.doubtful)
    assert now() < heartbeat.expires
    with pytest.raises(Refused):
        await keeper.certain()
    directory.reachable = True
    await asyncio.sleep(2 * TIMES.beat_s)
    assert keeper.doubtful, "somebody may have taken shards in between"
    shards.fails.clear()
    await eventually(lambda: not keeper.doubtful)
    assert keeper.certain_until > now() + TIMES.sure_s - TIMES.beat_s - 0.1


@in_fake_time
async def test_while_in_doubt_postgres_is_asked_once_for_all_who_want_to_know(site: Site) -> None:
    keeper, shards, directory = await site.node(A)
    await eventually(lambda: len(shards.owned) == SHARDS)
    directory.reachable = False
    await asyncio.sleep(2 * TIMES.lease_s)
    await eventually(lambda: keeper.doubtful)
    site.epochs.epochs[3] += 1
    before = shards.asked.count("verify")
    await asyncio.gather(*(keeper.certain() for _ in range(50)))
    # One may have been under way; whoever came later waits for one that began after that.
    assert shards.asked.count("verify") <= before + 2
    assert keeper.doubtful, "it was certain at that moment, and no longer"
    assert keeper.owner_of(3) is None, "whoever took it is not in sight"
    assert keeper.counts.lost == 1
    asked = shards.asked.count("verify")
    await keeper.certain()
    assert shards.asked.count("verify") > asked


@in_fake_time
async def test_a_shard_taken_past_the_directory_is_found_in_half_a_lease(site: Site) -> None:
    _, shards, _ = await site.node(A)
    await eventually(lambda: len(shards.owned) == SHARDS)
    site.epochs.epochs[3] += 1
    await eventually(lambda: shards.owned.get(3) != 1, TIMES.lease_s / 2 + 2 * TIMES.beat_s)
    await eventually(lambda: shards.owned.get(3) == 3)


# Who owns what


@in_fake_time
async def test_owners_as_both_see_them(site: Site) -> None:
    one, mine, _ = await site.node(A)
    changes = 0

    def changed() -> None:
        nonlocal changes
        changes += 1

    one.on_change(changed)
    assert one.owner_of(0) is None
    await eventually(lambda: len(mine.owned) == SHARDS)
    assert changes
    two, others, _ = await site.node(B)
    await eventually(lambda: len(others.owned) == SHARDS - len(OF_A))
    await asyncio.sleep(2 * TIMES.beat_s)
    for shard in range(SHARDS):
        for keeper in (one, two):
            owner = keeper.owner_of(shard)
            assert owner is not None
            assert owner.id == (A.id if shard in OF_A else B.id)
    await site.kill(B)
    await asyncio.sleep(TIMES.heartbeat_s - TIMES.beat_s)
    before = changes
    await eventually(lambda: len(mine.owned) == SHARDS, 2 * TIMES.beat_s + 0.1)
    assert changes > before


@in_fake_time
async def test_what_is_between_two_owners_has_none(site: Site) -> None:
    _, mine, _ = await site.node(A)
    await eventually(lambda: len(mine.owned) == SHARDS)
    two, others, _ = await site.node(B)
    await two.joined.wait()
    others.hold.clear()
    await eventually(lambda: set(mine.owned) == OF_A)
    between = sorted(set(range(SHARDS)) - OF_A)
    await eventually(lambda: two.owner_of(between[0]) is None, TIMES.beat_s)
    others.hold.set()
    await eventually(lambda: two.owner_of(between[0]) == B)


# The end


@in_fake_time
async def test_draining_ends_when_nothing_is_left(site: Site) -> None:
    one, mine, _ = await site.node(A)
    two, others, _ = await site.node(B)
    await eventually(lambda: len(mine.owned) + len(others.owned) == SHARDS)
    await asyncio.sleep(TIMES.lease_s)
    began = now()
    await one.drain(now() + 30)
    assert not mine.owned
    assert now() - began < TIMES.lease_s
    await one.leave()
    await asyncio.wait([site.tasks[A.id]])
    assert list(site.hub.heartbeats) == [B.id]
    assert one.doubtful
    await eventually(lambda: len(others.owned) == SHARDS)
    await eventually(lambda: two.owner_of(0) == B)


@in_fake_time
async def test_draining_alone_ends_at_once_and_leaves_no_records(site: Site) -> None:
    keeper, shards, _ = await site.node(A)
    await eventually(lambda: len(shards.owned) == SHARDS)
    began = now()
    await keeper.drain(now() + 30)
    assert now() - began < TIMES.beat_s
    assert len(shards.owned) == SHARDS, "they decide to the end"
    await keeper.leave()
    assert not site.hub.leases


@in_fake_time
async def test_draining_ends_at_its_deadline_when_nobody_takes_what_is_offered(site: Site) -> None:
    one, mine, _ = await site.node(A)
    await site.node(B)
    await eventually(lambda: set(mine.owned) == OF_A)
    mine.hold.clear()
    await asyncio.sleep(TIMES.lease_s)
    began = now()
    await one.drain(now() + 3)
    assert now() - began == pytest.approx(3)


@in_fake_time
async def test_draining_without_the_directory_does_not_wait_for_it(site: Site) -> None:
    one, mine, directory = await site.node(A)
    await site.node(B)
    await eventually(lambda: set(mine.owned) == OF_A)
    directory.reachable = False
    began = now()
    await one.drain(now() + 30)
    await one.leave()
    assert now() - began < TIMES.lease_s
    assert set(mine.owned) == OF_A


@in_fake_time
async def test_a_drain_that_was_asked_for_begins_and_is_told(site: Site) -> None:
    one, mine, _ = await site.node(A)
    _, others, directory = await site.node(B)
    await eventually(lambda: set(mine.owned) == OF_A)
    await asyncio.sleep(TIMES.lease_s)
    assert await directory.request_drain("a")
    await one.drain_asked.wait()
    assert one.me.draining
    await eventually(lambda: len(others.owned) == SHARDS, TIMES.lease_s)


@in_fake_time
async def test_who_joins_beats_at_once_and_then_five_times_a_lease(site: Site) -> None:
    keeper, shards, _ = await site.node(A)
    await eventually(lambda: len(shards.owned) == SHARDS)
    await asyncio.sleep(TIMES.lease_s)
    before, began = keeper.counts.beats, now()
    await asyncio.sleep(10 * TIMES.lease_s)
    assert (keeper.counts.beats - before) / (now() - began) == pytest.approx(1 / TIMES.beat_s, rel=0.05)
    assert keeper.beat_age_s <= TIMES.beat_s + 0.1

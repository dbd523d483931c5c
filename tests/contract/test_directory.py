"""What every directory promises: on Redis 7, on Redis 6.2 and in memory."""

import asyncio

from actors.cluster.ports import Lease, Member
from protocol.ids import new_id
from tests.contract.cluster_world import LONG_S, SHORT_S, ClusterWorld, member, until


async def test_a_member_is_seen_as_it_described_itself(cluster: ClusterWorld) -> None:
    directory = await cluster.directory()
    me = Member("a", "Anna", 2.5, True, "10.0.0.1:8080", "0.2", 1_900_000_000_000_000, 12.5)
    sight = await directory.beat(me, {})
    assert sight.members == {"a": me}
    other = await (await cluster.directory()).beat(member("b"), {})
    assert other.members == {"a": me, "b": member("b")}
    changed = Member("a", "Anna", lag_ms=3.0)
    await directory.beat(changed, {})
    assert (await directory.look()).members["a"] == changed


async def test_looking_changes_nothing(cluster: ClusterWorld) -> None:
    directory = await cluster.directory()
    sight = await directory.look()
    assert (dict(sight.members), dict(sight.leases), sight.incarnation, sight.drains) == ({}, {}, "", frozenset())
    assert (await directory.beat(member("a"), {1: 1})).incarnation != ""


async def test_a_member_that_beats_no_more_is_gone_and_its_leases_stay_on_record(cluster: ClusterWorld) -> None:
    mortal, living = await cluster.directory(SHORT_S), await cluster.directory()
    await living.beat(member("b"), {})
    assert "a" in (await mortal.beat(member("a"), {1: 7})).members
    await cluster.pass_time(SHORT_S)
    sight = await living.look()
    assert set(sight.members) == {"b"}
    assert sight.leases == {1: Lease("a", 7)}
    assert (await living.beat(member("b"), {})).leases == {1: Lease("a", 7)}, "sweeping members leaves leases alone"


async def test_a_beat_renews_the_heartbeat(cluster: ClusterWorld) -> None:
    directory = await cluster.directory(1.0)
    for _ in range(4):
        await directory.beat(member("a"), {})
        await cluster.pass_time(0.3)
    assert "a" in (await directory.look()).members


async def test_a_beat_puts_shards_on_record_that_are_missing_or_older(cluster: ClusterWorld) -> None:
    a, b = await cluster.directory(), await cluster.directory()
    sight = await a.beat(member("a"), {1: 3, 2: 3, 3: 3})
    assert sight.leases == {1: Lease("a", 3), 2: Lease("a", 3), 3: Lease("a", 3)}
    sight = await b.beat(member("b"), {1: 2, 2: 3, 3: 4, 4: 1})
    assert sight.leases == {1: Lease("a", 3), 2: Lease("a", 3), 3: Lease("b", 4), 4: Lease("b", 1)}
    sight = await a.beat(member("a"), {1: 9, 2: 3})
    assert sight.leases == {1: Lease("a", 9), 2: Lease("a", 3), 3: Lease("b", 4), 4: Lease("b", 1)}


async def test_epochs_on_record_never_fall_back_to_those_of_another(cluster: ClusterWorld) -> None:
    """Who still thinks it owns a shard has to see that it was taken, also after the taker has died."""
    mortal, old = await cluster.directory(SHORT_S), await cluster.directory()
    await mortal.beat(member("taker"), {1: 5, 2: 4})
    await cluster.pass_time(SHORT_S)
    sight = await old.beat(member("old"), {1: 4, 2: 4})
    assert sight.leases[1] == Lease("taker", 5)
    assert sight.leases[2] == Lease("old", 4), "it claimed, and died before it took"


async def test_an_unchanged_sight_is_the_same_again(cluster: ClusterWorld) -> None:
    a, b = await cluster.directory(), await cluster.directory()
    first = await a.beat(member("a"), {1: 1, 2: 1})
    assert (await a.beat(member("a"), {1: 1, 2: 1})).leases == first.leases
    assert (await a.look()).leases == first.leases
    await b.beat(member("b"), {3: 1})
    assert set((await a.look()).leases) == {1, 2, 3}
    assert (await a.look()).incarnation == first.incarnation


async def test_what_nobody_has_is_granted(cluster: ClusterWorld) -> None:
    directory = await cluster.directory()
    await directory.beat(member("a"), {})
    assert await directory.claim("a", [1, 2]) == {1: Lease("a", 0), 2: Lease("a", 0)}
    assert (await directory.look()).leases == {1: Lease("a", 0), 2: Lease("a", 0)}
    assert await directory.claim("a", []) == {}


async def test_claiming_again_what_is_mine_is_granted_again(cluster: ClusterWorld) -> None:
    """An answer may have been lost on the way."""
    directory = await cluster.directory()
    await directory.beat(member("a"), {1: 4})
    assert await directory.claim("a", [1]) == {1: Lease("a", 4)}


async def test_of_two_claimers_exactly_one_wins(cluster: ClusterWorld) -> None:
    nodes = [f"n{i}" for i in range(5)]
    directories = [await cluster.directory() for _ in nodes]
    for directory, node in zip(directories, nodes, strict=True):
        await directory.beat(member(node), {})
    shards = list(range(40))
    orders = [shards[i:] + shards[:i] for i in range(0, 40, 8)]
    granted = await asyncio.gather(
        *(d.claim(n, [s]) for o in range(40) for d, n, order in zip(directories, nodes, orders, strict=True)
          for s in (order[o],))
    )  # fmt: skip
    winners = [(s, lease.node) for g in granted for s, lease in g.items()]
    assert sorted(s for s, _ in winners) == shards
    assert (await directories[0].look()).leases == {s: Lease(n, 0) for s, n in winners}


async def test_the_living_keep_what_they_have_and_the_dead_do_not(cluster: ClusterWorld) -> None:
    mortal, living, claimer = await cluster.directory(SHORT_S), await cluster.directory(), await cluster.directory()
    await living.beat(member("living"), {1: 2})
    await claimer.beat(member("c"), {})
    await mortal.beat(member("mortal"), {2: 8})
    assert await claimer.claim("c", [1]) == {}
    await cluster.pass_time(SHORT_S)
    assert await claimer.claim("c", [1, 2]) == {2: Lease("c", 8)}
    assert (await living.look()).leases == {1: Lease("living", 2), 2: Lease("c", 8)}


async def test_who_has_no_heartbeat_is_granted_nothing(cluster: ClusterWorld) -> None:
    """After a flush everything looks free to those who have not noticed."""
    directory = await cluster.directory()
    await directory.beat(member("a"), {})
    await directory.beat(member("b"), {1: 3})
    cluster.flush()
    assert await directory.claim("a", [1]) == {}
    assert await directory.claim("stranger", [1]) == {}


async def test_only_the_heir_may_claim_while_the_owner_lives(cluster: ClusterWorld) -> None:
    directory = await cluster.directory()
    for node, owned in (("owner", {1: 5, 2: 5}), ("heir", {}), ("other", {})):
        await directory.beat(member(node), owned)
    await directory.hand_over("owner", {1: "heir", 2: "heir"})
    assert (await directory.look()).leases[1] == Lease("owner", 5, "heir")
    assert (await directory.beat(member("owner"), {1: 5, 2: 6})).leases[2] == Lease("owner", 6, "heir")
    assert await directory.claim("other", [1]) == {}
    assert await directory.claim("heir", [1]) == {1: Lease("heir", 5)}
    sight = await directory.beat(member("owner"), {1: 5, 2: 6})
    assert sight.leases[1] == Lease("heir", 5), "the owner's beats do not take it back"


async def test_handing_over_can_be_withdrawn_and_is_for_owners_only(cluster: ClusterWorld) -> None:
    directory = await cluster.directory()
    for node, owned in (("owner", {1: 5}), ("heir", {})):
        await directory.beat(member(node), owned)
    await directory.hand_over("heir", {1: "heir", 7: "heir"})
    assert (await directory.look()).leases == {1: Lease("owner", 5)}
    await directory.hand_over("owner", {1: "heir"})
    await directory.hand_over("owner", {1: ""})
    assert (await directory.look()).leases == {1: Lease("owner", 5)}
    assert await directory.claim("heir", [1]) == {}


async def test_anybody_may_claim_from_a_dead_owner_whoever_the_heir_was(cluster: ClusterWorld) -> None:
    mortal, living = await cluster.directory(SHORT_S), await cluster.directory()
    await living.beat(member("heir"), {})
    await living.beat(member("other"), {})
    await mortal.beat(member("owner"), {1: 5})
    await mortal.hand_over("owner", {1: "heir"})
    await cluster.pass_time(SHORT_S)
    assert await living.claim("other", [1]) == {1: Lease("other", 5)}


async def test_what_is_released_is_kept_for_its_heir_for_a_moment(cluster: ClusterWorld) -> None:
    directory = await cluster.directory(LONG_S, LONG_S)
    for node, owned in (("owner", {1: 5, 2: 5, 3: 5}), ("heir", {}), ("other", {})):
        await directory.beat(member(node), owned)
    await directory.hand_over("owner", {1: "heir"})
    await directory.release("owner", [1, 2])
    assert (await directory.look()).leases == {1: Lease("", 5, "heir"), 3: Lease("owner", 5)}
    assert await directory.claim("other", [1, 2, 3]) == {2: Lease("other", 0)}
    assert (await directory.beat(member("owner"), {1: 5})).leases[1] == Lease("", 5, "heir"), "a late beat"
    assert await directory.claim("heir", [1]) == {1: Lease("heir", 5)}


async def test_after_the_grace_anybody_may_have_it(cluster: ClusterWorld) -> None:
    directory = await cluster.directory(LONG_S, SHORT_S)
    for node, owned in (("owner", {1: 5}), ("heir", {}), ("other", {})):
        await directory.beat(member(node), owned)
    await directory.hand_over("owner", {1: "heir"})
    await directory.release("owner", [1])
    await cluster.pass_time(SHORT_S)
    assert await directory.claim("other", [1]) == {1: Lease("other", 5)}


async def test_a_dead_heir_keeps_nobody_waiting(cluster: ClusterWorld) -> None:
    mortal, directory = await cluster.directory(SHORT_S), await cluster.directory(LONG_S, LONG_S)
    await directory.beat(member("owner"), {1: 5})
    await directory.beat(member("other"), {})
    await mortal.beat(member("heir"), {})
    await directory.hand_over("owner", {1: "heir"})
    await directory.release("owner", [1])
    await cluster.pass_time(SHORT_S)
    assert await directory.claim("other", [1]) == {1: Lease("other", 5)}


async def test_nobody_releases_for_another(cluster: ClusterWorld) -> None:
    directory = await cluster.directory()
    await directory.beat(member("a"), {1: 5})
    await directory.release("b", [1, 2])
    await directory.leave("b")
    assert (await directory.look()).leases == {1: Lease("a", 5)}


async def test_who_leaves_is_forgotten_at_once(cluster: ClusterWorld) -> None:
    directory = await cluster.directory()
    await directory.beat(member("a"), {1: 5, 2: 5})
    await directory.beat(member("b"), {3: 5})
    await directory.leave("a")
    sight = await directory.look()
    assert (set(sight.members), sight.leases) == ({"b"}, {3: Lease("b", 5)})
    assert await directory.claim("b", [1]) == {1: Lease("b", 0)}


async def test_a_flush_shows_as_another_incarnation_and_owners_come_back(cluster: ClusterWorld) -> None:
    a, b = await cluster.directory(), await cluster.directory()
    before = await a.beat(member("a"), {1: 5})
    assert (await b.beat(member("b"), {2: 6})).incarnation == before.incarnation
    cluster.flush()
    empty = await b.look()
    assert (dict(empty.members), dict(empty.leases), empty.incarnation) == ({}, {}, "")
    after = await b.beat(member("b"), {2: 6})
    assert after.incarnation not in ("", before.incarnation)
    assert (set(after.members), after.leases) == ({"b"}, {2: Lease("b", 6)})
    back = await a.beat(member("a"), {1: 5})
    assert (back.incarnation, back.leases) == (after.incarnation, {1: Lease("a", 5), 2: Lease("b", 6)})


async def test_a_member_is_asked_to_drain_by_id_or_name(cluster: ClusterWorld) -> None:
    a, operator = await cluster.directory(), await cluster.directory()
    await a.beat(member("a"), {})
    await a.beat(member("b"), {})
    assert not await operator.request_drain("nobody")
    assert (await a.look()).drains == frozenset()
    assert await operator.request_drain("a")
    assert await operator.request_drain("name-of-b")
    sight = await a.beat(member("a"), {})
    assert sight.drains == {"a", "b"}, "a beat does not wipe it away"
    assert sight.members["a"] == member("a")
    await a.leave("a")
    assert (await a.look()).drains == {"b"}
    assert not await operator.request_drain("name-of-a")


async def test_others_hear_of_claims_releases_and_leaving(cluster: ClusterWorld) -> None:
    mine, other = await cluster.directory(), await cluster.directory()
    told: list[str] = []
    own: list[str] = []
    other.on_notice(lambda: told.append("told"))
    mine.on_notice(lambda: own.append("own"))
    # A subscription that has just begun counts as a notice too.
    await mine.beat(member("z"), {})
    while not told:
        await mine.request_drain("z")
        await asyncio.sleep(0.01)
    for action in (
        lambda: mine.claim("a", [1]),
        lambda: mine.release("a", [1]),
        lambda: mine.request_drain("a"),
        lambda: mine.leave("a"),
    ):
        await mine.beat(member("a"), {})
        await asyncio.sleep(0.02)
        told.clear()
        await action()
        await until(lambda: told)
    assert len(own) <= 1, "who did it knows already"


async def test_a_callback_that_fails_hurts_nobody(cluster: ClusterWorld) -> None:
    mine, other = await cluster.directory(), await cluster.directory()
    told: list[str] = []

    def failing() -> None:
        raise ValueError("no")

    other.on_notice(failing)
    other.on_notice(lambda: told.append("told"))
    await mine.beat(member("a"), {})
    for _ in range(3):
        told.clear()
        while not told:
            await mine.request_drain("a")
            await asyncio.sleep(0.01)


async def test_many_shards_and_members(cluster: ClusterWorld) -> None:
    directory = await cluster.directory()
    owned = {s: s + 1 for s in range(4096)}
    await directory.beat(member("big"), owned)
    for i in range(50):
        await directory.beat(member(f"n{i}"), {})
    sight = await directory.look()
    assert len(sight.members) == 51
    assert sight.leases == {s: Lease("big", e) for s, e in owned.items()}
    await directory.leave("big")
    assert len(await directory.claim("n1", list(owned))) == 4096


async def test_large_epochs_and_odd_names(cluster: ClusterWorld) -> None:
    directory = await cluster.directory()
    odd = Member(new_id(), "Zoë's — node\n\x00", address="[::1]:8080")
    epoch = 2**52 + 1
    sight = await directory.beat(odd, {0: epoch})
    assert sight.members == {odd.id: odd}
    assert sight.leases == {0: Lease(odd.id, epoch)}
    assert await directory.claim(odd.id, [0]) == {0: Lease(odd.id, epoch)}

"""Shards stay where they are unless their member goes, or one comes that wins them."""

from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given

from actors.cluster.ports import Member
from actors.placement import preferred, shard_of

SHARDS = range(64)

weights = st.sampled_from([0.5, 1.0, 1.0, 2.0, 4.0])
clusters = st.dictionaries(st.text("abcdef0123", min_size=1, max_size=6), weights, min_size=1, max_size=8).map(
    lambda found: [Member(f"id-{name}", name, weight) for name, weight in found.items()]
)


def placed(members: list[Member], shards: range = SHARDS) -> dict[int, str | None]:
    return {shard: preferred(shard, members) for shard in shards}


def test_a_calendar_keeps_its_shard_for_ever() -> None:
    assert [shard_of(id_, 64) for id_ in ("", "a", "0198c0de-0000-7000-8000-000000000001")] == [0, 3, 41]


def test_a_shard_keeps_its_member_from_release_to_release() -> None:
    """Two versions of the server that disagreed would push shards to and fro."""
    members = [Member("1", "a"), Member("2", "b", 2.0), Member("3", "c")]
    assert "".join(preferred(shard, members) or "-" for shard in range(24)) == "331123332233222222122223"


@given(clusters, st.randoms(use_true_random=False))
def test_everybody_agrees_whatever_the_order(members: list[Member], random) -> None:
    shuffled = members[:]
    random.shuffle(shuffled)
    assert placed(members) == placed(shuffled)


@given(clusters, st.data())
def test_only_the_shards_of_who_leaves_move(members: list[Member], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(members))
    before, after = placed(members), placed([m for m in members if m is not gone])
    assert all(after[s] == before[s] for s in SHARDS if before[s] != gone.id)
    if len(members) > 1:
        assert gone.id not in after.values()
        assert None not in after.values()


@given(clusters, st.sampled_from(["new", "newer"]), weights)
def test_who_comes_takes_only_what_it_wins(members: list[Member], name: str, weight: float) -> None:
    before, after = placed(members), placed([*members, Member("id-new", name, weight)])
    assert all(after[s] in (before[s], "id-new") for s in SHARDS)


@given(clusters, st.data())
def test_more_weight_only_attracts(members: list[Member], data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(members))
    heavier = Member(one.id, one.name, one.weight * 2)
    before, after = placed(members), placed([heavier if m is one else m for m in members])
    assert all(after[s] in (before[s], one.id) for s in SHARDS)
    assert all(after[s] == one.id for s in SHARDS if before[s] == one.id)


@given(clusters, st.data())
def test_a_node_that_was_restarted_gets_its_shards_back(members: list[Member], data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(members))
    again = Member("another-process", one.name, one.weight)
    before, after = placed(members), placed([again if m is one else m for m in members])
    assert [s for s in SHARDS if before[s] == one.id] == [s for s in SHARDS if after[s] == again.id]


@given(clusters, st.data())
def test_who_drains_or_cannot_take_any_has_none(members: list[Member], data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(members))
    others = [m for m in members if m is not one]
    for kept in (Member(one.id, one.name, one.weight, draining=True), Member(one.id, one.name, 0.0)):
        assert placed([kept, *others]) == placed(others)


def test_nobody_is_preferred_where_nobody_may() -> None:
    assert preferred(0, []) is None
    assert preferred(0, [Member("1", "a", draining=True), Member("2", "b", 0.0)]) is None


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_shares_follow_the_weights(count: int) -> None:
    members = [Member(f"{i}", f"node-{i}", 1.0 + i % 2) for i in range(count)]
    shards = range(6_400)
    found = Counter(preferred(s, members) for s in shards)
    whole = sum(m.weight for m in members)
    for member in members:
        fair = len(shards) * member.weight / whole
        # Six standard deviations of a fair draw.
        assert abs(found[member.id] - fair) < 6 * fair**0.5


def test_namesakes_share() -> None:
    """Two nodes that were given one name by mistake are both of use."""
    found = Counter(preferred(s, [Member("1", "a"), Member("2", "a"), Member("3", "b")]) for s in range(600))
    assert found["1"] > 100
    assert found["2"] > 100
    assert found["3"] > 200

"""What a node decides to do about shards, sight by sight."""

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from actors.cluster.plan import Action, Claim, GiveUp, Mine, Move, Plan, Stay, Take, Times, Verify
from actors.cluster.ports import Lease, Member, Sight
from actors.placement import preferred
from protocol import limits

TIMES = Times(5.0)
SHARDS = 16
A, B, C = Member("1", "a"), Member("2", "b"), Member("3", "c")
OF_A = {s for s in range(SHARDS) if preferred(s, [A, B]) == A.id}
OF_B = set(range(SHARDS)) - OF_A


class Story:
    """What one node sees, a beat at a time."""

    def __init__(self, me: Member = A) -> None:
        self.me = me
        self.plan = Plan(SHARDS, TIMES)
        self.now = 100.0

    def sees(
        self,
        *members: Member,
        leases: Mapping[int, Lease] | None = None,
        owned: Mapping[int, int] | None = None,
        after_s: float = TIMES.beat_s,
        incarnation: str = "first",
        **more: object,
    ) -> list[Action]:
        """The actions after one more sight, in which others see what `me` is."""
        self.now += after_s
        said = self.me if more.get("able", True) else replace(self.me, weight=0.0)
        self.plan.see(Sight({m.id: m for m in (said, *members)}, leases or {}, incarnation), self.now)
        return self.plan.actions(Mine(self.me, owned or {}, **more), self.now)  # type: ignore[arg-type]

    def for_a_lease(self, *members: Member, **more: object) -> list[Action]:
        """As long as it takes to trust what is seen; the last actions."""
        for _ in range(5):
            self.sees(*members, **more)  # type: ignore[arg-type]
        return self.sees(*members, **more)  # type: ignore[arg-type]


def owned_by(member: Member, shards: set[int] | range, epoch: int = 1, heir: str = "") -> dict[int, Lease]:
    return {s: Lease(member.id, epoch, heir) for s in shards}


def mine(shards: set[int] | range, epoch: int = 1) -> dict[int, int]:
    return dict.fromkeys(shards, epoch)


ALL = range(SHARDS)


# Claims


def test_a_cluster_that_starts_is_claimed_after_a_beat_and_a_half() -> None:
    story = Story()
    assert story.sees() == []
    assert story.sees() == []
    assert story.sees(after_s=TIMES.beat_s / 2) == [Claim(tuple(ALL))]


def test_after_a_flush_owners_have_a_lease_to_put_theirs_on_record_again() -> None:
    story = Story()
    story.for_a_lease(B, leases=owned_by(A, OF_A) | owned_by(B, OF_B), owned=mine(OF_A))
    for _ in range(5):
        assert story.sees(leases=owned_by(A, OF_A), owned=mine(OF_A), incarnation="second") == []
    assert story.sees(leases=owned_by(A, OF_A), owned=mine(OF_A), incarnation="second") == [Claim(tuple(sorted(OF_B)))]


def test_who_joins_an_old_cluster_waits_too() -> None:
    story = Story()
    for _ in range(5):
        assert story.sees(leases=owned_by(B, OF_B)) == []
    assert story.sees(leases=owned_by(B, OF_B)) == [Claim(tuple(ALL))]


def test_the_shards_of_the_dead_are_claimed_by_who_is_preferred() -> None:
    story = Story()
    leases = owned_by(A, OF_A) | owned_by(B, OF_B)
    assert story.for_a_lease(B, C, leases=leases, owned=mine(OF_A), busy=set(OF_A)) == []
    for_me = {s for s in OF_B if preferred(s, [A, C]) == A.id}
    assert 0 < len(for_me) < len(OF_B)
    assert story.sees(C, leases=leases, owned=mine(OF_A), busy=set(OF_A)) == [Claim(tuple(sorted(for_me)))]


def test_nobody_waits_for_a_newcomer_to_claim() -> None:
    """It does not trust its own eyes yet, so those who do claim for it too."""
    story = Story()
    leases = owned_by(B, ALL)
    story.for_a_lease(B, leases=leases)
    story.sees(B, C, leases=leases)
    assert story.sees(C, leases=leases) == [Claim(tuple(ALL))]


@pytest.mark.parametrize("gap_s", [2.5, 30.0])
def test_silence_proves_nothing_to_who_was_away(gap_s: float) -> None:
    """Not the others are gone: the directory was, or this node was paused, and their next beat is on its way."""
    story = Story()
    leases = owned_by(B, ALL)
    story.for_a_lease(B, leases=leases)
    assert story.sees(leases=leases, after_s=gap_s) == []
    for _ in range(4):
        assert story.sees(leases=leases) == []
    assert story.sees(leases=leases) == [Claim(tuple(ALL))]


def test_an_heir_claims_at_once_and_nobody_else() -> None:
    leases = {0: Lease("", 1, A.id), 1: Lease("", 1, B.id)}
    story = Story()
    assert story.sees(B, leases=leases) == [Claim((0,))]
    assert Claim((0,)) in story.for_a_lease(B, leases=leases | owned_by(B, range(2, SHARDS)))


def test_an_heir_does_not_claim_while_the_owner_decides() -> None:
    story = Story()
    assert story.for_a_lease(B, leases=owned_by(B, ALL, heir=A.id)) == []


@pytest.mark.parametrize("heir", [None, replace(B, weight=0.0), replace(B, draining=True)])
def test_what_was_released_for_an_heir_who_will_not_come_is_claimed(heir: Member | None) -> None:
    story = Story()
    leases = {s: Lease("", 1, B.id) for s in ALL}
    assert story.for_a_lease(*[heir] if heir else [], leases=leases) == [Claim(tuple(ALL))]


def test_a_draining_node_and_one_without_postgres_claim_nothing() -> None:
    leases = owned_by(B, ALL)
    assert Story(replace(A, draining=True)).for_a_lease(leases=leases) == []
    assert Story().for_a_lease(leases=leases, able=False) == []
    assert Story().for_a_lease(B, leases={0: Lease("", 1, A.id)} | owned_by(B, range(1, SHARDS)), able=False) == []


# What was claimed and not taken


def test_what_is_on_record_for_me_is_taken() -> None:
    story = Story()
    assert story.sees(leases=owned_by(A, OF_A)) == [Take(tuple(sorted(OF_A)))]
    assert story.sees(leases=owned_by(A, OF_A), busy=set(OF_A)) == []


def test_or_given_up_by_who_cannot_take_it() -> None:
    gives_up = [GiveUp(dict.fromkeys(sorted(OF_A), B.id))]
    leases = owned_by(A, OF_A) | owned_by(B, OF_B)
    assert Story().for_a_lease(B, leases=leases, able=False) == gives_up
    assert Story(replace(A, draining=True)).for_a_lease(B, leases=leases) == gives_up
    assert Story().sees(leases=owned_by(A, {3}), able=False) == [GiveUp({3: A.id})], "there is nobody else"


def test_what_was_lost_is_left_to_whoever_took_it() -> None:
    """The record still names me, because their beat is on its way; only if it does not come I take it back."""
    story = Story()
    leases = owned_by(A, OF_A) | owned_by(B, OF_B)
    story.for_a_lease(B, leases=leases, owned=mine(OF_A))
    assert story.sees(B, leases=leases, owned=mine(OF_A - {min(OF_A)})) == []
    assert story.sees(B, leases=leases, owned=mine(OF_A - {min(OF_A)})) == []
    story.sees(B, leases=leases, owned=mine(OF_A - {min(OF_A)}))
    assert story.sees(B, leases=leases, owned=mine(OF_A - {min(OF_A)})) == [Take((min(OF_A),))]


def test_a_release_that_did_not_reach_the_directory_is_said_again() -> None:
    assert Story().sees(B, leases=owned_by(A, {3}, heir=B.id)) == [GiveUp({3: B.id})]
    assert Story().sees(leases=owned_by(A, {3}, heir=B.id)) == [Take((3,))], "the heir is gone"


# Moves


def test_a_newcomer_gets_its_shards_after_the_second_sight_a_few_at_a_time() -> None:
    story = Story()
    leases = owned_by(A, ALL)
    story.for_a_lease(leases=leases, owned=mine(ALL))
    assert story.sees(B, leases=leases, owned=mine(ALL)) == []
    first = sorted(OF_B)[: limits.moves_at_once]
    assert len(first) < len(OF_B)
    assert story.sees(B, leases=leases, owned=mine(ALL)) == [Move(dict.fromkeys(first, B.id))]
    busy = {"busy": set(first), "moving": len(first)}
    assert story.sees(B, leases=leases, owned=mine(ALL), **busy) == []
    busy = {"busy": set(first[1:]), "moving": len(first) - 1}
    assert len(story.sees(B, leases=leases, owned=mine(ALL), **busy)[0].heirs) == 1  # type: ignore[union-attr]


def test_an_heir_that_does_not_take_what_it_has_gets_no_more() -> None:
    story = Story()
    released = {s: Lease("", 1, B.id) for s in sorted(OF_B)[: limits.moves_at_once]}
    left = set(ALL) - released.keys()
    assert story.for_a_lease(B, leases=owned_by(A, left) | released, owned=mine(left)) == []
    some = dict(list(released.items())[1:])
    left = set(ALL) - some.keys()
    assert len(story.sees(B, leases=owned_by(A, left) | some, owned=mine(left))[0].heirs) == 1  # type: ignore[union-attr]


def test_one_that_comes_and_goes_is_trusted_later_each_time() -> None:
    story = Story()
    see = {"leases": owned_by(A, ALL), "owned": mine(ALL)}
    story.for_a_lease(**see)
    waits: list[int] = []
    for _ in range(7):
        beats = 0
        while not story.sees(B, **see):
            beats += 1
        waits.append(beats)
        story.sees(**see)
    assert waits == [1, 2, 4, 8, 16, 32, 32]
    for _ in range(301):
        story.sees(**see)
    assert story.sees(B, **see) == []
    assert story.sees(B, **see) != [], "that was long ago"


def test_a_member_that_was_drained_is_welcome_again() -> None:
    story = Story()
    see = {"leases": owned_by(A, ALL), "owned": mine(ALL)}
    story.for_a_lease(B, **see)
    story.sees(replace(B, draining=True), **see)
    story.sees(**see)
    again = Member("4", B.name)
    assert story.sees(again, **see) == []
    assert story.sees(again, **see) != []


def test_a_draining_node_hands_over_everything_once_others_know() -> None:
    story = Story()
    few = set(sorted(OF_A)[:4])
    see = {"leases": owned_by(A, few) | owned_by(B, set(ALL) - few), "owned": mine(few)}
    story.for_a_lease(B, **see)
    said = story.me
    story.me = replace(A, draining=True)
    story.now += TIMES.beat_s
    story.plan.see(Sight({A.id: said, B.id: B}, see["leases"], "first"), story.now)
    assert story.plan.actions(Mine(story.me, see["owned"]), story.now) == []
    assert story.sees(B, **see) == [Move(dict.fromkeys(sorted(few), B.id))]


def test_a_draining_node_alone_keeps_what_it_has() -> None:
    story = Story(replace(A, draining=True))
    see = {"leases": owned_by(A, ALL), "owned": mine(ALL)}
    assert story.for_a_lease(**see) == []
    for other in (replace(B, draining=True), replace(B, weight=0.0)):
        assert story.for_a_lease(other, **see) == []
        assert not story.plan.others_may_take(A.id)
    story.sees(B, **see)
    assert story.plan.others_may_take(A.id)


def test_without_postgres_shards_stay_until_there_is_no_hope() -> None:
    story = Story()
    see = {"leases": owned_by(A, OF_A) | owned_by(B, OF_B), "owned": mine(OF_A), "able": False}
    assert story.for_a_lease(B, **see) == []
    moves = story.sees(B, **see, hopeless=True)
    assert moves == [Move(dict.fromkeys(sorted(OF_A)[: limits.moves_at_once], B.id))]
    assert story.sees(replace(B, weight=0.0), **see, hopeless=True) == [], "nobody has Postgres"


def test_an_announced_move_is_withdrawn_when_the_heir_is_gone() -> None:
    story = Story()
    leases = owned_by(A, set(ALL) - {3}) | owned_by(A, {3}, heir=B.id)
    assert story.sees(leases=leases, owned=mine(ALL)) == [Stay((3,))]
    assert story.sees(leases=leases, owned=mine(ALL), busy={3}) == []


# Doubt


@pytest.mark.parametrize("epoch", [1, 2])
def test_another_on_record_for_what_is_mine_calls_for_a_look_into_postgres(epoch: int) -> None:
    story = Story()
    leases = owned_by(A, set(ALL) - {3}) | owned_by(B, {3}, epoch)
    assert story.sees(B, leases=leases, owned=mine(ALL)) == [Verify((3,))]


def test_also_when_that_one_is_gone_but_took_it() -> None:
    leases = owned_by(A, set(ALL) - {3}) | owned_by(B, {3}, 2)
    assert Story().sees(leases=leases, owned=mine(ALL)) == [Verify((3,))]


def test_a_claim_of_who_is_gone_is_overruled() -> None:
    leases = owned_by(A, set(ALL) - {3}) | owned_by(B, {3})
    assert Story().sees(leases=leases, owned=mine(ALL)) == [Claim((3,))]


def test_a_record_older_than_my_epoch_is_nothing_to_worry_about() -> None:
    leases = owned_by(A, set(ALL) - {3}) | owned_by(B, {3}, 1)
    assert Story().sees(B, leases=leases, owned=mine(ALL, 2)) == []


def test_times_leave_room_for_a_failover_within_the_lease() -> None:
    assert TIMES.heartbeat_s + TIMES.beat_s <= TIMES.lease_s
    assert TIMES.sure_s < TIMES.heartbeat_s
    assert TIMES.sure_s > 2 * TIMES.beat_s, "one beat may fail without any doubt"

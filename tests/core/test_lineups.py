"""Who takes part in a meeting, against a look at every possible line-up."""

from itertools import combinations, product

from hypothesis import given
from hypothesis import strategies as st

from server.lineups import Wanted, choose
from storage.meetings import Team

PEOPLE = tuple(f"p{n}" for n in range(5))
ROOMS = tuple(f"r{n}" for n in range(5))
some = st.frozensets(st.sampled_from(PEOPLE))
some_rooms = st.frozensets(st.sampled_from(ROOMS))
named_people = st.lists(st.sampled_from(PEOPLE), max_size=3, unique=True)
named_rooms = st.lists(st.sampled_from(ROOMS), max_size=2, unique=True)
group = st.lists(st.sampled_from(ROOMS), min_size=1, max_size=4, unique=True).map(tuple)


def every(wanted: Wanted, leads: frozenset[str], fits: frozenset[str], free: frozenset[str]) -> set[tuple[str, ...]]:
    """All line-ups that there are, as sets of names in order."""
    people = {
        who
        for who in combinations(PEOPLE, wanted.team.needed)
        if who[0] in leads and all(p in fits for p in who[1:]) and set(wanted.professional_ids) <= set(who)
    }
    rooms = {
        tuple(sorted(taken))
        for taken in product(*wanted.team.resources)
        if len(set(taken)) == len(taken) and set(taken) <= free and set(wanted.resource_ids) <= set(taken)
    }
    return {(*who, *taken) for who in people for taken in rooms}


@given(
    st.permutations(PEOPLE), some, some, some_rooms, st.integers(1, 4), st.lists(group, max_size=3), named_people,
    named_rooms,
)  # fmt: skip
def test_one_is_found_where_there_is_one(
    order: list[str],
    leads: frozenset[str],
    fits: frozenset[str],
    free: frozenset[str],
    needed: int,
    groups: list[tuple[str, ...]],
    named: list[str],
    rooms: list[str],
) -> None:
    """And only then: a leader at whom it may begin and who is the first by id, free others, one room of each group,
    nobody twice, and everybody who was named.
    """
    named = named[:needed]
    team = Team("s", needed, tuple(groups), "least_loaded", 30, 0, 0, PEOPLE)
    wanted = Wanted(team, 0, professional_ids=tuple(named), resource_ids=tuple(rooms))
    there = every(wanted, leads, fits, free)
    found = choose(wanted, order, leads, fits, free)
    if found is None:
        assert there == set()
    else:
        assert (found.leader, *found.others) in there


def test_whose_turn_it_is_comes_first() -> None:
    """As far as the leader may be chosen; and resources that are preferred before others."""
    team = Team("s", 1, (ROOMS[:3],), "round_robin", 30, 0, 0, PEOPLE)
    order = ["p3", "p1", "p2"]
    everybody = frozenset(PEOPLE)
    found = choose(Wanted(team, 0, preferred=("r2",)), order, everybody, everybody, frozenset(ROOMS))
    assert found is not None
    assert (found.leader, found.others) == ("p3", ("r2",))
    found = choose(Wanted(team, 0), order, everybody - {"p3"}, everybody, frozenset(ROOMS) - {"r0"})
    assert found is not None
    assert (found.leader, found.others) == ("p1", ("r1",))

"""Who takes part in a meeting: which professionals, and one resource of each group. Pure choice among what is free."""

from collections.abc import Collection, Sequence

import msgspec

from storage.meetings import Team


class Wanted(msgspec.Struct, frozen=True):
    """A meeting as it is asked for. Who is named takes part; the rest is chosen. `leader` is given where a meeting
    moves: it stays in the calendar that leads it.
    """

    team: Team
    start: int
    duration: int = 0
    professional_ids: tuple[str, ...] = ()
    resource_ids: tuple[str, ...] = ()
    leader: str | None = None
    preferred: tuple[str, ...] = ()
    """Resources that are taken before others, if they are free."""


class Lineup(msgspec.Struct, frozen=True):
    """`others` in the order in which they are asked: professionals by id, then resources."""

    leader: str
    others: tuple[str, ...]


def choose(
    wanted: Wanted, order: Sequence[str], leads: Collection[str], fits: Collection[str], free: Collection[str]
) -> Lineup | None:
    """The first line-up that those in `order` allow. `leads` are professionals at whom the meeting may begin then,
    `fits` those who are free for it, `free` the resources that are.
    """
    professionals = _professionals(wanted, order, leads, fits)
    resources = _resources(wanted, free)
    if professionals is None or resources is None:
        return None
    leader, *others = professionals
    return Lineup(leader, (*others, *resources))


def _professionals(
    wanted: Wanted, order: Sequence[str], leads: Collection[str], fits: Collection[str]
) -> list[str] | None:
    """The leader is the first of them by id, so that two meetings that want the same people meet there."""
    needed, named = wanted.team.needed, wanted.professional_ids
    for leader in (wanted.leader,) if wanted.leader else order:
        if leader not in leads or (len(named) >= needed and leader not in named):
            continue
        others = [p for p in named if p != leader]
        if any(p not in fits or (p < leader and not wanted.leader) for p in others):
            continue
        more = [p for p in order if p > leader and p in fits and p not in others]
        others += more[: max(0, needed - 1 - len(others))]
        if len(others) == needed - 1:
            return [leader, *sorted(others)]
    return None


def _resources(wanted: Wanted, free: Collection[str]) -> list[str] | None:
    """One for each group, nobody twice, all that were named among them; or `None`.

    A matching is made longer one by one; what is matched once stays so, and therefore the named ones come first.
    """
    groups = wanted.team.resources
    of_group: dict[int, str] = {}

    def place(resource: str, tried: set[int]) -> bool:
        for number, group in enumerate(groups):
            if resource in group and number not in tried:
                tried.add(number)
                if number not in of_group or place(of_group[number], tried):
                    of_group[number] = resource
                    return True
        return False

    if not all(r in free and place(r, set()) for r in wanted.resource_ids):
        return None
    candidates = dict.fromkeys((*wanted.preferred, *(r for group in groups for r in group)))
    for resource in candidates:
        if len(of_group) == len(groups):
            break
        if resource in free and resource not in of_group.values():
            place(resource, set())
    return sorted(of_group.values()) if len(of_group) == len(groups) else None

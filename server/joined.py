"""When everybody and everything that a service needs is free together."""

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from actors.questions import FreeAt, OpenStarts, Question
from actors.switchboard import Switchboard
from protocol import limits
from protocol.errors import Refused
from protocol.times import DAY
from server.lineups import Wanted, choose
from storage.meetings import Team

Free = list[tuple[tuple[int, int], list[str]]]
"""Start and end, in order, with the professionals who could take part."""

_decode_pairs: Final = msgspec.json.Decoder(list[tuple[int, int]]).decode
_decode_starts: Final = msgspec.json.Decoder(list[int]).decode


async def free_of_team(
    switchboard: Switchboard,
    business_id: str,
    team: Team,
    from_us: int,
    to_us: int,
    *,
    duration: int = 0,
    named: Sequence[str] = (),
    resources: Sequence[str] = (),
) -> Free:
    """What can be booked; with `named` or `resources` only where these take part. Raises `Refused(limit_reached)`."""
    if len(team.professional_ids) > limits.professionals_per_service_max:
        raise Refused("limit_reached", "too many professionals offer this service; ask each for its slots")
    who = named if len(named) >= team.needed else team.professional_ids
    question = OpenStarts(team.service_id, from_us, to_us, duration)
    answers = await asyncio.gather(*(_pairs(switchboard, c, business_id, question) for c in who))
    leads: dict[tuple[int, int], set[str]] = {}
    for professional_id, pairs in zip(who, answers, strict=True):
        for pair in pairs:
            leads.setdefault(pair, set()).add(professional_id)
    if not leads:
        return []
    if not team.several:
        return [(pair, sorted(leads[pair])) for pair in sorted(leads) if set(named) <= leads[pair]]
    fits = await _fitting(switchboard, business_id, team, who, duration, sorted(leads))
    wanted = Wanted(team, 0, duration, tuple(named), tuple(resources))
    found: Free = []
    for pair in sorted(leads):
        at = {c for c, starts in fits.items() if pair[0] in starts}
        people = (at - team.resource_ids if team.needed > 1 else set[str]()) | leads[pair]
        if choose(wanted, sorted(people), leads[pair], people, at & team.resource_ids) is not None:
            found.append((pair, sorted(people)))
    return found


async def _fitting(
    switchboard: Switchboard,
    business_id: str,
    team: Team,
    who: Collection[str],
    duration: int,
    pairs: Sequence[tuple[int, int]],
) -> dict[str, set[int]]:
    """For each calendar that may be a part, the starts at which it is free."""
    starts = tuple(start for start, _ in pairs)
    question = FreeAt(starts, duration or team.duration, team.before, team.after, team.service_id)
    calendars = [*(who if team.needed > 1 else ()), *sorted(team.resource_ids)]
    answers = await asyncio.gather(*(_starts(switchboard, c, business_id, question) for c in calendars))
    return dict(zip(calendars, map(set, answers), strict=True))


async def _pairs(
    switchboard: Switchboard, calendar_id: str, business_id: str, question: Question
) -> list[tuple[int, int]]:
    answer = await _read(switchboard, calendar_id, business_id, question)
    return _decode_pairs(answer) if answer else []


async def _starts(switchboard: Switchboard, calendar_id: str, business_id: str, question: Question) -> list[int]:
    answer = await _read(switchboard, calendar_id, business_id, question)
    return _decode_starts(answer) if answer else []


async def _read(switchboard: Switchboard, calendar_id: str, business_id: str, question: Question) -> bytes:
    """Nothing of a calendar that is gone."""
    try:
        return await switchboard.read(calendar_id, business_id, question)
    except Refused as refused:
        if refused.code != "not_found":
            raise
        return b""


async def nearest(switchboard: Switchboard, business_id: str, wanted: Wanted, now: int) -> tuple[tuple[int, int], ...]:
    """The open starts nearest to the one that was wanted; none where they cannot be told."""
    reach = limits.meetings_alternatives_days * DAY
    from_us, to_us = max(now, wanted.start - reach), wanted.start + reach
    if from_us >= to_us:
        return ()
    with contextlib.suppress(Refused):
        found = await free_of_team(
            switchboard, business_id, wanted.team, from_us, to_us,
            duration=wanted.duration, named=wanted.professional_ids, resources=wanted.resource_ids,
        )  # fmt: skip
        others = [pair for pair, _ in found if pair[0] != wanted.start]
        others.sort(key=lambda pair: abs(pair[0] - wanted.start))
        return tuple(sorted(others[: limits.alternatives_max]))
    return ()

"""What a node does about shards, from what it sees in the directory. Pure: no loop, no clock, nothing is awaited.

A shard as one node sees it:

           ┌───────────────────────── nobody's ◄─── its owner's heartbeat is gone,
    Claim: │ granted                     ▲          or it was released and its heir is gone
           ▼                             │
    on record for me ──GiveUp: not able──┘
           │ Take: the epoch is mine            Move: another is preferred
           ▼                                            │
          mine ─────────────────────────────────────────┴──► released for its heir ──► another's
           │
           └── the record or the epoch is another's: Verify ──► another's

Nothing here is needed to be right about bookings: that is what the epochs in Postgres are for. It is needed so that
every shard has an owner soon, and moves no more often than it must.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Set
from math import inf
from typing import Final, NamedTuple

import msgspec

from actors.cluster.ports import Lease, Member, Sight
from actors.placement import may_take, preferred
from protocol import limits

_BLANK_GRACE_BEATS: Final = 1.5
_GAP_BEATS: Final = 2.0
_DISTRUST_DOUBLINGS_MAX: Final = 5
_DISTRUST_LEASES: Final = 60.0


class Times(NamedTuple):
    """A node that dies is replaced within `lease_s`: its heartbeat lives for most of it, others look within a beat."""

    lease_s: float

    @property
    def beat_s(self) -> float:
        return self.lease_s / 5

    @property
    def heartbeat_s(self) -> float:
        """How long the directory keeps a heartbeat."""
        return self.lease_s - self.beat_s

    @property
    def sure_s(self) -> float:
        """How long after a beat was sent nobody else can have claimed anything: with a margin for clocks that drift."""
        return self.heartbeat_s - self.beat_s / 4


class Claim(NamedTuple):
    """Ask the directory for them. Those granted are to be taken, unless this node has their epoch already."""

    shards: tuple[int, ...]


class Take(NamedTuple):
    """They are on record for this node, but it has no epoch of theirs."""

    shards: tuple[int, ...]


class GiveUp(NamedTuple):
    """They are on record for this node, and it is not going to take them; for whom they are then."""

    heirs: Mapping[int, str]


class Move(NamedTuple):
    """Hand these over to their heirs."""

    heirs: Mapping[int, str]


class Stay(NamedTuple):
    """An heir was announced, and is no longer meant to have them."""

    shards: tuple[int, ...]


class Verify(NamedTuple):
    """Ask Postgres whether these are still mine: the directory has somebody else for them."""

    shards: tuple[int, ...]


Action = Claim | Take | GiveUp | Move | Stay | Verify


class Mine(NamedTuple):
    """`owned`: shard → epoch. `busy` are shards that an earlier action is not done with; of them, `moving` leave.

    Not `able` to reach Postgres, a node takes nothing; `hopeless` when that has lasted so long that others should try.
    """

    me: Member
    owned: Mapping[int, int]
    busy: Set[int] = frozenset()
    moving: int = 0
    able: bool = True
    hopeless: bool = False

    @property
    def may_take(self) -> bool:
        return self.able and may_take(self.me)


class Plan:
    """Tell it each sight with `see`, then ask for `actions`. Times are in seconds on any clock that only rises."""

    def __init__(self, shard_count: int, times: Times) -> None:
        self._shard_count = shard_count
        self._times = times
        self._sight = Sight({}, {}, "")
        self._seen_at: float | None = None
        self._listening_since = 0.0
        self._grace = times.lease_s
        self._present_since: dict[str, float] = {}
        self._distrust: dict[str, tuple[int, float]] = {}
        self._owned_before: set[int] = set()
        self._lost_at: dict[int, float] = {}
        self._claimants = _Preference()
        self._heirs = _Preference()

    # What was seen

    def see(self, sight: Sight, now: float) -> None:
        if self._starts_anew(sight, now):
            self._listening_since = now
            # A cluster that starts has no owners who would need time to put theirs on record again.
            blank = self._seen_at is None and not sight.leases
            self._grace = self._times.beat_s * _BLANK_GRACE_BEATS if blank else self._times.lease_s
            self._present_since.clear()
        else:
            self._note_absences(sight, now)
        for id_, member in sight.members.items():
            if member.weight > 0:
                self._present_since.setdefault(id_, now)
        self._sight = sight
        self._seen_at = now

    def _starts_anew(self, sight: Sight, now: float) -> bool:
        """Whether silence of others proves nothing yet: the directory forgot, or it or this node was away."""
        if self._seen_at is None or sight.incarnation != self._sight.incarnation:
            return True
        return now - self._seen_at > self._times.beat_s * _GAP_BEATS

    def _note_absences(self, sight: Sight, now: float) -> None:
        """Each time a member vanishes, or can no longer take shards, it is trusted with moves later.

        So one that comes and goes moves nothing.
        """
        forget_s = self._times.lease_s * _DISTRUST_LEASES
        self._distrust = {name: d for name, d in self._distrust.items() if now - d[1] < forget_s}
        for id_ in self._present_since.keys() - {m.id for m in sight.members.values() if m.weight > 0}:
            del self._present_since[id_]
            member = self._sight.members[id_]
            if not member.draining:
                times, _ = self._distrust.get(member.name, (0, now))
                self._distrust[member.name] = min(times + 1, _DISTRUST_DOUBLINGS_MAX), now

    # What to do

    def actions(self, mine: Mine, now: float) -> list[Action]:
        """At most one of each kind."""
        self._note_losses(mine, now)
        self._claimants.among(self._claiming(mine, now))
        self._heirs.among(self._trusted(mine, now))
        doings = _Doings()
        for shard in range(self._shard_count):
            if shard not in mine.busy:
                self._judge(shard, mine, now, doings)
        return doings.actions(self._room(mine))

    def _note_losses(self, mine: Mine, now: float) -> None:
        """Whoever took a shard puts it on record with the next beat; until then the record may still name me."""
        for shard in self._owned_before - mine.owned.keys():
            self._lost_at[shard] = now
        self._owned_before = set(mine.owned)

    def _judge(self, shard: int, mine: Mine, now: float, doings: "_Doings") -> None:
        lease = self._sight.leases.get(shard)
        me = mine.me.id
        if shard in mine.owned:
            if lease is None or lease.node == me:
                self._judge_mine(shard, lease, me, doings)
            elif lease.epoch > mine.owned[shard] or lease.node in self._sight.members:
                if lease.epoch >= mine.owned[shard]:
                    doings.verify.append(shard)
            else:
                # Whoever claimed it is gone without having taken it.
                doings.claim.append(shard)
        elif lease is not None and lease.node == me:
            if lease.heir in self._sight.members:
                doings.give_up[shard] = lease.heir
            elif not mine.may_take:
                # With nobody else there it waits for this one to recover.
                doings.give_up[shard] = self._claimants.of(shard) or me
            elif now - self._lost_at.get(shard, -inf) > self._times.beat_s * _GAP_BEATS:
                doings.take.append(shard)
        elif mine.may_take and self._may_claim(shard, lease, me, now):
            doings.claim.append(shard)

    def _judge_mine(self, shard: int, lease: Lease | None, me: str, doings: "_Doings") -> None:
        heir = self._heirs.of(shard)
        if heir is not None and heir != me:
            doings.move[shard] = heir
        elif lease is not None and lease.heir:
            doings.stay.append(shard)

    def _may_claim(self, shard: int, lease: Lease | None, me: str, now: float) -> bool:
        if lease is not None and lease.node in self._sight.members:
            return False
        if lease is not None and not lease.node:
            heir = self._sight.members.get(lease.heir)
            if heir is not None and (heir.id == me or may_take(heir)):
                return heir.id == me
        return self.silence_proves(now) and self._claimants.of(shard) == me

    # Among whom

    def _claiming(self, mine: Mine, now: float) -> list[Member]:
        """Who claims what nobody has: those who have been there so long that they trust what they see."""
        present = self._present_since
        others = [m for id_, m in self._others(mine) if now - present.get(id_, now) >= self._grace]
        return [mine.me, *others] if mine.able else others

    def _trusted(self, mine: Mine, now: float) -> list[Member]:
        """To whom shards may be moved, and me unless there is no hope for them here."""
        me = mine.me
        seen = self._sight.members.get(me.id)
        if me.draining and seen is not None and not seen.draining:
            # Others have to know first, or they send back what they get.
            me = msgspec.structs.replace(me, draining=False)
        present = self._present_since
        others = [m for id_, m in self._others(mine) if now - present.get(id_, now) >= self._trial_s(m.name)]
        return others if mine.hopeless else [me, *others]

    def _others(self, mine: Mine) -> list[tuple[str, Member]]:
        return [(id_, member) for id_, member in self._sight.members.items() if id_ != mine.me.id]

    def _trial_s(self, name: str) -> float:
        times, _ = self._distrust.get(name, (0, 0.0))
        return self._times.beat_s * 2**times

    def others_may_take(self, me: str) -> bool:
        """Whether anybody else is there to have shards."""
        return any(may_take(m) for m in self._sight.members.values() if m.id != me)

    def has_all(self, me: str, owned: Collection[int]) -> bool:
        """Whether these are all on record for that member: then nobody can claim them while it lives."""
        leases = self._sight.leases
        return all(shard in leases and leases[shard].node == me for shard in owned)

    def silence_proves(self, now: float) -> bool:
        """Whether a member that is not in sight is gone. After the directory forgot, or it or this node was away,
        everybody first has time to show up again.
        """
        return now - self._listening_since >= self._grace

    def grace_left(self, now: float) -> float:
        return max(0.0, self._listening_since + self._grace - now)

    def _room(self, mine: Mine) -> "_Room":
        waiting = Counter(
            lease.heir for lease in self._sight.leases.values() if not lease.node and lease.heir in self._sight.members
        )
        return _Room(limits.moves_at_once - mine.moving, waiting)


class _Room(NamedTuple):
    """How many moves may start, and how many shards have been released for each heir and wait there."""

    moves: int
    waiting: Counter[str]


class _Doings:
    def __init__(self) -> None:
        self.claim: list[int] = []
        self.take: list[int] = []
        self.give_up: dict[int, str] = {}
        self.move: dict[int, str] = {}
        self.stay: list[int] = []
        self.verify: list[int] = []

    def actions(self, room: _Room) -> list[Action]:
        found: list[Action] = []
        if self.verify:
            found.append(Verify(tuple(self.verify)))
        if self.give_up:
            found.append(GiveUp(self.give_up))
        if self.stay:
            found.append(Stay(tuple(self.stay)))
        if self.take:
            found.append(Take(tuple(self.take)))
        if self.claim:
            found.append(Claim(tuple(self.claim)))
        if heirs := _fitting(self.move, room):
            found.append(Move(heirs))
        return found


def _fitting(moves: Mapping[int, str], room: _Room) -> dict[int, str]:
    """As many of the moves as there is room for: an heir gets no more while it has not taken the last ones."""
    chosen: dict[int, str] = {}
    waiting = room.waiting.copy()
    for shard, heir in moves.items():
        if len(chosen) >= room.moves:
            break
        if waiting[heir] < limits.moves_at_once:
            waiting[heir] += 1
            chosen[shard] = heir
    return chosen


class _Preference:
    """`preferred` among the same members, worked out once for each shard."""

    def __init__(self) -> None:
        self._asked: set[tuple[str, str, float, bool]] = set()
        self._members: Collection[Member] = ()
        self._known: dict[int, str | None] = {}

    def among(self, members: Collection[Member]) -> None:
        asked = {(m.id, m.name, m.weight, m.draining) for m in members}
        if asked != self._asked:
            self._asked = asked
            self._members = members
            self._known.clear()

    def of(self, shard: int) -> str | None:
        if shard not in self._known:
            self._known[shard] = preferred(shard, self._members)
        return self._known[shard]

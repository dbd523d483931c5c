"""What people notice while nodes die, are ended and come: how long they wait, and what goes wrong."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from bench.cluster_ground import NAME, Ground
from bench.cluster_jobs import Begin, Begun, Settle, Settled, Told
from bench.cluster_nodes import Node
from bench.report import Refused, Row, goal_row
from bench.rows import spread_row
from bench.scenarios import booking
from bench.stats import percentile, spread

# So few requests that nobody waits for anything but the move, also on two cores: some 120 a second in all.
STRUCK_EVERY_S = 0.15
OTHERS_EVERY_S = 2.0
ENDED_EVERY_S = 0.4
# A killed node's calendars pile up requests for seconds.
KILLED_EVERY_S = 0.3
WARM_S, QUICK_WARM_S = 1.0, 0.4
LINGER_S = 0.3
STALL_GOAL_MS = 250.0
# Beyond the lease: noticing, taking the shards and loading their calendars.
FAILOVER_SLACK_S = 0.5
# Room for over a minute of the most frequent.
STARTS = 1000


class Episode(NamedTuple):
    """One strike and what people saw of it."""

    at: float
    struck: set[str]
    """Calendars that were to change hands."""
    settled: Settled

    def usual(self) -> list[float]:
        """Seconds that requests took before the strike, in order."""
        return sorted(t.done - t.due for t in self.settled.told if t.done < self.at)

    def since(self) -> list[Told]:
        """Acknowledged after the strike, of the calendars that were struck."""
        return [t for t in self.settled.told if t.done >= self.at and t.calendar in self.struck]

    def errors(self) -> Counter[str]:
        heard = Counter(error for t in self.settled.told for error in t.errors)
        heard.update(f"for ever: {code}" for code in Counter(self.settled.never).elements())
        return heard


def back_after(episode: Episode, dead: str) -> dict[str, float]:
    """For each struck calendar the seconds until somebody else than the dead acknowledged a booking."""
    first: dict[str, float] = {}
    for told in episode.since():
        if told.node != dead:
            first[told.calendar] = min(first.get(told.calendar, told.done), told.done)
    if missing := episode.struck - first.keys():
        raise Refused(f"{NAME}: {len(missing)} calendars of the killed node were never booked again")
    return {calendar: done - episode.at for calendar, done in first.items()}


def stalls(episode: Episode) -> dict[str, float]:
    """For each calendar that moved, the longest wait for a booking of it since the strike, in seconds."""
    owners: dict[str, set[str]] = {}
    for told in episode.settled.told:
        owners.setdefault(told.calendar, set()).add(told.node)
    longest: dict[str, float] = {}
    for told in episode.since():
        if len(owners[told.calendar]) > 1:
            longest[told.calendar] = max(longest.get(told.calendar, 0.0), told.done - told.due)
    return longest


@dataclass(slots=True)
class Strikes:
    """Failovers and moves as they are made, and in the end their rows."""

    ground: Ground
    killed: list[tuple[Episode, dict[str, float]]] = field(default_factory=list)
    moved: dict[str, list[Episode]] = field(default_factory=dict)
    ended: list[Episode] = field(default_factory=list)
    episodes: int = 0

    async def kill(self, node: Node) -> None:
        """One of them is gone without a word."""
        struck = self._own(node)
        episode = await self._episode(node.kill, struck, KILLED_EVERY_S)
        back = back_after(episode, node.name)
        self.killed.append((episode, back))
        self.ground.bench.say(f"{NAME}: {node.name} killed, its last calendar is back after {max(back.values()):.2f} s")

    async def drain(self, node: Node) -> None:
        """One of them hands its shards over."""
        await self._move("a node is drained", node.drain, self._own(node))

    async def end(self, node: Node) -> None:
        """One that has been drained is gone for good, and people have connections to it."""
        episode = await self._episode(node.end, set(self.ground.booked), ENDED_EVERY_S)
        self.ended.append(episode)
        self.ground.bench.say(f"{NAME}: a drained node ends {dict(episode.errors())}")

    async def add(self, node: Node) -> None:
        """One comes; what it is to have is known by its name."""
        others = self.ground.nodes
        before = {id_: others.owner_of(id_).name for id_ in self.ground.booked}
        names = [*(n.name for n in others.alive), node.name]
        struck = {id_ for id_, name in others.owners(self.ground.booked, names).items() if name != before[id_]}
        await self._move("a node is added", node.begin, struck)

    async def _move(self, what: str, strike: Callable[[], Awaitable[None]], struck: set[str]) -> None:
        episode = await self._episode(strike, struck, STRUCK_EVERY_S)
        waits = stalls(episode)
        if waits.keys() != struck:
            raise Refused(f"{NAME}: {what}: {len(waits)} calendars were seen to move, not {len(struck)}")
        self.moved.setdefault(what, []).append(episode)
        self.ground.bench.say(
            f"{NAME}: {what}, longest wait {max(waits.values()) * 1000:.0f} ms {dict(episode.errors())}"
        )

    def _own(self, node: Node) -> set[str]:
        return set(self.ground.nodes.owned_by(node, self.ground.booked))

    async def _episode(self, strike: Callable[[], Awaitable[None]], struck: set[str], every_s: float) -> Episode:
        ground, nodes = self.ground, self.ground.nodes
        quick = ground.bench.quick
        self.episodes += 1
        begin = Begin(
            ports=[n.port for n in nodes.members],
            token=nodes.first.token,
            service=ground.service,
            client=ground.client,
            often=sorted(struck),
            often_every_s=every_s,
            others=[id_ for id_ in ground.booked if id_ not in struck],
            others_every_s=OTHERS_EVERY_S,
            first=booking.midnight_in(2) + self.episodes * STARTS * booking.STEP,
            step=booking.STEP,
            seed=self.episodes,
        )
        await ground.ask(begin, Begun)
        await asyncio.sleep(QUICK_WARM_S if quick else WARM_S)
        at = time.monotonic()
        await strike()
        await nodes.settled()
        await asyncio.sleep(LINGER_S)
        settled = await ground.ask(Settle(), Settled)
        ground.told += [t.id for t in settled.told]
        if settled.never:
            raise Refused(f"{NAME}: requests were never answered: {settled.never}")
        return Episode(at, struck, settled)

    def rows(self) -> list[Row]:
        rows = [*self._failover_rows(), *self.move_rows()]
        every = [*(episode for episode, _ in self.killed), *chain.from_iterable(self.moved.values()), *self.ended]
        late = spread([episode.settled.late for episode in every])
        rows.append(spread_row(NAME, "while nodes come and go: generator late p99", late, unit="ms"))
        return rows

    def move_rows(self) -> list[Row]:
        """Of what was planned."""
        rows = [row for what, episodes in self.moved.items() for row in _move_rows(what, episodes)]
        if self.ended:
            rows.append(_failed_row("a drained node ends", self.ended))
        return rows

    def _failover_rows(self) -> list[Row]:
        what, lease_s = "a node is killed", self.ground.nodes.lease_s
        backs = [sorted(back.values()) for _, back in self.killed]
        last, median = spread([back[-1] for back in backs]), spread([percentile(back, 0.5) for back in backs])
        heard = sum((episode.errors() for episode, _ in self.killed), Counter[str]())
        return [
            goal_row(
                NAME,
                f"{what}: its last calendar is booked again",
                # The promise is about each of them, not about most.
                last.high,
                lease_s + FAILOVER_SLACK_S,
                direction="<=",
                unit="s",
                spread=last.text(),
                values=last.values,
                note=f"lease {lease_s:g} s",
            ),
            spread_row(NAME, f"{what}: its median calendar is booked again", median, unit="s"),
            spread_row(NAME, f"{what}: calendars it had", spread([len(back) for back in backs]), unit="", digits=0),
            Row(
                scenario=NAME,
                metric=f"{what}: answers other than a booking, before it",
                measured=heard.total(),
                direction="<=",
                note=_listed(heard),
            ),
            _acknowledged_row(what, [episode for episode, _ in self.killed]),
        ]


def _move_rows(what: str, episodes: Sequence[Episode]) -> list[Row]:
    waits = [sorted(stalls(episode).values()) for episode in episodes]
    everyone = sorted(chain.from_iterable(waits))
    usual = sorted(chain.from_iterable(episode.usual() for episode in episodes))
    since = sorted(told.done - told.due for episode in episodes for told in episode.since())
    worst = spread([some[-1] * 1000 for some in waits])
    figures = {
        "longest wait on a calendar that moves, p50": percentile(everyone, 0.5),
        "all requests for calendars that move, p99": percentile(since, 0.99),
        "requests before that, p50": percentile(usual, 0.5),
        "requests before that, p99": percentile(usual, 0.99),
    }
    return [
        _failed_row(what, episodes),
        goal_row(
            NAME,
            f"{what}: longest wait on a calendar that moves, p99",
            percentile(everyone, 0.99) * 1000,
            STALL_GOAL_MS,
            direction="<=",
            unit="ms",
            values=[percentile(some, 0.99) * 1000 for some in waits],
            note=f"{len(everyone)} calendars",
        ),
        spread_row(NAME, f"{what}: longest wait of all", worst, unit="ms", digits=0, direction="<="),
        *(
            Row(scenario=NAME, metric=f"{what}: {name}", measured=seconds * 1000, unit="ms")
            for name, seconds in figures.items()
        ),
        _acknowledged_row(what, episodes),
    ]


def _failed_row(what: str, episodes: Sequence[Episode]) -> Row:
    heard = [episode.errors() for episode in episodes]
    whole = sum(heard, Counter[str]())
    return goal_row(
        NAME,
        f"{what}: requests that failed",
        whole.total(),
        0,
        direction="<=",
        unit="",
        values=[some.total() for some in heard],
        note=_listed(whole),
    )


def _acknowledged_row(what: str, episodes: Sequence[Episode]) -> Row:
    told = sum(len(episode.settled.told) for episode in episodes)
    return Row(scenario=NAME, metric=f"{what}: bookings acknowledged", measured=told)


def _listed(heard: Counter[str]) -> str:
    return ", ".join(f"{count} × {code}" for code, count in heard.most_common())

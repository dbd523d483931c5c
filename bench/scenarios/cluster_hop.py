"""What several nodes cost where nothing goes wrong: bookings through them, and the way from one to another."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from bench.cluster_ground import NAME, Ground, cpu_rows, cpu_us, outcome_rows
from bench.cluster_jobs import Follow, Followed
from bench.cluster_nodes import Node
from bench.load import Bookings, Job, Outcome, request_text
from bench.report import Row
from bench.rows import spread_row
from bench.runner import Bench
from bench.scenarios import booking, watching
from bench.stats import ratios, spread

SECONDS, QUICK_SECONDS = 2.5, 0.5
WARMUP, QUICK_WARMUP = 0.7, 0.25
# Starts that a turn may use of each calendar; at a hundred calendars room for 25,000 bookings, at a thousand 250,000.
COUNT = 250
FEW, MANY = 4, 64
FOLLOW_MINUTES = 30
AT_OWNER, ELSEWHERE = "at the owner", "at another node"


@dataclass(slots=True)
class Field:
    """Starts are given out once: each turn has its own days."""

    ground: Ground
    used: int = 0

    def take(self) -> int:
        """Unix seconds of the first of `COUNT` starts that nobody had."""
        first = booking.midnight_in(2) + self.used * COUNT * booking.STEP
        self.used += 1
        return first

    def job(self, node: Node, connections: int, **what: object) -> Job:
        quick = self.ground.bench.quick
        base = Job(
            port=node.port,
            expect=200,
            seconds=QUICK_SECONDS if quick else min(self.ground.bench.seconds, SECONDS),
            warmup=QUICK_WARMUP if quick else WARMUP,
            connections=connections,
        )
        return msgspec.structs.replace(base, **what)

    def bookings(self, node: Node, connections: int, calendars: Sequence[str], first: int) -> Job:
        """Bookings of these calendars, asked of that node."""
        ground, heads, tail = self.ground, [], ""
        for calendar in calendars:
            body = msgspec.json.encode(
                {
                    "professional_id": calendar,
                    "service_id": ground.service,
                    "client_id": ground.client,
                    "start": booking.START,
                }
            ).decode()
            text = request_text("POST", "/api/v1/bookings", node.port, node.token, body)
            head, tail = text.split(booking.START)
            heads.append(head)
        plan = Bookings(heads=heads, tail=tail, first=first, step=booking.STEP, count=COUNT)
        return self.job(node, connections, expect=201, bookings=plan, keep_ids=True)

    def reads(self, node: Node, connections: int, calendars: Sequence[str]) -> Job:
        """A day's slots of these calendars, asked of that node over and over."""
        day = watching.midnight(0)[:10]
        query = f"service_id={self.ground.service}&from={day}&to={day}&time_zone=UTC"
        cycle = [
            request_text("GET", f"/api/v1/professionals/{id_}/slots?{query}", node.port, node.token)
            for id_ in calendars
        ]
        return self.job(node, connections, cycle=cycle)


class Throughput:
    """Bookings over all calendars through one, two, three nodes."""

    def __init__(self, field: Field) -> None:
        self._field = field
        self._outcomes: dict[tuple[int, str], list[Outcome]] = {}

    async def turn(self, count: int, bench: Bench) -> None:
        """With so many nodes: each request sent to any of them, and to the one that decides."""
        ground = self._field.ground
        await ground.nodes.resize(count)
        nodes, calendars = ground.nodes.alive, ground.calendars
        each = max(1, bench.connections // count)
        ways = {
            "to any": [self._field.bookings(node, each, calendars, self._field.take()) for node in nodes],
        }
        if count > 1:
            first = self._field.take()
            own = {node.name: ground.nodes.owned_by(node, calendars) for node in nodes}
            ways["to the owner"] = [self._field.bookings(node, each, own[node.name], first) for node in nodes]
        turns = len(self._outcomes.get((count, "to any"), []))
        for way in list(ways) if turns % 2 == 0 else list(ways)[::-1]:
            outcome = await ground.carry_out(f"{count} nodes, {way}", ways[way])
            self._outcomes.setdefault((count, way), []).append(outcome)
            bench.say(f"{NAME} {_nodes(count)}, {way}: {outcome.rate:,.0f}/s  p50 {outcome.p50:.1f} ms")

    def rows(self) -> list[Row]:
        rows: list[Row] = []
        [(_, alone), *others] = sorted(self._outcomes.items())
        for (count, way), outcomes in others:
            compared = ratios([o.rate for o in outcomes], [o.rate for o in alone])
            rows.append(spread_row(NAME, f"rate, {_nodes(count)} {way} / 1 node", compared, unit="x"))
        for (count, way), outcomes in sorted(self._outcomes.items()):
            what = f"bookings, {_nodes(count)}" + (f" {way}" if count > 1 else "")
            rows += outcome_rows(what, "booking", outcomes)
        return rows


async def hop_rows(field: Field) -> list[Row]:
    """Bookings and reads of one node's calendars, asked there and asked of another node."""
    ground = field.ground
    bench, nodes = ground.bench, ground.nodes.alive
    owner, other = nodes[0], nodes[1]
    own = ground.nodes.owned_by(owner, ground.calendars)
    outcomes: dict[tuple[str, int, str], list[Outcome]] = {}
    for repetition in range(1 if bench.quick else bench.repetitions):
        ways = [(owner, AT_OWNER), (other, ELSEWHERE)][:: 1 if repetition % 2 == 0 else -1]
        for connections in (MANY,) if bench.quick else (FEW, MANY):
            for asked, way in ways:
                jobs = {
                    "booking": field.bookings(asked, connections, own, field.take()),
                    "read": field.reads(asked, connections, own),
                }
                for what, job in jobs.items():
                    outcome = await ground.carry_out(f"{what} {way}", [job])
                    outcomes.setdefault((what, connections, way), []).append(outcome)
        bench.say(f"{NAME} hop {repetition + 1}: " + _latest(outcomes))
    rows: list[Row] = []
    for (what, connections, way), some in sorted(outcomes.items()):
        rows += outcome_rows(f"{what} {way}, {connections} connections", what, some)
        if way == ELSEWHERE:
            owned = outcomes[what, connections, AT_OWNER]
            compared = ratios([o.rate for o in some], [o.rate for o in owned])
            label = f"{what}s over {connections} connections, {ELSEWHERE} / {AT_OWNER}"
            rows.append(spread_row(NAME, label, compared, unit="x"))
    return rows


async def live_rows(field: Field) -> list[Row]:
    """A change at the owner until a viewer has it: one on the same node, and one on another."""
    ground = field.ground
    bench, nodes = ground.bench, ground.nodes
    view = await watching.make_view(nodes.first, FOLLOW_MINUTES)
    owner = nodes.owner_of(view.professional_id)
    other = next(node for node in nodes.alive if node is not owner)
    followed: dict[str, list[Followed]] = {AT_OWNER: [], ELSEWHERE: []}
    seconds, warmup = (QUICK_SECONDS, QUICK_WARMUP) if bench.quick else (SECONDS, WARMUP)
    for repetition in range(1 if bench.quick else bench.repetitions):
        for way in list(followed)[:: 1 if repetition % 2 == 0 else -1]:
            command = Follow(
                view=msgspec.structs.replace(view, port=owner.port),
                viewer_port=(owner if way == AT_OWNER else other).port,
                client_id=ground.client,
                starts=watching.starts(),
                seconds=seconds,
                warmup=warmup,
                watch=nodes.watch(),
            )
            answer = await ground.ask(command, Followed, seconds + warmup)
            ground.note_others(answer.others_cpu, answer.seconds)
            followed[way].append(answer)
            bench.say(f"{NAME} viewer {way}: p50 {answer.p50:.2f} ms  p99 {answer.p99:.2f} ms")
    rows: list[Row] = []
    for way, answers in followed.items():
        what = f"asking for a change until a viewer {way} has it"
        for label, values in (("p50", [a.p50 for a in answers]), ("p99", [a.p99 for a in answers])):
            rows.append(spread_row(NAME, f"{what}: {label}", spread(values), unit="ms"))
        rows += cpu_rows(f"a change with a viewer {way}", "change", [cpu_us(a.cpu, a.changes) for a in answers])
    return rows


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"


def _latest(outcomes: dict[tuple[str, int, str], list[Outcome]]) -> str:
    return ", ".join(
        f"{what} {way} ×{connections} {some[-1].rate:,.0f}/s p50 {some[-1].p50:.2f} ms"
        for (what, connections, way), some in outcomes.items()
    )

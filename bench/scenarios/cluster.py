"""Several nodes on one Postgres: bookings through one, two and three, what a hop costs, and nodes that come and go.

All of it runs on one machine, so more nodes are no faster here: they share its cores with Postgres, Redis and the
generator. What shows is what passing on costs, and that nobody notices a move and few a crash.
"""

from contextlib import AsyncExitStack

from bench import integrity
from bench.children import Generator
from bench.cluster_ground import NAME, Ground
from bench.cluster_nodes import Nodes
from bench.cluster_redis import Redis, find_binary
from bench.report import DISTURBANCE, Row
from bench.runner import Bench
from bench.scenarios import booking
from bench.scenarios.cluster_hop import Field, Throughput, hop_rows, live_rows
from bench.scenarios.cluster_strikes import Strikes
from protocol import limits

NAMES = ("a", "b", "c")
CALENDARS, QUICK_CALENDARS = 1000, 100
# Booked while nodes come and go.
BOOKED = 48
QUICK_LEASE_S = 2.5


async def run(bench: Bench) -> list[Row]:
    binary = find_binary()
    async with AsyncExitStack() as stack:
        redis = await Redis.start(binary, bench.folder)
        stack.push_async_callback(redis.stop)
        lease_s = QUICK_LEASE_S if bench.quick else limits.lease_ttl_default_s
        nodes = await Nodes.start(bench, redis, NAMES, lease_s)
        stack.push_async_callback(nodes.stop)
        generator = await Generator.start("bench.cluster_load")
        stack.push_async_callback(generator.stop)
        ground = await lay_out(bench, nodes, generator)
        field, strikes = Field(ground), Strikes(ground)
        throughput = Throughput(field)
        if bench.quick:
            # Nodes start for seconds, so they only go.
            await throughput.turn(3, bench)
            rows = [*await hop_rows(field), *await live_rows(field)]
            await strikes.kill(nodes.members[2])
            await strikes.drain(nodes.members[1])
            await throughput.turn(1, bench)
        else:
            for repetition in range(bench.repetitions):
                # One comes or goes between two turns.
                for count in (1, 2, 3)[:: 1 if repetition % 2 == 0 else -1]:
                    await throughput.turn(count, bench)
            await nodes.resize(3)
            rows = [*await hop_rows(field), *await live_rows(field)]
            for repetition in range(bench.repetitions):
                killed, ended = (nodes.members[(repetition + after) % 3] for after in (0, 1))
                await strikes.kill(killed)
                await strikes.add(killed)
                await strikes.drain(ended)
                await strikes.end(ended)
                await strikes.add(ended)
        await verify(ground)
        verified = Row(
            scenario=NAME, metric="bookings verified in SQL", measured=len(ground.acknowledged) + len(ground.told)
        )
        others = Row(scenario=NAME, metric=DISTURBANCE, measured=max(ground.others_cpu) * 100, unit="%")
        return [*throughput.rows(), *rows, *strikes.rows(), verified, others]


async def lay_out(bench: Bench, nodes: Nodes, generator: Generator) -> Ground:
    first = nodes.first
    service = await first.service(booking.MINUTES)
    number = QUICK_CALENDARS if bench.quick else CALENDARS
    calendars = await first.professionals(number + BOOKED, service, "00:00", "24:00")
    return Ground(bench, nodes, generator, service, await first.client(), calendars[:number], calendars[number:])


async def verify(ground: Ground) -> None:
    """All that was acknowledged is there once; where people do not give up there is nothing else, and no gap."""
    dsn = ground.nodes.first.dsn
    await integrity.check(NAME, dsn, integrity.SLOTCAST, ground.acknowledged)
    await integrity.check_story(NAME, dsn, ground.booked, integrity.Story(ground.told, []))

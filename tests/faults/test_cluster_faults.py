"""Three nodes under load. Whatever breaks, nobody is booked twice and nothing acknowledged is lost; nobody notices what
is planned.

By default related faults strike one after the other and are judged together; `SLOTCAST_PROVE=long` judges each by
itself. All tests here share one cluster.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import pytest
import pytest_asyncio

from tests.faults.cluster import Cluster, Node
from tests.faults.conftest import LONG, QUICK
from tests.faults.crew import Crew
from tests.faults.strikes import ALL, GROUPS, VARIANTS, several
from tests.support.postgres import TestPostgres
from tests.support.redis import TestRedis
from tests.support.server import Api, Place, eventually

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600 if LONG or QUICK else 120)]

SHORT: Final = not LONG and not QUICK
CASES: Final = {strike.__name__: (strike,) for strike in ALL} if LONG else GROUPS
"""A group also has one of its variants, chosen by the seed."""
MIX_S: Final = 120.0 if LONG else 45.0 if QUICK else 5.0
_SEVERAL_SHARE: Final = 0.3
_FAILOVER_GRACE_S: Final = 0.5
"""A crash costs the lease and at most this."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(postgres: TestPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    redis = TestRedis()
    made = Cluster(await postgres.new_database(), redis, tmp_path_factory.mktemp("cluster"))
    try:
        yield await made.open()
    finally:
        await made.close()
        redis.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def crew(cluster: Cluster, seed: int, request: pytest.FixtureRequest) -> AsyncIterator[Crew]:
    """At work on a cluster that is well."""
    # Only a failing test shows what it printed.
    prove = "" if SHORT else f"SLOTCAST_PROVE={'long' if LONG else 'quick'} "
    print(f"seed {seed}; replay: {prove}SLOTCAST_TEST_SEED={seed} pytest '{request.node.nodeid}'")  # noqa: T201
    crew = await cluster.begin(seed)
    yield crew
    await crew.dismiss()
    print(cluster.logged())  # noqa: T201
    await cluster.calm()


@pytest.mark.parametrize("case", CASES)
async def test_each_fault_alone(cluster: Cluster, crew: Crew, seed: int, case: str) -> None:
    variants = random.Random(seed).sample(VARIANTS.get(case, ()), 1 if case in VARIANTS else 0)
    for fault in (*CASES[case], *variants):
        await fault(cluster, random.Random(f"{seed} {fault.__name__}"))
        await crew.some_more(30)
    await cluster.calm()
    await crew.check(lost=True)


async def test_faults_in_any_order(cluster: Cluster, crew: Crew, seed: int) -> None:
    """One after the other and several at once, the next before the cluster has got over the last."""
    rng = random.Random(seed)
    until = time.monotonic() + MIX_S
    await several(cluster, rng)
    while time.monotonic() < until:
        strike = several if rng.random() < _SEVERAL_SHARE else rng.choice(ALL)
        await strike(cluster, rng)
        await asyncio.sleep(rng.uniform(0, 1.5))
    await cluster.calm()
    await crew.some_more(40)
    await crew.check(lost=True)


async def test_failover_within_the_lease(cluster: Cluster, crew: Crew) -> None:
    """From SIGKILL of its owner until a calendar is booked again through another node: the lease and half a second."""
    crew.history.others.add("failover")
    owned = await _owned(cluster, crew)
    owners = list(owned.values())
    victim = max(cluster.nodes, key=owners.count)
    others = cluster.others(victim)
    mine = [place for place, node in owned.items() if node is victim]
    with cluster.striking(f"kill {victim.name}"):
        victim.kill()
        began = time.monotonic()
        took = await asyncio.gather(*(_until_booked(p, others[i % 2], began) for i, p in enumerate(mine)))
    print(f"failover: {max(took):.3f} s for {len(mine)} calendars, lease {cluster.lease_ttl_s} s")  # noqa: T201
    assert max(took) <= cluster.lease_ttl_s + _FAILOVER_GRACE_S
    await cluster.calm()
    await crew.check(lost=True)


async def _until_booked(place: Place, api: Api, began: float) -> float:
    """Books beyond where the load does, again and again, until it is done."""
    body = place.booking(place.at(12, day=40))
    for number in range(1_000):
        headers = {"X-Request-ID": f"failover.{number}"}
        answer = await api.post("bookings", body, key=f"failover-{place.professional_id}", headers=headers)
        if answer.status == 201:
            return time.monotonic() - began
        assert answer.status == 503, (number, answer)
        await asyncio.sleep(0.02)
    raise AssertionError("it was never booked")


async def _owned(cluster: Cluster, crew: Crew) -> dict[Place, Node]:
    return {p: await cluster.owner(p) for p in crew.places}


async def _drain(cluster: Cluster) -> None:
    """As an operator does it: ask, see that nothing is there any more, stop, start."""
    node = cluster.nodes[1]
    with cluster.striking(f"drain {node.name}"):
        await cluster.operate("drain", node.name)

        async def empty() -> bool:
            return node not in (await _owned(cluster, cluster.crew)).values()

        assert await eventually(empty)
        assert await node.end() == 0
        await node.start()


async def _roll(cluster: Cluster) -> None:
    for node in cluster.nodes:
        with cluster.striking(f"roll {node.name}"):
            assert await node.end() == 0
            await node.start()


@pytest.mark.parametrize("how", [_roll] if SHORT else [_roll, _drain])
async def test_planned_moves_are_not_noticed(
    cluster: Cluster, crew: Crew, how: Callable[[Cluster], Awaitable[None]]
) -> None:
    """Under load, no REST request fails; watchers are told to come back later, do so with `since`, and miss nothing."""
    await how(cluster)
    await crew.some_more(40)
    told = [ms for w in crew.watchers for ms in w.goodbyes]
    assert told
    assert len(set(told)) > len(told) // 2, "they are not all sent back at the same moment"
    failed = [
        f"{r.kind} {r.key} at {s.began:.3f} s on {s.node}, after {s.ended - s.began:.3f} s: {s.status} {s.code}"
        for r in crew.history.requests
        for s in r.said
        if s.status in (0, 503)
    ]
    assert failed == []
    await crew.check()

"""The generator of `cluster`: its own process; commands as JSON lines on stdin, answers on stdout."""

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import Sequence

import msgspec
import uvloop

from bench import histogram
from bench.cluster_jobs import Answer, Begin, Begun, Command, Follow, Followed, Measured, Settle, Together
from bench.cluster_meter import QuickMeter
from bench.cluster_users import Users
from bench.http_load import measure
from bench.live import Failed
from bench.live_changes import Changes
from bench.load import Outcome
from bench.stats import percentile
from bench.subscribers import Hub, subscriber_of
from bench.telling import tell
from bench.usage import Usage

SETTLE_SECONDS = 30.0


async def together(command: Together) -> Measured:
    """All jobs at once, and one look at the processors over the window they share."""
    meter, [first, *_] = QuickMeter(command.watch), command.jobs

    async def usage() -> Usage:
        await asyncio.sleep(first.warmup)
        meter.begin()
        await asyncio.sleep(first.seconds)
        return meter.read()

    used, *outcomes = await asyncio.gather(usage(), *(measure(job) for job in command.jobs))
    return Measured(outcome=as_one(outcomes, used))


def as_one(outcomes: Sequence[Outcome], used: Usage) -> Outcome:
    """The jobs' outcomes as if they were one: rates add up."""
    operations = sum(o.operations for o in outcomes)
    latencies = histogram.merged(o.hdr for o in outcomes)
    errors: Counter[str] = Counter()
    for outcome in outcomes:
        errors.update(outcome.errors)
    rate = sum(o.rate for o in outcomes)
    # The windows differ by the milliseconds that it takes to open them.
    seconds = operations / rate if rate else used.seconds
    share = seconds / used.seconds
    return Outcome(
        operations=operations,
        seconds=seconds,
        p50=histogram.percentile_ms(latencies, 0.50),
        p99=histogram.percentile_ms(latencies, 0.99),
        worst=histogram.worst_ms(latencies),
        cpu={name: spent * share for name, spent in used.trees.items()},
        generator_cpu=used.own * share,
        others_cpu=used.others * share,
        errors=dict(errors),
        sample_error=next((o.sample_error for o in outcomes if o.sample_error), ""),
        exhausted=any(o.exhausted for o in outcomes),
        ids=[id_ for o in outcomes for id_ in o.ids],
        good=sum(o.good for o in outcomes),
        hdr=histogram.encode(latencies),
    )


async def follow(command: Follow) -> Followed | Failed:
    """One viewer; each change is made once the viewer has the one before."""
    hub, meter = Hub(command.view, 1), QuickMeter(command.watch)
    await asyncio.get_running_loop().create_connection(lambda: subscriber_of(hub), "127.0.0.1", command.viewer_port)
    async with asyncio.timeout(SETTLE_SECONDS):
        await hub.all_ready.wait()
    changes = Changes(hub, command.client_id)
    work = asyncio.create_task(changes.work(command.starts))
    await asyncio.sleep(command.warmup)
    meter.begin()
    first = len(changes.latencies)
    await asyncio.sleep(command.seconds)
    window, usage = sorted(took for _, took in changes.latencies[first:]), meter.read()
    changes.stop()
    _, late = await asyncio.wait([work], timeout=SETTLE_SECONDS)
    if late:
        hub.fail("a change did not reach its viewer")
    hub.close()
    if hub.failure or not window:
        return Failed(failure=hub.failure or "no change was made")
    return Followed(
        changes=len(window),
        seconds=usage.seconds,
        p50=percentile(window, 0.5) * 1000,
        p99=percentile(window, 0.99) * 1000,
        cpu=usage.trees,
        others_cpu=usage.others,
    )


class Desk:
    """Carries out commands; people go on booking in between."""

    def __init__(self) -> None:
        self._users: Users | None = None

    async def answer(self, command: Command) -> Answer:
        """The answer, or why its numbers must not be reported."""
        try:
            return await self._do(command)
        except (OSError, RuntimeError) as error:
            return Failed(failure=f"{type(error).__name__}: {error}")

    async def _do(self, command: Command) -> Answer:
        if isinstance(command, Together):
            return await together(command)
        if isinstance(command, Follow):
            return await follow(command)
        if isinstance(command, Begin):
            self._users = Users(command)
            return Begun()
        assert isinstance(command, Settle)
        assert self._users is not None, "begin first"
        users, self._users = self._users, None
        settled = await users.settle()
        # Nobody books now, so the pause hurts nobody.
        gc.collect()
        return settled


async def serve() -> None:
    """Answer commands until stdin ends."""
    loop, desk = asyncio.get_running_loop(), Desk()
    while line := await loop.run_in_executor(None, sys.stdin.buffer.readline):
        tell(await desk.answer(msgspec.json.decode(line, type=Command)))


def main() -> None:
    gc.disable()  # this process only: a pause here would be booked to the server
    uvloop.run(serve())


if __name__ == "__main__":
    main()

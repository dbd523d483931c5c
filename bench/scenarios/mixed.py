"""A booking site's day: reads, holds, bookings and cancellations in one open stream, and the server's memory in it.

`--seconds 3600` makes it an hour; `SLOTCAST_BENCH_RATE` sets the operations due per second, which are otherwise half
of what a closed loop reaches first.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import mean

from bench import histogram, integrity
from bench.children import Generator
from bench.mixed_job import COMPETING, EXPECTED, LOST, MixedJob, MixedOutcome, Site
from bench.report import DISTURBANCE, Curve, Refused, Row, goal_row
from bench.runner import GRACE_SECONDS, Bench
from bench.scenarios.booking import midnight_in
from bench.slotcast import Slotcast
from bench.usage import resident_bytes

NAME = "mixed"
CALENDARS, CALENDARS_QUICK = 500, 50
# Bookings that stand, four for each calendar on average; the most popular one has some three hundred.
STANDING_EACH = 4
MINUTES = 30
DAYS = 28
OPENS_HOUR, CLOSES_HOUR = 8, 20
CEILING_SECONDS, CEILING_SECONDS_QUICK = 4.0, 0.7
SECONDS_FULL = 60.0
FILLING_SECONDS = 60.0
SHARE = 0.5
OPEN_CONNECTIONS = 64
SAMPLES_MAX = 600
SAMPLE_SECONDS = 0.2
# Before that, memory grows because caches fill for the first time, and says nothing about the hours to come.
JUDGED_FROM_SECONDS = 600.0
GROWTH_PERCENT = 5.0
MEGABYTE = 1024 * 1024


async def run(bench: Bench) -> list[Row]:
    seconds = bench.seconds if bench.quick else max(bench.seconds, SECONDS_FULL)
    count = CALENDARS_QUICK if bench.quick else CALENDARS
    async with AsyncExitStack() as stack:
        # One of its own: what other scenarios left in memory would hide what this one adds.
        slotcast = await Slotcast.start(bench)
        stack.push_async_callback(slotcast.stop)
        service = await slotcast.service(MINUTES)
        calendars = await slotcast.professionals(count, service, f"{OPENS_HOUR:02}:00", f"{CLOSES_HOUR:02}:00")
        site = Site(
            port=slotcast.port,
            token=slotcast.token,
            calendars=calendars,
            service=service,
            client=await slotcast.client(),
            first=midnight_in(2),
            days=DAYS,
            opens=OPENS_HOUR * 3600,
            closes=CLOSES_HOUR * 3600,
            step=MINUTES * 60,
            cap=STANDING_EACH * count,
            story=str(bench.folder / f"{NAME}-story"),
        )
        generator = await Generator.start("bench.mixed_load")
        stack.push_async_callback(generator.stop)
        ceiling = await fill_and_find_ceiling(generator, site, quick=bench.quick, connections=bench.connections)
        rate = wanted_rate() or SHARE * ceiling.rate
        bench.say(f"{NAME}: closed loop {ceiling.rate:,.0f}/s; now {rate:,.0f}/s for {seconds:,.0f} s")
        watch = {"server": slotcast.server.pid, "postgres": bench.postgres.pid}
        warmup = bench.warmup
        job = MixedJob(seconds=seconds, warmup=warmup, connections=OPEN_CONNECTIONS, rate=rate, watch=watch)
        samples: list[tuple[float, float]] = []
        sampling = asyncio.create_task(_sample_memory(bench, slotcast.server.pid, warmup + seconds, samples))
        try:
            outcome = await ask(generator, job)
        finally:
            sampling.cancel()
        story = integrity.read_story(Path(site.story))
        await integrity.check_story("slotcast", slotcast.dsn, calendars, story)
    curve = Curve(scenario=NAME, title="memory over time", x="seconds", y="MB resident", series={"server": samples})
    bench.plot(curve)
    return [
        *memory_rows(samples, seconds),
        *outcome_rows(NAME, outcome, ceiling, rate),
        Row(scenario=NAME, metric="bookings made and verified by SQL", measured=len(story.booked)),
        Row(scenario=NAME, metric="of them cancelled", measured=len(story.cancelled)),
    ]


def wanted_rate() -> float:
    """Operations per second from the environment; 0 where it names none."""
    return float(os.environ.get("SLOTCAST_BENCH_RATE", "0"))


async def fill_and_find_ceiling(generator: Generator, site: Site, *, quick: bool, connections: int) -> MixedOutcome:
    """Make the bookings that stand from the start, then see how much of the mix a closed loop gets done."""
    brought: Site | None = site
    if not site.reads_only:
        filled = await ask(
            generator, MixedJob(site=site, seconds=FILLING_SECONDS, connections=connections, fill_to=site.cap)
        )
        brought = None
        # The last few may meet a taken time, and nobody is left to try again.
        if filled.standing < 0.8 * site.cap:
            raise Refused(f"{NAME}: only {filled.standing} of {site.cap} bookings could be made beforehand")
    seconds = CEILING_SECONDS_QUICK if quick else CEILING_SECONDS
    return await ask(generator, MixedJob(site=brought, seconds=seconds, warmup=seconds / 4, connections=connections))


async def ask(generator: Generator, job: MixedJob) -> MixedOutcome:
    """One stretch of the day; any answer that is neither expected nor a lost competition refuses the run."""
    outcome = await generator.ask(job, MixedOutcome, job.warmup + job.seconds + GRACE_SECONDS)
    if outcome.errors:
        raise Refused(f"{NAME}: answers other than expected {outcome.errors}\n{outcome.sample_error}")
    if not outcome.operations and not job.fill_to:
        raise Refused(f"{NAME}: nothing was answered")
    return outcome


async def _sample_memory(bench: Bench, pid: int, seconds: float, samples: list[tuple[float, float]]) -> None:
    """Resident megabytes of the server by seconds, at most so many, and a word about it ten times."""
    every = max(SAMPLE_SECONDS, seconds / SAMPLES_MAX)
    begun, told = time.monotonic(), 0
    while True:
        at = time.monotonic() - begun
        samples.append((at, resident_bytes(pid) / MEGABYTE))
        if seconds >= JUDGED_FROM_SECONDS and at > (told + 1) * seconds / 10:
            told += 1
            bench.say(f"{NAME}: {at:,.0f} s, server {samples[-1][1]:,.1f} MB")
        await asyncio.sleep(every)


def memory_rows(samples: Sequence[tuple[float, float]], seconds: float) -> list[Row]:
    """Growth from the second quarter to the last; only a long run is held to be flat."""
    end = samples[-1][0]
    second = mean(size for at, size in samples if end / 4 <= at <= end / 2)
    last = mean(size for at, size in samples if at >= end * 3 / 4)
    growth = (last / second - 1) * 100
    metric, sizes = "server memory, growth from the second quarter to the last", f"{second:.1f}..{last:.1f} MB"
    if seconds < JUDGED_FROM_SECONDS:
        row = Row(scenario=NAME, metric=metric, measured=growth, unit="%", spread=sizes)
    else:
        row = goal_row(NAME, metric, growth, GROWTH_PERCENT, direction="<=", unit="%", spread=sizes)
    return [row, Row(scenario=NAME, metric="server memory at the end", measured=last, unit="MB")]


def outcome_rows(scenario: str, outcome: MixedOutcome, ceiling: MixedOutcome, rate: float) -> list[Row]:
    """Rates, the mix as it came to be, and per kind of operation the latency from when it was due."""

    def row(metric: str, measured: float, unit: str = "") -> Row:
        return Row(scenario=scenario, metric=metric, measured=measured, unit=unit, values=[measured])

    competed = [counts for kind, counts in outcome.answers.items() if kind in COMPETING]
    lost, tried = sum(c.get(LOST, 0) for c in competed), sum(sum(c.values()) for c in competed)
    rows = [
        row("closed-loop ceiling", ceiling.rate, "/s"),
        row("open loop, due", rate, "/s"),
        row("open loop, answered", outcome.rate, "/s"),
        row("most operations waiting for a connection", outcome.most_behind),
        row("connections made anew", outcome.reconnects),
        row("bookings that stand at the end", outcome.standing),
        row("of holds and bookings, lost to somebody else", lost / max(1, tried) * 100, "%"),
    ]
    for kind in filter(outcome.answers.__contains__, EXPECTED):
        count, latencies = sum(outcome.answers[kind].values()), histogram.decode(outcome.hdr[kind])
        rows.append(row(f"{kind}, of a hundred operations", count * 100 / outcome.operations))
        for label, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
            rows.append(row(f"{kind} {label} (open loop)", histogram.percentile_ms(latencies, share), "ms"))
        rows.append(row(f"{kind} worst (open loop)", histogram.worst_ms(latencies), "ms"))
    everything = histogram.merged(outcome.hdr.values())
    rows += [
        row("all p99 (open loop)", histogram.percentile_ms(everything, 0.99), "ms"),
        row("all p99.9 (open loop)", histogram.percentile_ms(everything, 0.999), "ms"),
    ]
    for name, spent in (*outcome.cpu.items(), ("generator", outcome.generator_cpu)):
        rows.append(row(f"CPU of {name} per 1,000", spent * 1e6 / max(1, outcome.operations), "ms"))
    disturbed = outcome.others_cpu / outcome.metered / (os.cpu_count() or 1) * 100
    return [*rows, row(DISTURBANCE, disturbed, "%")]

"""The generator and the runner: what is measured, what is counted, and what refuses a run."""

import asyncio
import itertools
import os
import random
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bench import children, histogram, http_load, plans
from bench.children import Listener
from bench.http_load import Arrivals, Connection, Tally, measure
from bench.load import Bookings, Job, Outcome, request_text
from bench.report import Refused
from bench.rows import detail_rows, ratio_row
from bench.runner import Bench, Contender, accept, by_concurrency, open_loop, run_job, take_turns
from bench.stats import percentile

STALL_S = 0.3
Handler = Callable[[web.Request], Any]


@pytest.fixture
async def listen(aiohttp_server: Any) -> AsyncIterator[Callable[[Handler], Any]]:
    """Start a server whose every path is the handler, and give its port."""

    async def start(handler: Handler) -> int:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        server = await aiohttp_server(app)
        return int(server.port)

    return start


def job(port: int, **fields: Any) -> Job:
    defaults: dict[str, Any] = {"expect": 200, "seconds": 0.3, "warmup": 0.05, "connections": 4}
    cycle = [] if "bookings" in fields else [request_text("GET", "/", port, "token")]
    return Job(**{"port": port, "cycle": cycle, **defaults, **fields})


def outcome(**fields: Any) -> Outcome:
    zero = {"operations": 0, "seconds": 1.0, "p50": 0.0, "p99": 0.0, "worst": 0.0, "cpu": {}, "errors": {}}
    return Outcome(**{**zero, "generator_cpu": 0.0, "others_cpu": 0.0, **fields})


def statuses(*codes: int) -> Handler:
    """Answer with these statuses in turn."""
    turn = itertools.cycle(codes)

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"id": "x"}, status=next(turn))

    return answer


def stalling_once() -> Handler:
    """Answer at once, but for a while that begins as long after the first request."""
    begun: list[float] = []

    async def answer(_: web.Request) -> web.Response:
        now = asyncio.get_running_loop().time()
        begun[:] = begun or [now]
        if STALL_S <= now - begun[0] < 2 * STALL_S:
            await asyncio.sleep(begun[0] + 2 * STALL_S - now)
        return web.Response(text="ok")

    return answer


async def test_an_open_loop_charges_a_stall_to_all_who_would_have_waited(listen: Any) -> None:
    port = await listen(stalling_once())
    seen = await measure(job(port, rate=400.0, seconds=0.6, warmup=0.1))
    assert seen.errors == {}
    # Half of the window's arrivals fell into the stall, and the first of them waited for all of it.
    assert seen.worst > 240
    assert seen.p99 > 240
    assert histogram.percentile_ms(histogram.decode(seen.hdr), 0.8) > 60
    assert seen.waited > 50


async def test_a_closed_loop_hides_the_same_stall(listen: Any) -> None:
    port = await listen(stalling_once())
    seen = await measure(job(port, seconds=0.6, warmup=0.1))
    assert seen.worst > 240
    slow = sum(ms > 200 for ms in recorded(seen))
    assert slow <= 4, "only the requests in flight when it began"


def recorded(seen: Outcome) -> list[float]:
    """Every latency of an outcome in milliseconds, as exact as its histogram is."""
    entries = histogram.decode(seen.hdr).get_recorded_iterator()
    return [entry.value_iterated_to / 1000 for entry in entries for _ in range(entry.count_added_in_this_iter_step)]


async def test_arrivals_come_at_the_wanted_rate_whatever_the_server_does(listen: Any) -> None:
    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(0.01)
        return web.Response(text="ok")

    # Four connections can carry at most 400/s; 1,000/s are due.
    seen = await measure(job(await listen(slow), rate=1000.0, seconds=0.3))
    assert 850 < seen.offered < 1150
    assert seen.rate < 450
    assert seen.p50 > 150, "those in line are charged from when they were due"


async def test_requests_that_nobody_could_take_are_an_error(listen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_load, "DRAIN_SECONDS", 0.1)

    async def silent(_: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.Response()

    seen = await measure(job(await listen(silent), rate=200.0, seconds=0.2))
    assert seen.errors["unsent"] > 10
    assert seen.errors["unanswered"] == 1
    with pytest.raises(Refused, match="unsent"):
        accept("any", "slow", seen)


def test_arrivals_are_poisson_and_repeatable() -> None:
    def gaps(seed: int) -> list[float]:
        source = Arrivals(job(1, rate=100.0, seed=seed)).gaps
        return [source.expovariate(100.0) for _ in range(2000)]

    assert gaps(1) == gaps(1)
    assert gaps(1) != gaps(2)
    mean = sum(gaps(1)) / 2000
    deviation = (sum((gap - mean) ** 2 for gap in gaps(1)) / 2000) ** 0.5
    assert mean == pytest.approx(0.01, rel=0.1)
    assert deviation == pytest.approx(mean, rel=0.15), "of exponential gaps the deviation is the mean"


async def test_errors_are_counted_by_code_and_refuse_the_run(listen: Any) -> None:
    seen = await measure(job(await listen(statuses(200, 500, 200, 503))))
    assert set(seen.errors) == {"500", "503"}
    assert seen.answers["500"] > 0
    assert seen.good == seen.answers["200"] < seen.operations
    assert '"id": "x"' in seen.sample_error
    with pytest.raises(Refused, match="book-hot them"):
        accept("book-hot", "them", seen)


async def test_an_accepted_status_is_an_answer_but_no_goodput(listen: Any) -> None:
    seen = await measure(job(await listen(statuses(200, 409)), accept=[409], keep_ids=True))
    accept("contend", "us", seen)
    assert seen.errors == {}
    assert seen.operations == sum(seen.answers.values())
    assert seen.goodput == pytest.approx(seen.answers["200"] / seen.seconds)
    assert seen.goodput < seen.rate
    assert set(seen.ids) == {"x"}


async def test_a_plan_that_runs_out_refuses_the_run(listen: Any) -> None:
    port = await listen(statuses(200))
    plan = Bookings(heads=[request_text("GET", "/", port, "t")], tail="", first=0, step=60, count=5)

    def head_only(_: Job) -> Any:
        return iter([request_text("GET", "/", port, "t").encode()] * 5)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plans, "requests_of", head_only)
        for rate in (0.0, 1000.0):
            seen = await measure(job(port, bookings=plan, rate=rate))
            with pytest.raises(Refused, match="ran out of distinct slots"):
                accept("book-hot", "us", seen)


async def test_a_lost_connection_is_an_error() -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    server = await asyncio.start_server(rude, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for rate in (0.0, 20.0):
        seen = await measure(job(port, rate=rate, seconds=0.1, connections=2))
        assert seen.errors["connection lost"] == 2
    server.close()


@pytest.mark.parametrize("compact", [True, False])
def test_an_answer_may_come_in_any_pieces(compact: bool) -> None:
    answer = b"HTTP/1.1 200 OK\r\nX-A: b\r\ncontent-LENGTH: 12\r\n\r\n" + (
        b'{"id":"one"}' if compact else b'{"id": "1" }'
    )
    for sizes in ([1] * len(answer), [20, 3, 30, 10], [len(answer)], [len(answer) - 1, 1]):
        tally = Tally(job(1, keep_ids=True))
        tally.stopping = True
        connection = Connection(tally)
        tally.in_flight, connection.busy, rest = 1, True, answer
        for size in sizes:
            assert not tally.latencies, "it was answered before all of it was there"
            connection.data_received(rest[:size])
            rest = rest[size:]
        assert list(tally.statuses) == [200]
        assert tally.kept == (b"one\n" if compact else b"1\n")


def test_histograms_agree_with_exact_percentiles() -> None:
    source = random.Random(7)
    for scale in (0.0002, 0.004, 0.3):
        values = [source.lognormvariate(0, 1) * scale for _ in range(50_000)]
        found, ordered = histogram.of_seconds(values), sorted(values)
        for share in (0.5, 0.9, 0.99, 0.999):
            exact = percentile(ordered, share) * 1000
            # A thousandth, beside the whole microseconds that go in.
            assert histogram.percentile_ms(found, share) == pytest.approx(exact, rel=0.001, abs=0.001)
        assert histogram.worst_ms(found) == pytest.approx(ordered[-1] * 1000, rel=0.001)
        again = histogram.decode(histogram.encode(found))
        assert histogram.percentile_ms(again, 0.99) == histogram.percentile_ms(found, 0.99)
        both = histogram.merged([histogram.encode(found)] * 2)
        assert both.get_total_count() == 100_000


def test_a_spectrum_ends_where_values_stand_alone() -> None:
    found = histogram.spectrum(histogram.of_seconds([n / 1000 for n in range(1, 1001)]))
    assert found[-1][0] == pytest.approx(1000, rel=0.13)
    assert found[-1][1] == pytest.approx(999, rel=0.002)
    at_ten = min(found, key=lambda point: abs(point[0] - 10))
    assert at_ten[1] == pytest.approx(900, rel=0.002)
    assert histogram.spectrum(histogram.of_seconds([])) == []


def test_percentiles_are_nearest_rank() -> None:
    hundred = [float(n) for n in range(1, 101)]
    assert [percentile(hundred, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert percentile([], 0.5) == 0.0


def test_an_outcome_divides_by_what_it_says() -> None:
    seen = outcome(operations=2000, good=500, seconds=4.0, cpu={"server": 3.0}, generator_cpu=1.0)
    assert seen.rate == 500
    assert seen.goodput == 125
    assert seen.cpu_per_thousand("server") == 1.5
    assert seen.cpu_per_thousand("generator") == 0.5
    assert seen.cpu_per_thousand("nobody") == 0.0
    with pytest.raises(Refused, match="nothing was answered"):
        accept("any", "us", outcome())


def test_ratios_are_taken_within_each_repetition() -> None:
    ours, theirs = contender("slotcast", 1), contender("rowlock", 1)
    # The machine was twice as fast in the second turn; the ratio never changed.
    for mine, yours in ((1000, 100), (2000, 200), (1100, 110)):
        ours.outcomes.append(outcome(operations=mine, good=mine))
        theirs.outcomes.append(outcome(operations=yours, good=yours))
    row = ratio_row("book-hot", ours, theirs, 15.0)
    assert (row.measured, row.values, row.met, row.metric) == (10.0, [10.0] * 3, False, "rate vs rowlock")
    assert ratio_row("book-hot", ours, theirs, 5.0).met
    assert ratio_row("book-hot", ours, theirs, None).goal is None


def contender(name: str, port: int, **fields: Any) -> Contender:
    server: Any = Listener.__new__(Listener)
    return Contender(name, server, lambda _: job(port, **fields))


def bench(folder: Path, **fields: Any) -> Bench:
    return Bench(
        **{
            "folder": folder,
            "repetitions": 1,
            "seconds": 0.2,
            "quick": True,
            "connections": 4,
            "warmup": 0.05,
            **fields,
        }
    )


async def test_turns_alternate_and_an_open_loop_keeps_its_outcomes_apart(
    listen: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    port, turns, indices = await listen(statuses(200)), [], []

    async def here(asked: Job) -> Outcome:
        turns.append(asked.connections)
        return await measure(asked)

    monkeypatch.setattr("bench.runner.run_job", here)
    monkeypatch.setattr("bench.runner.CONCURRENCY", (1, 8, 32))

    def made(name: str, connections: int) -> Contender:
        def one(repetition: int) -> Job:
            indices.append((name, repetition))
            return job(port, connections=connections, seconds=0.1, warmup=0.01, keep_ids=True)

        side = contender(name, port)
        side.job = one
        return side

    a, b = made("a", 1), made("b", 2)
    frame = bench(tmp_path, repetitions=3, quick=False)
    await take_turns(frame, "book-hot", [a, b])
    assert turns == [1, 2, 2, 1, 1, 2]
    assert len(a.outcomes) == len(b.outcomes) == 3
    rows = await open_loop(frame, "book-hot", a, 300.0)
    await by_concurrency(frame, "book-hot", [a])
    assert turns[6:] == [1, 1, 1, 1, 8, 32]
    # Every run books other slots: no index comes twice.
    assert [index for name, index in indices if name == "a"] == list(range(9))
    assert len(a.outcomes) == 3
    assert len(a.extra) == 6
    assert len(a.acknowledged()) > sum(len(o.ids) for o in a.outcomes)
    metrics = {row.metric for row in rows}
    assert {"a at 50 % p50", "a at 70 % p99.9", "a at 90 % max", "a at 90 % goodput"} <= metrics
    spectrum, throughput = frame.curves
    assert list(spectrum.series) == ["50 %, 150/s", "70 %, 210/s", "90 %, 270/s"]
    assert [x for x, _ in throughput.series["a"]] == [1, 8, 32]
    assert any(row.metric == "a rate" and len(row.values) == 3 for row in detail_rows("book-hot", [a, b]))


async def test_a_job_runs_in_a_process_of_its_own_and_memory_is_sampled(listen: Any) -> None:
    seen = await run_job(job(await listen(statuses(200)), watch={"server": os.getpid()}))
    assert seen.operations > 0
    assert seen.cpu["server"] >= 0
    assert seen.peak_memory["server"] > 10_000_000


async def test_a_generator_tells_all_of_a_long_answer_to_a_slow_reader(tmp_path: Path) -> None:
    (tmp_path / "stub_teller.py").write_text(TELLER)
    ours, theirs = socket.socketpair()
    # Unbuffered, as many containers have it: a signal that comes during a write then cuts the write short.
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    with theirs:
        process = await asyncio.create_subprocess_exec(
            sys.executable, tmp_path / "stub_teller.py", stdout=theirs.fileno(), env=environment
        )
    answers, writer = await asyncio.open_connection(sock=ours, limit=16)
    told = b""
    async with asyncio.timeout(20):
        while piece := await answers.read(65_536):
            told += piece
            await asyncio.sleep(0)
    writer.close()
    assert await process.wait() == 0
    assert told == b'"' + b"y" * 3_000_000 + b'"\n'


TELLER = """
import signal
from bench.telling import tell

signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
tell("y" * 3_000_000)
signal.setitimer(signal.ITIMER_REAL, 0)
"""

STUB = """
import json, sys, time
for line in sys.stdin.buffer:
    asked = json.loads(line)
    if asked == "die":
        sys.exit(3)
    if asked == "hang":
        time.sleep(60)
    sys.stdout.buffer.write(b'"' + b"y" * 200_000)
    sys.stdout.buffer.flush()
    time.sleep(0.15)
    sys.stdout.buffer.write(b"y" * 100_000 + b'"' + b"\\n")
    sys.stdout.buffer.flush()
"""


async def test_a_generator_may_answer_slowly_but_not_never(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stub_generator.py").write_text(STUB)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    generator = await children.Generator.start("stub_generator")
    assert len(await generator.ask("more", str, 20)) == 300_000
    assert len(await generator.ask("more", str, 20)) == 300_000
    with pytest.raises(Refused, match="died"):
        await generator.ask("die", str, 20)
    await generator.stop()
    silent = await children.Generator.start("stub_generator")
    with pytest.raises(Refused, match="no answer within"):
        await silent.ask("hang", str, 0.2)
    await silent.stop()

"""Prometheus metrics. What the runtime counts in plain integers is read when someone scrapes."""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from storage.meter import Meter

_REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_COMMIT_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5)
_BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_LAG_EVERY_S: Final = 0.5


class Metrics(Meter):
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self._requests = RequestDurations()
        r.register(self._requests)
        self.connections = Gauge("slotcast_live_connections", "Open live connections", ["carrier"], registry=r)
        self.slow_sockets = Counter(
            "slotcast_slow_sockets_total", "Sockets that fell behind, and those cut", ["what"], registry=r
        )
        self._batch_events = Histogram(
            "slotcast_batch_events", "Events per journal batch", buckets=_BATCH_BUCKETS, registry=r
        )
        self._commit = Histogram(
            "slotcast_commit_seconds", "Time to commit a journal batch", buckets=_COMMIT_BUCKETS, registry=r
        )
        self._query = Histogram(
            "slotcast_query_seconds", "Time of other database work, waiting for a connection included",
            buckets=_COMMIT_BUCKETS, registry=r,
        )  # fmt: skip
        self._refused = Counter(
            "slotcast_journal_refused_total", "Entries the database refused", ["reason"], registry=r
        )
        self.loop_lag = Histogram(
            "slotcast_loop_lag_seconds", "How late the event loop runs", buckets=_COMMIT_BUCKETS, registry=r
        )
        self.lag_s = 0.0
        self.request = self._requests.observe

    def batch(self, events: int, seconds: float) -> None:
        self._batch_events.observe(events)
        self._commit.observe(seconds)

    def refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def query(self, seconds: float) -> None:
        self._query.observe(seconds)

    def collect_from(self, read: "Callable[[], Iterable[Reading]]") -> None:
        """Exports what `read` returns at every scrape."""
        self.registry.register(_Reader(read))

    async def watch_loop(self) -> None:
        """Measures how late the loop wakes this task, until cancelled."""
        while True:
            due = time.perf_counter() + _LAG_EVERY_S
            await asyncio.sleep(_LAG_EVERY_S)
            self.lag_s = max(0.0, time.perf_counter() - due)
            self.loop_lag.observe(self.lag_s)


class RequestDurations(Collector):
    """A histogram like the library's, without its locks: one loop observes, and a request pays for it."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, int], list[float]] = {}

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        counts = self._found.get((route, method, status))
        if counts is None:
            # One count per bucket, one beyond them all, and the sum.
            counts = self._found[route, method, status] = [0.0] * (len(_REQUEST_BUCKETS) + 2)
        counts[bisect_left(_REQUEST_BUCKETS, seconds)] += 1
        counts[-1] += seconds

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(
            "slotcast_request_seconds", "Time to answer a request", labels=["route", "method", "status"]
        )
        bounds = [*(floatToGoString(b) for b in _REQUEST_BUCKETS), "+Inf"]
        for (route, method, status), counts in list(self._found.items()):
            buckets = list(zip(bounds, accumulate(counts[:-1]), strict=True))
            family.add_metric([route, method, str(status)], buckets, counts[-1])
        yield family


Reading = tuple[str, str, str, dict[tuple[str, ...], float], tuple[str, ...]]
"""`gauge` or `counter`, name, help, values by label values, label names."""


class _Reader(Collector):
    def __init__(self, read: Callable[[], Iterable[Reading]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        for kind, name, text, values, labels in self._read():
            family = (GaugeMetricFamily if kind == "gauge" else CounterMetricFamily)(name, text, labels=labels)
            for label_values, value in values.items():
                family.add_metric(label_values, value)
            yield family

"""Prometheus metrics. What the runtime counts in plain integers is read when someone scrapes."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from storage.meter import Meter

_REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_COMMIT_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5)
_BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_LAG_EVERY_S: Final = 0.5


class Metrics(Meter):
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self._requests = Histogram(
            "slotcast_request_seconds", "Time to answer a request", ["route", "method", "status"],
            buckets=_REQUEST_BUCKETS, registry=r,
        )  # fmt: skip
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
        # A labelled child is looked up once; the hot path calls only `observe`.
        self._children: dict[tuple[str, str, int], Callable[[float], None]] = {}

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        observe = self._children.get((route, method, status))
        if observe is None:
            observe = self._requests.labels(route, method, str(status)).observe
            self._children[route, method, status] = observe
        observe(seconds)

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
            self.loop_lag.observe(max(0.0, time.perf_counter() - due))


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

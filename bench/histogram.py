"""Latencies in HDR histograms: microseconds with three significant digits, as text between processes."""

from collections import Counter
from collections.abc import Iterable

from hdrh.histogram import HdrHistogram

LONGEST_US = 600_000_000
DIGITS = 3
# Where a spectrum is read: 1/(1-p) from 1 to the number of values, so many points to each factor of ten.
POINTS_PER_DECADE = 20


def of_seconds(latencies: Iterable[float]) -> HdrHistogram:
    """A histogram of latencies given in seconds; what is shorter or longer than it can hold is put at its ends."""
    histogram = HdrHistogram(1, LONGEST_US, DIGITS)
    for microseconds, times in Counter(round(value * 1e6) for value in latencies).items():
        histogram.record_value(min(max(1, microseconds), LONGEST_US), times)
    return histogram


def encode(histogram: HdrHistogram) -> str:
    return bytes(histogram.encode()).decode()


def decode(text: str) -> HdrHistogram:
    return HdrHistogram.decode(text)


def merged(texts: Iterable[str]) -> HdrHistogram:
    """One histogram of all that were encoded."""
    whole = HdrHistogram(1, LONGEST_US, DIGITS)
    for text in texts:
        whole.add(decode(text))
    return whole


def percentile_ms(histogram: HdrHistogram, share: float) -> float:
    """Milliseconds below which this share of values lies, 0..1; 0 when there are none."""
    if not histogram.get_total_count():
        return 0.0
    return histogram.get_value_at_percentile(share * 100) / 1000


def worst_ms(histogram: HdrHistogram) -> float:
    return histogram.get_max_value() / 1000 if histogram.get_total_count() else 0.0


def spectrum(histogram: HdrHistogram) -> list[tuple[float, float]]:
    """Points (1/(1-p), latency in ms) from p10 up to the last value that stands alone: at 1,000 on x is p99.9."""
    total, points = histogram.get_total_count(), []
    step = 10 ** (1 / POINTS_PER_DECADE)
    x = step
    while x <= total:
        points.append((x, percentile_ms(histogram, 1 - 1 / x)))
        x *= step
    return points

"""Small statistics over one run's measurements."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """Median with the lowest and highest of the repetitions; the unit is that of the inputs."""

    median: float
    low: float
    high: float
    values: tuple[float, ...] = ()

    def text(self, digits: int = 2) -> str:
        return f"{self.low:.{digits}f}..{self.high:.{digits}f}"


def spread(values: Sequence[float]) -> Spread:
    """Median, minimum and maximum of one value per repetition."""
    return Spread(statistics.median(values), min(values), max(values), tuple(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ratio within each repetition, then its median: both sides saw the same moment of the machine."""
    return spread([a / b if b else 0.0 for a, b in zip(ours, theirs, strict=True)])


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest-rank percentile of values sorted ascending; `share` lies in 0..1."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

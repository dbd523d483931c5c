"""What the HTTP generator sends: the same requests over and over, or bookings of distinct slots."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import accumulate, cycle

from bench.load import Bookings, Job


def requests_of(job: Job) -> Iterator[bytes]:
    """Its requests one after the other; what is to be sent once comes to an end."""
    if job.bookings is not None:
        requests = _booking_requests(job.bookings)
        # Who answers without booking is faster than slots last, and does not mind to be asked again.
        return cycle(requests) if job.bookings.around else requests
    texts = [text.encode() for text in job.cycle]
    return iter(texts) if job.once else cycle(texts)


def _booking_requests(plan: Bookings) -> Iterator[bytes]:
    # Real bookings do not come in order; ordered starts would flatter any sorted index.
    order = list(range(plan.count))
    random.Random(1).shuffle(order)
    heads = [head.encode() for head in plan.heads]
    tail = plan.tail.encode()

    def middles() -> Iterator[bytes]:
        for index in order:
            moment = datetime.fromtimestamp(plan.first + index * plan.step, UTC)
            yield moment.strftime("%Y-%m-%dT%H:%M:%SZ").encode() + tail

    if plan.zipf > 0:
        yield from _popular_first(heads, list(middles()), plan.zipf)
        return
    for middle in middles():
        for _ in range(plan.attempts):
            for head in heads:
                yield head + middle


def _popular_first(heads: list[bytes], middles: list[bytes], exponent: float) -> Iterator[bytes]:
    """Each request for a calendar drawn by its rank, at its next start; ends with the first that is full."""
    weights = list(accumulate(rank**-exponent for rank in range(1, len(heads) + 1)))
    draw, taken = random.Random(2), [0] * len(heads)
    while True:
        for calendar in draw.choices(range(len(heads)), cum_weights=weights, k=1024):
            if taken[calendar] == len(middles):
                return
            yield heads[calendar] + middles[taken[calendar]]
            taken[calendar] += 1

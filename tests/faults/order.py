"""In which order can it all have happened? The journal is the witness: it gives every answer its place.

An acknowledged change stands at the version of its event; a refusal, a reading and what a watcher was shown stand at
the version they name. What was over before something else began must stand before it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from tests.faults.history import Frame, Request
from tests.faults.tables import Event

MADE_BY: Final = {
    "book": "booking.created",
    "hold": "hold.created",
    "cancel": "booking.cancelled",
    "release": "hold.released",
}


class Mark(msgspec.Struct):
    """Something that stands at a version: asked at `began`, answered at `ended`."""

    began: float
    ended: float
    version: int
    changes: bool
    what: str


class Bounds:
    """What a calendar's version can have been at a time: no less than was told by then, no more than was asked."""

    def __init__(self, marks: Iterable[Mark], last: int) -> None:
        self.last = last
        by_end = sorted((m for m in marks), key=lambda m: m.ended)
        self._ends = [m.ended for m in by_end]
        self._tops: list[Mark] = []
        for mark in by_end:
            top = self._tops[-1] if self._tops else mark
            self._tops.append(mark if mark.version > top.version else top)
        by_begin = sorted((m for m in marks if m.changes), key=lambda m: m.began)
        self._begins = [m.began for m in by_begin]
        self._lows = [m.version for m in by_begin]
        for i in range(len(self._lows) - 2, -1, -1):
            self._lows[i] = min(self._lows[i], self._lows[i + 1])

    def before(self, at: float) -> Mark | None:
        """The latest state that somebody was told of before a time."""
        index = bisect_left(self._ends, at)
        return self._tops[index - 1] if index else None

    def floor(self, at: float) -> int:
        top = self.before(at)
        return top.version if top is not None else 0

    def ceiling(self, at: float) -> int:
        """The last version that nobody asked for only afterwards."""
        index = bisect_left(self._begins, at)
        return self._lows[index] - 1 if index < len(self._lows) else self.last


def made_by_key(events: Iterable[Event]) -> dict[str, list[Event]]:
    """What each request left in the journal, without the ends of holds that were in its way."""
    made: dict[str, list[Event]] = {}
    for event in events:
        if event.type in MADE_BY.values():
            made.setdefault(event.key, []).append(event)
    return made


def marks_of(requests: Iterable[Request], frames: Iterable[Frame], made: Mapping[str, list[Event]]) -> list[Mark]:
    """Of one calendar."""
    marks = [m for r in requests for m in _mark(r, made.get(r.key, []))]
    seen = 0
    for frame in sorted(frames, key=lambda f: f.at):
        version = frame.message.get("version", 0)
        # Later frames of the same version prove nothing more.
        if frame.message["type"] in ("snapshot", "delta") and version > seen:
            seen = version
            marks.append(Mark(-1.0, frame.at, version, False, f"watcher {frame.watcher}"))
    return marks


def _mark(request: Request, made: list[Event]) -> Iterator[Mark]:
    first = request.answer
    if made:
        # The event names the attempt that was decided, which narrows the time it can have been.
        number = int(made[0].request_id.partition(".")[2] or 1)
        began = next((s.began for s in request.said if s.number == number), 0.0)
        ended = first.ended if first is not None and first.status < 300 else float("inf")
        yield Mark(began, ended, made[0].version, True, f"{request.kind} {request.key}")
    elif first is not None and isinstance(first.body, dict) and request.kind != "look":
        version = first.body.get("version" if request.kind == "slots" else "calendar_version")
        if version is not None:
            yield Mark(request.said[0].began, first.ended, version, False, f"{request.kind} {request.key}")


def backwards(marks: Iterable[Mark], bounds: Bounds) -> Iterator[str]:
    for mark in marks:
        top = bounds.before(mark.began)
        if top is None or mark.version > top.version or (mark.version == top.version and not mark.changes):
            continue
        yield (
            f"out of order: {mark.what} stands at version {mark.version} and began {mark.began - top.ended:.3f} s "
            f"after {top.what}, at version {top.version}, was over"
        )

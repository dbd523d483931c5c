"""Spans in order of their starts, of which none overlaps another.

They are kept in pieces: putting a span among ten thousand moves those of one piece, and finding it looks at a handful.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import islice
from operator import attrgetter
from typing import Final, Generic, TypeVar

import msgspec

PIECE_MAX: Final = 64
_start: Final = attrgetter("start")


class Span(msgspec.Struct, gc=False):
    """A meeting of `duration` from `start`, with the buffers that are blocked around it."""

    start: int
    duration: int
    before: int
    after: int

    @property
    def end(self) -> int:
        return self.start + self.duration

    @property
    def blocked_from(self) -> int:
        return self.start - self.before

    @property
    def blocked_to(self) -> int:
        return self.start + self.duration + self.after


S = TypeVar("S", bound=Span)


class Line(msgspec.Struct, Generic[S], gc=False):
    pieces: list[list[S]] = []
    starts: "array[int] | None" = None
    """Of the pieces, where there are several. They lie side by side: to look at one span after the other among tens of
    thousands is to wait for memory each time.
    """

    def __iter__(self) -> Iterator[S]:
        for piece in self.pieces:
            yield from piece

    def between(self, from_us: int, to_us: int) -> list[S]:
        """Those whose blocked span touches `[from_us, to_us)`, in order."""
        if not self.pieces:
            return []
        p = self._piece_at(from_us)
        piece = self.pieces[p]
        i = bisect_right(piece, from_us, key=_start)
        # They never overlap, so only the one before can still reach past `from_us`.
        if i and piece[i - 1].blocked_to > from_us:
            i -= 1
        found: list[S] = []
        while True:
            for span in islice(piece, i, None):
                if span.start - span.before >= to_us:
                    return found
                found.append(span)
            p, i = p + 1, 0
            if p == len(self.pieces):
                return found
            piece = self.pieces[p]

    def put(self, span: S) -> None:
        if not self.pieces:
            self.pieces.append([span])
            return
        p = self._piece_at(span.start)
        piece = self.pieces[p]
        i = bisect_right(piece, span.start, key=_start)
        piece.insert(i, span)
        if len(piece) > PIECE_MAX:
            self._split(p)
        elif i == 0:
            self._begins(p)

    def take(self, span: S) -> None:
        """Takes one away that was put there."""
        p = self._piece_at(span.start)
        piece = self.pieces[p]
        i = bisect_left(piece, span.start, key=_start)
        assert piece[i] is span, "no two of a line start together"
        del piece[i]
        if not piece:
            del self.pieces[p]
            if len(self.pieces) <= 1:
                self.starts = None
            elif self.starts is not None:
                del self.starts[p]
        elif i == 0:
            self._begins(p)

    def _piece_at(self, at: int) -> int:
        """The last piece that begins at `at` or before, or the first one."""
        return max(0, bisect_right(self.starts, at) - 1) if self.starts is not None else 0

    def _begins(self, p: int) -> None:
        if self.starts is not None:
            self.starts[p] = self.pieces[p][0].start

    def _split(self, p: int) -> None:
        piece, half = self.pieces[p], PIECE_MAX // 2
        self.pieces[p : p + 1] = [piece[:half], piece[half:]]
        if self.starts is None:
            self.starts = array("q", [first.start for first, *_ in self.pieces])
        else:
            self._begins(p)
            self.starts.insert(p + 1, piece[half].start)

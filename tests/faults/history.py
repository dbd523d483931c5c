"""What users asked, what they were told and when, and what watchers were shown: one file of JSON lines per run.

All times are seconds on one monotonic clock, counted from the beginning of the history. The file ends with the tables
as they were when it was written, so that `python -m tests.faults.checker FILE` needs nothing else.
"""

import itertools
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from tests.faults.tables import Tables

Kind = Literal["book", "hold", "release", "cancel", "slots", "look"]

NOTHING_DONE: Final = frozenset({"unavailable", "overloaded", "deadline_exceeded", "draining", "moved"})
"""What a 503 may say when it promises that nothing was changed. `unknown_outcome` promises nothing."""


class Terms(msgspec.Struct, tag_field="line", tag="terms"):
    """A calendar under test, with the terms of its one service; instants and lengths in microseconds."""

    calendar_id: str
    service_id: str
    first: int
    days: int
    duration: int = 1_800_000_000
    step: int = 1_800_000_000
    before: int = 0
    after: int = 0
    capacity: int = 1

    def starts(self) -> range:
        return range(self.first, self.first + self.days * 86_400_000_000, self.step)


class Said(msgspec.Struct):
    """One attempt and its answer; status 0 when there was none. `through` names the nodes it came by."""

    number: int
    node: str
    began: float
    ended: float
    status: int = 0
    body: Any = None
    retry_after: bool = False
    through: str = ""

    @property
    def code(self) -> str:
        return self.body.get("code", "") if self.status >= 400 and isinstance(self.body, dict) else ""

    @property
    def definite(self) -> bool:
        return self.status not in (0, 503)


class Request(msgspec.Struct, tag_field="line", tag="request"):
    """`key` begins the `X-Request-ID` of each attempt, is a booking's `notes`, and, if `keyed`, the Idempotency-Key."""

    key: str
    kind: Kind
    calendar_id: str
    target: str = ""
    start: str = ""
    hold_id: str | None = None
    keyed: bool = True
    said: list[Said] = []

    @property
    def answers(self) -> list[Said]:
        return [s for s in self.said if s.definite]

    @property
    def refusals(self) -> list[Said]:
        return [s for s in self.said if s.status == 503]

    @property
    def silences(self) -> int:
        return sum(s.status == 0 for s in self.said)

    @property
    def answer(self) -> Said | None:
        return next((s for s in self.said if s.definite), None)

    @property
    def done(self) -> bool:
        """Whether it was acknowledged."""
        return self.answer is not None and self.answer.status < 300


class Frame(msgspec.Struct, tag_field="line", tag="frame"):
    """What a watcher was shown. `connection` counts its connections, `message` is the frame as it came."""

    watcher: int
    calendar_id: str
    connection: int
    node: str
    at: float
    message: dict[str, Any]


class Strike(msgspec.Struct, tag_field="line", tag="strike"):
    """A fault: when it began and ended."""

    name: str
    began: float
    ended: float


class _Head(msgspec.Struct, tag_field="line", tag="history"):
    seed: int
    wall_us: int
    until: float


class _Rows(msgspec.Struct, tag_field="line", tag="tables"):
    tables: Tables


_numbers: Final = itertools.count(1)
_Line = _Head | Terms | Request | Frame | Strike | _Rows
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Line).decode


class History:
    def __init__(self, seed: int = 0, wall_us: int | None = None) -> None:
        self.seed = seed
        self.name = f"s{seed}-{next(_numbers)}"
        """Begins the keys of this run, and of no other on the same database."""
        self.terms: dict[str, Terms] = {}
        self.requests: list[Request] = []
        self.frames: list[Frame] = []
        self.strikes: list[Strike] = []
        self.others: set[str] = set()
        """Keys of what a test has asked by itself."""
        self.until = 0.0
        """When watchers were last compared with the tables, or it was saved."""
        self._zero = time.monotonic()
        self.wall_us = time.time_ns() // 1000 if wall_us is None else wall_us

    def now(self) -> float:
        return time.monotonic() - self._zero

    def wall(self, at: float) -> int:
        """Microseconds since 1970 at a time of this history; nodes and users share the machine's clock."""
        return self.wall_us + round(at * 1_000_000)

    def of(self, kind: Kind) -> list[Request]:
        return [r for r in self.requests if r.kind == kind]

    @property
    def writes(self) -> list[Request]:
        return [r for r in self.requests if r.kind not in ("slots", "look")]

    @property
    def acknowledged(self) -> int:
        return sum(r.done for r in self.writes)

    @property
    def booked(self) -> list[Request]:
        return [r for r in self.requests if r.kind == "book" and r.done]

    @property
    def refusals(self) -> list[Said]:
        return [s for r in self.requests for s in r.refusals]

    def save(self, path: Path, tables: Tables) -> None:
        self.until = self.until or self.now()
        with path.open("wb") as file:
            for line in self._lines(tables):
                file.write(_encode(line) + b"\n")

    def _lines(self, tables: Tables) -> Iterator[_Line]:
        yield _Head(self.seed, self.wall_us, self.until)
        yield from self.terms.values()
        yield from sorted(self.strikes, key=lambda s: s.began)
        yield from self.requests
        yield from self.frames
        yield _Rows(tables)


def load(lines: Iterable[bytes]) -> tuple[History, Tables]:
    """A saved history, and the tables that were saved with it."""
    history, tables = History(), Tables()
    for line in map(_decode, lines):
        match line:
            case _Head():
                history = History(line.seed, line.wall_us)
                history.until = line.until
            case Terms():
                history.terms[line.calendar_id] = line
            case Request():
                history.requests.append(line)
            case Frame():
                history.frames.append(line)
            case Strike():
                history.strikes.append(line)
            case _Rows():
                tables = line.tables
    return history, tables

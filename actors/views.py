"""What subscribers watch: one calendar, one service, one range, one zone. Built once, shared by all who watch it.

A view publishes only what is committed. Changes are computed when an event is decided, carried by its journal entry,
and published when that entry is durable; so what viewers see is never ahead of the database.

Versions: a frame says `from_version` (that of the frame before it) and `version`. Every frame with a version above
`floor` is still in the ring, so a viewer who returns with `since` at or above `floor` misses nothing.
"""

import logging
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from actors.calendar.slots import judge, next_change_by_time, slots_between, starts_between
from actors.calendar.state import Calendar, Service
from protocol import limits
from protocol.frames import Frame
from protocol.live import Delta, SlotView, Snapshot, encode_server
from protocol.times import format_us

log = logging.getLogger("slotcast.views")


class ViewKey(NamedTuple):
    """`service_id` is empty for plain hours; the range is `[from_us, to_us)`."""

    calendar_id: str
    service_id: str
    from_us: int
    to_us: int
    time_zone: str


class Sink(Protocol):
    """One subscriber's connection."""

    def deliver(self, view: "View", frame: Frame) -> None:
        """Takes a frame without waiting; a slow connection is the sink's own problem."""
        ...


State = tuple[str, int, int]
"""A slot's state, free places and duration, as last published."""

Changes = dict[int, State | None]
"""By start; `None` for a start that is no slot any more."""


class View:
    __slots__ = (
        "_ring", "_ring_bytes", "_snapshot", "due", "floor", "id", "idle_since", "key",
        "outdated", "published", "sent_version", "service", "starts", "subscribers", "version",
    )  # fmt: skip

    def __init__(self, view_id: str, key: ViewKey, service: Service, calendar: Calendar, now: int) -> None:
        self.id = view_id
        self.key = key
        self.service = service
        self.subscribers: set[Sink] = set()
        self.idle_since = 0.0
        self.starts: list[int] = []
        self.published: dict[int, State] = {}
        self.version = self.sent_version = calendar.version
        # Who was here before this view was made may have missed what time has changed since, without a new version.
        self.floor = calendar.version + 1
        self.due: int | None = None
        self.outdated = False
        self._ring: deque[tuple[int, Frame]] = deque()
        self._ring_bytes = 0
        self._snapshot: tuple[int, Frame] | None = None
        for slot in slots_between(calendar, service, key.from_us, key.to_us, now):
            self.starts.append(slot.start)
            self.published[slot.start] = (slot.state, slot.remaining, service.duration)
        self.due = next_change_by_time(service, self.starts, now)

    def changes_in(self, calendar: Calendar, spans: Iterable[tuple[int, int]], now: int) -> Changes:
        """The states of the slots that events over `spans` may have changed."""
        s = self.service
        found: Changes = {}
        for a, b in spans:
            low = bisect_right(self.starts, a - s.duration - s.after)
            high = bisect_left(self.starts, b + s.before)
            for start in self.starts[low:high]:
                verdict = judge(calendar, s, start, now)
                found[start] = (verdict.state, verdict.remaining, s.duration)
        return found

    def changes_of_everything(self, calendar: Calendar, service: Service | None, now: int) -> Changes:
        """For new hours or terms: every slot there is now, and `None` for each that was. A service that is no longer
        offered (`None`) has no slots.
        """
        found: Changes = dict.fromkeys(self.starts, None)
        if service is None:
            self.starts, self.due = [], None
            return found
        self.service = service
        self.starts = list(starts_between(calendar, service, self.key.from_us, self.key.to_us))
        del self.starts[limits.slots_per_answer_max :]
        for start in self.starts:
            verdict = judge(calendar, service, start, now)
            found[start] = (verdict.state, verdict.remaining, service.duration)
        self.due = next_change_by_time(service, self.starts, now)
        return found

    def changes_by_time(self, calendar: Calendar, now: int) -> Changes:
        """The states of all slots, for when `now` has passed `due`; sets when to ask next.

        None is left out for being as published: what is on its way to be published may differ.
        """
        found = self.changes_in(calendar, ((self.key.from_us, self.key.to_us),), now)
        self.due = next_change_by_time(self.service, self.starts, now)
        return found

    def publish(self, changes: Changes, version: int) -> bool:
        """Tells every subscriber what differs from what was last told; whether anything does."""
        real = {s: state for s, state in changes.items() if self.published.get(s) != state}
        self.version = version
        if not real:
            return False
        for start, state in real.items():
            if state is None:
                self.published.pop(start, None)
            else:
                self.published[start] = state
        frame = Frame(
            encode_server(
                Delta(
                    view=self.id,
                    from_version=self.sent_version,
                    version=version,
                    changes=[_slot_view(s, state) for s, state in sorted(real.items()) if state],
                    removed=[format_us(s) for s, state in sorted(real.items()) if state is None],
                )
            ),
            version,
        )
        self.sent_version = version
        self._snapshot = None
        self._remember(version, frame)
        for subscriber in tuple(self.subscribers):
            try:
                subscriber.deliver(self, frame)
            except Exception:
                # Whoever commits a batch stands above this call: one subscriber's trouble must not reach it.
                log.exception("a subscriber of view %s failed and is dropped", self.id)
                self.subscribers.discard(subscriber)
        return True

    def rebase(self, version: int) -> None:
        """After the calendar was loaded anew: what was published may rest on events that were never written."""
        self._ring.clear()
        self._ring_bytes = 0
        self.floor = version + 1
        self.sent_version = min(self.sent_version, version)
        self._snapshot = None

    def _remember(self, version: int, frame: Frame) -> None:
        self._ring.append((version, frame))
        self._ring_bytes += len(frame.payload)
        while len(self._ring) > limits.ring_frames_max or self._ring_bytes > limits.ring_bytes_max:
            gone_version, gone = self._ring.popleft()
            self._ring_bytes -= len(gone.payload)
            # A change by time has the version of the frame before it; who saw only that one may have missed this.
            self.floor = gone_version + 1

    def since(self, version: int) -> list[Frame] | None:
        """The frames a viewer at `version` has not seen, oldest first; `None` when a snapshot is needed.

        Frames of the same version are repeated: a change by time carries no version of its own.
        """
        if not self.floor <= version <= self.version:
            return None
        return [frame for v, frame in self._ring if v >= version]

    def snapshot(self) -> Frame:
        """All slots as last published, encoded once per version."""
        if self._snapshot is None or self._snapshot[0] != self.version:
            payload = encode_server(
                Snapshot(
                    view=self.id,
                    version=self.version,
                    time_zone=self.key.time_zone,
                    slots=[_slot_view(s, state) for s, state in sorted(self.published.items())],
                )
            )
            self._snapshot = (self.version, Frame(payload, self.version))
        return self._snapshot[1]


def _slot_view(start: int, state: State) -> SlotView:
    return SlotView(format_us(start), format_us(start + state[2]), state[0], state[1])  # type: ignore[arg-type]

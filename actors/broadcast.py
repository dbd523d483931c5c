"""What a crowd watches: one frame for all of them, and a ring of the last frames for those who return.

Versions: a frame says `from_version` (that of the frame before it) and `version`. Every frame with a version above
`floor` is still in the ring, so a viewer who returns with `since` at or above `floor` misses nothing.
"""

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from protocol import limits
from protocol.derived_ids import view_id
from protocol.frames import Frame
from protocol.live import SlotView, Snapshot, encode_server

log = logging.getLogger("slotcast.views")


class ViewKey(NamedTuple):
    """`service_id` is empty for plain hours; the range is `[from_us, to_us)`; `duration` 0 is the service's usual
    one.
    """

    calendar_id: str
    service_id: str
    from_us: int
    to_us: int
    time_zone: str
    duration: int = 0


class Pipe(Protocol):
    """What of a transport a view needs."""

    def write(self, data: bytes) -> None: ...
    def is_closing(self) -> bool: ...
    def abort(self) -> None: ...


class Sink(Protocol):
    """One subscriber's connection. `direct`, where there is one, takes a frame's WebSocket bytes in place of `deliver`:
    nothing waits before them, and how much has gathered is looked at now and then. When it changes, views are told.
    """

    __slots__ = ()
    direct: Pipe | None = None

    def deliver(self, view: "Broadcast", frame: Frame) -> None:
        """Takes a frame without waiting; a slow connection is the sink's own problem."""
        ...

    def rehomed(self, old: "Broadcast", new: "Broadcast") -> None:
        """From now on `new` stands for `old`, which is never heard of again."""
        ...


class Broadcast:
    """One view, wherever its calendar is decided; `version` is that of what it last told."""

    __slots__ = (
        "_direct", "_others", "_ring", "_ring_bytes", "_snapshot", "_unlooked", "business_id", "floor", "gone", "id",
        "idle_since", "key", "sent_version", "subscribers", "version",
    )  # fmt: skip

    def __init__(self, key: ViewKey, version: int) -> None:
        self.id = self.id_of(key)
        self.key = key
        self.business_id = ""
        """Whose calendar it is, so that it can be asked for elsewhere."""
        self.subscribers: set[Sink] = set()
        self.idle_since = 0.0
        self.gone = False
        """Nothing is told here any more, because its calendar has left."""
        self.version = self.sent_version = version
        # Who was here before this was made may have missed what time has changed since, without a new version.
        self.floor = version + 1
        self._ring: deque[tuple[int, Frame]] = deque()
        self._ring_bytes = 0
        self._unlooked = 0
        """Bytes that were written to subscribers since it was looked at what they take."""
        self._direct: list[Pipe] | None = None
        """Those of the subscribers that have one, and in `_others` those that have not; `None` when that is not known
        any more.
        """
        self._others: list[Sink] = []
        self._snapshot: tuple[int, Frame] | None = None

    @staticmethod
    def id_of(key: ViewKey) -> str:
        return view_id(*key)

    def slots(self) -> list[SlotView]:
        """All slots as last told, by start."""
        raise NotImplementedError

    def tell(self, frame: Frame, version: int) -> None:
        """Gives a frame to everybody, and keeps it for those who return."""
        self.sent_version = version
        self._snapshot = None
        self._remember(version, frame)
        self.show(frame)

    def join(self, sink: Sink) -> None:
        self.subscribers.add(sink)
        self._direct = None

    def leave(self, sink: Sink) -> None:
        self.subscribers.discard(sink)
        self._direct = None

    def regroup(self) -> None:
        """To be told when a subscriber's `direct` changes."""
        self._direct = None

    def show(self, frame: Frame, whom: Iterable[Sink] | None = None) -> None:
        """Gives a frame to everybody, or to some of them; it is no part of the view's story."""
        data = frame.ws
        self._unlooked += len(data)
        if whom is not None or self._unlooked > limits.unlooked_bytes:
            self._unlooked = 0
            for subscriber in tuple(self.subscribers if whom is None else self.subscribers.intersection(whom)):
                self._deliver(subscriber, frame)
            return
        if self._direct is None:
            self._direct = [s.direct for s in self.subscribers if s.direct is not None]
            self._others = [s for s in self.subscribers if s.direct is None]
        others = self._others
        # These lines run for every viewer of every change.
        for pipe in self._direct:
            try:
                pipe.write(data)
            except Exception:
                _broken(pipe, self.id)
        for subscriber in others:
            self._deliver(subscriber, frame)

    def _deliver(self, subscriber: Sink, frame: Frame) -> None:
        try:
            subscriber.deliver(self, frame)
        except Exception:
            # Whoever commits a batch stands above this call: one subscriber's trouble must not reach it.
            log.exception("a subscriber of view %s failed and is dropped", self.id)
            self.leave(subscriber)

    def rehome(self, new: "Broadcast") -> Sequence[Sink]:
        """Everybody who watches this goes on with `new`; who that is."""
        moved = tuple(self.subscribers)
        self.subscribers.clear()
        self._direct = None
        for subscriber in moved:
            try:
                subscriber.rehomed(self, new)
            except Exception:
                log.exception("a subscriber of view %s could not be moved and is dropped", self.id)
        return moved

    def take_over(self, other: "Broadcast") -> None:
        """Goes on where `other` ends, for those who return as well; not with its subscribers."""
        self.version, self.sent_version, self.floor = other.version, other.sent_version, other.floor
        self._ring, self._ring_bytes = deque(other._ring), other._ring_bytes

    def start_over(self, version: int) -> None:
        """Nobody can continue from before `version`: what was told may rest on what was never written."""
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
        """All slots as last told, encoded once per version."""
        if self._snapshot is None or self._snapshot[0] != self.version:
            payload = encode_server(
                Snapshot(view=self.id, version=self.version, time_zone=self.key.time_zone, slots=self.slots())
            )
            self._snapshot = (self.version, Frame(payload, self.version))
        return self._snapshot[1]


def _broken(pipe: Pipe, view_id: str) -> None:
    """One that is closing has only not been taken away yet."""
    if not pipe.is_closing():
        log.exception("a connection of view %s failed and is cut", view_id)
        pipe.abort()

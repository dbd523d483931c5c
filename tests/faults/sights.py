"""Was every watcher shown the truth, in order, and to the end?"""

from collections.abc import Iterable, Iterator
from itertools import chain

import msgspec

from tests.faults.answers import SLACK_US, microseconds
from tests.faults.history import Frame, History
from tests.faults.model import Calendar, State


class Replica(msgspec.Struct):
    """What a watcher holds: the contract's rule for deltas, once more."""

    version: int | None = None
    slots: dict[int, State] = {}
    gaps: int = 0

    def take(self, frame: Frame) -> str:
        """What is wrong about the frame's place in the order."""
        message = frame.message
        version = message["version"]
        held, wrong = self.version, ""
        if held is not None and version < held:
            wrong = f"went back: connection {frame.connection} {message['type']} from version {held} to {version}"
        if message["type"] == "snapshot":
            self.slots = {microseconds(s["start"]): (s["state"], s["remaining"]) for s in message["slots"]}
        elif held is None or message["from_version"] > held:
            # The watcher subscribes again.
            self.gaps += 1
            return wrong
        else:
            for start in message.get("removed", ()):
                self.slots.pop(microseconds(start), None)
            self.slots |= {microseconds(s["start"]): (s["state"], s["remaining"]) for s in message["changes"]}
        self.version = version
        return wrong


def untrue(history: History, calendar: Calendar, frames: Iterable[Frame]) -> Iterator[str]:
    """What one watcher was shown and should not have been. The frames are in the order they came."""
    replica = Replica()
    for frame in frames:
        if frame.message["type"] not in ("snapshot", "delta"):
            continue
        held, gaps = replica.version or 0, replica.gaps
        wrong = replica.take(frame)
        if wrong:
            yield f"{wrong}, watcher {frame.watcher} of {calendar.terms.calendar_id}"
        if replica.gaps == gaps:
            for text in _differences(history, calendar, replica, frame, held):
                yield f"shown: watcher {frame.watcher} connection {frame.connection} {frame.message['type']} {text}"


def _differences(history: History, calendar: Calendar, replica: Replica, frame: Frame, held: int) -> Iterator[str]:
    """Where the replica is not what the model says at the frame's version; after a delta, among what may differ."""
    version, terms = frame.message["version"], calendar.terms
    if version > calendar.version:
        yield f"version {version}, the last is {calendar.version}"
        return
    if frame.message["type"] == "snapshot":
        asked: Iterable[int] = terms.starts()
    else:
        said = (microseconds(s["start"]) for s in frame.message["changes"])
        since = (calendar.touched.get(v, ()) for v in range(held + 1, version + 1))
        asked = {s for s in chain(said, *since) if s in terms.starts()}
    # What a view shows was worked out when its version came about, or since.
    event = calendar.events.get(version)
    ended = history.wall(frame.at) + SLACK_US
    began = min(event.at if event is not None else ended, ended) - SLACK_US
    for start in asked:
        shown = replica.slots.get(start)
        states = calendar.states(start, version, began, ended)
        if shown is None or calendar.seen(*shown) not in states:
            yield f"shows {shown} at {start}, at version {version} it was {states}"


def left_behind(calendar: Calendar, replica: Replica, now: int) -> Iterator[str]:
    """Where a watcher's last state is not what the journal leads to. A change that shows nowhere brings no frame, so
    the replica's version may be an earlier one.
    """
    if replica.version is None:
        yield "has seen nothing"
        return
    for start in calendar.terms.starts():
        shown = replica.slots.get(start)
        states = calendar.states(start, calendar.version, now - SLACK_US, now)
        if shown is None or calendar.seen(*shown) not in states:
            yield f"shows {shown} at {start}, true is {states}"

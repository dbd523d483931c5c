"""What subscribers watch: one calendar, one service, one range, one zone. Built once, shared by all who watch it.

A view publishes only what is committed. Changes are computed when an event is decided, carried by its journal entry,
and published when that entry is durable; so what viewers see is never ahead of the database.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from actors.broadcast import Broadcast, Sink, ViewKey
from actors.calendar.caps import Caps
from actors.calendar.slots import Verdict, judge, next_change_by_time, slots_between, starts_between
from actors.calendar.state import Calendar, Service
from protocol import limits
from protocol.frames import Frame
from protocol.live import Delta, SlotView, encode_server
from protocol.times import DAY, format_us

__all__ = ["Changes", "Sink", "State", "View", "ViewKey"]

State = tuple[str, int, int, int]
"""A slot's state, free places, duration, and when its hold ends, as last published."""

Changes = dict[int, State | None]
"""By start; `None` for a start that is no slot any more."""


class View(Broadcast):
    """A view of a calendar that this node decides for."""

    __slots__ = ("due", "outdated", "published", "service", "starts")

    def __init__(self, key: ViewKey, service: Service, calendar: Calendar, now: int) -> None:
        super().__init__(key, calendar.version)
        self.service = service
        self.starts: list[int] = []
        self.published: dict[int, State] = {}
        self.due: int | None = None
        self.outdated = False
        for slot in slots_between(calendar, service, key.from_us, key.to_us, now):
            self.starts.append(slot.start)
            self.published[slot.start] = (slot.state, slot.remaining, service.duration, slot.until)
        self.due = next_change_by_time(service, self.starts, now)

    def changes_in(self, calendar: Calendar, spans: Iterable[tuple[int, int]], now: int) -> Changes:
        """The states of the slots that events over `spans` may have changed."""
        s = self.service
        caps = Caps(calendar, s, now)
        # One meeting more or less may open or close the rest of its day or week.
        reach = 8 * DAY if s.weekly_cap else 2 * DAY if s.daily_cap else 0
        found: Changes = {}
        for a, b in {(a - reach, b + reach) for a, b in spans}:
            low = bisect_right(self.starts, a - s.duration - s.after)
            high = bisect_left(self.starts, b + s.before)
            for start in self.starts[low:high]:
                if start not in found:
                    found[start] = _state(s, judge(calendar, s, start, now, caps=caps))
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
        caps = Caps(calendar, service, now)
        for start in self.starts:
            found[start] = _state(service, judge(calendar, service, start, now, caps=caps))
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
        self.tell(frame, version)
        return True

    def slots(self) -> list[SlotView]:
        return [_slot_view(s, state) for s, state in sorted(self.published.items())]


def _state(service: Service, v: Verdict) -> State:
    return v.state, v.remaining, service.duration, v.until


def _slot_view(start: int, state: State) -> SlotView:
    name, remaining, duration, until = state
    end = format_us(start + duration)
    return SlotView(format_us(start), end, name, remaining, format_us(until) if until else None)  # type: ignore[arg-type]

"""A view that another node tells: the same for those who watch it here."""

from collections.abc import Iterable

import msgspec

from actors.broadcast import Broadcast, ViewKey
from actors.cluster import messages as m
from protocol.frames import Frame
from protocol.live import Delta, SlotView, Snapshot, encode_server

_decode_snapshot = msgspec.json.Decoder(Snapshot).decode
_decode_delta = msgspec.json.Decoder(Delta).decode


class Replica(Broadcast):
    """`owner` is the member it follows, `number` that of the last message from there.

    Unless it is `fed`, what it shows is what was true when it last was; once that has lasted, who watches is told and
    it is `adrift`: they are owed a snapshot.
    """

    __slots__ = ("_by_start", "_knows", "adrift", "fed", "number", "owner")

    def __init__(self, key: ViewKey, business_id: str) -> None:
        super().__init__(key, 0)
        self.business_id = business_id
        self.owner = ""
        self.number = 0
        self.fed = self.adrift = False
        self._by_start: dict[str, SlotView] = {}
        self._knows = False

    @classmethod
    def of(cls, view: Broadcast) -> "Replica":
        """One that goes on where `view` ends."""
        replica = cls(view.key, view.business_id)
        replica.take_over(view)
        replica._by_start = {slot.start: slot for slot in view.slots()}
        replica._knows = True
        return replica

    def slots(self) -> list[SlotView]:
        return [slot for _, slot in sorted(self._by_start.items())]

    def restore(self, state: m.State) -> None:
        """All of it anew; who watches is told the difference."""
        slots = _decode_snapshot(state.snapshot).slots
        news = self.difference(slots, state.version) if self._knows else None
        self._by_start = {slot.start: slot for slot in slots}
        self.number, self.fed = state.number, True
        if not self._knows:
            self._knows = True
            self.sent_version = state.version
            self.floor = state.version + 1
        self.version = state.version
        if news is not None:
            self.tell(news, state.version)

    def difference(self, slots: Iterable[SlotView], version: int) -> Frame | None:
        """What leads from what was last told here to `slots`. `None` when nothing does, and the next frame fits on."""
        after = {slot.start: slot for slot in slots}
        changes = [slot for start, slot in sorted(after.items()) if self._by_start.get(start) != slot]
        removed = sorted(self._by_start.keys() - after.keys())
        if not changes and not removed and version <= self.sent_version:
            return None
        delta = Delta(view=self.id, from_version=self.sent_version, version=version, changes=changes, removed=removed)
        return Frame(encode_server(delta), version)

    def follow(self, told: m.Told) -> bool:
        """The next frame; `False` when one before it is missing."""
        if told.number != self.number + 1:
            return False
        delta = _decode_delta(told.payload)
        self.number = told.number
        for slot in delta.changes:
            self._by_start[slot.start] = slot
        for start in delta.removed:
            self._by_start.pop(start, None)
        self.version = told.version
        self.tell(Frame(told.payload, told.version), told.version)
        return True

"""Views of what several calendars have free together, kept by the node on which they are watched.

They are made anew from the calendars' answers whenever one of the calendars tells of a change, and every few seconds,
because not every change of a calendar shows in what is watched of it.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from actors.broadcast import Broadcast, Sink, ViewKey
from protocol import limits
from protocol.errors import Refused
from protocol.frames import Frame
from protocol.live import Delta, SlotView, encode_server
from protocol.times import MINUTE, format_us
from server.joined import free_of_team
from storage.meetings import Team

if TYPE_CHECKING:
    from server.node import Node

_GATHERING_S: Final = 0.03
"""A meeting changes several calendars at nearly the same time."""
_ANYWAY_S: Final = 5.0
_RETRY_S: Final = 1.0
_PIECE_US: Final = 5 * MINUTE
_PIECES_MAX: Final = 4_000


class Joint(Broadcast, Sink):
    """`key.calendar_id` is a professional who has to take part, or empty."""

    __slots__ = ("_by_start", "_changed", "_node", "_sources", "closed", "ready")

    def __init__(self, node: "Node", key: ViewKey, business_id: str) -> None:
        super().__init__(key, 0)
        self.business_id = business_id
        self._node = node
        self._by_start: dict[str, SlotView] = {}
        self._sources: dict[ViewKey, Broadcast] = {}
        self._changed = asyncio.Event()
        self.ready = asyncio.Event()
        self.closed = False

    # As a view

    def slots(self) -> list[SlotView]:
        return [slot for _, slot in sorted(self._by_start.items())]

    def since(self, version: int) -> list[Frame] | None:
        """Its versions are of this node and this moment: who returns gets a snapshot."""
        return None

    # As one who watches

    def deliver(self, view: Broadcast, frame: Frame) -> None:
        self._changed.set()

    def rehomed(self, old: Broadcast, new: Broadcast) -> None:
        if self._sources.get(old.key) is old and not self.closed:
            self._sources[old.key] = self._node.switchboard.join(new, self)
        self._changed.set()

    # Keeping up

    async def run(self) -> None:
        """Until nobody has watched it for a while."""
        try:
            while not self._is_idle():
                try:
                    await self._refresh()
                except Refused:
                    # A calendar is on its way between nodes, or the database is away.
                    await asyncio.sleep(_RETRY_S)
                    continue
                self.ready.set()
                await self._until_changed()
        finally:
            self.closed = True
            for view in self._sources.values():
                self._node.switchboard.leave(view, self)

    async def _until_changed(self) -> None:
        try:
            async with asyncio.timeout(_ANYWAY_S):
                await self._changed.wait()
        except TimeoutError:
            return
        await asyncio.sleep(_GATHERING_S)

    def _is_idle(self) -> bool:
        now = asyncio.get_running_loop().time()
        return not self.subscribers and self.idle_since < now - limits.view_linger_s

    async def _refresh(self) -> None:
        self._changed.clear()
        key = self.key
        team = await self._node.desk.together.teams.of(self.business_id, key.service_id)
        named = (key.calendar_id,) if key.calendar_id else ()
        if team is None or not set(named) <= set(team.professional_ids):
            self._show([])
            return
        await self._watch(team)
        free = await free_of_team(
            self._node.switchboard, self.business_id, team, key.from_us, key.to_us, duration=key.duration, named=named
        )
        open_starts = {format_us(start): format_us(end) for (start, end), _ in free}
        seen = [view for view_key, view in self._sources.items() if view_key.service_id]
        self._show(_slots(open_starts, [view.slots() for view in seen]))

    async def _watch(self, team: Team) -> None:
        """Joins what tells of changes in every calendar that counts: slots of those who offer the service, the hours of
        resources in small pieces.
        """
        professionals = team.professional_ids[: limits.professionals_per_service_max]
        wanted = {self.key._replace(calendar_id=p) for p in professionals}
        piece = max(_PIECE_US, -(-(self.key.to_us - self.key.from_us) // _PIECES_MAX))
        wanted |= {self.key._replace(calendar_id=r, service_id="", duration=piece) for r in team.resource_ids}
        for key in self._sources.keys() - wanted:
            self._node.switchboard.leave(self._sources.pop(key), self)
        for key in wanted - self._sources.keys():
            try:
                view = await self._node.switchboard.watch(key, self.business_id)
            except Refused as refused:
                if refused.code not in ("not_found", "service_not_offered", "limit_reached"):
                    raise
                continue
            self._sources[key] = self._node.switchboard.join(view, self)

    def _show(self, slots: Iterable[SlotView]) -> None:
        after = {slot.start: slot for slot in slots}
        changes = [slot for start, slot in sorted(after.items()) if self._by_start.get(start) != slot]
        removed = sorted(self._by_start.keys() - after.keys())
        self._by_start = after
        if not changes and not removed and self.version:
            return
        before, self.version = self.version, max(self.version + 1, time.time_ns() // 1_000_000)
        delta = Delta(view=self.id, from_version=before, version=self.version, changes=changes, removed=removed)
        self.tell(Frame(encode_server(delta), self.version), self.version)


class Joints:
    """Those of one node, by what they show."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._open: dict[tuple[str, ViewKey], Joint] = {}

    async def open(self, key: ViewKey, business_id: str) -> Joint:
        """Ready to be shown and joined. Raises `Refused(limit_reached | unavailable)`."""
        joint = self._open.get((business_id, key))
        if joint is None or joint.closed:
            if len(self._open) >= limits.joint_views_max:
                raise Refused("limit_reached", "too many different views of such services are open")
            joint = self._open[business_id, key] = Joint(self._node, key, business_id)
            self._node.spawn(self._run(joint), "joint view")
        # Whoever asked needs a moment to join.
        joint.idle_since = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(limits.request_deadline_s):
                await joint.ready.wait()
        except TimeoutError:
            raise Refused("unavailable", "not all calendars of this service can be read") from None
        return joint

    async def _run(self, joint: Joint) -> None:
        try:
            await joint.run()
        except Exception:
            self._node.log.exception("a joint view failed")
        finally:
            if self._open.get((joint.business_id, joint.key)) is joint:
                del self._open[joint.business_id, joint.key]


def _slots(open_starts: dict[str, str], seen: Iterable[list[SlotView]]) -> list[SlotView]:
    """Open where everybody and everything needed is free; else as the professionals have it."""
    found: dict[str, SlotView] = {}
    for slots in seen:
        for slot in slots:
            if slot.start in open_starts:
                continue
            state = "booked" if slot.state == "open" else slot.state
            before = found.get(slot.start)
            if before is not None and _RANK[state] == _RANK[before.state]:
                # Parts are held for as long as their leader is, which alone tells until when.
                before.held_until = max(before.held_until or "", slot.held_until or "") or None
            elif before is None or _RANK[state] > _RANK[before.state]:
                found[slot.start] = SlotView(slot.start, slot.end, state, 0, slot.held_until)
    for start, end in open_starts.items():
        found[start] = SlotView(start, end, "open", 1)
    return [found[start] for start in sorted(found)]


_RANK: Final = {"blocked": 0, "booked": 1, "held": 2}

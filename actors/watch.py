"""The views of active calendars: who watches, what changed, and what time alone changes."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from actors.actor import Actor
from actors.calendar.apply import EVERYTHING, apply, touched
from actors.calendar.state import HOURLY, Service, offered
from actors.ports import Clock, Entry
from actors.views import Changes, View, ViewKey
from protocol import events as ev
from protocol import limits
from protocol.errors import Refused

log = logging.getLogger("slotcast.watch")

_ABOUT_TO_JOIN_S: Final = 1.0


class Watch:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._watched: dict[str, Actor] = {}
        self.deltas = 0
        self.on_gone: Callable[[View], None] = lambda _: None
        """Told of each view whose calendar this node no longer decides for."""

    @property
    def views(self) -> int:
        return sum(len(a.views or ()) for a in self._watched.values())

    @property
    def watched(self) -> Sequence[Actor]:
        return tuple(self._watched.values())

    def open(self, actor: Actor, key: ViewKey) -> View:
        """The view, made if nobody watches it yet. What it shows may rest on events up to the calendar's version;
        wait for that before showing it.

        Raises `Refused(service_not_offered | limit_reached)`.
        """
        if actor.views is None:
            actor.views = {}
        view = actor.views.get(key)
        if view is None:
            service = _terms(actor, key)
            if service is None:
                raise Refused("service_not_offered")
            if len(actor.views) >= limits.views_per_calendar_max:
                self._drop_longest_idle(actor.views)
            if len(actor.views) >= limits.views_per_calendar_max:
                raise Refused("limit_reached", "too many different views of this calendar are open")
            view = View(key, service, actor.calendar, self._clock.now_us())
            actor.views[key] = view
            self._watched[actor.calendar.id] = actor
        # Whoever asked needs a moment to join.
        view.idle_since = self._loop.time()
        return view

    def _drop_longest_idle(self, views: dict[ViewKey, View]) -> None:
        """Makes room by forgetting a view that nobody watches, before its time; not one that somebody is about to."""
        limit = self._loop.time() - _ABOUT_TO_JOIN_S
        idle = [(v.idle_since, k) for k, v in views.items() if not v.subscribers and v.idle_since < limit]
        if idle:
            del views[min(idle)[1]]

    def apply(self, actor: Actor, events: Sequence[ev.Event], now: int) -> dict[View, Changes]:
        """Applies events and tells what they change in each view."""
        calendar = actor.calendar
        spans: set[tuple[int, int]] = set()
        for event in events:
            spans.update(touched(calendar, event))
            apply(calendar, event)
        return {view: self._changes(actor, view, spans, now) for view in (actor.views or {}).values()}

    def _changes(self, actor: Actor, view: View, spans: set[tuple[int, int]], now: int) -> Changes:
        if EVERYTHING in spans or view.outdated:
            return _everything(actor, view, now)
        changes = view.changes_in(actor.calendar, spans, now)
        if view.due is not None and view.due <= now:
            # A calendar that is never quiet would else never tell what time has changed.
            changes |= view.changes_by_time(actor.calendar, now)
        return changes

    def publish(self, entries: Sequence[Entry]) -> None:
        """One delta per view for all committed entries, later changes over earlier ones."""
        merged: dict[View, Changes] = {}
        version: dict[View, int] = {}
        for entry in entries:
            last = entry.first_version + len(entry.events) - 1
            changes: dict[View, Changes] = entry.changes
            for view, states in changes.items():
                merged.setdefault(view, {}).update(states)
                version[view] = last
        for view, states in merged.items():
            self._publish(view, states, version[view])

    def _publish(self, view: View, changes: Changes, version: int) -> None:
        if view.publish(changes, version):
            self.deltas += 1

    def refresh(self, actor: Actor) -> None:
        """After a reload or new terms: shows what is true now."""
        now = self._clock.now_us()
        for view in (actor.views or {}).values():
            if actor.calendar.version != actor.committed:
                # What is shown must not be ahead of the database: the next event carries it, or the next quiet tick.
                view.outdated = True
            else:
                view.start_over(actor.committed)
                self._publish(view, _everything(actor, view, now), actor.committed)

    def tick(self, now: int) -> None:
        """Publishes what time alone has changed, and forgets views that nobody has watched for a while."""
        now_s = self._loop.time()
        for actor in list(self._watched.values()):
            self._drop_unwatched(actor, now_s)
            if actor.stale or actor.calendar.version != actor.committed:
                # Changes by time must not carry tentative ones with them; the next tick is soon.
                continue
            for view in (actor.views or {}).values():
                if view.outdated:
                    self._publish(view, _everything(actor, view, now), actor.committed)
                elif view.due is not None and view.due <= now:
                    self._publish(view, view.changes_by_time(actor.calendar, now), actor.committed)

    def forget(self, actor: Actor) -> None:
        """For when the calendar is no longer decided for here."""
        if self._watched.get(actor.calendar.id) is actor:
            del self._watched[actor.calendar.id]
        views, actor.views = actor.views or {}, None
        for view in views.values():
            view.gone = True
            try:
                self.on_gone(view)
            except Exception:
                # The other views, and whoever waits for the shard, have nothing to do with it.
                log.exception("the watchers of view %s could not be moved", view.id)

    def _drop_unwatched(self, actor: Actor, now_s: float) -> None:
        views = actor.views or {}
        for key, view in list(views.items()):
            if not view.subscribers and view.idle_since < now_s - limits.view_linger_s:
                del views[key]
        if not views:
            actor.views = None
            self._watched.pop(actor.calendar.id, None)


def _everything(actor: Actor, view: View, now: int) -> Changes:
    view.outdated = False
    return view.changes_of_everything(actor.calendar, _terms(actor, view.key), now)


def _terms(actor: Actor, key: ViewKey) -> Service | None:
    if not key.service_id:
        # With a duration, the hours in pieces of that length.
        return msgspec.structs.replace(HOURLY, duration=key.duration, step=key.duration) if key.duration else HOURLY
    return offered(actor.calendar, key.service_id, key.duration)

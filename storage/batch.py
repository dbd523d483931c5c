"""From decided entries to the arguments of one `append_batch` statement.

Rows follow from events. The statement itself makes a booking's row from the event that created it; what else the row
needs (text, people's data, what later events of the same batch changed) goes beside the event as `beyond`. So a booking
made and cancelled in one batch is one insert.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from actors.ports import NO_DETAILS, Entry
from protocol import events as ev
from protocol.events import encode as encode_event

_encode = msgspec.json.Encoder().encode
_STATUS_AFTER: Final[dict[type[ev.Event], str]] = {
    ev.Confirmed: "confirmed",
    ev.Cancelled: "cancelled",
    ev.Rejected: "rejected",
    ev.Completed: "completed",
    ev.NoShow: "no_show",
    ev.Expired: "expired",
}
Row = dict[str, Any]


class Added(msgspec.Struct, gc=False, omit_defaults=True):
    """An event on its way into the journal. With `makes_row` it makes a booking's row, out of `data` and `beyond`."""

    shard: int
    seq: int
    calendar_id: str
    version: int
    business_id: str
    at: int
    by: str
    request_id: str
    data: msgspec.Raw
    makes_row: bool = False
    beyond: Row | None = None


class Fence(msgspec.Struct):
    """What this node knows of a shard it owns. `seq` is the position of the shard's last event."""

    epoch: int
    seq: int


class Batch:
    """The arguments of the statement, and where each shard will stand once it is committed."""

    def __init__(self, entries: Sequence[Entry], fences: dict[int, Fence]) -> None:
        self.entries = entries
        self.seq_after: dict[int, int] = {}
        self.events = 0
        self._fences = fences
        self._added: list[Added] = []
        self._made: dict[str, Added] = {}
        """By booking, the event that makes its row."""
        self._changed: dict[str, Row] = {}
        self._ended: list[str] = []
        self._guests: list[Row] = []
        self._blocked: dict[str, Row] = {}
        self._unblocked: list[str] = []
        self._hours: dict[str, Row] = {}
        self._keys: list[Row] = []
        for entry in entries:
            self._add(entry)

    def arguments(self) -> list[Any]:
        """Positional, in the order of the statement."""
        # In order, because taking shards locks their rows in that order too.
        shards = sorted(self.seq_after)
        fences = [self._fences[s] for s in shards]
        return [
            shards,
            [f.epoch for f in fences],
            [f.seq for f in fences],
            [self.seq_after[s] for s in shards],
            _encode(self._added).decode(),
            self._ended,
            _json(list(self._changed.values())),
            _json(self._guests),
            _json(list(self._blocked.values())),
            self._unblocked,
            _json(list(self._hours.values())),
            _json(self._keys),
            len(self._keys),
        ]

    def _add(self, entry: Entry) -> None:
        work, shard = entry.work, entry.shard
        caller, at = work.caller, entry.outcome.at
        seq = self.seq_after.get(shard)
        if seq is None:
            seq = self._fences[shard].seq
        version = entry.first_version
        for event in entry.events:
            seq += 1
            added = Added(
                shard, seq, work.calendar_id, version, caller.business_id, at, caller.by, caller.request_id,
                msgspec.Raw(encode_event(event)),
            )  # fmt: skip
            self._added.append(added)
            version += 1
            self.events += 1
            self._project(entry, event, added)
        self.seq_after[shard] = seq
        if work.key is not None:
            key = work.key
            self._keys.append(
                {"scope": key.scope, "key": key.key, "business_id": caller.business_id,
                 "fingerprint": key.fingerprint.hex(), "calendar_id": work.calendar_id, "outcome": entry.outcome}
            )  # fmt: skip

    def _project(self, entry: Entry, event: ev.Event, added: Added) -> None:
        kind = type(event)
        if isinstance(event, ev.Booked):
            self._book(entry, event, added)
        elif isinstance(event, ev.HoldPlaced):
            self._make(event.id, added)
        elif isinstance(event, ev.HoldReleased | ev.HoldExpired):
            made = self._made.pop(event.id, None)
            if made is None:
                self._ended.append(event.id)
            else:
                made.makes_row = False
        elif isinstance(event, ev.Cancelled):
            self._change(
                entry, event.id, status="cancelled", cancelled_by=event.cancelled_by, reason=entry.work.details.reason
            )
        elif isinstance(event, ev.Rejected):
            self._change(entry, event.id, status="rejected", reason=entry.work.details.reason)
        elif isinstance(event, ev.Confirmed | ev.Completed | ev.NoShow | ev.Expired):
            self._change(entry, event.id, status=_STATUS_AFTER[kind])
        elif isinstance(event, ev.Rescheduled):
            self._change(
                entry,
                event.id,
                start=event.start,
                duration=event.duration,
                before=event.before,
                after=event.after,
                session=event.session,
                capacity=event.capacity,
                parts=event.parts or None,
                doubled=event.doubled,
            )
        elif isinstance(event, ev.Amended):
            self._change(entry, event.id, notes=entry.work.details.notes, notes_set=True)
        else:
            self._project_hours(entry, event)

    def _make(self, booking_id: str, added: Added) -> None:
        added.makes_row = True
        self._made[booking_id] = added

    def _book(self, entry: Entry, event: ev.Booked, added: Added) -> None:
        details, at = entry.work.details, entry.outcome.at
        if details.guest is not None and event is next(e for e in entry.events if isinstance(e, ev.Booked)):
            guest = details.guest
            self._guests.append(
                {"id": event.client_id, "business_id": entry.work.caller.business_id, "name": guest.name,
                 "email": guest.email, "phone": guest.phone, "email_normal": guest.email_normal,
                 "phone_normal": guest.phone_normal, "locale": guest.locale, "at": at}
            )  # fmt: skip
        if not event.from_hold:
            self._make(event.id, added)
            if details is not NO_DETAILS:
                manage_hash = (details.manage_hashes or {}).get(event.id, details.manage_hash)
                added.beyond = {"notes": details.notes, "manage_hash": _hex(manage_hash), "answers": details.answers}
            return
        self._change(
            entry,
            event.id,
            status=event.status,
            code=event.code,
            client_id=event.client_id,
            notes=details.notes,
            notes_set=True,
            manage_hash=_hex(details.manage_hash),
            answers=details.answers,
            marks=event.marks,
            created_us=at,
        )

    def _change(self, entry: Entry, booking_id: str, **changes: Any) -> None:
        """`None` is a value where the statement reads it as one: `session` and `parts`, and `notes` with
        `notes_set`.
        """
        changes["updated_us"] = entry.outcome.at
        made = self._made.get(booking_id)
        if made is None:
            row = self._changed.setdefault(booking_id, {"id": booking_id, "steps": 0})
            row.update(changes)
            row["steps"] += 1
            return
        changes["version"] = (made.beyond or {}).get("version", 1) + 1
        # A row made in this batch: nothing in it is held any more once something else happens to it.
        made.beyond = {**(made.beyond or {}), **changes, "holder": None, "expires_at": None}

    def _project_hours(self, entry: Entry, event: ev.Event) -> None:
        work = entry.work
        if isinstance(event, ev.TimeBlocked):
            self._blocked[event.id] = {
                "id": event.id, "business_id": work.caller.business_id, "calendar_id": work.calendar_id,
                "start_us": event.start, "end_us": event.end, "description": work.details.description,
                "forced": event.forced, "at": entry.outcome.at, "series": event.series,
            }  # fmt: skip
        elif isinstance(event, ev.TimeUnblocked):
            if self._blocked.pop(event.id, None) is None:
                self._unblocked.append(event.id)
        elif isinstance(event, ev.ScheduleChanged):
            self._hours[work.calendar_id] = {"id": work.calendar_id, "schedule": event.schedule}


def _json(rows: list[Row]) -> str:
    return _encode(rows).decode() if rows else "[]"


def _hex(digest: bytes | None) -> str | None:
    return None if digest is None else digest.hex()

"""From decided entries to the arguments of one `append_batch` statement.

Rows follow from events: within a batch only the last state of each row is written, so a booking made and cancelled
in one batch is one insert.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from actors.ports import Entry
from protocol import events as ev
from protocol.events import encode as encode_event
from protocol.events import tag_of

_BOOKING_COLUMNS: Final = (
    "id", "business_id", "calendar_id", "service_id", "client_id", "code", "status", "start_us", "end_us",
    "blocked_from", "blocked_to", "session_id", "capacity", "attendees", "version", "holder", "expires_us", "notes",
    "cancelled_by", "reason", "manage_hash", "created_us", "updated_us",
)  # fmt: skip
_AT: Final = {name: i for i, name in enumerate(_BOOKING_COLUMNS)}
_encode = msgspec.json.Encoder().encode
_STATUS_AFTER: Final[dict[type[ev.Event], str]] = {
    ev.Confirmed: "confirmed",
    ev.Cancelled: "cancelled",
    ev.Rejected: "rejected",
    ev.Completed: "completed",
    ev.NoShow: "no_show",
    ev.Expired: "expired",
}


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
        self._journal: list[tuple[Any, ...]] = []
        self._made: dict[str, list[Any]] = {}
        self._changed: dict[str, dict[str, Any]] = {}
        self._ended: list[str] = []
        self._guests: list[dict[str, Any]] = []
        self._blocked: dict[str, dict[str, Any]] = {}
        self._unblocked: list[str] = []
        self._hours: dict[str, dict[str, Any]] = {}
        self._keys: list[tuple[Any, ...]] = []
        for entry in entries:
            self._add(entry)

    def arguments(self) -> list[Any]:
        """Positional, in the order of the statement."""
        shards = list(self.seq_after)
        fences = [self._fences[s] for s in shards]
        return [
            shards,
            [f.epoch for f in fences],
            [f.seq for f in fences],
            list(self.seq_after.values()),
            *_columns(self._journal, 11),
            self._ended,
            *_columns(list(self._made.values()), len(_BOOKING_COLUMNS)),
            _json(list(self._changed.values())),
            _json(self._guests),
            _json(list(self._blocked.values())),
            self._unblocked,
            _json(list(self._hours.values())),
            *_columns(self._keys, 6),
        ]

    def _add(self, entry: Entry) -> None:
        work, shard = entry.work, entry.shard
        fence = self._fences[shard]
        seq = self.seq_after.get(shard, fence.seq)
        version = entry.first_version
        for event in entry.events:
            seq += 1
            self._journal.append(
                (
                    shard, seq, work.calendar_id, version, work.caller.business_id, fence.epoch, tag_of(event),
                    entry.outcome.at, work.caller.by, work.caller.request_id, encode_event(event).decode(),
                )
            )  # fmt: skip
            version += 1
            self.events += 1
            self._project(entry, event)
        self.seq_after[shard] = seq
        if work.key is not None:
            key = work.key
            self._keys.append(
                (
                    key.scope, key.key, work.caller.business_id, key.fingerprint, work.calendar_id,
                    _encode(entry.outcome),
                )
            )  # fmt: skip

    def _project(self, entry: Entry, event: ev.Event) -> None:
        kind = type(event)
        if isinstance(event, ev.Booked):
            self._book(entry, event)
        elif isinstance(event, ev.HoldPlaced):
            self._made[event.id] = self._row(entry, event, "held", None, holder=event.holder, expires=event.expires_at)
        elif isinstance(event, ev.HoldReleased | ev.HoldExpired):
            if self._made.pop(event.id, None) is None:
                self._ended.append(event.id)
        elif kind in _STATUS_AFTER:
            by = event.cancelled_by if isinstance(event, ev.Cancelled) else None
            reason = event.reason if isinstance(event, ev.Cancelled | ev.Rejected) else None
            self._change(entry, event.id, status=_STATUS_AFTER[kind], cancelled_by=by, reason=reason or None)  # type: ignore[attr-defined]
        elif isinstance(event, ev.Rescheduled):
            self._change(
                entry,
                event.id,
                start_us=event.start,
                end_us=event.start + event.duration,
                blocked_from=event.start - event.before,
                blocked_to=event.start + event.duration + event.after,
                session_id=event.session or event.id,
                capacity=event.capacity,
            )
        elif isinstance(event, ev.Amended):
            self._change(entry, event.id, notes=entry.work.details.notes, notes_set=True)
        else:
            self._project_hours(entry, event)

    def _book(self, entry: Entry, event: ev.Booked) -> None:
        details, at = entry.work.details, entry.outcome.at
        if details.guest is not None:
            guest = details.guest
            self._guests.append(
                {"id": event.client_id, "business_id": entry.work.caller.business_id, "name": guest.name,
                 "email": guest.email, "phone": guest.phone, "at": at}
            )  # fmt: skip
        if not event.from_hold:
            row = self._row(entry, event, event.status, event.code)
            row[_AT["notes"]], row[_AT["manage_hash"]] = details.notes, details.manage_hash
            self._made[event.id] = row
            return
        self._change(
            entry,
            event.id,
            status=event.status,
            code=event.code,
            client_id=event.client_id,
            notes=details.notes,
            notes_set=True,
            manage_hash=details.manage_hash,
            created_us=at,
        )

    def _project_hours(self, entry: Entry, event: ev.Event) -> None:
        work = entry.work
        if isinstance(event, ev.TimeBlocked):
            self._blocked[event.id] = {
                "id": event.id, "business_id": work.caller.business_id, "calendar_id": work.calendar_id,
                "start_us": event.start, "end_us": event.end, "description": work.details.description,
                "forced": event.forced, "at": entry.outcome.at,
            }  # fmt: skip
        elif isinstance(event, ev.TimeUnblocked):
            if self._blocked.pop(event.id, None) is None:
                self._unblocked.append(event.id)
        elif isinstance(event, ev.ScheduleChanged):
            self._hours[work.calendar_id] = {"id": work.calendar_id, "schedule": event.schedule}

    def _row(
        self,
        entry: Entry,
        event: ev.Booked | ev.HoldPlaced,
        status: str,
        code: str | None,
        holder: str | None = None,
        expires: int | None = None,
    ) -> list[Any]:
        start, end, at = event.start, event.start + event.duration, entry.outcome.at
        work = entry.work
        return [
            event.id, work.caller.business_id, work.calendar_id, event.service_id, event.client_id, code, status,
            start, end, start - event.before, end + event.after, event.session or event.id, event.capacity,
            event.places, 1, holder, expires, None, None, None, None, at, at,
        ]  # fmt: skip

    def _change(self, entry: Entry, booking_id: str, **patch: Any) -> None:
        patch["version"] = entry.outcome.booking_version
        patch["updated_us"] = entry.outcome.at
        made = self._made.get(booking_id)
        if made is None:
            row = self._changed.setdefault(booking_id, {"id": booking_id})
            # An absent value keeps what the row has; bytes travel as hex inside JSON.
            row.update({k: v.hex() if isinstance(v, bytes) else v for k, v in patch.items() if v is not None})
            if patch.get("notes_set"):
                row["notes"] = patch["notes"]
            return
        if patch.pop("notes_set", False):
            made[_AT["notes"]] = patch["notes"]
        for name, value in patch.items():
            if value is not None:
                made[_AT[name]] = value
        if made[_AT["status"]] != "held":
            made[_AT["holder"]] = made[_AT["expires_us"]] = None


def _columns(rows: list[Any], width: int) -> list[Any]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _json(rows: list[Any]) -> str:
    return _encode(rows).decode() if rows else "[]"

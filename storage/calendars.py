"""Calendars as Postgres has them: the store behind `actors.ports.CalendarStore`."""

import logging
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from types import MappingProxyType
from typing import Any

import msgspec

from actors.calendar.apply import restore
from actors.calendar.hours import NO_HOLIDAYS, AnyHours, default_schedule, hours_of, occasion_of
from actors.calendar.line import Line
from actors.calendar.state import Block, Calendar, Done, OverStatus, Reservation, Service, Status, extra_of
from actors.ports import Loaded, Outcome, StoredOutcome, Terms, key_hash
from protocol import limits
from protocol.errors import Refused
from protocol.events import HoursFrom, Part, Schedule, WeeklyRange
from protocol.times import DAY, MINUTE, local_us, zone
from storage.postgres import Database

_Extra = tuple[tuple[str, ...], tuple[Part, ...], str | None, bool]
_Row = tuple[str, Status, str, int, int, int, int, int, int, str, int, str | None, int, _Extra | None]
_decode_rows = msgspec.json.Decoder(list[_Row]).decode
_decode_blocks = msgspec.json.Decoder(list[tuple[str, int, int, str | None]]).decode
_decode_done = msgspec.json.Decoder(list[tuple[str, str, int, str, OverStatus, int, str | None]]).decode
_decode_schedule = msgspec.json.Decoder(Schedule).decode
_decode_outcome = msgspec.json.Decoder(Outcome).decode

_SHARED_MAX = 50_000

log = logging.getLogger("slotcast.calendars")


class PostgresCalendars:
    def __init__(self, database: Database) -> None:
        self._database = database
        # Calendars that offer the same services share one mapping. Equal lengths, starts (grids repeat) and businesses
        # are one object: a hundred thousand calendars have millions of them.
        self._offers: dict[tuple[Service, ...], Mapping[str, Service]] = {}
        self._numbers: dict[int, int] = {}
        self._businesses: dict[str, str] = {}

    async def load(self, calendar_ids: Sequence[str]) -> dict[str, Loaded]:
        rows = await self._database.fetch("load_calendars", list(calendar_ids), limits.done_days)
        terms = await self._terms({s for row in rows for s in row["service_ids"] or ()})
        found: dict[str, Loaded] = {}
        for row in rows:
            try:
                found[row["id"]] = self._calendar(row, terms)
            except Exception:
                # Its neighbours in the batch have nothing to do with it; who asked for it hears `not_found`.
                log.exception("calendar %s cannot be read", row["id"])
        return found

    async def terms_of(self, calendar_ids: Sequence[str]) -> dict[str, Terms]:
        rows = await self._database.fetch("terms_of_calendars", list(calendar_ids))
        terms = await self._terms({s for row in rows for s in row["service_ids"]})
        return {
            row["calendar_id"]: Terms(
                self._offer(row["service_ids"], terms), _dates(row["holidays"]), row["location_id"]
            )
            for row in rows
        }

    async def business_of(self, calendar_id: str) -> str | None:
        return await self._database.value("business_of_calendar", calendar_id)

    async def find_outcome(self, scope: str, key: str) -> StoredOutcome | None:
        row = await self._database.row("find_outcome", scope, key)
        if row is None:
            return None
        if row["outcome"] is None:
            raise Refused("idempotency_mismatch")
        return StoredOutcome(row["calendar_id"], row["fingerprint"], _decode_outcome(row["outcome"]))

    async def _terms(self, service_ids: set[str]) -> dict[str, Service]:
        if not service_ids:
            return {}
        found = {r["id"]: terms_of(r) for r in await self._database.fetch("service_terms", list(service_ids))}
        missing = service_ids - found.keys()
        if missing:
            rows = await self._database.fetch("offering_terms", list(missing))
            found |= {r["id"]: terms_of_offering(r) for r in rows}
        return found

    def _offer(self, service_ids: Sequence[str] | None, terms: dict[str, Service]) -> Mapping[str, Service]:
        offered = tuple(terms[s] for s in service_ids or () if s in terms)
        if len(self._offers) > _SHARED_MAX:
            self._offers.clear()
        shared = self._offers.get(offered)
        if shared is None:
            shared = self._offers[offered] = MappingProxyType({s.id: s for s in offered})
        return shared

    def _calendar(self, row: Any, terms: dict[str, Service]) -> Loaded:
        schedule = _decode_schedule(row["schedule"]) if row["schedule"] else default_schedule(row["time_zone"])
        calendar = Calendar(
            row["id"],
            row["version"],
            hours_of(schedule, _dates(row["holidays"])),
            Line(),
            {},
            services=self._offer(row["service_ids"], terms),
            location_id=row["location_id"],
        )
        for r in _decode_rows(row["reservations"]) if row["reservations"] else ():
            self._restore(calendar, r)
        if row["blocks"]:
            calendar.blocks = [Block(*b) for b in _decode_blocks(row["blocks"])]
        if row["done"]:
            calendar.done = {d[0]: Done(*d) for d in _decode_done(row["done"])}
        keys = [key_hash(*k.split("\n", 1)) for k in row["recent_keys"] or ()]
        if len(self._businesses) >= _SHARED_MAX:
            self._businesses.clear()
        business_id = self._businesses.setdefault(row["business_id"], row["business_id"])
        return Loaded(calendar, business_id, row["shard"], keys)

    def _restore(self, calendar: Calendar, row: _Row) -> None:
        (id_, status, service_id, start, end, blocked_from, blocked_to, places, version, session, capacity,
         holder, expires_at, extra) = row  # fmt: skip
        service = calendar.services.get(service_id)
        marks, parts, leader, doubled = extra or ((), (), None, False)
        shared = self._shared
        restore(
            calendar,
            Reservation(
                shared(start),
                shared(end - start),
                shared(start - blocked_from),
                shared(blocked_to - end),
                id_,
                status,
                service.id if service else service_id,
                places,
                version,
                session if capacity > 1 else None,
                expires_at,
                extra_of(marks, parts, leader, doubled=doubled, holder=holder),
            ),
            capacity,
            status,
        )

    def _shared(self, number: int) -> int:
        if len(self._numbers) >= _SHARED_MAX:
            self._numbers.clear()
        return self._numbers.setdefault(number, number)


def terms_of(row: Any) -> Service:
    """The terms in a row of `services`, lengths in microseconds."""
    return Service(
        row["id"],
        row["business_id"],
        row["duration_minutes"] * MINUTE,
        row["step_minutes"] * MINUTE,
        row["buffer_before_minutes"] * MINUTE,
        row["buffer_after_minutes"] * MINUTE,
        row["notice_minutes"] * MINUTE,
        row["horizon_days"] * DAY,
        row["capacity"],
        row["confirmation"] == "approval",
        tuple(m * MINUTE for m in row["durations_minutes"]),
        row["daily_cap"] or 0,
        row["weekly_cap"] or 0,
        _notice(row["cancellation_notice_minutes"]),
        _notice(row["reschedule_notice_minutes"]),
        tuple(row["required"]),
        locations=tuple(row["location_ids"]),
    )


def _notice(minutes: int | None) -> int:
    return -1 if minutes is None else minutes * MINUTE


def terms_of_offering(row: Any) -> Service:
    """The terms in a row of `offerings`: slots on its dates and daily hours, or for a party one span from the first
    opening to the last close.
    """
    first, last, zone_name = (
        date.fromisoformat(row["start_date"]),
        date.fromisoformat(row["end_date"]),
        row["time_zone"],
    )
    hours: AnyHours
    duration = row["duration_minutes"] * MINUTE
    if row["type"] == "party":
        tz = zone(zone_name)
        span = local_us(first, row["day_start"], tz), local_us(last, row["day_end"], tz)
        hours, duration = occasion_of(span, zone_name), span[1] - span[0]
    else:
        daily = tuple(WeeklyRange(d, row["day_start"], row["day_end"]) for d in range(7))
        after = (last + timedelta(days=1)).isoformat()
        hours = hours_of(Schedule(zone_name, (), later=(HoursFrom(first.isoformat(), daily), HoursFrom(after, ()))))
    return Service(
        row["id"],
        row["business_id"],
        duration,
        duration,
        notice=row["notice_minutes"] * MINUTE,
        capacity=1 if row["type"] == "single" else row["max_attendees"],
        approval=row["confirmation"] == "approval",
        guard=row["anti_scalping"],
        own_hours=hours,
    )


def _dates(holidays: Sequence[str]) -> frozenset[str]:
    return frozenset(holidays) if holidays else NO_HOLIDAYS

"""Meetings of several calendars, as rows: what a service needs, how busy its professionals are, and parts of
meetings.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
import orjson

from protocol import events as ev
from protocol.events import Part
from protocol.times import MINUTE
from storage.people import Queries

Became = Literal["booked", "gone", "completed"]


class Team(msgspec.Struct, frozen=True):
    """Who is needed for a service: `needed` of those who offer it, and one resource of each group. Lengths are
    microseconds; `professional_ids` rise.
    """

    service_id: str
    needed: int
    resources: tuple[tuple[str, ...], ...]
    assignment: str
    duration: int
    before: int
    after: int
    professional_ids: tuple[str, ...]

    @property
    def several(self) -> bool:
        return self.needed > 1 or bool(self.resources)

    @property
    def resource_ids(self) -> frozenset[str]:
        return frozenset(r for group in self.resources for r in group)


class Led(msgspec.Struct, frozen=True):
    """A hold or booking that leads a meeting."""

    calendar_id: str
    status: str
    parts: tuple[Part, ...]


async def team_of(q: Queries, business_id: str, service_id: str) -> Team | None:
    row = await q.row("team_of_service", business_id, service_id)
    if row is None:
        return None
    return Team(
        row["id"],
        row["professionals_needed"],
        tuple(tuple(group) for group in orjson.loads(row["resources"])),
        row["assignment"],
        row["duration_minutes"] * MINUTE,
        row["buffer_before_minutes"] * MINUTE,
        row["buffer_after_minutes"] * MINUTE,
        tuple(row["professional_ids"]),
    )


async def business_of_service(q: Queries, service_id: str) -> str | None:
    return await q.value("business_of_service", service_id)


async def by_turn(q: Queries, team: Team, start: int) -> list[str]:
    """Those who offer the service, the one whose turn it is first."""
    query = "by_load" if team.assignment == "least_loaded" else "by_last_booking"
    return [r["id"] for r in await q.fetch(query, list(team.professional_ids), team.service_id, start)]


async def led(q: Queries, reservation_id: str) -> Led | None:
    row = await q.row("led_by", reservation_id)
    if row is None:
        return None
    return Led(row["calendar_id"], row["status"], parts_of(row["parts"]))


async def hold_as_placed(q: Queries, calendar_id: str, hold_id: str) -> ev.HoldPlaced | None:
    """As the journal has it, whatever became of it."""
    data = await q.value("hold_as_placed", calendar_id, hold_id)
    return ev.decode(data) if data is not None else None  # type: ignore[return-value] - the query asks for no other


def parts_of(text: str | None) -> tuple[Part, ...]:
    return tuple(Part(*pair) for pair in orjson.loads(text)) if text else ()


async def astray(q: Queries, shards: Sequence[int], since_s: int, limit: int) -> list[tuple[str, str, str, Became]]:
    """Parts that are not as their leader has it: calendar, business, id, and what became of the meeting."""
    rows = await q.fetch("parts_astray", list(shards), limit, since_s)
    return [(r["calendar_id"], r["business_id"], r["id"], r["became"]) for r in rows]

"""Services that need several calendars, or leave open whose."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from tests.support.server import Api

DAY = (datetime.now(UTC) + timedelta(days=7)).strftime("%Y-%m-%d")
OPEN = [{"weekday": d, "start": "00:00", "end": "24:00"} for d in range(7)]


def at(hour: int, minute: int = 0) -> str:
    return f"{DAY}T{hour:02d}:{minute:02d}:00Z"


class Team:
    """Professionals, rooms and a service that needs some of them."""

    def __init__(self, api: Api, people: list[str], rooms: list[str], service_id: str, client_id: str) -> None:
        self.api = api
        self.people = people
        self.rooms = rooms
        self.service_id = service_id
        self.client_id = client_id

    def body(self, start: str, **more: Any) -> dict[str, Any]:
        return {"service_id": self.service_id, "client_id": self.client_id, "start": start, **more}

    async def book(self, start: str, **more: Any) -> Any:
        return await self.api.made("bookings", self.body(start, **more))

    async def slots(self, path: str = "", **query: Any) -> list[str]:
        answer = await self.api.get(
            path or f"services/{self.service_id}/slots", from_=DAY, to=DAY, time_zone="UTC", **query
        )
        assert answer.status == 200, answer
        return [s["start"] for s in answer.json["slots"]]


async def calendar(api: Api, name: str, kind: str = "person") -> str:
    made = await api.made("professionals", {"display_name": name, "time_zone": "UTC", "kind": kind})
    put = await api.request("PUT", f"professionals/{made['id']}/schedule", {"time_zone": "UTC", "weekly": OPEN})
    assert put.status == 200, put
    return made["id"]


async def new_team(api: Api, people: int = 2, rooms: int = 0, **service: Any) -> Team:
    ids = sorted([await calendar(api, f"Dr {n}") for n in range(people)])
    room_ids = sorted([await calendar(api, f"Room {n}", "resource") for n in range(rooms)])
    body = {"name": "Panel", "duration_minutes": 30, "horizon_days": 365, "professional_ids": ids, **service}
    if rooms:
        body["resources"] = [room_ids]
    made = await api.made("services", body)
    client = await api.made("clients", {"first_name": "Cleo"})
    return Team(api, ids, room_ids, made["id"], client["id"])


async def rows_of(db: asyncpg.Connection, calendars: list[str]) -> list[tuple[str, str, str]]:
    """Calendar, status and start of what is active, parts and leaders alike."""
    found = await db.fetch(
        "SELECT calendar_id::text, status, start_at FROM bookings WHERE calendar_id = ANY ($1::text[]::uuid[]) "
        "AND status IN ('held', 'pending', 'confirmed') ORDER BY start_at, calendar_id",
        calendars,
    )
    return [(r["calendar_id"], r["status"], f"{r['start_at']:%Y-%m-%dT%H:%M:%SZ}") for r in found]

"""A node's database without a node, and businesses and bookings in it, for what comes round."""

import json
import uuid
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from actors.ports import Clock
from protocol.times import DAY

SHARDS = list(range(8))


class HandClock(Clock):
    """Shows what it is set to, microseconds."""

    def __init__(self, now_us: int) -> None:
        self.now = now_us

    def now_us(self) -> int:
        return self.now

    def pass_days(self, days: float) -> None:
        self.now += int(days * DAY)


async def insert(db: asyncpg.Connection, table: str, **row: Any) -> None:
    names, places = ", ".join(row), ", ".join(f"${n}" for n in range(1, len(row) + 1))
    await db.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", *row.values())


async def new_business(db: asyncpg.Connection, **columns: Any) -> str:
    id_ = str(uuid.uuid4())
    row = {"id": id_, "slug": f"b-{id_}", "name": "B", "time_zone": "UTC", **columns}
    await insert(db, "businesses", **row)
    return id_


async def new_event(
    db: asyncpg.Connection, calendar_id: str, shard: int, seq: int, version: int, at: datetime, **data: Any
) -> None:
    data = {"type": "booking.created", "id": str(uuid.uuid4()), **data}
    await insert(
        db, "events", shard=shard, seq=seq, calendar_id=calendar_id, version=version,
        business_id="0198c0de-0000-7000-8000-000000000000", epoch=1, type=data["type"], at=at, by="x", request_id="x",
        data=json.dumps(data),
    )  # fmt: skip
    await db.execute("UPDATE shards SET seq = greatest(seq, $2) WHERE id = $1", shard, seq)


async def new_booking(db: asyncpg.Connection, id_: str, calendar_id: str, start: datetime, **columns: Any) -> None:
    end = start + timedelta(minutes=30)
    row = {
        "id": id_, "business_id": "0198c0de-0000-7000-8000-000000000000", "calendar_id": calendar_id,
        "service_id": str(uuid.uuid4()), "code": f"BK-{id_}", "status": "completed", "start_at": start, "end_at": end,
        "blocked": asyncpg.Range(start, end), "session_id": id_, "capacity": 1, "attendees": 1, "created_at": start,
        "updated_at": start, **columns,
    }  # fmt: skip
    await insert(db, "bookings", **row)

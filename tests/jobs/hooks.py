"""Businesses with webhooks on a real database, events for them, and a sender that works the queue."""

import base64
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from actors.ports import Clock
from jobs import deliveries
from jobs.outgoing import MESSAGE
from jobs.queue import Job, JournalEvent
from jobs.webhooks import WebhookFollower, WebhookSender
from protocol import events as ev
from protocol.ids import new_id
from tests.jobs.targets import LOOPBACK, posting
from tests.jobs.workshop import Workshop

HALF_AN_HOUR = 1_800_000_000


class WallClock(Clock):
    def now_us(self) -> int:
        return time.time_ns() // 1000


def secret(webhook_id: str, generation: int) -> str:
    return "whsec_" + base64.b64encode(hashlib.sha256(f"{webhook_id}{generation}".encode()).digest()).decode()


def booked(booking_id: str) -> ev.Booked:
    return ev.Booked(
        id=booking_id, code="BK-AAAAAAAA", status="confirmed", service_id=new_id(), start=2_000_000_000_000_000,
        duration=HALF_AN_HOUR, before=0, after=0, places=1,
    )  # fmt: skip


class Hooks:
    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.clock = WallClock()
        self.notices: list[Any] = []
        """What was to be told to people."""
        self._versions: dict[str, int] = {}

    async def business(self) -> str:
        business_id = new_id()
        await self.shop.db.execute(
            "INSERT INTO businesses (id, slug, name, time_zone) VALUES ($1, $2, 'B', 'UTC')",
            business_id,
            f"b{business_id}",
        )
        return business_id

    async def hook(
        self,
        business_id: str,
        url: str,
        events: list[str] | None = None,
        *,
        disabled: bool = False,
        deleted: bool = False,
        created_in_s: float = 0,
    ) -> str:
        id_, now = new_id(), datetime.now(UTC)
        await self.shop.db.execute(
            "INSERT INTO webhooks (id, business_id, url, events, created_by, disabled_at, deleted_at, created_at)"
            " VALUES ($1, $2, $3, $4, 'test', $5, $6, $7)",
            id_, business_id, url, events, now if disabled else None, now if deleted else None,
            now + timedelta(seconds=created_in_s),
        )  # fmt: skip
        return id_

    async def booking(self, business_id: str, calendar_id: str, booking_id: str) -> None:
        start = datetime.now(UTC) + timedelta(days=1)
        end = start + timedelta(minutes=30)
        await self.shop.db.execute(
            "INSERT INTO bookings (id, business_id, calendar_id, service_id, code, status, start_at, end_at, blocked,"
            " session_id, capacity, attendees, created_at, updated_at)"
            " VALUES ($1, $2, $3, $1, $4, 'confirmed', $5, $6, tstzrange($5, $6), $1, 1, 1, now(), now())",
            booking_id, business_id, calendar_id, booking_id, start, end,
        )  # fmt: skip

    async def happen(
        self, business_id: str, calendar_id: str, *events: ev.Event, first_version: int | None = None
    ) -> None:
        """As if the follower had read these from the journal."""
        version = first_version or self._versions.get(calendar_id, 0) + 1
        read = [
            JournalEvent(
                shard=0, seq=n, calendar_id=calendar_id, version=n, business_id=business_id, at=self.clock.now_us(),
                by="test", request_id="r", type=ev.tag_of(event), data=orjson.loads(ev.encode(event)),
            )
            for n, event in enumerate(events, version)
        ]  # fmt: skip
        self._versions[calendar_id] = version + len(events) - 1
        async with self.shop.database.transaction() as transaction:
            digest = await WebhookFollower().digest(read, transaction)
            await self.shop.queue.put(digest.jobs, transaction)

    @asynccontextmanager
    async def sending(
        self, *, slots: int = 8, private: str = LOOPBACK, timeout_s: float = 5.0
    ) -> AsyncIterator[WebhookSender]:
        async with posting(private, timeout_s=timeout_s) as poster:
            sender = WebhookSender(self.shop.database, self.shop.queue, poster, secret, self.clock)

            async def told(job: Job) -> None:
                self.notices.append(job.payload)

            async with self.shop.working({deliveries.KIND: sender, MESSAGE: told}, slots):
                yield sender

    def as_job(self, row: dict[str, Any], **payload: Any) -> Job:
        return Job(
            id=str(row["id"]), kind=row["kind"], payload=orjson.loads(row["payload"]) | payload, business_id=None,
            key=row["key"], attempt=1, attempts_max=5,
        )  # fmt: skip

    # What became of it

    async def rows(self, webhook_id: str) -> list[Any]:
        return await self.shop.db.fetch(
            "SELECT * FROM webhook_deliveries WHERE webhook_id = $1 ORDER BY id", webhook_id
        )

    async def states(self, webhook_id: str) -> list[str]:
        return [r["state"] for r in await self.rows(webhook_id)]

    async def types(self, webhook_id: str) -> list[str]:
        return [r["type"] for r in await self.rows(webhook_id)]

    async def count(self, webhook_id: str, state: str, wanted: int) -> bool:
        return (await self.states(webhook_id)).count(state) == wanted

    async def row(self, webhook_id: str) -> Any:
        return await self.shop.db.fetchrow("SELECT * FROM webhooks WHERE id = $1", webhook_id)

    async def health(self, webhook_id: str) -> tuple[Any, ...]:
        row = await self.row(webhook_id)
        return row["failures"], row["failing_since"], row["try_after"]

    async def set(self, webhook_id: str, assignments: str) -> None:
        await self.shop.db.execute(f"UPDATE webhooks SET {assignments} WHERE id = $1", webhook_id)

"""Webhooks and their deliveries as the database has them, for those who fill and those who empty the queue."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import orjson

from jobs.database import Queries
from jobs.queue import NewJob
from jobs.webhook_events import Announced, BookingNow
from protocol import limits
from protocol.ids import new_id
from protocol.times import format_us
from protocol.webhooks import TEST

KIND: Final = "webhook"
_SHARD: Final = 0
_CLOCKS_DIFFER_US: Final = 1_000_000
"""How far the clocks of nodes may be apart: an event right after a webhook was made is not missed."""


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that is to be told: of `events`, or of all. For one that is not `enabled` it is only noted."""

    id: str
    business_id: str
    events: frozenset[str] | None
    created_at: int
    enabled: bool

    def wants(self, event: Announced) -> bool:
        return (self.events is None or event.type in self.events) and event.at >= self.created_at - _CLOCKS_DIFFER_US


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as it is to be sent. A target with `failures` is in trouble, and to be left alone for `wait_s`."""

    id: str
    business_id: str
    webhook_id: str
    event_id: str
    type: str
    body: str
    state: str
    tries: int
    replays: int
    url: str
    generation: int
    overlaps: bool
    failures: int
    disabled: bool
    deleted: bool
    wait_s: float

    @property
    def is_test(self) -> bool:
        return self.type == TEST


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One try: the target's `status` and answer, or why there are none."""

    at: int
    milliseconds: int
    status: int | None = None
    error: str | None = None
    answer: str | None = None
    retry_after_s: float | None = None

    @property
    def arrived(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_sick(self) -> bool:
        """The target is in trouble, whatever is sent to it."""
        return self.status is None or self.status >= 500 or self.status in (408, 429)

    @property
    def told(self) -> str:
        return self.error or f"the target answered {self.status}"


async def subscriptions(q: Queries, business_ids: Iterable[str]) -> dict[str, list[Subscription]]:
    """By business."""
    found: defaultdict[str, list[Subscription]] = defaultdict(list)
    for row in await q.fetch("webhooks_of", sorted(set(business_ids)), float(limits.deliveries_kept_s)):
        found[row["business_id"]].append(
            Subscription(
                id=row["id"],
                business_id=row["business_id"],
                events=frozenset(row["events"]) if row["events"] is not None else None,
                created_at=row["created_at"],
                enabled=row["enabled"],
            )
        )
    return found


async def bookings(q: Queries, business_ids: Iterable[str], booking_ids: Iterable[str]) -> dict[str, BookingNow]:
    ids = sorted(set(booking_ids))
    if not ids:
        return {}
    rows = await q.fetch("bookings_to_announce", sorted(set(business_ids)), ids)
    return {r["id"]: BookingNow(**{name: r[name] for name in BookingNow.__struct_fields__}) for r in rows}


async def add(q: Queries, told: Sequence[tuple[Subscription, Announced]]) -> list[NewJob]:
    """Notes each event for its webhook, once; the jobs that are to deliver what was not noted before."""
    return await _add(q, [(s.id, event, s.enabled) for s, event in told])


async def add_test(q: Queries, webhook_id: str, event: Announced) -> NewJob:
    """Also for a webhook that is disabled. The event is a new one."""
    (job,) = await _add(q, [(webhook_id, event, True)])
    return job


async def _add(q: Queries, told: Sequence[tuple[str, Announced, bool]]) -> list[NewJob]:
    if not told:
        return []
    ids = [new_id() for _ in told]
    events = [event for _, event, _ in told]
    rows = await q.fetch(
        "insert_deliveries", ids, [e.business_id for e in events], [w for w, _, _ in told],
        [e.event_id for e in events], [e.type for e in events], [e.calendar_id for e in events],
        [e.body for e in events],
        ["waiting" if is_sent else "skipped" for _, _, is_sent in told],
    )  # fmt: skip
    new = {r["id"] for r in rows}
    return [
        job(id_, webhook_id, event.business_id, event.calendar_id or event.event_id)
        for id_, (webhook_id, event, is_sent) in zip(ids, told, strict=True)
        if id_ in new and is_sent
    ]


def job(delivery_id: str, webhook_id: str, business_id: str, line: str, replay: int = 0) -> NewJob:
    """`line` is what must stay in order: the calendar."""
    return NewJob(
        kind=KIND,
        payload={"webhook_id": webhook_id, "delivery_id": delivery_id, "replay": replay},
        business_id=business_id,
        key=f"{KIND}:{delivery_id}:{replay}",
        lane=f"{KIND}:{webhook_id}:{line}",
        attempts_max=limits.job_attempts_max,
    )


async def load(q: Queries, delivery_id: str) -> Outgoing | None:
    row = await q.row("delivery_to_send", delivery_id)
    return Outgoing(**{name: row[name] for name in Outgoing.__struct_fields__}) if row is not None else None


async def may_try(q: Queries, webhook_id: str, patience_s: float) -> bool:
    """Of all deliveries to a target in trouble, one gets `True`, and the next `patience_s` later."""
    return await q.value("claim_try", webhook_id, patience_s) is not None


async def skip(q: Queries, delivery_id: str) -> None:
    await q.value("skip_delivery", delivery_id)


async def note(q: Queries, delivery: Outgoing, tried: Tried, state: str, pause_s: float | None = None) -> None:
    """A try that failed: the delivery is `failed`, or waits for `pause_s`."""
    await q.value("note_try", delivery.id, state, _entry(tried), tried.answer, pause_s)


async def note_arrival(q: Queries, delivery: Outgoing, tried: Tried) -> None:
    await q.value("note_arrival", delivery.id, _entry(tried), tried.answer)


def _entry(tried: Tried) -> str:
    entry = {"at": format_us(tried.at), "status": tried.status, "error": tried.error}
    return orjson.dumps([entry | {"milliseconds": tried.milliseconds}]).decode()


async def note_failure(q: Queries, webhook_id: str, tried: Tried, gone: str | None) -> Any:
    """The row's `disabled`, `disabled_why` and `disabled_us` after it; `None` for one that is disabled already."""
    rest_s = max(limits.webhook_rest_s, tried.retry_after_s or 0.0)
    most_s = max(limits.webhook_rest_max_s, tried.retry_after_s or 0.0)
    return await q.row(
        "webhook_failed", webhook_id, tried.is_sick, rest_s, most_s, gone, float(limits.webhook_failing_s_max)
    )


class OldDeliveries:
    """A round of `jobs.rounds`: forgets what was delivered, or not, long ago."""

    name = "old deliveries"
    every_s = 300.0

    def __init__(self, database: Queries) -> None:
        self._database = database

    async def once(self, shards: Sequence[int]) -> bool:
        """Whether there is more of it. Deliveries are of no shard; whoever owns the first one does it for all nodes."""
        if _SHARD not in shards:
            return False
        most = limits.deliveries_forgotten_at_once_max
        gone = await self._database.fetch("forget_old_deliveries", float(limits.deliveries_kept_s), most)
        return len(gone) == most
